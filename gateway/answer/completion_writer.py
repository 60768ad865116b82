"""A type and its selected fields → the Python source that completes a value of it (GraphQL spec 6.4.3, Value Completion).

The source has no loop over fields: each has an inline type check, and a function call only for values that fail it. A path is an expression
inside the code that records an error, so it costs nothing otherwise. A null in a non-null position raises :class:`Null`, which the nearest
nullable position above catches; in CPython a ``try`` costs nothing until an exception is raised.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

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
from gateway.document.budget import PlanningBudget
from gateway.document.selection import TYPENAME, Parts, Selected
from gateway.language.scalars import SCALARS, accepts_any_value, is_known
from gateway.plan.nodes import Plan

Identity = tuple[str, int, str, object, bool]
MAX_INDENT = 60
"""CPython's parser accepts 100 levels of indentation; deeper selections continue in a function of their own."""
MAX_BLOCKS = 14
"""CPython nests at most 20 loops and try statements; deeper selections continue in a function of their own."""
MAX_LINES = 300
"""A function is compiled in one go, which takes about 5 ms for so many lines; further selections have functions of their own."""
NOTHING_REPORTED: frozenset[str] = frozenset()
_INLINE_CHECKS = {
    "String": "type({x}) is not str",
    "ID": "type({x}) is not str",
    "Boolean": "type({x}) is not bool",
    "Int": "(type({x}) is not int or not -2147483648 <= {x} <= 2147483647)",
    "Float": "(type({x}) is not float or {x} - {x} != 0.0)",  # JSON has no infinity and no NaN
}
_INLINE_COERCIONS = {
    "ID": "str({x}) if type({x}) is int",  # most REST services number their resources
    "Float": "float({x}) if type({x}) is int and -9007199254740992 <= {x} <= 9007199254740992",
}
"""Coercions that are so frequent that they are tried inline before the call."""


