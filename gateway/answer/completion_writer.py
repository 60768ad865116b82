"""A type and what is selected of it → the Python source that completes a value of it (GraphQL spec 6.4.3, Value Completion).

One straight line per selected field: a type check inline, and a call only when the check fails. A path is written out where an error needs
it and costs nothing otherwise. A null in a non-null place raises :class:`Null` up to the nearest place that may be null, where
``try`` costs nothing until it is needed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from graphql import (
    GraphQLEnumType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
)

from gateway.answer.code_writer import object_text
from gateway.answer.position import Position
from gateway.answer.shaped_writer import ShapedWriter
from gateway.document.selection import TYPENAME, Selected
from gateway.language.scalars import SCALARS, is_known, passes_anything
from gateway.plan.links import hops_into
from gateway.plan.nodes import Plan

Identity = tuple[str, tuple[int, ...], str, object]
MAX_INDENT = 60
"""The parser takes 100 levels of indentation."""
MAX_BLOCKS = 14
"""CPython nests 20 loops and try statements at the most; deeper selections go on in a function of their own."""
NOTHING_REPORTED: frozenset[str] = frozenset()
_INLINE_CHECKS = {
    "String": "type({x}) is not str",
    "ID": "type({x}) is not str",
    "Boolean": "type({x}) is not bool",
    "Int": "(type({x}) is not int or not -2147483648 <= {x} <= 2147483647)",
    "Float": "(type({x}) is not float or {x} - {x} != 0.0)",  # infinities and NaN are no numbers of JSON
}
_INLINE_COERCIONS = {
    "ID": "str({x}) if type({x}) is int",  # most REST services number their resources
    "Float": "float({x}) if type({x}) is int and -9007199254740992 <= {x} <= 9007199254740992",
}
"""Coercions of values that are so frequent that they are worth a look before the call."""


class CompletionWriter(ShapedWriter):
    """Writes the completion of values of one plan. Names that begin with ``k`` are constants, ``v`` values, ``i`` list indexes."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.written: dict[Identity, str | None] = {}

    def complete(
        self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], position: Position
    ) -> None:
        """Write the completion of ``value`` in place: afterwards it is of its type, or None where that may be, or Null was raised."""
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            self.leaf(value, inner, position, is_strict=inner is not declared)
            return
        identity = self.identity(declared, parts, position)
        if self.blocks >= MAX_BLOCKS or self.indent >= MAX_INDENT or identity in self.written:
            self.apart(value, declared, parts, position)
            return
        self.written.setdefault(identity, None)
        self.complete_compound(value, declared, parts, position)

    def complete_compound(
        self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], position: Position
    ) -> None:
        """Write the completion of a list or object."""
        is_strict = isinstance(declared, GraphQLNonNull)
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if is_strict:
            with self.block(f"if {value} is None:"):
                self.line(mismatch_line(position, declared))
                self.line("raise Null")
            self.compound(value, inner, parts, position, on_mismatch="raise Null")
            return
        with self.block(f"if {value} is not None:"), self.nullable(value, _may_raise(inner, parts)):
            self.compound(value, inner, parts, position, on_mismatch=f"{value} = None")

    @contextmanager
    def nullable(self, value: str, may_raise: bool) -> Iterator[None]:
        """Wrap what is written in a place that may be null: a Null from below ends here."""
        if not may_raise:
            yield
            return
        with self.block("try:"):
            yield
        with self.block("except Null:"):
            self.line(f"{value} = None")

    def leaf(self, value: str, declared: GraphQLScalarType | GraphQLEnumType, position: Position, *, is_strict: bool) -> None:
        """Write the check of a scalar or enum; the call to coerce it is only for values that are not right as they are."""
        if isinstance(declared, GraphQLScalarType) and declared.name not in _INLINE_CHECKS and passes_anything(declared):
            self.anything(value, declared, position, is_strict=is_strict)
            return
        if isinstance(declared, GraphQLEnumType):
            names = self.constant(_enum_names(declared))
            wrong = f"(type({value}) is not str or {value} not in {names})"
        elif declared.name in SCALARS and is_known(declared):
            certain = self.constant(SCALARS[declared.name].certain.fullmatch)
            wrong = f"(type({value}) is not str or not {certain}({value}))"
        else:
            wrong = _INLINE_CHECKS.get(declared.name, "").format(x=value)
        conditions = [text for text in (wrong, "" if is_strict else f"{value} is not None") if text]
        coerce = self.constant(_coercer(declared))
        expected = f"{declared.name}!" if is_strict else declared.name
        call = f"leaf({coerce}, {value}, errors, {position.path_text}, {position.step!r}, {expected!r})"
        usual = _INLINE_COERCIONS.get(declared.name, "").format(x=value)
        with self.block(f"if {' and '.join(conditions) or 'True'}:"):
            self.line(f"{value} = {usual} else {call}" if usual else f"{value} = {call}")
            if is_strict:
                with self.block(f"if {value} is None:"):
                    self.line("raise Null")

    def anything(self, value: str, declared: GraphQLScalarType | GraphQLEnumType, position: Position, *, is_strict: bool) -> None:
        """Write a value of the JSON scalar, or of one of which nothing is known: it is right as it is."""
        with self.block(f"if type({value}) is Failure{f' or {value} is None' if is_strict else ''}:"):
            self.line(f"unfit({value}, errors, {position.path_text}, {position.step!r}, {declared.name!r})")
            self.line("raise Null" if is_strict else f"{value} = None")

    def compound(
        self,
        value: str,
        inner: GraphQLOutputType,
        parts: Mapping[str, tuple[Selected, ...]],
        position: Position,
        *,
        on_mismatch: str,
    ) -> None:
        """Write a list or an object, given that it is not null."""
        expected, head = "list" if isinstance(inner, GraphQLList) else "dict", "if"
        form = self.form(inner, parts)
        if form is not None:
            head = "elif"
            with self.block(f"if type({value}) is {'tuple' if expected == 'list' else self.constant(form.type)}:"):
                self.shaped(value, GraphQLNonNull(inner), parts, position)  # type: ignore[arg-type]
        with self.block(f"{head} type({value}) is not {expected}:"):
            self.line(f"unfit({value}, errors, {position.path_text}, {position.step!r}, {str(inner)!r})")
            self.line(on_mismatch)
        if isinstance(inner, GraphQLList):
            with self.block("else:"):
                self.items(value, inner.of_type, parts, position)
        elif isinstance(inner, GraphQLObjectType):
            with self.block("else:"):
                self.fields(value, inner.name, parts[inner.name], position)
        else:
            self.possible_types(value, inner, parts, position, on_mismatch=on_mismatch)

    def items(self, value: str, item: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], position: Position) -> None:
        """Write the completion of every item of a list."""
        result, index, element = self.name(), self.name("i"), self.name()
        self.line(f"{result} = []")
        with self.block(f"for {index}, {element} in enumerate({value}):"):
            self.complete(element, item, parts, position.item(index))
            self.line(f"{result}.append({element})")
        self.line(f"{value} = {result}")

    def fields(self, value: str, type_name: str, selection: tuple[Selected, ...], position: Position) -> None:
        """Write an object of one concrete type; ``position.hops`` lead to it."""
        values = []
        for part in selection:
            if part.name == TYPENAME:
                values.append((part.key, repr(type_name)))
                continue
            name = self.name()
            values.append((part.key, name))
            link = self.link_of(type_name, part, position)
            if link is not None:
                self.from_link(name, value, part, position.field(part), link)
            else:
                self.line(f"{name} = {value}.get({part.name!r})")
                self.complete(name, part.type, part.parts, position.field(part))
        self.line(f"{value} = {object_text(values)}")

    def possible_types(
        self,
        value: str,
        inner: GraphQLOutputType,
        parts: Mapping[str, tuple[Selected, ...]],
        position: Position,
        *,
        on_mismatch: str,
    ) -> None:
        """Write one branch for each concrete type of an interface or union; a value tells its own by ``__typename``."""
        tag = self.name()
        with self.block("else:"):
            self.line(f"{tag} = {value}.get('__typename')")
            head = "if"
            for type_name, selection in parts.items():
                with self.block(f"{head} {tag} == {type_name!r}:"):
                    hops = hops_into(inner, type_name, position.hops)
                    self.fields(value, type_name, selection, replace(position, hops=hops))
                head = "elif"
            with self.block("else:" if parts else "if True:"):
                self.line(mismatch_line(position, inner))
                self.line(on_mismatch)

    def apart(
        self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], position: Position
    ) -> None:
        """Write a deep value as a function of its own, which gets its path."""
        identity = self.identity(declared, parts, position)
        function = self.written.get(identity)
        if function is None:
            function = self.written[identity] = self.name("complete")
            self.write_apart(function, declared, parts, position)
        self.line(f"{value} = {function}({value}, {position.path_text}, errors, outcomes)")

    def identity(self, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], position: Position) -> Identity:
        """Return what the code of a completion depends on: fragments repeat selections, which are written out once and then called.

        Where there are links it depends on the place in the plan, too.
        """
        place = (position.node, position.hops) if self.plan.links else None
        return str(declared), tuple(id(selection) for selection in parts.values()), position.step, place

    def write_apart(
        self, function: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], position: Position
    ) -> None:
        """Write the function of a deep value."""
        argument = self.name()
        with self.function(f"def {function}({argument}, path, errors, outcomes):"):
            self.complete_compound(argument, declared, parts, replace(position, path=("*path",)))
            self.line(f"return {argument}")

    # -- links, and what is not there

    def from_link(
        self, value: str, parent: str, selected: Selected, position: Position, index: int, *, is_shaped: bool = False
    ) -> None:
        """Write the field of a link: what its node found for this parent, or why it found nothing.

        Parents with an equal key have an equal value: it is completed once, unless that makes errors, which each parent has of its own.
        """
        use = self.plan.nodes[index].use
        assert use is not None
        position = replace(position, step=f"{use.link.type}.{use.link.field}", node=index, hops=())
        link, name = self.constant(use.link), use.link.single
        if name is None:
            self.line(f"{value} = found(outcomes[{index}], {parent}, {link})")
            self.from_found(value, selected, position)
            return
        table = self.hoisted(f"table_of(outcomes[{index}])")
        memory, key, before = self.hoisted(f"memory_for({table})", is_own=True), self.name(), self.name()
        self.line(f"{key} = {parent}.{name}" if is_shaped else f"{key} = {parent}.get({name!r})")
        self.line(f"{value} = {memory}.get({key}, MISSING)")
        with self.block(f"if {value} is MISSING:"):
            self.line(f"{before} = len(errors)")
            self.line(f"{value} = {table}.get({key}, MISSING)")
            with self.block(f"if {value} is MISSING:"):
                asking = object_text([(name, key)]) if is_shaped else parent
                self.line(f"{value} = found(outcomes[{index}], {asking}, {link})")
            self.from_found(value, selected, position)
            with self.block(f"if len(errors) == {before}:"):
                self.line(f"{memory}[{key}] = {value}")

    def from_found(self, value: str, selected: Selected, position: Position) -> None:
        """Write what becomes of what a link found."""
        with self.block(f"if type({value}) is Failure or type({value}) is Skipped:"):
            self.nothing(value, selected, position, self.constant(NOTHING_REPORTED))
        with self.block("else:"):
            self.complete(value, selected.type, selected.parts, position)

    def nothing(self, value: str, selected: Selected, position: Position, reported: str) -> None:
        """Write the place of a value that a node does not have: ``value`` is its outcome."""
        if not is_non_null(selected.type):
            self.line(f"absent({value}, errors, {position.path_text}, {reported})")
            self.line(f"{value} = None")
            return
        with self.block(f"if not absent({value}, errors, {position.path_text}, {reported}):"):
            self.line(mismatch_line(position, selected.type))
        self.line("raise Null")


def mismatch_line(position: Position, expected: GraphQLOutputType) -> str:
    """Return the line that records a value of the wrong type."""
    return f"mismatch(errors, {position.path_text}, {position.step!r}, {str(expected)!r})"


def is_non_null(declared: GraphQLOutputType) -> bool:
    """Tell whether a type allows no null."""
    return isinstance(declared, GraphQLNonNull)


def _may_raise(inner: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]]) -> bool:
    """Tell whether the completion of a list or object can raise Null on behalf of what is in it."""
    if isinstance(inner, GraphQLList):
        return is_non_null(inner.of_type)
    return any(is_non_null(part.type) and part.name != TYPENAME for selection in parts.values() for part in selection)


def _enum_names(declared: GraphQLEnumType) -> frozenset[str]:
    return frozenset(name for name, value in declared.values.items() if value.value == name)


def _coercer(declared: GraphQLLeafType) -> Callable[[object], object]:
    return declared.coerce_output_value
