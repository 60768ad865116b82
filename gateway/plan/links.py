"""Plan the links of one operation call: one node for each level at which a link is selected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gateway.blueprint import Blueprint, Link, Operation, Origin, Strategy
from gateway.document.budget import PlanningBudget
from gateway.document.selection import Parts, Selected
from gateway.language.template import renderer
from gateway.plan.nodes import DraftedPlan, Hops, LinkUse, Node, OfType, Role, hops_below

UNITS_PER_NODE = 5


@dataclass(frozen=True, slots=True)
class LinkPlanner:
    """Finds the links in the selection of an operation call, and adds one node for each link, level and set of arguments."""

    call: int
    operation: Operation
    blueprint: Blueprint
    drafted: DraftedPlan
    budget: PlanningBudget
    descended: set[tuple[int, int, Hops]] = field(default_factory=set)
    """The selections that were looked through, by the ``id`` of their parts, each with its node and hops."""

    def plan(self, roots: list[Selected], position: Mapping[str, int]) -> None:
        """Add the nodes of all links below root fields; ``position`` maps the operation's steps to their nodes."""
        for root in roots:
            for selected, origin in selected_origins(self.operation.strategy, root):
                self.descend(selected, position[origin.step], (origin.key,) if origin.key else ())

    def descend(self, selected: Selected, parent: int, hops: Hops) -> None:
        """Add the nodes of links below a selected field, whose objects are ``hops`` below the value of the node ``parent``."""
        if not hops:
            self.drafted.values.setdefault(parent, []).append(selected)
        parts, place = selected.parts, (id(selected.parts), parent, hops)
        if place in self.descended or not self.blueprint.links:
            return
        self.descended.add(place)
        used = self.used_links(parts)
        for type_name, fields in parts.items():
            self.budget.spend(len(fields))
            for part in fields:
                link = self.blueprint.links.get((type_name, part.name))
                if link is not None:
                    names = used[link.type, link.field, part.arguments]
                    index = self.add(link, part, parent, (*hops, OfType(names)) if parts.is_abstract else hops)
                    # The projection looks the node up by concrete type; a link of an interface has one node for several types.
                    self.drafted.links[parent, hops, f"{type_name}.{part.name}", part.arguments] = index
                    self.descend(part, index, ())
                elif part.parts and type_name == parts.types_with(part)[0]:  # once for all types that select the same
                    self.descend(part, parent, hops_below(parts, part, hops))

    def used_links(self, parts: Parts) -> Mapping[tuple[str, str, str], tuple[str, ...]]:
        """Return the concrete types of a selection that have each link, by its type, field and arguments."""
        used: dict[tuple[str, str, str], dict[str, None]] = {}
        for type_name, fields in parts.items():
            for part in fields:
                link = self.blueprint.links.get((type_name, part.name))
                if link is not None:
                    used.setdefault((link.type, link.field, part.arguments), {})[type_name] = None
        return {identity: tuple(names) for identity, names in used.items()}

    def add(self, link: Link, part: Selected, parent: int, hops: Hops) -> int:
        """Return the node of a link; add it if there is none yet."""
        identity = (parent, hops, f"{link.type}.{link.field}", part.arguments)
        if identity not in self.drafted.links:
            self.budget.spend(UNITS_PER_NODE)
            index = self.drafted.links[identity] = len(self.drafted.nodes)
            self.drafted.nodes.append(
                Node(
                    index=index,
                    call=self.call,
                    step=link.step,
                    render=renderer(link.step.inputs),
                    role=Role.LINK,
                    needs=(parent,),
                    follows=(),
                    substitutes={},
                    is_lazy=False,
                    is_shared=False,
                    deadline=self.blueprint.deadline_of(self.operation),
                    use=LinkUse(link, parent, hops, part.node, part.arguments),
                )
            )
        return self.drafted.links[identity]


def selected_origins(strategy: Strategy, root: Selected) -> Iterator[tuple[Selected, Origin]]:
    """Yield the selected parts of an operation's value, each with its origin: the step and key that it comes from.

    If the whole value is that of one step, the step is needed whatever is selected of it: only its value tells whether the field is null.
    """
    if strategy.whole is not None:
        yield root, strategy.whole
        return
    (fields,) = root.parts.values()
    yield from ((part, strategy.origins[part.name]) for part in fields if part.name in strategy.origins)
