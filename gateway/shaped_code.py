"""A type and what is selected of it → the Python source that completes a value which was read by a shape: nothing is left to be checked.

An object that is the answer as it is stays as it is: only what its links lead to is put into it. Of any other one an object is made.
"""

from abc import abstractmethod
from collections.abc import Mapping

from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLOutputType, get_named_type

from gateway.code_writer import CodeWriter, object_text
from gateway.plan import Plan, written_arguments
from gateway.selection import TYPENAME, Selected
from gateway.shape import Form
from gateway.spot import Spot


class ShapedWriter(CodeWriter):
    """Writes the completion of shaped values of one plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.forms: Mapping[int, Form] = next((node.shape.forms for node in plan.nodes if node.shape), {})

    @abstractmethod
    def from_link(self, value: str, parent: str, selected: Selected, spot: Spot, index: int, *, is_shaped: bool = False) -> None:
        """Write the field of a link."""

    def link_of(self, type_name: str, part: Selected, spot: Spot) -> int | None:
        """Return the node of a selected field of the object that stands at a spot, if it is a link."""
        return self.plan.links.get((spot.node, spot.hops, f"{type_name}.{part.name}", written_arguments(part)))

    def form(self, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]]) -> Form | None:
        """Return the form of the objects in a value of which this is selected."""
        return self.forms.get(id(parts.get(get_named_type(declared).name)))

    def keeps(self, parts: Mapping[str, tuple[Selected, ...]], declared: GraphQLOutputType) -> bool:
        """Tell whether a value of a type is answered as it is."""
        form = self.form(declared, parts)
        return form.is_answer if form else get_named_type(declared).name != "ID"

    def shaped(self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> None:
        """Write the completion of a value in place."""
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if isinstance(inner, GraphQLList | GraphQLObjectType) and inner is declared:
            with self.block(f"if {value} is not None:"):
                self.shaped(value, GraphQLNonNull(inner), parts, spot)
        elif isinstance(inner, GraphQLList):
            self.shaped_items(value, inner.of_type, parts, spot)
        elif isinstance(inner, GraphQLObjectType):
            self.shaped_fields(value, inner.name, parts[inner.name], spot)
        elif inner.name == "ID":
            with self.block(f"if type({value}) is int:"):
                self.line(f"{value} = str({value})")

    def shaped_items(self, value: str, item: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> None:
        """Write the completion of every item of a list."""
        keeps = self.keeps(parts, item)
        if keeps and not self.has_links(parts, spot):
            self.line("pass")
            return
        result, index, element = self.name(), self.name("i"), self.name()
        if not keeps:
            self.line(f"{result} = []")
        with self.block(f"for {index}, {element} in enumerate({value}):"):
            self.shaped(element, item, parts, spot.item(index))
            if not keeps:
                self.line(f"{result}.append({element})")
        if not keeps:
            self.line(f"{value} = {result}")

    def has_links(self, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> bool:
        """Tell whether a link is selected of an object at a spot, or of one below."""
        return any(
            self.link_of(type_name, part, spot) is not None or self.has_links(part.parts, spot.field(part))
            for type_name, selection in parts.items()
            for part in selection
        )

    def shaped_fields(self, value: str, type_name: str, selection: tuple[Selected, ...], spot: Spot) -> None:
        """Write an object."""
        is_answer, values = self.forms[id(selection)].is_answer, []
        for part in selection:
            if part.name == TYPENAME:
                values.append((part.key, repr(type_name)))
                continue
            name, link = self.name(), self.link_of(type_name, part, spot)
            values.append((part.key, name))
            if link is not None:
                self.from_link(name, value, part, spot.field(part), link, is_shaped=True)
                if is_answer:
                    self.line(f"{value}.{part.name} = {name}")
            elif not is_answer or self.has_links(part.parts, spot.field(part)):
                self.line(f"{name} = {value}.{part.name}")
                self.shaped(name, part.type, part.parts, spot.field(part))
        self.line("pass" if is_answer else f"{value} = {object_text(values)}")
