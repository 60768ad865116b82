"""The text of a request → a parsed, validated document, and for each way to ask it a plan with its projection: work done once per text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

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
    validate,
)
from graphql.execution import get_argument_values, get_variable_values
from graphql.execution.values import VariableValues

from gateway.blueprint import Blueprint
from gateway.engine import Arguments
from gateway.errors import Code, RequestError
from gateway.plan import Plan
from gateway.planner import plan
from gateway.projection import Projection, compile_projection
from gateway.selection import INTROSPECTION, condition_variables, field_names, select

MAX_TOKENS = 15_000
MAX_VALIDATION_ERRORS = 50
MAX_PLANS = 64
MAX_MESSAGE = 200


@dataclass(frozen=True, slots=True)
class Planned:
    """One operation definition under one set of conditions: its plan, its projection, and its introspection fields."""

    plan: Plan
    project: Projection
    introspection: DocumentNode | None


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read. ``conditions`` are the variables that decide what is selected; ``planned`` is filled as it is asked.

    ``mistakes`` are the errors of validation; with any the document is not executed. They are kept, as they are costly to find.
    """

    node: DocumentNode
    definitions: tuple[OperationDefinitionNode, ...]
    mistakes: tuple[dict[str, object], ...]
    conditions: frozenset[str]
    fields: frozenset[str]
    """The names of all its fields."""
    planned: dict[tuple[object, ...], Planned] = field(default_factory=dict)

    def definition(self, name: str | None, *, is_read_only: bool) -> OperationDefinitionNode:
        """Return the operation definition that a request asks for (GraphQL spec 6.1 GetOperation).

        :raises RequestError: there is none, or it is a mutation in a read-only request, or the document is not valid.
        """
        definition = self._named(name)
        if is_read_only and definition.operation is OperationType.MUTATION:
            message = "A mutation cannot be sent with GET; use POST."
            raise RequestError(Code.MUTATION_NOT_ALLOWED_OVER_HTTP_GET, 405, {"message": message})
        if self.mistakes:
            raise RequestError(Code.GRAPHQL_VALIDATION_FAILED, 400, *self.mistakes)
        return definition

    def _named(self, name: str | None) -> OperationDefinitionNode:
        if name is None and len(self.definitions) == 1:
            return self.definitions[0]
        for definition in self.definitions:
            if name is not None and definition.name is not None and definition.name.value == name:
                return definition
        message = "Must provide operation name if query contains multiple operations."
        if name is not None:
            message = f"Unknown operation named '{name[:80]}'."
        elif not self.definitions:
            message = "The document contains no operation."
        raise RequestError(Code.OPERATION_RESOLUTION_FAILURE, 400, {"message": message})


