"""Answer a case with graphql-core's executor, whose resolvers return the results of steps and links.

The executor runs synchronously: its errors then come in the order of the response, as those of the projection do. The resolvers
implement the rules that no executor knows: a blocked operation, a missing flattened object (one error at the operation, none at its
fields), and a Skipped node, which is no error.
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
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNamedType,
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
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_introspection_type,
    parse,
    print_ast,
)
from graphql.pyutils import Path

from gateway.contract.outcome import Failure, Outcome, Skipped, Success
from gateway.errors import Code
from tests.oracle.gateway_answer import Answer, ErrorKey
from tests.oracle.generate import Case
from tests.oracle.levels import FieldPath, Levels
from tests.oracle.specs import OperationSpec
from tests.oracle.steps import Steps
from tests.oracle.upstream import Call

Info = GraphQLResolveInfo[Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected answer and calls: those of steps, and those of links whose parents are in the response.

    In a mutation, steps are ``in_order``. With ``is_cut`` a required step failed, and it is not known which other steps were still called.
    """

    data: str
    errors: list[ErrorKey]
    steps: list[Call]
    links: list[Call]
    in_order: bool
    is_cut: bool

    def agrees(self, answer: Answer) -> bool:
        """Tell whether an answer equals this one, and all expected calls were made."""
        links = {call for call in answer.calls if "." in str(call[0])}
        steps = [call for call in answer.calls if call not in links]
        if (answer.data, answer.errors) != (self.data, self.errors) or not links.issuperset(self.links):
            return False
        if self.in_order:
            return steps == self.steps
        return self.is_cut or Counter(steps) == Counter(set(self.steps))


