"""A plan → what the upstream calls cost that it may make: one for each step, and below lists as many as links ask for.

How long a list is, only its source knows. It is taken to have as many items as the configuration says: a number, or an argument that sets it.
Attempts and fallbacks are left aside: they come on top when something fails, and have budgets of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphql import GraphQLNamedType, get_named_type

from gateway.blueprint import Step
from gateway.document.coercion import Arguments
from gateway.plan.nodes import Hops, Node, OfType, Plan

MOST = 10**15
"""No cost is told to be more: sizes that multiply grow without end."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a node adds, given how many values its parents have: a call for each ``batch`` of them, and ``lists`` lists in each value."""

    parent: int | None
    around: int
    """How many objects stand in each value of the parent, in lists within it."""
    batch: int
    weight: int
    lists: int
    items: int
    """How many items the outermost list of a value has, if no argument says so."""
    argument: tuple[int, int | None, str] | None
    """The argument that says so: that of an operation call, or of the link that is a node."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan costs; ``fixed`` where no argument has a say in it."""

    parts: tuple[_Part, ...]
    list_size: int
    fixed: int | None = None

    def of(self, arguments: Arguments) -> int:
        """Return the cost of the plan with certain arguments."""
        return self._sum(arguments) if self.fixed is None else self.fixed

    def _sum(self, arguments: Arguments) -> int:
        total = 0
        values: list[int] = []
        for part in self.parts:
            parents = values[part.parent] * part.around if part.parent is not None else 1
            total += -(-parents // part.batch) * part.weight
            values.append(min(MOST, parents * self._items(part, arguments)))
        return min(MOST, total)

    def _items(self, part: _Part, arguments: Arguments) -> int:
        if part.lists == 0:
            return 1
        items = part.items
        if part.argument is not None:
            call, node, name = part.argument
            given = (arguments.calls[call] if node is None else arguments.links.get(node, {})).get(name)
            items = max(0, given) if isinstance(given, int) else items
        return items * int(self.list_size ** (part.lists - 1))


def cost_of(plan: Plan, types: Mapping[str, GraphQLNamedType], list_size: int) -> Cost:
    """Return the cost of a plan; ``list_size`` is how many items a list has of which nothing else is known."""
    cost = Cost(tuple(_part(node, plan, types, list_size) for node in plan.nodes), list_size)
    return cost if any(part.argument for part in cost.parts) else replace(cost, fixed=cost.of(Arguments([])))


def _part(node: Node, plan: Plan, types: Mapping[str, GraphQLNamedType], list_size: int) -> _Part:
    keys, returns = node.step.keys, node.use.link.returns if node.use else node.step.returns
    size = keys.list_size
    return _Part(
        parent=node.use.parent if node.use else None,
        around=int(list_size ** _lists_along(plan.nodes[node.use.parent], node.use.hops, types)) if node.use else 1,
        batch=node.use.link.max if node.use and node.use.link.match else 1,
        weight=0 if node.is_lazy else weight(node.step),
        lists=returns.count("["),
        items=size if isinstance(size, int) else list_size,
        argument=(node.call, node.index if node.use else None, size) if isinstance(size, str) else None,
    )


def weight(step: Step) -> int:
    """Return what a call of a step costs: nothing, if it asks nobody and does not say otherwise."""
    return step.keys.cost if step.keys.cost is not None else int(step.calls_out)


def _lists_along(parent: Node, hops: Hops, types: Mapping[str, GraphQLNamedType]) -> int:
    """Count the lists on the way from the objects of a node's value down to the parents of a link."""
    returns = parent.use.link.returns if parent.use else parent.step.returns
    names: tuple[str, ...] = (returns.strip("[]!"),)
    lists = 0
    for hop in hops:
        if isinstance(hop, OfType):
            names = hop.names
            continue
        fields = (getattr(types.get(name), "fields", {}).get(hop) for name in names)
        found = next((field for field in fields if field is not None), None)
        if found is None:
            return lists
        lists += str(found.type).count("[")
        names = (get_named_type(found.type).name,)
    return lists
