"""Plan → a function from outcomes to the response, compiled to Python (GraphQL spec 6.4.3, Value Completion).

The generated code has one straight line per selected field: a type check inline, and a call only when the check fails. A path is
written out where an error needs it and costs nothing otherwise. A null in a non-null place raises :class:`Null` up to the nearest
place that may be null, where ``try`` costs nothing until it is needed. graphql-core's executor is the oracle of the tests.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
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

from gateway.blueprint import Operation, Strategy
from gateway.code_writer import CodeWriter
from gateway.completion import Errors, Null, absent, leaf, mismatch, unfit
from gateway.engine import Results
from gateway.links import found
from gateway.outcome import Failure, Skipped, Success
from gateway.plan import Hops, OperationCall, Plan, Root
from gateway.planner import hops_into, written_arguments
from gateway.scalars import SCALARS, is_known, passes_anything
from gateway.selection import TYPENAME, Selected

Projection = Callable[[Results, Mapping[str, object], Errors], dict[str, object]]
"""From results and the values of introspection fields by response key to ``data``; appends GraphQL errors in response order."""

Identity = tuple[str, tuple[int, ...], str, object]
MAX_INDENT = 60
"""The parser takes 100 levels of indentation."""
MAX_BLOCKS = 14
"""CPython nests 20 loops and try statements at the most; deeper selections go on in a function of their own."""


def compile_projection(plan: Plan) -> Projection:
    """Compile the projection of a plan."""
    return _Writer(plan).compile()


def source_of(plan: Plan) -> str:
    """Return the Python source of a plan's projection, for people who want to read it."""
    return _Writer(plan).source()