class _StepError(Exception):
    """A failure of a step, raised at the field that reports it."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class _ReportedElsewhere(Exception):
    """A null whose error is reported elsewhere."""


@dataclass(frozen=True, slots=True)
class _Composite:
    """The value of a root field: the outcomes of its steps, and which of them have a selected field."""

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
    """The step of each path in the response where the value of a step begins."""
    places: dict[tuple[tuple[str, str], ...], FieldPath] = field(default_factory=dict)
    """The path of each field by the types and response keys from the root."""
    nodes: dict[FieldPath, Sequence[FieldNode]] = field(default_factory=dict)
    operation_errors: dict[str | int, list[ErrorKey]] = field(default_factory=dict)
    """Errors of a root field itself, which come before those of its fields."""

    def resolve(self, source: object, info: Info, **arguments: object) -> object:
        """Resolve any field: of the root, of a composite, or of an object."""
        path = self.places[_typed_path(info)] = self.field_path(info)
        self.nodes[path] = info.field_nodes
        self.levels.note_field(path, info.field_name, info.return_type)
        if len(path) == 1:
            return self.root_field(info, arguments)
        if isinstance(source, _Composite):
            return self.composite_field(source, info)
        assert isinstance(source, dict)
        link = self.case.world.links.get((info.parent_type.name, info.field_name))
        if link is None:
            return source.get(info.field_name)
        self.steps[tuple(info.path.as_list())] = link.name
        value = self.levels.value_for(link, path, {name: arguments.get(name) for name in link.arguments}, source)
        if isinstance(value, Failure):
            raise _StepError(value)
        return None if isinstance(value, Skipped) else value

    def field_path(self, info: Info) -> FieldPath:
        """Return the path of a field. The parent's is known: fields are resolved from the root downwards."""
        *above, (owner, key) = _typed_path(info)
        if not above:
            return ((frozenset({owner}), key),)
        parent = self.places[tuple(above)]
        return *parent, (self.owners(info, owner, self.nodes[parent], get_named_type(self.levels.types[parent])), key)

    def owners(self, info: Info, owner: str, nodes: Sequence[FieldNode], declared: GraphQLNamedType) -> frozenset[str]:
        """Return the types that select the same below a field as its parent does. A link belongs to one type."""
        is_link = (owner, info.field_name) in self.case.world.links
        if not is_abstract_type(declared) or is_link or not is_composite_type(get_named_type(info.return_type)):
            return frozenset({owner})

        def below(type_name: str) -> tuple[str, list[int]] | None:
            parent = cast("GraphQLObjectType", info.schema.type_map[type_name])
            fields = dict.fromkeys(
                part for node in nodes if node.selection_set for part in _selected(info, node.selection_set, parent)
            )
            for key in {
                part.alias.value if part.alias else part.name.value for part in fields if part.name.value == info.field_name
            }:
                same = [part for part in fields if (part.alias.value if part.alias else part.name.value) == key]
                sets = [id(part.selection_set) for part in same]
                if sets == [id(node.selection_set) for node in info.field_nodes]:
                    return get_named_type(parent.fields[info.field_name].type).name, sets
            return None

        mine = below(owner)
        return frozenset(item.name for item in info.schema.get_possible_types(declared) if below(item.name) == mine)

    def root_field(self, info: Info, given: Mapping[str, object]) -> object:
        spec = self.case.world.operations[info.field_name]
        path = tuple(info.path.as_list())
        run, blocked = self.run(spec, info, {name: given.get(name) for name in spec.arguments})
        if blocked:
            raise _StepError(blocked)
        if spec.strategy == "pick":
            self.steps[path] = spec.picked
            return self.value(run.outcome(spec.picked), frozenset({spec.picked}), info)
        shown = _shown(spec, info, info.field_nodes)
        outcomes = {step: run.outcome(step) for step in shown}
        objects = (
            {step: self.flattened_object(step, outcomes[step], shown, path) for step in shown}
            if spec.strategy == "flatten"
            else {}
        )
        return _Composite(spec, outcomes, frozenset(shown), objects)

    def run(self, spec: OperationSpec, info: Info, arguments: Mapping[str, object]) -> tuple[Steps, Failure | None]:
        """Return the steps of an operation call: of a query, fields of the same name that write the same arguments share one."""
        arguments_text = _arguments_text(info.field_nodes[0])
        identity = spec.name, arguments_text, str(info.path.key) if spec.is_mutation else ""
        if identity not in self.runs:
            same = [
                node
                for node in _selected(info, info.operation.selection_set)
                if node.name.value == spec.name and _arguments_text(node) == arguments_text
            ]
            requested = _shown(spec, info, same) if spec.strategy != "pick" else [spec.picked]
            if spec.is_mutation:
                hidden = {step.fallback_step for step in spec.steps.values()}
                requested = [step for step in spec.steps if step not in hidden]
            steps = Steps(self.case, spec, arguments)
            self.runs[identity] = steps, steps.run(requested)
        return self.runs[identity]

    def value(self, outcome: Outcome, shown: frozenset[str], info: Info) -> object:
        """Return the value of a step for the field that it fills."""
        value = self.levels.values[self.field_path(info)] = _value(outcome, shown)
        return value

    def flattened_object(
        self, step: str, outcome: Outcome, shown: list[str], path: tuple[str | int, ...]
    ) -> Mapping[str, object] | None:
        """Return the object of a flattened step, or None when it is missing, which is an error of the operation."""
        try:
            value = _value(outcome, frozenset(shown))
        except _StepError as error:
            failure = error.failure
            self.operation_errors.setdefault(path[0], []).append((path, failure.code, failure.step, failure.status))
            return None
        if isinstance(value, dict) or value is None:
            return value or {}
        self.operation_errors.setdefault(path[0], []).append((path, Code.RESPONSE_VALIDATION_FAILED, step, None))
        return None

    def composite_field(self, composite: _Composite, info: Info) -> object:
        step, key = composite.spec.origins[info.field_name]
        self.steps[tuple(info.path.as_list())] = step
        if key is None:
            return self.value(composite.outcomes[step], composite.shown, info)
        source_object = composite.objects[step]
        if source_object is None and isinstance(info.return_type, GraphQLNonNull):
            raise _ReportedElsewhere
        value = self.levels.values[self.field_path(info)] = source_object.get(key) if source_object is not None else None
        return value

    def error_key(self, error: GraphQLError) -> ErrorKey | None:
        """Return the compared parts of an executor's error; None for one that is reported elsewhere."""
        path = tuple(error.path or ())
        if isinstance(error.original_error, _ReportedElsewhere):
            return None
        if isinstance(error.original_error, _StepError):
            failure = error.original_error.failure
            return path, failure.code, failure.step, failure.status
        step = next(found for length in range(len(path), 0, -1) if (found := self.steps.get(path[:length])))
        return path, Code.RESPONSE_VALIDATION_FAILED, step, None


