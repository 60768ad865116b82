"""Plan the links of one operation call: one node for each level at which a link is selected."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import GraphQLOutputType, get_named_type, is_abstract_type

from gateway.blueprint import Blueprint, Link, Operation, Origin, Strategy
from gateway.document.selection import Selected
from gateway.language.template import renderer
from gateway.plan.nodes import DraftedPlan, Hops, LinkUse, Node, OfType, Role, written_arguments


@dataclass(frozen=True, slots=True)
class LinkPlanner:
    """Finds the links in the selection of an operation call, and adds one node for each link, level and set of arguments."""

    call: int
    operation: Operation
    blueprint: Blueprint
    drafted: DraftedPlan

    def plan(self, roots: list[Selected], position: Mapping[str, int]) -> None:
        """Add the nodes of all links below root fields; ``position`` maps the operation's steps to their nodes."""
        for root in roots:
            for selected, origin in selected_origins(self.operation.strategy, root):
                self.descend(selected, position[origin.step], (origin.key,) if origin.key else ())

    def descend(self, selected: Selected, parent: int, hops: Hops) -> None:
        """Add the nodes of links below a selected field, whose objects are ``hops`` below the value of the node ``parent``."""
        if not hops:
            self.drafted.values.setdefault(parent, []).append(selected)
        for type_name, fields in selected.parts.items():
            below = hops_into(selected.type, type_name, hops)
            for part in fields:
                link = self.blueprint.links.get((type_name, part.name))
                if link is not None:
                    arguments = written_arguments(part)
                    index = self.add(link, part, parent, self.hops_to(link, arguments, selected, hops))
                    # The projection looks the node up by concrete type; a link of an interface has one node for several types.
                    self.drafted.links[parent, below, f"{type_name}.{part.name}", arguments] = index
                    self.descend(part, index, ())
                elif part.parts:
                    self.descend(part, parent, (*below, part.name))

    def hops_to(self, link: Link, arguments: str, selected: Selected, hops: Hops) -> Hops:
        """Return the hops to all parent objects of a link at one level. With an interface or union they may have several concrete types."""
        names = tuple(
            name
            for name, fields in selected.parts.items()
            if any(
                self.blueprint.links.get((name, part.name)) is link and written_arguments(part) == arguments for part in fields
            )
        )
        return (*hops, OfType(names)) if is_abstract_type(get_named_type(selected.type)) else hops

    def add(self, link: Link, part: Selected, parent: int, hops: Hops) -> int:
        """Return the node of a link; add it if there is none yet."""
        arguments = written_arguments(part)
        identity = (parent, hops, f"{link.type}.{link.field}", arguments)
        if identity not in self.drafted.links:
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
                    use=LinkUse(link, parent, hops, part.node, arguments),
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


def hops_into(declared: GraphQLOutputType, type_name: str, hops: Hops) -> Hops:
    """Return the hops to the objects of a concrete type. A field of an interface or union type needs a filter for that."""
    return (*hops, OfType((type_name,))) if is_abstract_type(get_named_type(declared)) else hops
