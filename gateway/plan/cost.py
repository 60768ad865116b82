"""Estimate the cost of a plan before it runs: the upstream calls that it may make, one for each step, and for links below lists one per batch.

The length of a list is not known before its source has answered. It is estimated by the configuration's ``list_size``: a number, or the
argument of the field that sets it. Retries and fallbacks are left out: they happen only when something fails, and retries have a budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphql import GraphQLNamedType, get_named_type

from gateway.blueprint import Step
from gateway.document.coercion import Arguments
from gateway.plan.nodes import Hops, Node, OfType, Plan

MAX_COST = 10**15
"""The limit of a cost and of the sizes in it. Sizes multiply with each level, so that their product would become a huge integer."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one node adds to the cost, as a function of the number of its parent objects."""

    parent: int | None
    """The node that has the parent objects; None for a step, which makes one call."""
    parents_per_value: int
    """How many parent objects each value of that node has, in lists inside it."""
    batch: int
    """How many parent objects one call is for."""
    weight: int
    """The cost of one call."""
    lists: int
    """How many lists are nested in the type of the node's value."""
    items: int
    """How many items the outermost of these lists has, unless an argument sets that."""
    argument: tuple[int, int | None, str] | None
    """The argument that sets it: operation call, node if it is a link's argument, and name."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a plan. ``fixed`` is the cost if it does not depend on arguments, and so needs to be computed only once."""

    parts: tuple[_Part, ...]
    list_size: int
    fixed: int | None = None

    def of(self, arguments: Arguments) -> int:
        """Return the cost of the plan with the arguments of a request."""
        return self._sum(arguments) if self.fixed is None else self.fixed

    def _sum(self, arguments: Arguments) -> int:
        total = 0
        values: list[int] = []
        for part in self.parts:
            parents = values[part.parent] * part.parents_per_value if part.parent is not None else 1
            total += -(-parents // part.batch) * part.weight  # rounded up: the last batch may be smaller
            values.append(min(MAX_COST, parents * self._items(part, arguments)))
        return min(MAX_COST, total)

    def _items(self, part: _Part, arguments: Arguments) -> int:
        if part.lists == 0:
            return 1
        items = part.items
        if part.argument is not None:
            call, node, name = part.argument
            value = (arguments.calls[call] if node is None else arguments.links.get(node, {})).get(name)
            # A negative length must not lower the cost of the rest of the plan.
            items = max(0, value) if isinstance(value, int) else items
        return items * int(self.list_size ** (part.lists - 1))


def cost_of(plan: Plan, types: Mapping[str, GraphQLNamedType], list_size: int) -> Cost:
    """Return the cost of a plan; ``list_size`` is the estimated length of lists for which the configuration has no other."""
    cost = Cost(tuple(_part(node, plan, types, list_size) for node in plan.nodes), list_size)
    return cost if any(part.argument for part in cost.parts) else replace(cost, fixed=cost.of(Arguments([])))


def _part(node: Node, plan: Plan, types: Mapping[str, GraphQLNamedType], list_size: int) -> _Part:
    keys, returns = node.step.keys, node.use.link.returns if node.use else node.step.returns
    size = keys.list_size
    return _Part(
        parent=node.use.parent if node.use else None,
        parents_per_value=int(list_size ** _lists_along(plan.nodes[node.use.parent], node.use.hops, types)) if node.use else 1,
        batch=node.use.link.max if node.use and node.use.link.match else 1,
        weight=0 if node.is_lazy else weight(node.step),
        lists=returns.count("["),
        items=size if isinstance(size, int) else list_size,
        argument=(node.call, node.index if node.use else None, size) if isinstance(size, str) else None,
    )


def weight(step: Step) -> int:
    """Return the cost of one call of a step: its ``cost`` if configured, otherwise 1, or 0 if it makes no upstream call."""
    return step.keys.cost if step.keys.cost is not None else int(step.calls_out)


def _lists_along(parent: Node, hops: Hops, types: Mapping[str, GraphQLNamedType]) -> int:
    """Count the lists on the path from the objects of a node's value down to the parent objects of a link."""
    returns = parent.use.link.returns if parent.use else parent.step.returns
    names: tuple[str, ...] = (returns.strip("[]!"),)
    lists = 0
    for hop in hops:
        if isinstance(hop, OfType):
            names = hop.names
            continue
        fields = (getattr(types.get(name), "fields", {}).get(hop) for name in names)
        declared = next((field for field in fields if field is not None), None)
        if declared is None:
            return lists
        lists += str(declared.type).count("[")
        names = (get_named_type(declared.type).name,)
    return lists
