"""What one document needs, as a value: nodes, their prerequisites, and the fields of the answer. It can be printed and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from graphql import FieldNode, print_ast

from gateway.blueprint import Link, Operation, Step
from gateway.contract.shape import Shape
from gateway.document.redaction import shown_arguments
from gateway.document.selection import Selected
from gateway.language.template import Renderer


class Role(StrEnum):
    """What the failure of a node means (paper 7.2)."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    LINK = "link"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class OfType:
    """A hop of a path that keeps only the objects of some concrete types."""

    names: tuple[str, ...]


Hops = tuple[str | OfType, ...]
"""From a value down to objects in it: keys, through lists of any depth, and types."""


@dataclass(frozen=True, slots=True)
class LinkUse:
    """A link at one level of the plan: ``hops`` lead from the value of the node ``parent`` to the parent objects."""

    link: Link
    parent: int
    hops: Hops
    field: FieldNode
    arguments: str
    """The arguments as the document writes them."""

    @property
    def shown(self) -> str:
        """The arguments as they may be shown."""
        return shown_arguments(self.field, self.link.arguments, self.arguments)


@dataclass(frozen=True, slots=True)
class Node:
    """A step with one set of arguments.

    ``needs`` and ``follows`` are the nodes whose values it reads, and those that must only have ended. ``substitutes`` are the
    nodes of its fallback steps, by name. ``is_lazy`` when it runs only if another node's fallback, or what that needs, asks for it.
    """

    index: int
    call: int
    step: Step
    render: Renderer = field(compare=False, repr=False)
    """From the names of one request to the inputs of its call."""
    role: Role
    needs: tuple[int, ...]
    follows: tuple[int, ...]
    substitutes: Mapping[str, int]
    is_lazy: bool
    is_shared: bool
    """Whether another node may make the very same call, so that one can do for both."""
    deadline: float
    """Seconds from the arrival of the request: the latest deadline of the operations that share it."""
    selection: str = ""
    """What is selected of its value, as GraphQL text, for a step that takes it."""
    use: LinkUse | None = None
    """Which link this is, and of what; None for a step of the operation."""
    shape: Shape | None = field(default=None, compare=False, repr=False)
    """How the text of its reply is read, where all that is wanted of it is known."""

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
    """How many of the nodes run in any case, and not only when a fallback asks for them."""
    first: tuple[int, ...]
    """Those of them that wait for no other."""
    pruned: tuple[str, ...]
    """Exposed steps that are not run."""
    not_applicable: tuple[str, ...] = ()
    """Steps of overlays that do not hold for the request: what is selected of them is null."""
    deadline: float = 30.0
    """Seconds from the arrival of the request until the answer goes out with what is there."""

    @property
    def shown(self) -> str:
        """The arguments as they may be shown."""
        return shown_arguments(self.field, self.operation.arguments, self.arguments)


@dataclass(frozen=True, slots=True)
class Root:
    """A root field of the answer: ``call`` is None for ``__typename`` and introspection."""

    selected: Selected
    call: int | None


@dataclass(slots=True)
class DraftedPlan:
    """The nodes of a plan while it is made, those of links by what they are, and what is selected of the value of each node."""

    nodes: list[Node] = field(default_factory=list)
    links: dict[tuple[int, Hops, str, str], int] = field(default_factory=dict)
    values: dict[int, list[Selected]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a document needs: root fields in response order, operation calls, and nodes (dependencies before dependents)."""

    roots: tuple[Root, ...]
    calls: tuple[OperationCall, ...]
    nodes: tuple[Node, ...]
    waiting: tuple[int, ...]
    """How many prerequisites each node has (its in-degree)."""
    dependents: tuple[tuple[int, ...], ...]
    """Which nodes each node is a prerequisite of."""
    links: Mapping[tuple[int, Hops, str, str], int]
    """The nodes of links, by parent node, hops, field and arguments."""
    request_reads: tuple[tuple[str, ...], ...]
    """The paths into the request itself that nodes read: `headers.authorization`."""
    reads_context: bool
    """Whether any node looks at what the request says about itself."""
    is_mutation: bool
    """Whether operation calls run one after the other, and to their end although the client has left (GraphQL spec 6.2.2)."""
    is_chain: bool
    """Whether its nodes are performed one after the other as they stand: each waits for the one before it, or none of them waits at all."""
    is_immediate: bool
    """Whether a run of it never waits: no node asks anybody."""
    is_constant: bool
    """Whether a run of it with the same arguments always comes to the same: it asks nobody, and reads nothing of the request."""
    is_applicable: bool
    """Whether every step that is asked for is one of the request's: not of an overlay that does not hold for it."""

    def critical_path(self, call: OperationCall) -> float:
        """Return the seconds of the longest chain of timeouts of an operation, fallbacks left aside."""
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
        """Return for each eager node, in order, the prerequisite that ends last when each takes its timeout; None where it has none."""
        longest: dict[int, float] = {}
        latest: dict[int, int | None] = {}
        for index in call.nodes:
            node = self.nodes[index]
            if not node.is_lazy:
                known = [other for other in node.prerequisites if other in longest]
                last = latest[index] = max(known, key=lambda other: longest[other], default=None)
                longest[index] = (longest[last] if last is not None else 0.0) + node.step.timeout
        return latest


def written_arguments(selected: Selected) -> str:
    """Write the arguments of a field in one order, so that equal calls are known by equal texts."""
    written = sorted(f"{argument.name.value}: {print_ast(argument.value)}" for argument in selected.node.arguments or ())
    return ", ".join(written)
