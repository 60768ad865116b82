"""The text of a request → a parsed, validated document, and for each way to ask it a plan with its projection: work done once per text."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    execute,
    parse,
)

from gateway.answer.projection import Projection, compile_projection
from gateway.blueprint import Blueprint, Priority
from gateway.cycles import cut_tokens
from gateway.document.coercion import NO_VARIABLES, ArgumentCoercion, VariableCoercion, Variables, told, told_once
from gateway.document.limits import MOST_TOKENS, Size, exceeded, measure
from gateway.document.redaction import read_discreetly
from gateway.document.selection import INTROSPECTION, condition_variables, field_names, root_names, select
from gateway.document.validation import mistakes
from gateway.errors import Code, RequestError
from gateway.plan.cost import Cost, cost_of
from gateway.plan.nodes import Plan
from gateway.plan.planner import plan
from gateway.run import Arguments
from gateway.telemetry.counters import StepMeter
from gateway.telemetry.telemetry import Telling

log = getLogger("stepgraph.document")

MAX_PLANS = 64


@dataclass(slots=True)
class Planned:
    """One operation definition under one set of conditions: its plan, its projection, its arguments, and its introspection fields."""

    plan: Plan
    project: Projection
    calls: tuple[ArgumentCoercion, ...]
    links: Mapping[int, ArgumentCoercion]
    introspection: DocumentNode | None
    cost: Cost
    deadline: float
    """Seconds from the arrival of a request after which there is no use in beginning with it."""
    operations: tuple[str, ...] = ()
    """The names of the operations that are asked for."""
    meters: tuple[StepMeter, ...] = ()
    """What counts the steps of its nodes."""
    is_constant: bool = False
    """Whether all its requests have the same answer."""
    is_shaped: bool = False
    """Whether an answer may have objects in it that were read by a shape."""
    fixed: Arguments | None = None
    """The arguments, where the definition has no variables and so they are the same in all requests."""
    answer: bytes | None = None
    """That answer in JSON text, once it is known."""

    def arguments(self, variables: Variables) -> Arguments:
        """Return the coerced arguments of operation calls and links.

        :raises RequestError: a variable is null where the argument may not be.
        """
        calls, links = [coerce(variables) for coerce in self.calls], self.links
        return Arguments(calls, {index: coerce(variables) for index, coerce in links.items()} if links else {})


@dataclass(frozen=True, slots=True)
class Definition:
    """An operation definition of a document that was read; ``planned`` is filled as it is asked.

    ``conditions`` are the variables that decide what is selected: those that it declares itself.
    """

    node: OperationDefinitionNode
    document: DocumentNode
    variables: VariableCoercion
    """Coerces the variables of a request, and raises RequestError."""
    conditions: tuple[str, ...]
    overlaid: tuple[str, ...]
    """The fields of the document that are operations with overlays."""
    planned: dict[tuple[object, ...], Planned] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """The name that the document gives it."""
        return self.node.name.value if self.node.name else None

    @property
    def is_mutation(self) -> bool:
        """Whether it may change something."""
        return self.node.operation is OperationType.MUTATION


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read.

    ``mistakes`` are the errors of validation; with any the document is not executed. They are kept, as they are costly to find.
    """

    definitions: tuple[Definition, ...]
    mistakes: tuple[dict[str, object], ...]
    by_name: Mapping[str | None, Definition]
    """Those of them that have a name, the first of each."""
    priority: Priority = Priority.NORMAL
    """That of the most important operation that it asks for."""

    def definition(self, name: str | None, *, is_read_only: bool) -> Definition:
        """Return the operation definition that a request asks for (GraphQL spec 6.1 GetOperation).

        :raises RequestError: there is none, or it is a mutation in a read-only request, or the document is not valid.
        """
        definition = self.by_name.get(name) or self._unnamed(name)
        if is_read_only and definition.is_mutation:
            message = "A mutation cannot be sent with GET; use POST."
            raise RequestError(Code.MUTATION_NOT_ALLOWED_OVER_HTTP_GET, 405, {"message": message})
        if self.mistakes:
            raise RequestError(Code.GRAPHQL_VALIDATION_FAILED, 400, *self.mistakes)
        return definition

    def _unnamed(self, name: str | None) -> Definition:
        if name is None and len(self.definitions) == 1:
            return self.definitions[0]
        message = "Must provide operation name if query contains multiple operations."
        if name is not None:
            message = f"Unknown operation named '{name[:80]}'."
        elif not self.definitions:
            message = "The document contains no operation."
        raise RequestError(Code.OPERATION_RESOLUTION_FAILURE, 400, {"message": message})