class CompletionWriter(ShapedWriter):
    """Writes the completion of values of one plan. Prefixes of names: ``k`` constants, ``v`` values, ``i`` list indexes, ``h`` hoisted."""

    def __init__(self, plan: Plan, budget: PlanningBudget) -> None:
        super().__init__(plan, budget)
        self.written: dict[Identity, str | None] = {}
        """The completions so far: the name of the function, None where it is inline only."""
        self.derived: dict[tuple[str, object], str] = {}
        """The names of constants that are derived from leaf types."""

    def complete(self, value: str, declared: GraphQLOutputType, parts: Parts, position: Position) -> None:
        """Write the completion of ``value`` in place: after it, the value has its type, or is None where that is allowed, or Null is raised."""
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            self.leaf(value, inner, position, is_strict=inner is not declared)
            return
        identity = self.identity(declared, parts, position)
        if identity in self.written or self.blocks >= MAX_BLOCKS or self.indent >= MAX_INDENT or len(self.lines) >= MAX_LINES:
            self.call_function(value, declared, parts, position)
            return
        self.written.setdefault(identity, None)
        self.complete_compound(value, declared, parts, position)

    def complete_compound(self, value: str, declared: GraphQLOutputType, parts: Parts, position: Position) -> None:
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
        """Wrap the code of a nullable position: it catches a Null from below."""
        if not may_raise:
            yield
            return
        with self.block("try:"):
            yield
        with self.block("except Null:"):
            self.line(f"{value} = None")

    def leaf(self, value: str, declared: GraphQLScalarType | GraphQLEnumType, position: Position, *, is_strict: bool) -> None:
        """Write the check of a scalar or enum; only values that fail it are coerced by a call."""
        if isinstance(declared, GraphQLScalarType) and declared.name not in _INLINE_CHECKS and accepts_any_value(declared):
            self.any_value(value, declared, position, is_strict=is_strict)
            return
        if isinstance(declared, GraphQLEnumType):
            names = self.constant_of(declared, _enum_names)
            wrong = f"(type({value}) is not str or {value} not in {names})"
        elif declared.name in SCALARS and is_known(declared):
            matches = self.constant_of(declared, _canonical)
            wrong = f"(type({value}) is not str or not {matches}({value}))"
        else:
            wrong = _INLINE_CHECKS.get(declared.name, "").format(x=value)
        conditions = [text for text in (wrong, "" if is_strict else f"{value} is not None") if text]
        coerce = self.constant_of(declared, _coercer)
        expected = f"{declared.name}!" if is_strict else declared.name
        call = f"leaf({coerce}, {value}, errors, {position.path_text}, {position.step!r}, {expected!r})"
        shortcut = _INLINE_COERCIONS.get(declared.name, "").format(x=value)
        with self.block(f"if {' and '.join(conditions) or 'True'}:"):
            self.line(f"{value} = {shortcut} else {call}" if shortcut else f"{value} = {call}")
            if is_strict:
                with self.block(f"if {value} is None:"):
                    self.line("raise Null")

    def any_value(self, value: str, declared: GraphQLLeafType, position: Position, *, is_strict: bool) -> None:
        """Write the check of a scalar that accepts any JSON value: only a null can be wrong."""
        if not is_strict:
            self.line("pass")  # the block that this stands in must not be empty
            return
        with self.block(f"if {value} is None:"):
            self.line(mismatch_line(position, declared))
            self.line("raise Null")

    def constant_of(self, declared: GraphQLLeafType, derive: Callable[[Any], object]) -> str:
        """Return the name of a constant that is derived from a leaf type; each is derived once."""
        identity = declared.name, derive
        if identity not in self.derived:
            self.derived[identity] = self.constant(derive(declared))
        return self.derived[identity]

    def compound(
        self,
        value: str,
        inner: GraphQLOutputType,
        parts: Parts,
        position: Position,
        *,
        on_mismatch: str,
    ) -> None:
        """Write the completion of a list or object that is not null."""
        expected, head = "list" if isinstance(inner, GraphQLList) else "dict", "if"
        form = self.form(inner, parts)
        if form is not None:
            head = "elif"
            # The type tells a shaped value from a JSON one: lists of shaped objects are tuples.
            with self.block(f"if type({value}) is {'tuple' if expected == 'list' else self.constant(form.type)}:"):
                self.shaped(value, GraphQLNonNull(inner), parts, position)  # type: ignore[arg-type]
        with self.block(f"{head} type({value}) is not {expected}:"):
            self.line(mismatch_line(position, inner))
            self.line(on_mismatch)
        if isinstance(inner, GraphQLList):
            with self.block("else:"):
                self.items(value, inner.of_type, parts, position)
        elif isinstance(inner, GraphQLObjectType):
            with self.block("else:"):
                self.fields(value, repr(inner.name), inner.name, parts, position)
        else:
            self.possible_types(value, inner, parts, position, on_mismatch=on_mismatch)

    def items(self, value: str, item: GraphQLOutputType, parts: Parts, position: Position) -> None:
        """Write the completion of every item of a list."""
        result, index, element = self.name(), self.name("i"), self.name()
        with self.weighed(value, position):
            self.line(f"{result} = []")
            with self.block(f"for {index}, {element} in enumerate({value}):"):
                self.complete(element, item, parts, position.item(index))
                self.line(f"{result}.append({element})")
            self.line(f"{value} = {result}")

    def fields(self, value: str, tag: str, type_name: str, parts: Parts, position: Position) -> None:
        """Write the completion of an object of one concrete type; ``tag`` is the source of the type's name."""
        values = []
        for part in parts[type_name]:
            if part.name == TYPENAME:
                values.append((part.key, tag))
                continue
            name = self.name()
            values.append((part.key, name))
            link, below = self.link_of(type_name, part, position), position.field(part, parts)
            if link is not None:
                self.from_link(name, value, part, below, link)
            else:
                self.line(f"{name} = {value}.get({part.name!r})")
                self.complete(name, part.type, part.parts, below)
        self.line(f"{value} = {object_text(values)}")

    def possible_types(self, value: str, inner: GraphQLOutputType, parts: Parts, position: Position, *, on_mismatch: str) -> None:
        """Write the completion of a value of an interface or union, whose ``__typename`` tells its type.

        Concrete types with the same fields share one branch.
        """
        tag = self.name()
        with self.block("else:"):
            self.line(f"{tag} = {value}.get('__typename')")
            head = "if"
            for names in self.alike(parts, position):
                known = repr(names[0]) if len(names) == 1 else self.constant(frozenset(names))
                # A set can only be asked for what has a hash: the upstream may send a list.
                test = f"{tag} == {known}" if len(names) == 1 else f"type({tag}) is str and {tag} in {known}"
                with self.block(f"{head} {test}:"):
                    self.fields(value, tag, names[0], parts, position)
                head = "elif"
            with self.block("else:" if parts else "if True:"):
                self.line(mismatch_line(position, inner))
                self.line(on_mismatch)

    def alike(self, parts: Parts, position: Position) -> Iterable[list[str]]:
        """Return the concrete types in groups whose values are completed by the same code: the fields are the same, and so is what fills them."""
        groups: dict[object, list[str]] = {}
        for type_name, selection in parts.items():
            fields = (
                (part.key, part.name, str(part.type), id(part.parts), self.link_of(type_name, part, position))
                for part in selection
            )
            groups.setdefault(tuple(fields), []).append(type_name)
        return groups.values()

    def call_function(self, value: str, declared: GraphQLOutputType, parts: Parts, position: Position) -> None:
        """Write the completion of a value as a call of a separate function, which gets the path of the value as an argument."""
        identity = self.identity(declared, parts, position)
        function = self.written.get(identity)
        if function is None:
            function = self.written[identity] = self.name("complete")
            self.write_function(function, declared, parts, position)
        self.line(f"{value} = {function}({value}, {position.path_text}, errors, outcomes)")

    def identity(self, declared: GraphQLOutputType, parts: Parts, position: Position) -> Identity:
        """Return the key of a completion: values with the same key share their code.

        A fragment that is spread in several places repeats its selections, which would multiply the source if each were written inline. With
        links the code also depends on the position in the plan.
        """
        place = (position.node, position.hops) if self.plan.links else None
        return str(declared), id(parts), position.step, place, position.is_in_list

    def write_function(self, function: str, declared: GraphQLOutputType, parts: Parts, position: Position) -> None:
        """Write the function that completes a list or object."""
        argument = self.name()
        with self.function(f"def {function}({argument}, path, errors, outcomes):"):
            self.complete_compound(argument, declared, parts, replace(position, path=("*path",)))
            self.line(f"return {argument}")

    # -- links and missing values

    def from_link(
        self, value: str, parent: str, selected: Selected, position: Position, index: int, *, is_shaped: bool = False
    ) -> None:
        """Write the field of a link: the value that its node found for this parent, or the failure or skip instead of it.

        Parents with the same key have the same value, so it is completed only once per key, in a memo. A completion with errors is not kept,
        because each parent needs errors with its own path.
        """
        use = self.plan.nodes[index].use
        assert use is not None
        position = replace(position, step=f"{use.link.type}.{use.link.field}", node=index, hops=())
        link, name = self.constant(use.link), use.link.single
        if name is None:  # the key is not a single field, so there is no table to look it up in
            self.line(f"{value} = link_value(outcomes[{index}], {parent}, {link})")
            self.link_result(value, selected, position)
            return
        table = self.hoisted(f"lookup_table(outcomes[{index}])")
        memo, key, error_count = self.hoisted(f"new_memo({table})", is_own=True), self.name(), self.name()
        self.line(f"{key} = {parent}.{name}" if is_shaped else f"{key} = {parent}.get({name!r})")
        self.line(f"{value} = {memo}.get({key}, MISSING)")
        with self.block(f"if {value} is MISSING:"):
            self.line(f"{error_count} = len(errors)")
            self.line(f"{value} = {table}.get({key}, MISSING)")
            with self.block(f"if {value} is MISSING:"):
                keyed = object_text([(name, key)]) if is_shaped else parent
                self.line(f"{value} = link_value(outcomes[{index}], {keyed}, {link})")
            self.link_result(value, selected, position)
            with self.block(f"if len(errors) == {error_count}:"):
                self.line(f"{memo}[{key}] = {value}")

    def link_result(self, value: str, selected: Selected, position: Position) -> None:
        """Write the completion of a link's result: a value, or the Failure or Skipped instead of it."""
        with self.block(f"if type({value}) is Failure or type({value}) is Skipped:"):
            self.missing(value, selected, position, self.constant(NOTHING_REPORTED))
        with self.block("else:"):
            self.complete(value, selected.type, selected.parts, position)

    def missing(self, value: str, selected: Selected, position: Position, reported: str) -> None:
        """Write the completion of a missing value; ``value`` is the outcome of the node that does not have it."""
        if not is_non_null(selected.type):
            self.line(f"absent({value}, errors, {position.path_text}, {reported})")
            self.line(f"{value} = None")
            return
        with self.block(f"if not absent({value}, errors, {position.path_text}, {reported}):"):
            self.line(mismatch_line(position, selected.type))  # every null in a non-null position needs an error
        self.line("raise Null")


def mismatch_line(position: Position, expected: GraphQLOutputType) -> str:
    """Return the source line that records a value of the wrong type."""
    return f"mismatch(errors, {position.path_text}, {position.step!r}, {str(expected)!r})"


def is_non_null(declared: GraphQLOutputType) -> bool:
    """Tell whether a type is non-null."""
    return isinstance(declared, GraphQLNonNull)


def _may_raise(inner: GraphQLOutputType, parts: Parts) -> bool:
    """Tell whether the completion of a list or object can raise Null because of an item or field in it."""
    if isinstance(inner, GraphQLList):
        return is_non_null(inner.of_type)
    return any(is_non_null(part.type) and part.name != TYPENAME for selection in parts.values() for part in selection)


def _enum_names(declared: GraphQLEnumType) -> frozenset[str]:
    return frozenset(name for name, value in declared.values.items() if value.value == name)


def _coercer(declared: GraphQLLeafType) -> Callable[[object], object]:
    return declared.coerce_output_value


def _canonical(declared: GraphQLScalarType) -> Callable[[str], object]:
    return SCALARS[declared.name].canonical.fullmatch
