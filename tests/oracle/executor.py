"""A case → the answer that graphql-core's executor gives with resolvers that have the steps' values.

The executor runs synchronously, so that its errors come in the order of the response as the projection's do: of several fields that
fail, it awaits none. The rules that no executor knows are put into its resolvers: an operation that is blocked, a flattened object
that is not there (one error at the operation, none at its fields), a Skipped node that is no error.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

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
    OperationType,
    SelectionSetNode,
    VariableNode,
    build_schema,
    execute,
    is_introspection_type,
    parse,
    print_ast,
)
from graphql.pyutils import Path

from gateway.contract.outcome import Failure, Outcome, Skipped, Success
from gateway.errors import Code
from tests.oracle import levels
from tests.oracle.gateway_answer import Answer, Place
from tests.oracle.generate import Case
from tests.oracle.levels import Levels
from tests.oracle.specs import OperationSpec
from tests.oracle.steps import Steps
from tests.oracle.upstream import Call

Info = GraphQLResolveInfo[Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """An answer, with what is to be said of the calls: those of steps, and of links as far as the response has their parents.

    Steps are ``in_order`` in a mutation. Which of the others were called still when a required one failed is not known: ``is_cut``.
    """

    data: str
    errors: list[Place]
    steps: list[Call]
    links: list[Call]
    in_order: bool
    is_cut: bool

    def agrees(self, answer: Answer) -> bool:
        """Tell whether an answer is this one, and came of calls that had to be made."""
        links = {call for call in answer.calls if "." in str(call[0])}
        steps = [call for call in answer.calls if call not in links]
        if (answer.data, answer.errors) != (self.data, self.errors) or not links.issuperset(self.links):
            return False
        if self.in_order:
            return steps == self.steps
        return self.is_cut or Counter(steps) == Counter(set(self.steps))


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
    levels: Levels
    runs: dict[tuple[str, str, str], tuple[Steps, Failure | None]] = field(default_factory=dict)
    steps: dict[tuple[str | int, ...], str] = field(default_factory=dict)
    """The steps behind the places of the answer where one begins."""
    ahead: dict[str | int, list[Place]] = field(default_factory=dict)
    """Errors of a root field that stand before those of its fields."""

    def resolve(self, source: object, info: Info, **arguments: object) -> object:
        """Return the value of a field, whatever it is a field of."""
        place = _place_of(info)
        self.levels.meet(place, info.field_name, info.return_type)
        if len(place) == 1:
            return self.root(info, arguments)
        if isinstance(source, _Composite):
            return self.part(source, info)
        assert isinstance(source, dict)
        link = self.case.world.links.get((info.parent_type.name, info.field_name))
        if link is None:
            return source.get(info.field_name)
        self.steps[tuple(info.path.as_list())] = link.name
        value = self.levels.found(link, place, {name: arguments.get(name) for name in link.arguments}, source)
        if isinstance(value, Failure):
            raise _Told(value)
        return None if isinstance(value, Skipped) else value

    def root(self, info: Info, given: Mapping[str, object]) -> object:
        spec = self.case.world.operations[info.field_name]
        path = tuple(info.path.as_list())
        run, blocked = self.run(spec, info, {name: given.get(name) for name in spec.arguments})
        if blocked:
            raise _Told(blocked)
        if spec.strategy == "pick":
            self.steps[path] = spec.picked
            return self.value(run.outcome(spec.picked), frozenset({spec.picked}), info)
        shown = _shown(spec, info, info.field_nodes)
        outcomes = {step: run.outcome(step) for step in shown}
        objects = {step: self.flat(step, outcomes[step], shown, path) for step in shown} if spec.strategy == "flatten" else {}
        return _Composite(spec, outcomes, frozenset(shown), objects)

    def run(self, spec: OperationSpec, info: Info, arguments: Mapping[str, object]) -> tuple[Steps, Failure | None]:
        """Return the steps of an operation call: of a query, fields of the same name that write the same arguments share one."""
        written = _written(info.field_nodes[0])
        identity = spec.name, written, str(info.path.key) if spec.is_mutation else ""
        if identity not in self.runs:
            same = [
                node
                for node in _selected(info, info.operation.selection_set)
                if node.name.value == spec.name and _written(node) == written
            ]
            asked = _shown(spec, info, same) if spec.strategy != "pick" else [spec.picked]
            if spec.is_mutation:
                hidden = {step.stand_in for step in spec.steps.values()}
                asked = [step for step in spec.steps if step not in hidden]
            steps = Steps(self.case, spec, arguments)
            self.runs[identity] = steps, steps.run(asked)
        return self.runs[identity]

    def value(self, outcome: Outcome, shown: frozenset[str], info: Info) -> object:
        """Return the value of a step at the field that it fills."""
        value = self.levels.values[_place_of(info)] = _value(outcome, shown)
        return value

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
            return self.value(composite.outcomes[step], composite.shown, info)
        taken = composite.objects[step]
        if taken is None and isinstance(info.return_type, GraphQLNonNull):
            raise _ToldAlready
        value = self.levels.values[_place_of(info)] = taken.get(key) if taken is not None else None
        return value

    def place(self, error: GraphQLError) -> Place | None:
        """Return an error of the executor as it is compared; None for one that stands elsewhere."""
        path = tuple(error.path or ())
        if isinstance(error.original_error, _ToldAlready):
            return None
        if isinstance(error.original_error, _Told):
            failure = error.original_error.failure
            return path, failure.code, failure.step, failure.status
        step = next(found for length in range(len(path), 0, -1) if (found := self.steps.get(path[:length])))
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


def _place_of(info: Info) -> levels.Place:
    place: list[tuple[str, str]] = []
    path: Path | None = info.path
    while path is not None:
        if path.typename is not None:
            place.append((path.typename, str(path.key)))
        path = path.prev
    return tuple(reversed(place))


def _written(node: FieldNode) -> str:
    return ", ".join(sorted(print_ast(argument) for argument in node.arguments or ()))


def _shown(spec: OperationSpec, info: Info, nodes: Sequence[FieldNode]) -> list[str]:
    """Return the steps whose fields are selected of a composite, in order."""
    names = [part.name.value for node in nodes if node.selection_set for part in _selected(info, node.selection_set)]
    return list(dict.fromkeys(spec.origins[name][0] for name in names if name in spec.origins))


def _selected(info: Info, selection_set: SelectionSetNode) -> Iterator[FieldNode]:
    """Yield the fields that are selected of an object type that is of no other."""
    for selection in selection_set.selections:
        if not all(_holds(info, directive) for directive in selection.directives or ()):
            continue
        if isinstance(selection, FieldNode):
            yield selection
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
    roots = (schema.query_type, schema.mutation_type)
    for declared in schema.type_map.values():  # but for those of introspection, which all schemas share
        if isinstance(declared, GraphQLObjectType) and declared not in roots and not is_introspection_type(declared):
            declared.is_type_of = _is_object
    return schema


def _is_object(value: object, _: Info) -> bool:
    return isinstance(value, dict | _Composite)


def executed(case: Case) -> Expected:
    """Answer by graphql-core."""
    resolvers = _Resolvers(case, Levels(case))
    document = parse(case.query)
    result = execute(
        _schema(case.world.schema),
        document,
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
    is_mutation = any(getattr(node, "operation", None) is OperationType.MUTATION for node in document.definitions)
    return Expected(
        json.dumps(result.data),
        errors,
        [call for run, _ in resolvers.runs.values() for call in run.calls],
        resolvers.levels.calls,
        in_order=is_mutation,
        is_cut=any(blocked for _, blocked in resolvers.runs.values()),
    )
