"""The plan of one document as frozen data: nodes, their prerequisites, and the fields of the response. It can be printed and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from graphql import FieldNode

from gateway.blueprint import Link, Operation, Step
from gateway.contract.shape import Shape
from gateway.document.redaction import shown_arguments
from gateway.document.selection import Parts, Selected
from gateway.language.template import Renderer


class Role(StrEnum):
    """The role of a node, which decides what its failure means (paper 7.2)."""

    REQUIRED = "required"
    """The whole field of its operation is null."""
    OPTIONAL = "optional"
    """The step's fields are null."""
    LINK = "link"
    """The link's field is null for the parent objects of the failed calls."""
    FALLBACK = "fallback"
    """It runs only if another step fails, and only the next fallback of that step is tried."""


@dataclass(frozen=True, slots=True)
class OfType:
    """A hop of a path that is a filter: it keeps only the objects of some concrete types, by their ``__typename``."""

    names: tuple[str, ...]

    def __hash__(self) -> int:
        # The names of hundreds of types would be hashed again for each look-up.
        return hash((self.names[:1], len(self.names)))


Hops = tuple[str | OfType, ...]
"""The path from a value down to objects in it: keys and type filters. Lists of any depth on the way are flattened."""


def hops_below(parts: Parts, part: Selected, hops: Hops) -> Hops:
    """Return the hops to the value of a field of the objects at ``hops``: of all types that select the same of it, and of no others."""
    return (*hops, OfType(parts.types_with(part)), part.name) if parts.is_abstract else (*hops, part.name)


@dataclass(frozen=True, slots=True)
class LinkUse:
    """The use of a link at one level of the plan: ``hops`` lead from the value of the node ``parent`` to the parent objects."""

    link: Link
    parent: int
    hops: Hops
    field: FieldNode
    arguments: str
    """The arguments as the document writes them."""

    @property
    def shown(self) -> str:
        """The arguments with sensitive values masked."""
        return shown_arguments(self.field, self.link.arguments, self.arguments)


@dataclass(frozen=True, slots=True)
class Node:
    """A step with one set of arguments.

    ``needs`` are the nodes whose values it reads, ``follows`` those that must only have ended. ``substitutes`` are the nodes of its
    fallback steps, by name. A lazy node runs only when it is demanded: as a fallback step of another node, or as a prerequisite of one.
    """

    index: int
    call: int
    step: Step
    render: Renderer = field(compare=False, repr=False)
    """Renders the inputs of its call from the scope of a request."""
    role: Role
    needs: tuple[int, ...]
    follows: tuple[int, ...]
    substitutes: Mapping[str, int]
    is_lazy: bool
    is_shared: bool
    """Whether another node may make an equal call, so that both can share one."""
    deadline: float
    """Seconds from the arrival of the request: the latest deadline of the operations that share it."""
    selection: str = ""
    """The selection set of its value, as GraphQL text, for a step type that sends it upstream."""
    use: LinkUse | None = None
    """The link and its level, for the node of a link; None for a step of the operation."""
    shape: Shape | None = field(default=None, compare=False, repr=False)
    """The decoder of its reply, if all fields that the request reads of it are known beforehand."""

    @property
    def prerequisites(self) -> tuple[int, ...]:
        """The nodes that must have ended before it."""
        return self.needs + self.follows


@dataclass(frozen=True, slots=True)
class OperationCall:
    """An operation with one set of arguments; root fields that ask for the same thing share it."""

    index: int
    operation: Operation
    field: FieldNode
    arguments: str
    """The arguments as the document writes them."""
    nodes: tuple[int, ...]
    eager: int
    """How many of the nodes are not lazy."""
    first: tuple[int, ...]
    """The nodes among them that have no prerequisites."""
    pruned: tuple[str, ...]
    """Exposed steps that the document does not need."""
    not_applicable: tuple[str, ...] = ()
    """Steps of overlays that do not apply to the request, although fields of them are selected: these fields are null."""
    deadline: float = 30.0
    """Seconds from the arrival of the request until the response is sent with the results so far."""

    @property
    def shown(self) -> str:
        """The arguments with sensitive values masked."""
        return shown_arguments(self.field, self.operation.arguments, self.arguments)


@dataclass(frozen=True, slots=True)
class Root:
    """A root field of the response: ``call`` is None for ``__typename`` and introspection."""

    selected: Selected
    call: int | None


@dataclass(slots=True)
class DraftedPlan:
    """A plan under construction: its nodes, the nodes of links by identity, and the selections of the value of each node."""

    nodes: list[Node] = field(default_factory=list)
    links: dict[tuple[int, Hops, str, str], int] = field(default_factory=dict)
    values: dict[int, list[Selected]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a document: root fields in response order, operation calls, and nodes in topological order."""

    roots: tuple[Root, ...]
    calls: tuple[OperationCall, ...]
    nodes: tuple[Node, ...]
    in_degrees: tuple[int, ...]
    """How many prerequisites each node has."""
    dependents: tuple[tuple[int, ...], ...]
    """Which nodes each node is a prerequisite of."""
    links: Mapping[tuple[int, Hops, str, str], int]
    """The nodes of links, by parent node, hops, field and arguments."""
    max_calls: int
    """How many calls its links may make."""
    request_reads: tuple[tuple[str, ...], ...]
    """The paths into the request itself that nodes read, such as `headers.authorization`."""
    reads_context: bool
    """Whether any node reads values of ``context:``."""
    is_mutation: bool
    """Whether operation calls run one after the other (GraphQL spec 6.2.2), and to their end even if the client disconnects."""
    is_chain: bool
    """Whether the nodes can run one after the other in one task: each waits for the one before it, or none waits for anything."""
    is_immediate: bool
    """Whether a run never waits: no node makes an upstream call."""
    is_constant: bool
    """Whether a run with the same arguments always has the same result: no upstream calls, and nothing of the request is read."""
    is_applicable: bool
    """Whether no selected step belongs to an overlay that does not apply to the request."""

    def critical_path(self, call: OperationCall) -> float:
        """Return the seconds of the longest chain of timeouts of an operation, without fallbacks."""
        return sum(self.nodes[index].step.timeout for index in self.critical_nodes(call))

    def critical_nodes(self, call: OperationCall) -> tuple[int, ...]:
        """Return the nodes of that chain in order."""
        longest: dict[int, float] = {}
        before = self.latest_prerequisites(call)
        for index, other in before.items():
            longest[index] = (longest[other] if other is not None else 0.0) + self.nodes[index].step.timeout
        chain: list[int] = []
        current = max(longest, key=lambda index: longest[index], default=None)
        while current is not None:
            chain.append(current)
            current = before[current]
        return tuple(reversed(chain))

    def latest_prerequisites(self, call: OperationCall) -> dict[int, int | None]:
        """Return for each eager node, in order, the prerequisite that ends last if each takes its timeout; None if it has no prerequisite."""
        longest: dict[int, float] = {}
        latest: dict[int, int | None] = {}
        for index in call.nodes:
            node = self.nodes[index]
            if not node.is_lazy:
                known = [other for other in node.prerequisites if other in longest]
                last = latest[index] = max(known, key=lambda other: longest[other], default=None)
                longest[index] = (longest[last] if last is not None else 0.0) + node.step.timeout
        return latest