SUPPORT = (Null, Success, Failure, Skipped, mismatch, unfit, leaf, absent, found)
"""What the generated code calls by name."""
NOTHING_REPORTED: frozenset[str] = frozenset()
_INLINE_CHECKS = {
    "String": "type({x}) is not str",
    "ID": "type({x}) is not str",
    "Boolean": "type({x}) is not bool",
    "Int": "(type({x}) is not int or not -2147483648 <= {x} <= 2147483647)",
    "Float": "(type({x}) is not float or {x} - {x} != 0.0)",  # infinities and NaN are no numbers of JSON
}


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a value stands: its path in the response as Python expressions, the step that gave it, and its place in the plan.

    ``node`` is the node whose value it is or lies in, ``hops`` the way from there.
    """

    path: tuple[str, ...]
    step: str
    node: int
    hops: Hops

    @property
    def path_text(self) -> str:
        """The path as the source of a tuple."""
        return _tuple(self.path)

    def field(self, part: Selected) -> "Spot":
        """Return the spot of a field of the object that stands here."""
        return replace(self, path=(*self.path, repr(part.key)), hops=(*self.hops, part.name))

    def item(self, index: str) -> "Spot":
        """Return the spot of an item of the list that stands here."""
        return replace(self, path=(*self.path, index))


class _Writer(CodeWriter):
    """Writes the source of one projection. Names that begin with ``k`` are constants, ``v`` values, ``i`` list indexes."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.written: dict[Identity, str | None] = {}

    def compile(self) -> Projection:
        code = compile(self.source(), "<projection>", "exec")
        namespace: dict[str, Any] = {support.__name__: support for support in SUPPORT} | self.constants
        exec(code, namespace)  # noqa: S102 - the source is made of schema names and literals alone
        projection: Projection = namespace["project"]
        return projection

    def source(self) -> str:
        values = [(root.selected.key, self.root(root)) for root in self.plan.roots]
        body = [*self.lines, f"    return {_literal(values)}"]
        head = ["def project(results, meta, errors):", "    outcomes = results.outcomes"]
        return "\n".join([*self.functions, *head, *body]) + "\n"

    # -- root fields and composites

    def root(self, root: Root) -> str:
        """Write one root field; return the name of its value."""
        selected, value = root.selected, self.name()
        if root.call is None:
            name = "Mutation" if self.plan.is_mutation else "Query"
            self.line(f"{value} = {name!r}" if selected.name == TYPENAME else f"{value} = meta[{selected.key!r}]")
            return value
        call, path = self.plan.calls[root.call], (repr(selected.key),)
        self.line(f"{value} = results.blocked[{call.index}]")
        with self.block(f"if {value} is not None:"):
            self.line(f"errors.append({value}.error({_tuple(path)}))")
            self.line(f"{value} = None")
        with self.block("else:"):
            self.composite(value, call, selected, path)
        return value

    def composite(self, value: str, call: OperationCall, selected: Selected, path: tuple[str, ...]) -> None:
        operation = call.operation
        nodes = {self.plan.nodes[index].step.name: index for index in call.nodes}
        reported = self.constant(self.reported(operation, selected))
        if operation.picked is not None:
            self.from_node(value, nodes[operation.picked], selected, path, reported)
            return
        (fields,) = selected.parts.values()
        with self.nullable(value, any(_is_non_null(part.type) for part in fields if part.name != TYPENAME)):
            objects = {} if operation.strategy is Strategy.MERGE else self.objects(operation, fields, nodes, path, reported)
            values = []
            for part in fields:
                name = self.name()
                values.append((part.key, name))
                if part.name == TYPENAME:
                    self.line(f"{name} = {operation.returns!r}")
                    continue
                if part.name not in operation.origins:
                    self.line(f"{name} = None")
                    continue
                origin = operation.origins[part.name]
                part_path = (*path, repr(part.key))
                if origin.key is None:
                    self.from_node(name, nodes[origin.step], part, part_path, reported)
                else:
                    spot = Spot(part_path, origin.step, nodes[origin.step], (origin.key,))
                    self.from_object(name, objects[origin.step], part, spot)
            self.line(f"{value} = {_literal(values)}")

    def reported(self, operation: Operation, selected: Selected) -> frozenset[str]:
        """Return the steps whose failure a selected field tells."""
        if operation.picked is not None:
            return frozenset({operation.picked})
        (fields,) = selected.parts.values()
        return frozenset(operation.origins[part.name].step for part in fields if part.name in operation.origins)

    def from_node(self, value: str, index: int, selected: Selected, path: tuple[str, ...], reported: str) -> None:
        """Write the value of a step's node at the field that it fills."""
        spot = Spot(path, self.plan.nodes[index].step.name, index, ())
        self.line(f"{value} = outcomes[{index}]")
        with self.block(f"if type({value}) is Success:"):
            self.line(f"{value} = {value}.value")
            self.complete(value, selected.type, selected.parts, spot)
        with self.block("else:"):
            self.nothing(value, selected, spot, reported)

    def nothing(self, value: str, selected: Selected, spot: Spot, reported: str) -> None:
        """Write the place of a value that a node does not have: ``value`` is its outcome."""
        if not _is_non_null(selected.type):
            self.line(f"absent({value}, errors, {spot.path_text}, {reported})")
            self.line(f"{value} = None")
            return
        with self.block(f"if not absent({value}, errors, {spot.path_text}, {reported}):"):
            self.line(_mismatch(spot, selected.type))
        self.line("raise Null")

    def from_link(self, value: str, parent: str, selected: Selected, spot: Spot, index: int) -> None:
        """Write the field of a link: what its node found for this parent, or why it found nothing."""
        use = self.plan.nodes[index].use
        assert use is not None
        spot = replace(spot, step=f"{use.link.type}.{use.link.field}", node=index, hops=())
        self.line(f"{value} = found(outcomes[{index}], {parent}, {self.constant(use.link)})")
        with self.block(f"if type({value}) is Failure or type({value}) is Skipped:"):
            self.nothing(value, selected, spot, self.constant(NOTHING_REPORTED))
        with self.block("else:"):
            self.complete(value, selected.type, selected.parts, spot)

    def objects(
        self, operation: Operation, fields: tuple[Selected, ...], nodes: Mapping[str, int], path: tuple[str, ...], reported: str
    ) -> dict[str, str]:
        """Write the objects that a flattened composite takes its fields from: ``None`` for one that is not there."""
        names: dict[str, str] = {}
        for step in dict.fromkeys(operation.origins[part.name].step for part in fields if part.name in operation.origins):
            value = names[step] = self.name()
            self.line(f"{value} = outcomes[{nodes[step]}]")
            with self.block(f"if type({value}) is Success:"):
                self.line(f"{value} = {{}} if {value}.value is None else {value}.value")
                with self.block(f"if type({value}) is not dict:"):
                    self.line(f"mismatch(errors, {_tuple(path)}, {step!r}, 'an object')")
                    self.line(f"{value} = None")
            with self.block("else:"):
                self.line(f"{value} = None if absent({value}, errors, {_tuple(path)}, {reported}) else {{}}")
        return names

    def from_object(self, value: str, owner: str, part: Selected, spot: Spot) -> None:
        """Write a flattened field; when its object is not there, the error stands at the operation already."""
        with self.block(f"if {owner} is None:"):
            self.line("raise Null" if _is_non_null(part.type) else f"{value} = None")
        with self.block("else:"):
            self.line(f"{value} = {owner}.get({part.name!r})")
            self.complete(value, part.type, part.parts, spot)

    # -- value completion

    def complete(self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> None:
        """Write the completion of ``value`` in place: afterwards it is of its type, or None where that may be, or Null was raised."""
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            self.leaf(value, inner, spot, is_strict=inner is not declared)
            return
        identity = self.identity(declared, parts, spot)
        if self.blocks >= MAX_BLOCKS or self.indent >= MAX_INDENT or identity in self.written:
            self.apart(value, declared, parts, spot)
            return
        self.written.setdefault(identity, None)
        self.complete_compound(value, declared, parts, spot)

    def complete_compound(
        self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot
    ) -> None:
        """Write the completion of a list or object."""
        is_strict = isinstance(declared, GraphQLNonNull)
        inner = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
        if is_strict:
            with self.block(f"if {value} is None:"):
                self.line(_mismatch(spot, declared))
                self.line("raise Null")
            self.compound(value, inner, parts, spot, on_mismatch="raise Null")
            return
        with self.block(f"if {value} is not None:"), self.nullable(value, _may_raise(inner, parts)):
            self.compound(value, inner, parts, spot, on_mismatch=f"{value} = None")

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

    def leaf(self, value: str, declared: GraphQLScalarType | GraphQLEnumType, spot: Spot, *, is_strict: bool) -> None:
        """Write the check of a scalar or enum; the call to coerce it is only for values that are not right as they are."""
        if isinstance(declared, GraphQLScalarType) and declared.name not in _INLINE_CHECKS and passes_anything(declared):
            self.anything(value, declared, spot, is_strict=is_strict)
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
        call = f"{value} = leaf({coerce}, {value}, errors, {spot.path_text}, {spot.step!r}, {expected!r})"
        with self.block(f"if {' and '.join(conditions) or 'True'}:"):
            self.line(call)
            if is_strict:
                with self.block(f"if {value} is None:"):
                    self.line("raise Null")

    def anything(self, value: str, declared: GraphQLScalarType | GraphQLEnumType, spot: Spot, *, is_strict: bool) -> None:
        """Write a value of the JSON scalar, or of one of which nothing is known: it is right as it is."""
        with self.block(f"if type({value}) is Failure{f' or {value} is None' if is_strict else ''}:"):
            self.line(f"unfit({value}, errors, {spot.path_text}, {spot.step!r}, {declared.name!r})")
            self.line("raise Null" if is_strict else f"{value} = None")

    def compound(
        self,
        value: str,
        inner: GraphQLOutputType,
        parts: Mapping[str, tuple[Selected, ...]],
        spot: Spot,
        *,
        on_mismatch: str,
    ) -> None:
        """Write a list or an object, given that it is not null."""
        expected = "list" if isinstance(inner, GraphQLList) else "dict"
        with self.block(f"if type({value}) is not {expected}:"):
            self.line(f"unfit({value}, errors, {spot.path_text}, {spot.step!r}, {str(inner)!r})")
            self.line(on_mismatch)
        if isinstance(inner, GraphQLList):
            with self.block("else:"):
                self.items(value, inner.of_type, parts, spot)
        elif isinstance(inner, GraphQLObjectType):
            with self.block("else:"):
                self.fields(value, inner.name, parts[inner.name], spot)
        else:
            self.possible_types(value, inner, parts, spot, on_mismatch=on_mismatch)

    def items(self, value: str, item: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> None:
        result, index, element = self.name(), self.name("i"), self.name()
        self.line(f"{result} = []")
        with self.block(f"for {index}, {element} in enumerate({value}):"):
            self.complete(element, item, parts, spot.item(index))
            self.line(f"{result}.append({element})")
        self.line(f"{value} = {result}")

    def fields(self, value: str, type_name: str, selection: tuple[Selected, ...], spot: Spot) -> None:
        """Write an object of one concrete type; ``spot.hops`` lead to it."""
        values = []
        for part in selection:
            if part.name == TYPENAME:
                values.append((part.key, repr(type_name)))
                continue
            name = self.name()
            values.append((part.key, name))
            link = self.plan.links.get((spot.node, spot.hops, f"{type_name}.{part.name}", written_arguments(part)))
            if link is not None:
                self.from_link(name, value, part, spot.field(part), link)
            else:
                self.line(f"{name} = {value}.get({part.name!r})")
                self.complete(name, part.type, part.parts, spot.field(part))
        self.line(f"{value} = {_literal(values)}")

    def possible_types(
        self,
        value: str,
        inner: GraphQLOutputType,
        parts: Mapping[str, tuple[Selected, ...]],
        spot: Spot,
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
                    hops = hops_into(inner, type_name, spot.hops)
                    self.fields(value, type_name, selection, replace(spot, hops=hops))
                head = "elif"
            with self.block("else:" if parts else "if True:"):
                self.line(_mismatch(spot, inner))
                self.line(on_mismatch)

    def apart(self, value: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> None:
        """Write a deep value as a function of its own, which gets its path."""
        identity = self.identity(declared, parts, spot)
        function = self.written.get(identity)
        if function is None:
            function = self.written[identity] = self.name("complete")
            self.write_apart(function, declared, parts, spot)
        self.line(f"{value} = {function}({value}, {spot.path_text}, errors, outcomes)")

    def identity(self, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot) -> Identity:
        """Return what the code of a completion depends on: fragments repeat selections, which are written out once and then called.

        Where there are links it depends on the place in the plan, too.
        """
        place = (spot.node, spot.hops) if self.plan.links else None
        return str(declared), tuple(id(selection) for selection in parts.values()), spot.step, place

    def write_apart(
        self, function: str, declared: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]], spot: Spot
    ) -> None:
        argument = self.name()
        with self.function(f"def {function}({argument}, path, errors, outcomes):", argument):
            self.complete_compound(argument, declared, parts, replace(spot, path=("*path",)))


def _literal(values: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key!r}: {value}" for key, value in values) + "}"


def _tuple(path: tuple[str, ...]) -> str:
    return f"({', '.join(path)},)"


def _mismatch(spot: Spot, expected: GraphQLOutputType) -> str:
    return f"mismatch(errors, {spot.path_text}, {spot.step!r}, {str(expected)!r})"


def _is_non_null(declared: GraphQLOutputType) -> bool:
    return isinstance(declared, GraphQLNonNull)


def _may_raise(inner: GraphQLOutputType, parts: Mapping[str, tuple[Selected, ...]]) -> bool:
    """Tell whether the completion of a list or object can raise Null on behalf of what is in it."""
    if isinstance(inner, GraphQLList):
        return _is_non_null(inner.of_type)
    return any(_is_non_null(part.type) and part.name != TYPENAME for selection in parts.values() for part in selection)


def _enum_names(declared: GraphQLEnumType) -> frozenset[str]:
    return frozenset(name for name, value in declared.values.items() if value.value == name)


def _coercer(declared: GraphQLLeafType) -> Callable[[object], object]:
    return declared.coerce_output_value