@dataclass(frozen=True, slots=True)
class Documents:
    """Makes documents and plans for one blueprint and its schema."""

    blueprint: Blueprint
    schema: GraphQLSchema
    is_development: bool
    telling: Telling = field(default_factory=Telling)

    @property
    def hides_suggestions(self) -> bool:
        """Whether errors suggest no names."""
        suggests = self.blueprint.limits.suggestions
        return not (self.is_development if suggests is None else suggests)

    @property
    def is_introspective(self) -> bool:
        """Whether clients may ask for the schema."""
        allowed = self.blueprint.limits.introspection
        return self.is_development if allowed is None else allowed

    def read(self, text: str) -> Document:
        """Parse and validate a document.

        :raises RequestError: it is larger than allowed, or cannot be parsed. What validation finds stands in the document.
        """
        is_circular = self._measure(text).is_circular
        try:
            node = parse(text)
            discreet = read_discreetly(node, self.blueprint.sensitive)
            found = mistakes(self.schema, node, is_circular=is_circular, hides_suggestions=self.hides_suggestions)
            told_mistakes = tuple(discreet.told(mistake) for mistake in told_once(found))
            conditions = condition_variables(node)
            fields = field_names(node) if self.blueprint.overlaid else frozenset()
            cut_tokens([node])
        except GraphQLError as error:
            raise RequestError(Code.GRAPHQL_PARSE_FAILED, 400, told(error)) from None
        except RecursionError:
            raise _too_deep() from None
        nodes = [definition for definition in node.definitions if isinstance(definition, OperationDefinitionNode)]
        if told_mistakes:
            node, nodes = DocumentNode(definitions=()), [_named(definition) for definition in nodes]
        overlaid = tuple(sorted(self.blueprint.overlaid & fields))
        made = tuple(self._definition(node, definition, conditions, overlaid) for definition in nodes)
        by_name: dict[str | None, Definition] = {
            definition.name: definition for definition in reversed(made) if definition.name is not None
        }
        return Document(made, told_mistakes, by_name, Priority.NORMAL if told_mistakes else self._priority(node))

    def _priority(self, node: DocumentNode) -> Priority:
        asked = (self.blueprint.operations.get(name) for name in root_names(node))
        return max((operation.priority for operation in asked if operation is not None), default=Priority.NORMAL)

    def _definition(
        self, document: DocumentNode, node: OperationDefinitionNode, conditions: frozenset[str], overlaid: tuple[str, ...]
    ) -> Definition:
        declared = [variable.variable.name.value for variable in node.variable_definitions or ()]
        discreet = read_discreetly(document, self.blueprint.sensitive)
        limits = self.blueprint.limits
        coercion = VariableCoercion(self.schema, node, limits, discreet, hides_suggestions=self.hides_suggestions)
        return Definition(node, document, coercion, tuple(name for name in declared if name in conditions), overlaid)

    def _measure(self, text: str) -> Size:
        """Measure a document that has not been parsed yet.

        :raises RequestError: it is larger than a limit allows.
        """
        limits = self.blueprint.limits
        most_tokens = limits.max_tokens if limits.mode == "enforce" else max(limits.max_tokens, MOST_TOKENS)
        size = measure(text, most_tokens)
        found = list(exceeded(size, limits))
        if found and (limits.mode == "enforce" or size.tokens > most_tokens):
            errors: list[dict[str, object]] = [{"message": said, "extensions": {"code": str(code)}} for code, said in found]
            raise RequestError(found[0][0], 400, *errors)
        for code, message in found:
            log.warning(message, extra={"code": str(code)})
        return size

    def plan(self, definition: Definition, variables: Variables, effective: Blueprint | None = None) -> Planned:
        """Return the plan of a definition under the conditions that its variables set; each is made once.

        ``effective`` is the blueprint as it holds for the request; left out: the one without overlays.
        """
        blueprint = effective or self.blueprint
        identity: tuple[object, ...] = ()
        if definition.conditions or definition.overlaid:
            identity = (
                *(variables.coerced.get(name) for name in definition.conditions),
                *(blueprint.operations[name] for name in definition.overlaid),
            )
        planned = definition.planned.get(identity)
        if planned is None:
            if len(definition.planned) >= MAX_PLANS:
                del definition.planned[next(iter(definition.planned))]
            try:
                planned = definition.planned[identity] = self._plan(definition, variables, blueprint)
            except RecursionError:
                raise _too_deep() from None
        return planned

    def plan_again(self, document: Document, earlier: Document) -> None:
        """Make the plans that the document of the same text had in an earlier generation, overlays left aside."""
        if document.mistakes:
            return
        for definition, old in zip(document.definitions, earlier.definitions, strict=True):
            for identity in list(old.planned):
                values = dict(zip(old.conditions, identity[: len(old.conditions)], strict=True))
                with suppress(RequestError):
                    self.plan(definition, Variables.of_conditions(values))

    def _plan(self, definition: Definition, variables: Variables, blueprint: Blueprint) -> Planned:
        conditions = {name: variables.coerced.get(name) for name in definition.conditions}
        for name, value in conditions.items():
            if not isinstance(value, bool):
                raise RequestError(Code.BAD_USER_INPUT, 400, {"message": f"The variable '${name}' of a condition is null."})
        selection = select(self.schema, definition.document, definition.node, conditions)
        asks_for_schema = any(selected.name in INTROSPECTION for selected in selection)
        if asks_for_schema and not self.is_introspective:
            message = "Introspection is switched off."
            raise RequestError(Code.INTROSPECTION_DISABLED, 403, {"message": message})
        made = plan(blueprint, selection, is_mutation=definition.is_mutation)
        introspection = None
        if asks_for_schema:
            nodes = tuple(node for selected in selection if selected.name in INTROSPECTION for node in selected.nodes)
            introspection = _introspection_document(definition, nodes)
        root = "Mutation" if made.is_mutation else "Query"
        calls = tuple(self._arguments(root, call.field) for call in made.calls)
        links = {
            node.index: self._arguments(node.use.link.type, node.use.field)
            for node in made.nodes
            if node.use and node.use.link.arguments
        }
        cost = cost_of(made, self.schema.type_map, self.blueprint.limits.list_size)
        names = tuple(call.operation.name for call in made.calls)
        deadline = max((call.deadline for call in made.calls), default=math.inf)
        meters = self.telling.meters(made)
        is_constant = made.is_constant and introspection is None and not definition.node.variable_definitions
        project = compile_projection(made)
        is_shaped = any(node.shape for node in made.nodes)
        planned = Planned(made, project, calls, links, introspection, cost, deadline, names, meters, is_constant, is_shaped)
        if not definition.node.variable_definitions:
            with suppress(RequestError):  # which each request is told when it asks for its arguments
                planned.fixed = planned.arguments(NO_VARIABLES)
        return planned

    def _arguments(self, owner: str, node: FieldNode) -> ArgumentCoercion:
        return ArgumentCoercion(self.schema.type_map[owner].fields[node.name.value], node)  # type: ignore[attr-defined]

    def introspect(self, planned: Planned, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values of the introspection fields by response key; graphql-core answers them."""
        if planned.introspection is None:
            return {}
        result = execute(self.schema, planned.introspection, variable_values=dict(values))
        assert isinstance(result, ExecutionResult)
        if result.errors or result.data is None:
            raise RequestError(Code.BAD_USER_INPUT, 400, *(told(error) for error in result.errors or ()))
        return result.data


def _named(node: OperationDefinitionNode) -> OperationDefinitionNode:
    """Return what of a definition is asked even of a document that is not valid: such are kept for the mistakes in them alone."""
    return OperationDefinitionNode(operation=node.operation, name=node.name, selection_set=SelectionSetNode(selections=()))


def _introspection_document(definition: Definition, nodes: tuple[FieldNode, ...]) -> DocumentNode:
    """Return the part of a document that asks for the schema, as a document of its own."""
    fragments = (node for node in definition.document.definitions if isinstance(node, FragmentDefinitionNode))
    only = OperationDefinitionNode(
        operation=definition.node.operation,
        variable_definitions=definition.node.variable_definitions,
        selection_set=SelectionSetNode(selections=nodes),
    )
    return DocumentNode(definitions=(only, *fragments))


def _too_deep() -> RequestError:
    return RequestError(Code.MAX_DEPTH_LIMIT, 400, {"message": "The document is nested too deep."})
