"""One decoded operation → its part of the Blueprint. It is a compilation unit: it is checked independently of all other operations."""

from collections.abc import Iterable

from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLType, get_named_type, is_composite_type

from gateway.blueprint import Argument, Operation, Priority, Step
from gateway.blueprint.graph import Graph, closure, fallback_only_steps, find_cycles, written_order
from gateway.errors import Problem, did_you_mean
from gateway.load.check.arguments import read_arguments
from gateway.load.check.composite import read_aggregation
from gateway.load.check.draft import CheckContext, StepDraft, read_draft
from gateway.load.check.references import RESERVED, Scope, resolve_type
from gateway.load.check.sensitive_steps import sensitive_steps
from gateway.load.check.step import StepScope, build_step
from gateway.load.read.decode import Decoded, DecodedOperation
from gateway.settings import OperationKeys, StepKeys


def build_operation(decoded: DecodedOperation, check_context: CheckContext, problems: list[Problem]) -> Operation | None:
    """Check an operation and return it; None if there is any problem, which is added to ``problems``."""
    before = len(problems)
    builder = _OperationBuilder(decoded, check_context, problems)
    builder.check()
    # The problem of a step that could not be decoded was reported before, so it does not count here.
    has_all_steps = decoded.step_names == set(builder.drafts)
    return builder.build() if len(problems) == before and has_all_steps else None


