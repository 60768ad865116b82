"""A case → two answers: the gateway's projection, and what graphql-core's executor makes of resolvers that give the steps' values.

The executor runs synchronously, so that its errors come in the order of the response as the projection's do: of several fields that
fail, it awaits none. The rules that no executor knows are put into its resolvers: an operation that is blocked, a flattened object
that is not there (one error at the operation, none at its fields), a Skipped node that is no error.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast
from zlib import crc32

from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    VariableNode,
    build_schema,
    execute,
    is_introspection_type,
    parse,
)

from gateway.document import Document
from gateway.engine import Results, Span
from gateway.errors import Code
from gateway.outcome import Failure, Outcome, Success
from tests.oracle import Stage, Theatre
from tests.oracle.generate import VARIANTS, Case, OperationSpec

Info = GraphQLResolveInfo[Any]
Place = tuple[tuple[str | int, ...], str, str | None, int | None]
"""An error as it is compared: path, code, step, HTTP status."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Data as JSON text, which keeps the order of keys and tells 1, 1.0 and true apart; and errors in order."""

    data: str
    errors: list[Place]


def _variant(operation: str, arguments: Mapping[str, object]) -> int:
    return crc32(json.dumps([operation, arguments], sort_keys=True).encode()) % VARIANTS


# -- the gateway


@lru_cache(maxsize=4)
def _theatre(config: str, types: str) -> Theatre:
    return Theatre.open(config, Stage(), types)


@lru_cache(maxsize=1)
def _document(config: str, types: str, query: str) -> Document:
    return _theatre(config, types).documents.read(query)


def projected(case: Case) -> Answer:
    """Answer by the stages of the gateway, with the case's outcomes in the place of an engine's."""
    theatre = _theatre(case.world.config, case.world.types)
    document = _document(case.world.config, case.world.types, case.query)
    planned, arguments, meta = theatre.plan(document, case.variables)
    calls = planned.plan.calls
    variants = [_variant(call.operation.name, arguments.calls[call.index]) for call in calls]
    outcomes = [
        None if node.is_lazy else case.outcomes[calls[node.call].operation.name, node.step.name][variants[node.call]]
        for node in planned.plan.nodes
    ]
    blocked = [case.blocked[call.operation.name][variants[call.index]] for call in calls]
    results = Results(outcomes, [Span() for _ in outcomes], blocked)
    errors: list[dict[str, object]] = []
    data = json.dumps(planned.project(results, meta, errors))
    again: list[dict[str, object]] = []
    assert (json.dumps(planned.project(results, meta, again)), again) == (data, errors), "the projection changes what it reads"
    return Answer(data, [_place(error) for error in errors])


def _place(error: Mapping[str, Any]) -> Place:
    assert error["message"], "an error says something"
    extensions = error["extensions"]
    return tuple(error["path"]), extensions["code"], extensions["step"], extensions.get("http", {}).get("status")


# -- graphql-core


