"""One decoded operation → its part of the Blueprint: a compile unit of its own, checked apart from all others."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from graphql import GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLType, is_input_type

from gateway.blueprint import (
    Argument,
    Fallback,
    FallbackStep,
    FallbackValue,
    Operation,
    Origin,
    Retry,
    Source,
    Step,
    Strategy,
)
from gateway.config.decode import Decoded, DecodedOperation
from gateway.config.graph import find_cycles
from gateway.config.references import (
    RESERVED,
    Names,
    PlacedReference,
    placed_references,
    read_templates,
    resolve_type,
)
from gateway.config.sdl import ROOT_TYPES
from gateway.errors import Problem, nearest
from gateway.expression import Expression, ExpressionError, compile_expression
from gateway.resolver import StepType
from gateway.settings import OperationKeys, RetryKeys, StepKeys
from gateway.template import references


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an operation is checked against: sources with their templates, default sources, step types, and the SDL's types."""

    sources: Mapping[str, Source]
    source_templates: Mapping[str, Mapping[str, object]]
    source_names: frozenset[str]
    defaults: Mapping[str, str]
    step_types: Mapping[str, StepType]
    types: GraphQLSchema | None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A step on its way: its keys, its own templates, and what these and its conditions refer to."""

    decoded: Decoded[StepKeys]
    step_type: StepType
    source: Source | None
    templates: Mapping[str, object]
    placed: list[PlacedReference]
    when: Expression | None
    select: Expression | None
    returns: str

    @property
    def keys(self) -> StepKeys:
        return self.decoded.keys

    @property
    def field(self) -> str:
        return self.keys.as_ or self.keys.name


def build_operation(decoded: DecodedOperation, around: Surroundings, problems: list[Problem]) -> Operation | None:
    """Check an operation and return it, or None when a problem (added to ``problems``) keeps it from being served."""
    before = len(problems)
    rules = _Rules(decoded, around, problems)
    rules.check()
    return rules.assemble() if len(problems) == before else None


class _Rules:
    def __init__(self, decoded: DecodedOperation, around: Surroundings, problems: list[Problem]) -> None:
        self.operation = decoded.operation
        self.keys: OperationKeys = decoded.operation.keys
        self.step_names = decoded.step_names
        self.around = around
        self.problems = problems
        self.declared = self._declared_composite()
        self.drafts = {step.keys.name: self._draft(step) for step in self._distinct(decoded.steps)}

        self.arguments = self._arguments()

    def check(self) -> None:
        """Report everything that is wrong."""
        names = Names(
            {argument.name: self._type_of(argument.type) for argument in self.arguments},
            dict.fromkeys(self.step_names) | {name: self._type_of(draft.returns) for name, draft in self.drafts.items()},
        )
        for draft in self.drafts.values():
            self._check_step(draft, names)
        self._check_names()
        self._check_aggregation()
        self._check_cycles()

    def assemble(self) -> Operation:
        """Return the operation, given that nothing is wrong."""
        strategy = Strategy(self.keys.aggregation.strategy)
        picked = self.drafts[self.keys.aggregation.step or ""] if strategy is Strategy.PICK else None
        return Operation(
            name=self.keys.operation,
            description=self.keys.description,
            place=self.operation.place,
            arguments=self.arguments,
            are_arguments_inferred=self.keys.args is None,
            deadline=self.keys.deadline_ms / 1000,
            concurrency=self.keys.concurrency,
            steps={name: self._step(draft) for name, draft in self.drafts.items()},
            strategy=strategy,
            returns=picked.returns.removesuffix("!") if picked else self.composite,
            picked=picked.keys.name if picked else None,
            origins={} if strategy is Strategy.PICK else self._origins(strategy),
        )

    # -- names and arguments

    @property
    def composite(self) -> str:
        """The name of the operation's type."""
        name = self.keys.operation
        return self.keys.type or name[0].upper() + name[1:]

    def _declared_composite(self) -> GraphQLObjectType | None:
        declared = self.around.types.type_map.get(self.composite) if self.around.types else None
        if declared is None or self.keys.aggregation.strategy == "pick":
            return None
        if isinstance(declared, GraphQLObjectType):
            return declared
        path = ("type",) if self.keys.type else ("operation",)
        message = f"the operation's type '{self.composite}' is declared, but not as an object type; give the operation another with 'type:'"
        self._report(self.operation, path, message, "type-conflict")
        return None

    def _distinct(self, steps: tuple[Decoded[StepKeys], ...]) -> list[Decoded[StepKeys]]:
        distinct: dict[str, Decoded[StepKeys]] = {}
        for step in steps:
            if step.keys.name in distinct:
                self._report(step, ("name",), f"a second step of the name '{step.keys.name}'", "duplicate-name")
            distinct.setdefault(step.keys.name, step)
        return list(distinct.values())

    def _check_names(self) -> None:
        if self.composite in ROOT_TYPES or self.keys.operation.startswith("__"):
            self._report(self.operation, ("operation",), "the name belongs to GraphQL; choose another", "reserved-name")
        given = {argument.name for argument in self.arguments}
        for name in given & set(RESERVED):
            self._report(self.operation, ("args", name), f"the name '{name}' is reserved", "reserved-name")
        for name, draft in self.drafts.items():
            if name in RESERVED:
                self._report(
                    draft.decoded,
                    ("name",),
                    f"the name '{name}' is reserved; choose another",
                    "reserved-name",
                )
            if name in given:
                self._report(
                    draft.decoded,
                    ("name",),
                    f"an argument has the name '{name}' too; rename one",
                    "duplicate-name",
                )
        self._check_fields()

    def _check_fields(self) -> None:
        fields: dict[str, str] = {}
        for name, draft in self.drafts.items():
            path = ("as",) if draft.keys.as_ else ("name",)
            if draft.field.startswith("__"):
                self._report(draft.decoded, path, "names that begin with '__' belong to GraphQL", "reserved-name")
            if not draft.keys.expose:
                continue
            if draft.field in fields:
                message = f"the step '{fields[draft.field]}' fills the field '{draft.field}' too; rename one with 'as:'"
                self._report(draft.decoded, path, message, "duplicate-field")
            fields.setdefault(draft.field, name)

    def _arguments(self) -> tuple[Argument, ...]:
        if self.keys.args is None:
            inferred = (placed.reference for draft in self.drafts.values() for placed in draft.placed)
            taken = self.step_names | set(RESERVED)
            names = dict.fromkeys(item.root for item in inferred if len(item.path) == 1 and item.root not in taken)
            return tuple(Argument(name, "ID!") for name in names)
        for name, text in self.keys.args.items():
            found = resolve_type(text, self.around.types) if self.around.types else None
            if isinstance(found, str):
                self._report(self.operation, ("args", name), found, "unknown-type")
            elif found is not None and not is_input_type(found):
                self._report(self.operation, ("args", name), f"'{text}' is not an input type", "not-an-input-type")
        return tuple(Argument(name, text) for name, text in self.keys.args.items())

    # -- steps

    def _draft(self, decoded: Decoded[StepKeys]) -> _Draft:
        step_type = self.around.step_types[decoded.keys.type]
        templates = read_templates(decoded, step_type.templated, self.problems)
        return _Draft(
            decoded,
            step_type,
            self._source(decoded, step_type),
            templates,
            placed_references(decoded, templates),
            self._expression(decoded, "when"),
            self._expression(decoded, "select"),
            self._returns(decoded),
        )

    def _source(self, decoded: Decoded[StepKeys], step_type: StepType) -> Source | None:
        if step_type.source_keys is None:
            if decoded.keys.source is not None:
                self._report(
                    decoded,
                    ("source",),
                    f"a step of the type '{step_type.name}' calls no source; remove it",
                    "unused-source",
                )
            return None
        candidates = [name for name, source in self.around.sources.items() if source.keys.type == step_type.name]
        name = decoded.keys.source or self.around.defaults.get(step_type.name)
        if name is None:
            message = f"no source; write 'source:', or a default in 'defaults: {{ {step_type.name}: … }}'"
            self._report(decoded, (), message, "missing-source")
        elif name in self.around.sources:
            source = self.around.sources[name]
            if source.keys.type == step_type.name:
                return source
            message = f"the source '{name}' is of the type '{source.keys.type}', not '{step_type.name}'"
            self._report(decoded, ("source",), message, "wrong-source")
        elif name not in self.around.source_names and decoded.keys.source is not None:
            hint = nearest(name, candidates) or "; declare it under 'sources:'"
            self._report(decoded, ("source",), f"unknown source '{name}'{hint}", "unknown-source")
        return None

    def _expression(self, decoded: Decoded[StepKeys], key: str) -> Expression | None:
        text = getattr(decoded.keys, key)
        if text is None:
            return None
        try:
            return compile_expression(text)
        except ExpressionError as error:
            self._report(decoded, (key,), f"not a JMESPath expression: {error}", "bad-expression")
            return None

    def _returns(self, decoded: Decoded[StepKeys]) -> str:
        """Return the type of a step as text: what it says itself, what the SDL says of its field, or JSON."""
        field = self.declared.fields.get(decoded.keys.as_ or decoded.keys.name) if self.declared and decoded.keys.expose else None
        said = decoded.keys.returns
        if field is not None and self.keys.aggregation.strategy == "merge":
            if said is not None and said != str(field.type):
                message = f"'{said}' is not the type of the field in the SDL, '{field.type}'; remove one of them"
                self._report(decoded, ("returns",), message, "type-conflict")
            return str(field.type)
        if said is not None and self.around.types is not None:
            found = resolve_type(said, self.around.types)
            if isinstance(found, str):
                self._report(decoded, ("returns",), found, "unknown-type")
                return "JSON"
        return said or "JSON"

    def _type_of(self, text: str) -> GraphQLType | None:
        found = resolve_type(text, self.around.types) if self.around.types else None
        return None if isinstance(found, str) else found

    def _check_step(self, draft: _Draft, names: Names) -> None:
        for placed in draft.placed:
            mistake = names.mistake(placed.reference.path)
            if mistake:
                self._report(draft.decoded, placed.path, *mistake)
        for path in draft.when.paths if draft.when else ():
            mistake = names.mistake(path) if path else ("'@' reads everything; name what is needed", "unknown-reference")
            if path[:1] == ("request",):
                mistake = ("'when' reads arguments, steps and context, not the request", "unknown-reference")
            if mistake:
                self._report(draft.decoded, ("when",), *mistake)
        for index, name in enumerate(draft.keys.depends_on):
            self._check_step_name(draft.decoded, ("depends_on", index), name)
        self._check_fallbacks(draft)
        for problem in draft.step_type.check(draft.keys, [argument.name for argument in self.arguments]):
            self._report(draft.decoded, (problem.key,), problem.message, problem.code)

    def _check_step_name(
        self, decoded: Decoded[StepKeys] | Decoded[OperationKeys], path: tuple[str | int, ...], name: str
    ) -> None:
        if name not in self.step_names:
            hint = nearest(name, self.step_names) or "; it is not a step of this operation"
            self._report(decoded, path, f"unknown step '{name}'{hint}", "unknown-step")

    def _check_fallbacks(self, draft: _Draft) -> None:
        for index, fallback in enumerate(draft.keys.fallback):
            if len(fallback.model_fields_set) != 1:
                self._report(
                    draft.decoded,
                    ("fallback", index),
                    "a fallback has exactly one of the keys step, value",
                    "bad-fallback",
                )
            elif fallback.step is not None:
                self._check_step_name(draft.decoded, ("fallback", index, "step"), fallback.step)
                other = self.drafts.get(fallback.step)
                if other and "JSON" not in {other.returns, draft.returns} and other.returns != draft.returns:
                    message = f"'{fallback.step}' returns '{other.returns}', not '{draft.returns}'"
                    self._report(draft.decoded, ("fallback", index, "step"), message, "type-conflict")

    def _step(self, draft: _Draft) -> Step:
        keys, source = draft.keys, draft.source
        templates = {
            **draft.templates,
            "source": self.around.source_templates.get(source.name, {}) if source else {},
        }
        inputs = draft.step_type.inputs(keys, templates, [argument.name for argument in self.arguments])
        read = dict.fromkeys(reference.path[:2] for reference in references(inputs))
        read |= dict.fromkeys(path[:2] for path in (draft.when.paths if draft.when else ()) if path)
        needs = tuple(dict.fromkeys(path[0] for path in read if path[0] in self.drafts))
        timeout_ms = keys.timeout_ms or (source.keys.timeout_ms if source else None) or draft.step_type.timeout_ms
        own = keys.model_dump_json(exclude={"name", "as_", "expose", "returns", "when", "depends_on", "fallback"})
        identity = f"{source.name if source else ''} {draft.returns.startswith('[')} {own}"
        return Step(
            name=keys.name,
            type=keys.type,
            keys=keys,
            source=source,
            place=draft.decoded.place,
            returns=self._effective_returns(draft),
            field=draft.field,
            is_exposed=keys.expose,
            is_required=keys.name in self.keys.aggregation.required_steps,
            is_idempotent=draft.step_type.is_idempotent(keys),
            inputs=inputs,
            when=draft.when,
            select=draft.select,
            needs=needs,
            follows=tuple(name for name in keys.depends_on if name not in needs),
            reads_request=any(path[0] == "request" for path in read),
            timeout=timeout_ms / 1000,
            retry=_retry(keys.retry or (source.keys.retry if source else RetryKeys(attempts=1))),
            fallbacks=tuple(_fallback(fallback.step, fallback.value) for fallback in keys.fallback),
            description=draft.step_type.describe(keys),
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        )

    def _effective_returns(self, draft: _Draft) -> str:
        """Return the type of a step; one without a type that only stands in for another has that other's."""
        if draft.keys.returns is None and not draft.keys.expose:
            for other in self.drafts.values():
                if any(fallback.step == draft.keys.name for fallback in other.keys.fallback):
                    return other.returns
        return draft.returns

    # -- order

    def _check_cycles(self) -> None:
        edges = {name: self._prerequisites(draft) for name, draft in self.drafts.items()}
        for cycle in find_cycles(edges):
            draft = self.drafts[cycle[0]]
            self._report(draft.decoded, (), f"the steps wait for each other: {' → '.join((*cycle, cycle[0]))}", "cycle")

    def _prerequisites(self, draft: _Draft) -> list[str]:
        read = [placed.reference.root for placed in draft.placed]
        read += [path[0] for path in (draft.when.paths if draft.when else ()) if path]
        read += draft.keys.depends_on
        read += [fallback.step for fallback in draft.keys.fallback if fallback.step]
        return [name for name in dict.fromkeys(read) if name in self.drafts]

    # -- aggregation

    def _check_aggregation(self) -> None:
        aggregation = self.keys.aggregation
        for index, name in enumerate(aggregation.required_steps):
            self._check_step_name(self.operation, ("aggregation", "required_steps", index), name)
        if aggregation.strategy == "pick":
            if aggregation.step is None:
                self._report(
                    self.operation,
                    ("aggregation",),
                    "the strategy 'pick' needs 'step: <name>'",
                    "missing-key",
                )
            else:
                self._check_step_name(self.operation, ("aggregation", "step"), aggregation.step)
            return
        if aggregation.step is not None:
            message = f"'step' belongs to the strategy 'pick', not to '{aggregation.strategy}'; remove it"
            self._report(self.operation, ("aggregation", "step"), message, "unused-key")
        if self.drafts and not any(draft.keys.expose for draft in self.drafts.values()):
            self._report(self.operation, ("steps",), "no step is exposed, so the operation has no field", "no-field")
        if aggregation.strategy == "flatten":
            self._check_flatten()
        self._check_declared_fields()

    def _check_flatten(self) -> None:
        owners: dict[str, str] = {}
        for name, draft in self.drafts.items():
            returned = self._object_of(draft)
            if draft.keys.expose and returned is None and self.around.types is not None:
                message = f"'flatten' needs steps that return an object type, not '{draft.returns}'; give it 'returns:'"
                self._report(draft.decoded, ("returns",), message, "flatten-needs-object")
            for field in returned.fields if draft.keys.expose and returned else ():
                if field in owners:
                    message = f"the field '{field}' comes from '{owners[field]}' too; use 'merge', or 'select:' other names"
                    self._report(draft.decoded, ("returns",), message, "duplicate-field")
                owners.setdefault(field, name)

    def _object_of(self, draft: _Draft) -> GraphQLObjectType | None:
        returned = self._type_of(draft.returns)
        returned = returned.of_type if isinstance(returned, GraphQLNonNull) else returned
        return returned if isinstance(returned, GraphQLObjectType) else None

    def _check_declared_fields(self) -> None:
        if self.declared is None:
            return
        origins = self._origins(Strategy(self.keys.aggregation.strategy))
        filled = set(origins) | {str(draft.keys.as_ or name) for name, draft in self.drafts.items()} | self.step_names
        for field in self.declared.fields:
            if field not in filled:
                message = f"no step fills the field '{field}' of the type '{self.composite}'{nearest(field, origins)}"
                self._report(self.operation, ("steps",), message, "unfilled-field")

    def _origins(self, strategy: Strategy) -> dict[str, Origin]:
        """Return where each field of the composite comes from: first those that the SDL declares, then the others in file order."""
        exposed = [draft for draft in self.drafts.values() if draft.keys.expose]
        if strategy is Strategy.MERGE:
            origins = {draft.field: Origin(draft.keys.name) for draft in exposed}
        else:
            objects = [(draft, self._object_of(draft)) for draft in exposed]
            origins = {field: Origin(draft.keys.name, field) for draft, found in objects if found for field in found.fields}
        first = [field for field in (self.declared.fields if self.declared else ()) if field in origins]
        return {field: origins[field] for field in dict.fromkeys((*first, *origins))}

    def _report(
        self,
        decoded: Decoded[StepKeys] | Decoded[OperationKeys],
        path: tuple[str | int, ...],
        message: str,
        code: str,
    ) -> None:
        self.problems.append(decoded.problem(path, message, code))


def _retry(keys: RetryKeys) -> Retry:
    return Retry(keys.attempts, frozenset(str(error) for error in keys.errors), keys.base_ms / 1000, keys.cap_ms / 1000)


def _fallback(step: str | None, value: object) -> Fallback:
    return FallbackStep(step) if step is not None else FallbackValue(value)
