"""A type and its selected fields → the Python source that completes a value which was decoded by a shape, so its types are checked already.

An object that is the response object as decoded stays unchanged: only the values of its links are assigned to it. For any other object a new
dict is built.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLOutputType, get_named_type

from gateway.answer.code_writer import CodeWriter, object_text
from gateway.answer.errors import LISTS_WEIGHED, LISTS_WITH_LINKS_WEIGHED, LONG_LIST
from gateway.answer.position import Position
from gateway.contract.shape import ObjectForm
from gateway.document.budget import PlanningBudget
from gateway.document.selection import TYPENAME, Parts, Selected
from gateway.plan.nodes import Plan


class ShapedWriter(CodeWriter):
    """Writes the completion of shaped values of one plan."""

    def __init__(self, plan: Plan, budget: PlanningBudget) -> None:
        super().__init__(budget)
        self.plan = plan
        # All shapes of a plan share one mapping of forms, so any node's will do.
        self.forms: Mapping[int, ObjectForm] = next((node.shape.forms for node in plan.nodes if node.shape), {})

    @abstractmethod
    def from_link(
        self, value: str, parent: str, selected: Selected, position: Position, index: int, *, is_shaped: bool = False
    ) -> None:
        """Write the field of a link."""

    def link_of(self, type_name: str, part: Selected, position: Position) -> int | None:
        """Return the index of the link node of a selected field of the object at a position; None if the field is not a link."""
        return self.plan.links.get((position.node, position.hops, f"{type_name}.{part.name}", part.arguments))

    def form(self, declared: GraphQLOutputType, parts: Parts) -> ObjectForm | None:
        """Return the form of the objects in a value with this selection; None if the value has no shape."""
        return self.forms.get(id(parts.get(get_named_type(declared).name)))

    def is_unchanged(self, parts: Parts, declared: GraphQLOutputType) -> bool:
        """Tell whether a decoded value is the response value. An ID is not: as a number it becomes a string."""
        form = self.form(declared, parts)
        return form.is_answer if form else get_named_type(declared).name != "ID"

    def shaped(self, value: str, declared: GraphQLOutputType, parts: Parts, position: Position) -> None:
        """Write the completion of a shaped value in place."""
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if isinstance(inner, GraphQLList | GraphQLObjectType) and inner is declared:
            with self.block(f"if {value} is not None:"):
                self.shaped(value, GraphQLNonNull(inner), parts, position)
        elif isinstance(inner, GraphQLList):
            self.shaped_items(value, inner.of_type, parts, position)
        elif isinstance(inner, GraphQLObjectType):
            self.shaped_fields(value, inner.name, parts, position)
        elif inner.name == "ID":
            with self.block(f"if type({value}) is int:"):
                self.line(f"{value} = str({value})")

    def shaped_items(self, value: str, item: GraphQLOutputType, parts: Parts, position: Position) -> None:
        """Write the completion of every item of a list."""
        with self.weighed(value, position):
            is_unchanged = self.is_unchanged(parts, item)
            if is_unchanged and not self.has_links(parts, position):
                self.line("pass")
            elif not is_unchanged:
                result = self.name()
                self.line(f"{result} = []")
                self.shaped_each(value, item, parts, position, result)
                self.line(f"{value} = {result}")
            else:
                is_filled = self.fill_links(value, parts, position)
                with self.block(f"if not {is_filled}:") if is_filled else nullcontext():
                    self.shaped_each(value, item, parts, position, None)

    @contextmanager
    def weighed(self, value: str, position: Position) -> Iterator[None]:
        """Write the checks of the size of a list around the code that completes it; a list in a list is a part of that one's size."""
        if position.is_in_list:
            yield
            return
        with self.block(f"if len({value}) > {LONG_LIST}:"):
            self.line("errors.expect_long_list()")
        yield
        minimum = LISTS_WITH_LINKS_WEIGHED if self.plan.links else LISTS_WEIGHED
        with self.block(f"if len({value}) > {minimum}:"):
            self.line(f"errors.weigh({value})")

    def shaped_each(
        self,
        value: str,
        item: GraphQLOutputType,
        parts: Parts,
        position: Position,
        result: str | None,
    ) -> None:
        """Write the loop that completes the items of a list; it appends them to the list ``result``, if given."""
        index, element = self.name("i"), self.name()
        with self.block(f"for {index}, {element} in enumerate({value}):"):
            self.shaped(element, item, parts, position.item(index))
            if result is not None:
                self.line(f"{result}.append({element})")

    def fill_links(self, value: str, parts: Parts, position: Position) -> str | None:
        """Write the fast path for a list of unchanged objects: one loop that only assigns the values of their links.

        It is used when all values that the links found are null or unchanged objects, too. Return the name of the variable that tells
        whether the fast path has completed the list; None where the selection has no fast path.
        """
        ((type_name, selection),) = parts.items()
        parent, assignments, conditions = self.name(), [], []
        for part in selection:
            index = self.link_of(type_name, part, position)
            if index is None:
                if self.has_links(part.parts, position.field(part, parts)):
                    return None
                continue
            key, form = self.direct_lookup(part, index)
            if key is None or form is None:
                return None
            table = self.hoisted(f"lookup_table(outcomes[{index}])")
            conditions.append(self.hoisted(f"has_only_type({table}, {self.constant(form.type)})"))
            assignments.append(f"{parent}.{part.name} = {table}[{parent}.{key}]")
        is_filled = self.name()
        self.line(f"{is_filled} = {' and '.join(conditions)}")
        with self.block(f"if {is_filled}:"):
            with self.block("try:"), self.block(f"for {parent} in {value}:"):
                for assignment in assignments:
                    self.line(assignment)
            # One of the objects is null, or a key is missing from the table: it may be there in another spelling, 1 and "1".
            with self.block("except (AttributeError, KeyError):"):
                self.line(f"{is_filled} = False")
        return is_filled

    def direct_lookup(self, part: Selected, index: int) -> tuple[str | None, ObjectForm | None]:
        """Return the key field of a link with a single key, and the form of the objects that it finds; None unless these are unchanged."""
        use, form = self.plan.nodes[index].use, self.form(part.type, part.parts)
        assert use is not None
        is_unchanged = form is not None and form.is_answer and isinstance(part.type, GraphQLObjectType)
        # Objects with links of their own have to be completed first.
        if not is_unchanged or self.has_links(part.parts, Position((), "", index, ())):
            return None, None
        return use.link.single, form

    def has_links(self, parts: Parts, position: Position) -> bool:
        """Tell whether a link is selected on an object at a position, or on one inside it."""
        return any(
            self.link_of(type_name, part, position) is not None or self.has_links(part.parts, position.field(part, parts))
            for type_name, selection in parts.items()
            for part in selection
        )

    def shaped_fields(self, value: str, type_name: str, parts: Parts, position: Position) -> None:
        """Write the completion of a shaped object."""
        selection = parts[type_name]
        is_answer, values = self.forms[id(selection)].is_answer, []
        for part in selection:
            if part.name == TYPENAME:
                values.append((part.key, repr(type_name)))
                continue
            name, link = self.name(), self.link_of(type_name, part, position)
            values.append((part.key, name))
            if link is not None:
                self.from_link(name, value, part, position.field(part, parts), link, is_shaped=True)
                if is_answer:
                    self.line(f"{value}.{part.name} = {name}")
            elif not is_answer or self.has_links(part.parts, position.field(part, parts)):
                self.line(f"{name} = {value}.{part.name}")
                self.shaped(name, part.type, part.parts, position.field(part, parts))
        self.line("pass" if is_answer else f"{value} = {object_text(values)}")