class _Told(Exception):
    """A step's failure, raised at the field that tells it."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class _ToldAlready(Exception):
    """A null that has its error elsewhere."""


@dataclass(frozen=True, slots=True)
class _Composite:
    """The value of a root field: the outcomes of its steps, and which of them a selected field shows."""

    spec: OperationSpec
    outcomes: Mapping[str, Outcome]
    shown: frozenset[str]
    objects: Mapping[str, Mapping[str, object] | None]


@dataclass(slots=True)
class _Resolvers:
    case: Case
    steps: dict[tuple[str | int, ...], str] = field(default_factory=dict)
    """The steps behind the places of the answer where one begins."""
    ahead: dict[str | int, list[Place]] = field(default_factory=dict)
    """Errors of a root field that stand before those of its fields."""

    def resolve(self, source: object, info: Info, **arguments: object) -> object:
        """Return the value of a field, whatever it is a field of."""
        if info.parent_type is info.schema.query_type:
            return self.root(info, arguments)
        if isinstance(source, _Composite):
            return self.part(source, info)
        assert isinstance(source, dict)
        return source.get(info.field_name)

    def root(self, info: Info, given: Mapping[str, object]) -> object:
        spec = self.case.world.operations[info.field_name]
        variant = _variant(spec.name, {name: given.get(name) for name in spec.arguments})
        outcomes = {step.name: self.case.outcomes[spec.name, step.name][variant] for step in spec.steps}
        path = tuple(info.path.as_list())
        blocked = self.case.blocked[spec.name][variant]
        if blocked:
            raise _Told(blocked)
        if spec.strategy == "pick":
            picked = spec.steps[0].name
            self.steps[path] = picked
            return _value(outcomes[picked], frozenset({picked}))
        shown = list(dict.fromkeys(spec.origins[name][0] for name in _names(info, info.field_nodes) if name in spec.origins))
        objects = {step: self.flat(step, outcomes[step], shown, path) for step in shown} if spec.strategy == "flatten" else {}
        return _Composite(spec, outcomes, frozenset(shown), objects)

    def flat(self, step: str, outcome: Outcome, shown: list[str], path: tuple[str | int, ...]) -> Mapping[str, object] | None:
        """Return the object that fields are taken from, None when it is not there; the error of that stands at the operation."""
        try:
            value = _value(outcome, frozenset(shown))
        except _Told as told:
            failure = told.failure
            self.ahead.setdefault(path[0], []).append((path, failure.code, failure.step, failure.status))
            return None
        if isinstance(value, dict) or value is None:
            return value or {}
        self.ahead.setdefault(path[0], []).append((path, Code.RESPONSE_VALIDATION_FAILED, step, None))
        return None

    def part(self, composite: _Composite, info: Info) -> object:
        step, key = composite.spec.origins[info.field_name]
        self.steps[tuple(info.path.as_list())] = step
        if key is None:
            return _value(composite.outcomes[step], composite.shown)
        taken = composite.objects[step]
        if taken is None and isinstance(info.return_type, GraphQLNonNull):
            raise _ToldAlready
        return taken.get(key) if taken is not None else None

    def place(self, error: GraphQLError) -> Place | None:
        """Return an error of the executor as it is compared; None for one that stands elsewhere."""
        path = tuple(error.path or ())
        if isinstance(error.original_error, _ToldAlready):
            return None
        if isinstance(error.original_error, _Told):
            failure = error.original_error.failure
            return path, failure.code, failure.step, failure.status
        step = next(found for length in (1, 2) if (found := self.steps.get(path[:length])))
        return path, Code.RESPONSE_VALIDATION_FAILED, step, None


def _value(outcome: Outcome, shown: frozenset[str]) -> object:
    """Return the value of a step; null for one that was Skipped, unless a failure that no field shows kept its input away."""
    if isinstance(outcome, Success):
        return outcome.value
    if isinstance(outcome, Failure):
        raise _Told(outcome)
    if outcome.cause is not None and outcome.cause.step not in shown:
        raise _Told(outcome.cause)
    return None


def _names(info: Info, nodes: list[FieldNode]) -> Iterator[str]:
    """Yield the names of the fields that are selected of a composite, in order."""
    for node in nodes:
        assert node.selection_set is not None
        yield from _selected(info, node.selection_set)


def _selected(info: Info, selection_set: SelectionSetNode) -> Iterator[str]:
    for selection in selection_set.selections:
        if not all(_holds(info, directive) for directive in selection.directives or ()):
            continue
        if isinstance(selection, FieldNode):
            yield selection.name.value
        elif isinstance(selection, InlineFragmentNode):
            yield from _selected(info, selection.selection_set)
        elif isinstance(selection, FragmentSpreadNode):
            yield from _selected(info, info.fragments[selection.name.value].selection_set)


def _holds(info: Info, directive: Any) -> bool:
    value = directive.arguments[0].value
    given = info.variable_values.coerced[value.name.value] if isinstance(value, VariableNode) else value.value
    return bool(given) is (directive.name.value == "include")


def _type_of(value: object, *_: object) -> str:
    """Return what a value says of its own type."""
    if isinstance(value, dict) and isinstance(value.get("__typename"), str):
        return cast("str", value["__typename"])
    raise GraphQLError("The value does not tell its type.")


@lru_cache(maxsize=4)
def _schema(text: str) -> GraphQLSchema:
    schema = build_schema(text)
    for declared in schema.type_map.values():  # but for those of introspection, which all schemas share
        if isinstance(declared, GraphQLObjectType) and declared is not schema.query_type and not is_introspection_type(declared):
            declared.is_type_of = _is_object
    return schema


def _is_object(value: object, _: Info) -> bool:
    return isinstance(value, dict | _Composite)


def executed(case: Case) -> Answer:
    """Answer by graphql-core."""
    resolvers = _Resolvers(case)
    result = execute(
        _schema(case.world.schema),
        parse(case.query),
        field_resolver=resolvers.resolve,
        type_resolver=_type_of,
        variable_values=dict(case.variables),
    )
    assert isinstance(result, ExecutionResult)
    errors: list[Place] = []
    for key in result.data or {}:
        errors += resolvers.ahead.get(key, [])
        places = [resolvers.place(error) for error in result.errors or () if error.path and error.path[0] == key]
        errors += [place for place in places if place]
    return Answer(json.dumps(result.data), errors)