@dataclass(frozen=True, slots=True)
class Documents:
    """Makes documents and plans for one blueprint and its schema. In development mode errors suggest names."""

    blueprint: Blueprint
    schema: GraphQLSchema
    is_development: bool

    def read(self, text: str) -> Document:
        """Parse and validate a document.

        :raises RequestError: it cannot be parsed. What validation finds stands in the document.
        """
        try:
            node = parse(text, max_tokens=MAX_TOKENS)
            mistakes = tuple(_told(error) for error in self._validate(node))
            conditions, fields = condition_variables(node), field_names(node)
        except GraphQLError as error:
            raise RequestError(Code.GRAPHQL_PARSE_FAILED, 400, _told(error)) from None
        except RecursionError:
            raise _too_deep() from None
        definitions = tuple(definition for definition in node.definitions if isinstance(definition, OperationDefinitionNode))
        return Document(node, definitions, mistakes, conditions, fields)

    def _validate(self, node: DocumentNode) -> list[GraphQLError]:
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode) and self.schema.get_root_type(definition.operation) is None:
                return [GraphQLError(f"The schema has no {definition.operation.value} operations.", definition)]
        return validate(self.schema, node, max_errors=MAX_VALIDATION_ERRORS, hide_suggestions=not self.is_development)

    def variables(self, definition: OperationDefinitionNode, values: Mapping[str, object]) -> VariableValues:
        """Coerce the variables of a request (GraphQL spec 6.1.2 CoerceVariableValues).

        :raises RequestError: a value is missing or not of its type.
        """
        hide = not self.is_development
        found = get_variable_values(
            self.schema,
            definition.variable_definitions or (),
            dict(values),
            max_errors=MAX_VALIDATION_ERRORS,
            hide_suggestions=hide,
        )
        if isinstance(found, list):
            raise RequestError(Code.BAD_USER_INPUT, 400, *(_told(error) for error in found))
        return found

    def plan(
        self,
        document: Document,
        definition: OperationDefinitionNode,
        variables: VariableValues,
        effective: Blueprint | None = None,
    ) -> Planned:
        """Return the plan of a definition under the conditions that its variables set; each is made once.

        ``effective`` is the blueprint as it holds for the request; left out: the one without overlays.
        """
        blueprint = effective or self.blueprint
        conditions = {name: variables.coerced.get(name) for name in document.conditions}
        declared = {variable.variable.name.value for variable in definition.variable_definitions or ()}
        for name in declared & document.conditions:
            if not isinstance(conditions[name], bool):
                raise RequestError(Code.BAD_USER_INPUT, 400, {"message": f"The variable '${name}' of a condition is null."})
        operations = (blueprint.operations[name] for name in self.blueprint.overlaid & document.fields)
        identity = (id(definition), *operations, *conditions.values())
        planned = document.planned.get(identity)
        if planned is None:
            if len(document.planned) >= MAX_PLANS:
                del document.planned[next(iter(document.planned))]
            try:
                planned = document.planned[identity] = self._plan(document, definition, conditions, blueprint)
            except RecursionError:
                raise _too_deep() from None
        return planned

    def _plan(
        self,
        document: Document,
        definition: OperationDefinitionNode,
        conditions: Mapping[str, object],
        blueprint: Blueprint,
    ) -> Planned:
        selection = select(self.schema, document.node, definition, conditions)
        asks_for_schema = any(selected.name in INTROSPECTION for selected in selection)
        if asks_for_schema and not self.is_development:
            message = "Introspection is switched off."
            raise RequestError(Code.INTROSPECTION_DISABLED, 403, {"message": message})
        made = plan(blueprint, selection, is_mutation=definition.operation is OperationType.MUTATION)
        introspection = None
        if asks_for_schema:
            nodes = tuple(node for selected in selection if selected.name in INTROSPECTION for node in selected.nodes)
            introspection = _introspection_document(document, definition, nodes)
        return Planned(made, compile_projection(made), introspection)

    def arguments(self, made: Plan, variables: VariableValues) -> Arguments:
        """Return the coerced arguments of operation calls and links.

        :raises RequestError: a variable is null where the argument may not be.
        """
        root = "Mutation" if made.is_mutation else "Query"
        calls = [self._arguments(root, call.field, variables) for call in made.calls]
        links = {
            node.index: self._arguments(node.use.link.type, node.use.field, variables)
            for node in made.nodes
            if node.use and node.use.link.arguments
        }
        return Arguments(calls, links)

    def _arguments(self, owner: str, node: FieldNode, variables: VariableValues) -> dict[str, object]:
        field_definition = self.schema.type_map[owner].fields[node.name.value]  # type: ignore[attr-defined]
        try:
            given = get_argument_values(field_definition, node, variables)
        except GraphQLError as error:
            raise RequestError(Code.BAD_USER_INPUT, 400, _told(error)) from None
        if _is_beyond_json(given):
            message = f"An argument of '{node.name.value}' is too large a number, or nested too deep."
            raise RequestError(Code.BAD_USER_INPUT, 400, {"message": message})
        return {name: given.get(name) for name in field_definition.args}

    def introspect(self, planned: Planned, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values of the introspection fields by response key; graphql-core answers them."""
        if planned.introspection is None:
            return {}
        result = execute(self.schema, planned.introspection, variable_values=dict(values))
        assert isinstance(result, ExecutionResult)
        if result.errors or result.data is None:
            raise RequestError(Code.BAD_USER_INPUT, 400, *(_told(error) for error in result.errors or ()))
        return result.data


def _introspection_document(
    document: Document, definition: OperationDefinitionNode, nodes: tuple[FieldNode, ...]
) -> DocumentNode:
    """Return the part of a document that asks for the schema, as a document of its own."""
    fragments = (node for node in document.node.definitions if isinstance(node, FragmentDefinitionNode))
    only = OperationDefinitionNode(
        operation=definition.operation,
        variable_definitions=definition.variable_definitions,
        selection_set=SelectionSetNode(selections=nodes),
    )
    return DocumentNode(definitions=(only, *fragments))


MAX_ARGUMENT_DEPTH = 64


def _is_beyond_json(value: object, depth: int = 0) -> bool:
    """Tell whether a coerced value has something in it that is no JSON: a float such as 1e999, which reads as infinity, or too deep a nesting."""
    if isinstance(value, float):
        return not math.isfinite(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth > MAX_ARGUMENT_DEPTH or any(_is_beyond_json(item, depth + 1) for item in items)


def _too_deep() -> RequestError:
    return RequestError(Code.GRAPHQL_VALIDATION_FAILED, 400, {"message": "The document is nested too deep."})


def _told(error: GraphQLError) -> dict[str, object]:
    """Return an error as a client gets it: what it sent is echoed, but not at length."""
    message = error.message if len(error.message) <= MAX_MESSAGE else error.message[:MAX_MESSAGE] + "…"
    told: dict[str, object] = {"message": message}
    if error.locations:
        told["locations"] = [{"line": location.line, "column": location.column} for location in error.locations]
    return told