def _value(outcome: Outcome, shown: frozenset[str]) -> object:
    """Return the value of a step. A Skipped one is null, unless the failure that caused it has no field of its own to report it."""
    if isinstance(outcome, Success):
        return outcome.value
    if isinstance(outcome, Failure):
        raise _StepError(outcome)
    if outcome.cause is not None and outcome.cause.step not in shown:
        raise _StepError(outcome.cause)
    return None


def _typed_path(info: Info) -> tuple[tuple[str, str], ...]:
    fields: list[tuple[str, str]] = []
    path: Path | None = info.path
    while path is not None:
        if path.typename is not None:
            fields.append((path.typename, str(path.key)))
        path = path.prev
    return tuple(reversed(fields))


def _arguments_text(node: FieldNode) -> str:
    return ", ".join(sorted(print_ast(argument) for argument in node.arguments or ()))


def _shown(spec: OperationSpec, info: Info, nodes: Sequence[FieldNode]) -> list[str]:
    """Return the steps whose fields are selected of a composite, in order."""
    names = [part.name.value for node in nodes if node.selection_set for part in _selected(info, node.selection_set)]
    return list(dict.fromkeys(spec.origins[name][0] for name in names if name in spec.origins))


def _selected(info: Info, selection_set: SelectionSetNode, parent: GraphQLObjectType | None = None) -> Iterator[FieldNode]:
    """Yield the selected fields of an object type. Without ``parent`` it is one that implements no interface, so all fragments apply."""
    for selection in selection_set.selections:
        if not all(_is_included(info, directive) for directive in selection.directives or ()):
            continue
        if isinstance(selection, FieldNode):
            yield selection
            continue
        fragment = info.fragments[selection.name.value] if isinstance(selection, FragmentSpreadNode) else selection
        assert isinstance(fragment, FragmentDefinitionNode | InlineFragmentNode)
        if parent is None or fragment.type_condition is None or _applies(info, fragment.type_condition.name.value, parent):
            yield from _selected(info, fragment.selection_set, parent)


def _applies(info: Info, condition: str, parent: GraphQLObjectType) -> bool:
    named = info.schema.type_map[condition]
    return named is parent or (is_abstract_type(named) and info.schema.is_sub_type(named, parent))


def _is_included(info: Info, directive: Any) -> bool:
    value = directive.arguments[0].value
    given = info.variable_values.coerced[value.name.value] if isinstance(value, VariableNode) else value.value
    return bool(given) is (directive.name.value == "include")


def _type_of(value: object, *_: object) -> str:
    """Return the ``__typename`` of a value."""
    if isinstance(value, dict) and isinstance(value.get("__typename"), str):
        return cast("str", value["__typename"])
    raise GraphQLError("The value does not tell its type.")


@lru_cache(maxsize=4)
def _schema(text: str) -> GraphQLSchema:
    schema = build_schema(text)
    roots = (schema.query_type, schema.mutation_type)
    for declared in schema.type_map.values():  # except introspection types, which all schemas share
        if isinstance(declared, GraphQLObjectType) and declared not in roots and not is_introspection_type(declared):
            declared.is_type_of = _is_object
    return schema


def _is_object(value: object, _: Info) -> bool:
    return isinstance(value, dict | _Composite)


def answer_by_executor(case: Case) -> Expected:
    """Run a case with graphql-core."""
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
    errors: list[ErrorKey] = []
    for key in result.data or {}:
        errors += resolvers.operation_errors.get(key, [])
        keys = [resolvers.error_key(error) for error in result.errors or () if error.path and error.path[0] == key]
        errors += [error_key for error_key in keys if error_key]
    is_mutation = any(getattr(node, "operation", None) is OperationType.MUTATION for node in document.definitions)
    return Expected(
        json.dumps(result.data),
        errors,
        [call for run, _ in resolvers.runs.values() for call in run.calls],
        resolvers.levels.calls,
        in_order=is_mutation,
        is_cut=any(blocked for _, blocked in resolvers.runs.values()),
    )