class _OperationBuilder:
    """Checks one operation, and builds it if there is no problem."""

    def __init__(self, decoded: DecodedOperation, check_context: CheckContext, problems: list[Problem]) -> None:
        self.operation = decoded.operation
        self.keys: OperationKeys = decoded.operation.keys
        self.step_names = decoded.step_names
        self.overlay_fields = decoded.overlay_fields
        self.check_context = check_context
        self.problems = problems
        self.aggregation = read_aggregation(decoded.operation, check_context.types, problems)
        distinct = self._distinct(decoded.steps)
        self.drafts = {step.keys.name: self._draft(step) for step in distinct}
        self.arguments = self._arguments()

    def _draft(self, step: Decoded[StepKeys]) -> StepDraft:
        return read_draft(step, self.check_context, self.aggregation.declared_type(step.keys), self.problems)

    def check(self) -> None:
        """Report all problems."""
        names = Scope(
            {argument.name: self._type_of(argument.type) for argument in self.arguments},
            dict.fromkeys(self.step_names) | {name: self._type_of(draft.returns) for name, draft in self.drafts.items()},
            context=self.check_context.context,
        )
        for draft in self.drafts.values():
            self._check_step(draft, names)
        self._check_names()
        self.aggregation.check(self.drafts, self.step_names, self.overlay_fields)
        self._check_cycles()

    def build(self) -> Operation:
        """Return the operation. Only valid without problems."""
        arguments = tuple(argument.name for argument in self.arguments)
        sensitive = sensitive_steps(self.drafts, self.arguments, self.aggregation.sensitive_fields(), self.check_context.types)
        scope = StepScope(arguments, frozenset(self.drafts), self._paths_read(), sensitive)
        return Operation(
            name=self.keys.operation,
            description=self.keys.description,
            deprecated=self.keys.deprecated,
            is_mutation=self.keys.kind == "mutation",
            place=self.operation.place,
            arguments=self.arguments,
            are_arguments_inferred=self.keys.args is None,
            deadline=self.keys.deadline_ms / 1000,
            concurrency=self.keys.concurrency,
            steps={name: self._step(draft, scope) for name, draft in self.drafts.items()},
            strategy=self.aggregation.strategy(self.drafts),
            priority=Priority[self.keys.priority.upper()],
        )

    # -- names and arguments

    def _distinct(self, steps: tuple[Decoded[StepKeys], ...]) -> list[Decoded[StepKeys]]:
        distinct: dict[str, Decoded[StepKeys]] = {}
        for step in steps:
            if step.keys.name in distinct:
                self._report(step, ("name",), f"a second step of the name '{step.keys.name}'", "duplicate-name")
            distinct.setdefault(step.keys.name, step)
        return list(distinct.values())

    def _check_names(self) -> None:
        if self.keys.operation.startswith("__"):
            self._report(self.operation, ("operation",), "names that begin with '__' belong to GraphQL", "reserved-name")
        given = {argument.name for argument in self.arguments}
        for name in given:
            if name in RESERVED or name.startswith("__"):
                message = f"the name '{name}' is reserved; choose another"
                self.problems.append(self.operation.problem(("args", name), message, "reserved-name", is_about_key=True))
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
        read = read_arguments(self.operation, self.keys.args, self.check_context.types, self.problems)
        return tuple(item.argument for item in read)

    # -- steps

    def _type_of(self, text: str) -> GraphQLType | None:
        resolved = resolve_type(text, self.check_context.types) if self.check_context.types else None
        return None if isinstance(resolved, str) else resolved

    def _check_step(self, draft: StepDraft, names: Scope) -> None:
        for placed in draft.placed:
            mistake = names.mistake(placed.reference.path)
            if mistake:
                self._report(draft.decoded, placed.path, *mistake)
            elif self._is_whole_object(placed.reference.path):
                message = f"'{placed.reference}' is an object, of which only named fields are fetched; name the fields: '{placed.reference}.name'"
                self._report(draft.decoded, placed.path, message, "whole-object")
        self._check_expressions(draft, names)
        for index, name in enumerate(draft.keys.depends_on):
            self._check_step_name(draft.decoded, ("depends_on", index), name)
        self._check_fallbacks(draft)
        if draft.keys.batch is not None:
            self._report(draft.decoded, ("batch",), "'batch' belongs to the step of a link; remove it", "unused-key")
        for problem in draft.key_problems([argument.name for argument in self.arguments]):
            self.problems.append(draft.decoded.from_key_problem(problem))

    def _is_whole_object(self, path: tuple[str, ...]) -> bool:
        """Tell whether a reference reads a whole object of a step that fetches only selected fields: nothing says which to fetch."""
        step = self.drafts.get(path[0])
        if step is None or not step.step_type.takes_selection(step.keys):
            return False
        current = get_named_type(self._type_of(step.returns))
        for name in path[1:]:
            if not name.isdecimal():
                current = (
                    get_named_type(current.fields[name].type)
                    if isinstance(current, GraphQLObjectType | GraphQLInterfaceType)
                    else None
                )
        return is_composite_type(current)

    def _check_expressions(self, draft: StepDraft, names: Scope) -> None:
        for key, path in draft.scope_paths:
            mistake = names.mistake(path) if path else ("'@' reads everything; name what is needed", "unknown-reference")
            if path[:1] == ("request",):
                mistake = ("an expression reads arguments, steps and context, not the request", "unknown-reference")
            if mistake:
                # In JMESPath double quotes quote a name, not a text: a frequent slip.
                quotes = "; text takes single quotes" if f'"{path[0] if path else ""}"' in getattr(draft.keys, key) else ""
                self._report(draft.decoded, (key,), mistake[0] + quotes, mistake[1])

    def _check_step_name(
        self, decoded: Decoded[StepKeys] | Decoded[OperationKeys], path: tuple[str | int, ...], name: str
    ) -> None:
        if name not in self.step_names:
            hint = did_you_mean(name, self.step_names) or "; it is not a step of this operation"
            self._report(decoded, path, f"unknown step '{name}'{hint}", "unknown-step")

    def _check_fallbacks(self, draft: StepDraft) -> None:
        for index, fallback in enumerate(draft.fallbacks):
            if fallback.step is not None:
                self._check_step_name(draft.decoded, ("fallback", index, "step"), fallback.step)
                other = self.drafts.get(fallback.step)
                if other and "JSON" not in {other.returns, draft.returns} and other.returns != draft.returns:
                    message = f"'{fallback.step}' returns '{other.returns}', not '{draft.returns}'"
                    self._report(draft.decoded, ("fallback", index, "step"), message, "type-conflict")

    def _step(self, draft: StepDraft, scope: StepScope) -> Step:
        name = draft.keys.name
        is_required = name in self.keys.aggregation.required_steps
        return build_step(
            draft, self.check_context, scope, name=name, returns=self._effective_returns(draft), is_required=is_required
        )

    def _paths_read(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """Return the paths into each step's value that any step reads."""
        paths: dict[str, tuple[tuple[str, ...], ...]] = {}
        for draft in self.drafts.values():
            for path in (*(placed.reference.path for placed in draft.placed), *(path for _, path in draft.scope_paths)):
                if path and path[0] in self.drafts:
                    paths[path[0]] = (*paths.get(path[0], ()), path[1:])
        return paths

    def _effective_returns(self, draft: StepDraft) -> str:
        """Return the type of a step. A step without ``returns`` that is only a fallback has the type of the step that it replaces."""
        if draft.keys.returns is None and not draft.keys.expose:
            for other in self.drafts.values():
                if draft.keys.name in other.fallback_steps:
                    return other.returns
        return draft.returns

    # -- order

    def _check_cycles(self) -> None:
        prerequisites = {name: self._known(draft.prerequisites) for name, draft in self.drafts.items()}
        graph: Graph = {name: [*others, *self._known(self.drafts[name].fallback_steps)] for name, others in prerequisites.items()}
        hint = ""
        # Written order counts only where the references alone have no cycle, or else the hint would be wrong.
        if self.keys.kind == "mutation" and not any(find_cycles(graph)):
            hint = "; a mutation runs its steps in written order, except those with 'expose: false' that are only fallbacks"
            graph = self._in_written_order(graph, prerequisites)
        for cycle in find_cycles(graph):
            draft = self.drafts[cycle[0]]
            self._report(draft.decoded, (), f"the steps wait for each other: {' → '.join((*cycle, cycle[0]))}{hint}", "cycle")

    def _in_written_order(self, graph: Graph, prerequisites: Graph) -> Graph:
        """Return a graph in which each step also waits for the one written before it, except steps that run only as fallbacks."""
        eager = closure(prerequisites.keys() - fallback_only_steps(self.drafts), prerequisites.__getitem__)
        before = written_order({name: others for name, others in prerequisites.items() if name in eager})
        return {name: [*others, *([before[name]] if name in before else [])] for name, others in graph.items()}

    def _known(self, names: Iterable[str]) -> list[str]:
        """Return those names that are steps. The others are arguments, or unknown and reported elsewhere."""
        return [name for name in names if name in self.drafts]

    def _report(
        self,
        decoded: Decoded[StepKeys] | Decoded[OperationKeys],
        path: tuple[str | int, ...],
        message: str,
        code: str,
    ) -> None:
        self.problems.append(decoded.problem(path, message, code))
