"""The text of a request → a parsed, validated document; this work is done once per text."""

from collections.abc import Mapping
from dataclasses import dataclass
from logging import getLogger

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
)

from gateway.blueprint import Blueprint, Priority
from gateway.document.budget import PlanningBudget
from gateway.document.coercion import VariableCoercion, format_error, format_errors
from gateway.document.limits import HARD_MAX_TOKENS, DocumentSize, exceeded, measure
from gateway.document.redaction import Redaction, read_redaction
from gateway.document.selection import condition_variables, field_names, root_names
from gateway.document.validation import validation_errors
from gateway.errors import Code, RequestError
from gateway.garbage import unlink_tokens

log = getLogger("stepgraph.document")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Definition:
    """An operation definition of a document.

    ``conditions`` are the variables of ``@skip`` and ``@include`` that it declares: they decide what is selected.
    """

    node: OperationDefinitionNode
    document: DocumentNode
    variables: VariableCoercion
    """Coerces the variables of a request; raises RequestError."""
    conditions: tuple[str, ...]
    overlaid: tuple[str, ...]
    """The field names of the document that are operations with overlays."""

    @property
    def name(self) -> str | None:
        """The name of the definition, None for an anonymous one."""
        return self.node.name.value if self.node.name else None

    @property
    def is_mutation(self) -> bool:
        """Whether the definition is a mutation."""
        return self.node.operation is OperationType.MUTATION


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document.

    ``mistakes`` are the validation errors; a document with any is not executed. It is cached with them, because validation is costly.
    """

    definitions: tuple[Definition, ...]
    mistakes: tuple[dict[str, object], ...]
    by_name: Mapping[str | None, Definition]
    """The named definitions; of several with the same name the first."""
    priority: Priority = Priority.NORMAL
    """The priority of the most important operation that the document selects."""
    tokens: int = 0
    """How long it is, as ``limits: max_tokens`` counts."""

    def definition(self, name: str | None, *, is_read_only: bool) -> Definition:
        """Return the operation definition that a request selects (GraphQL spec 6.1 GetOperation).

        :raises RequestError: there is none, or it is a mutation in a read-only request, or the document is not valid.
        """
        definition = self.by_name.get(name) or self._unnamed(name)
        # Before the validation errors: the GraphQL over HTTP spec requires status 405 for every mutation over GET.
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
class DocumentReader:
    """Parses and validates documents for one blueprint and its schema."""

    blueprint: Blueprint
    schema: GraphQLSchema
    is_development: bool

    @property
    def hides_suggestions(self) -> bool:
        """Whether error messages omit the names that the client may have meant: they would disclose the schema."""
        suggests = self.blueprint.limits.suggestions
        return not (self.is_development if suggests is None else suggests)

    def read(self, text: str, budget: PlanningBudget | None = None) -> Document:
        """Parse and validate a document. Validation errors are not raised but returned in the document.

        :raises RequestError: it is larger than allowed, cannot be parsed, or the budget is spent.
        """
        budget = budget or PlanningBudget(self.blueprint.limits)
        size = self._measure(text)
        try:
            node = parse(text)
            redaction = read_redaction(node, self.blueprint.sensitive)
            errors = validation_errors(
                self.schema, node, budget, is_circular=size.is_circular, hides_suggestions=self.hides_suggestions
            )
            budget.report()
            formatted_errors = tuple(redaction.redact(error) for error in format_errors(errors))
            conditions = condition_variables(node)
            fields = field_names(node) if self.blueprint.overlaid else frozenset()
            unlink_tokens([node])  # they point at each other, so only the cyclic collector could free them
        except GraphQLError as error:
            raise RequestError(Code.GRAPHQL_PARSE_FAILED, 400, format_error(error)) from None
        except RecursionError:  # graphql-core's parser and visitors are recursive
            raise too_deep() from None
        nodes = [definition for definition in node.definitions if isinstance(definition, OperationDefinitionNode)]
        if formatted_errors:
            node, nodes = DocumentNode(definitions=()), [_header(definition) for definition in nodes]
        overlaid = tuple(sorted(self.blueprint.overlaid & fields))
        definitions = tuple(self._definition(node, definition, conditions, overlaid, redaction) for definition in nodes)
        by_name: dict[str | None, Definition] = {
            definition.name: definition for definition in reversed(definitions) if definition.name is not None
        }
        priority = Priority.NORMAL if formatted_errors else self._priority(node)
        return Document(definitions, formatted_errors, by_name, priority, size.tokens)

    def _priority(self, node: DocumentNode) -> Priority:
        selected = (self.blueprint.operations.get(name) for name in root_names(node))
        return max((operation.priority for operation in selected if operation is not None), default=Priority.NORMAL)

    def _definition(
        self,
        document: DocumentNode,
        node: OperationDefinitionNode,
        conditions: frozenset[str],
        overlaid: tuple[str, ...],
        redaction: Redaction,
    ) -> Definition:
        declared = [variable.variable.name.value for variable in node.variable_definitions or ()]
        limits = self.blueprint.limits
        coercion = VariableCoercion(self.schema, node, limits, redaction, hides_suggestions=self.hides_suggestions)
        return Definition(node, document, coercion, tuple(name for name in declared if name in conditions), overlaid)

    def _measure(self, text: str) -> DocumentSize:
        """Measure a document that has not been parsed yet.

        :raises RequestError: it is larger than a limit allows.
        """
        limits = self.blueprint.limits
        max_tokens = limits.max_tokens if limits.mode == "enforce" else max(limits.max_tokens, HARD_MAX_TOKENS)
        size = measure(text, max_tokens)
        violations = list(exceeded(size, limits))
        if violations and (limits.mode == "enforce" or size.tokens > max_tokens):
            errors: list[dict[str, object]] = [
                {"message": message, "extensions": {"code": str(code)}} for code, message in violations
            ]
            raise RequestError(violations[0][0], 400, *errors)
        for code, message in violations:
            log.warning(message, extra={"code": str(code)})
        return size


def _header(node: OperationDefinitionNode) -> OperationDefinitionNode:
    """Return a definition with its type and name only: an invalid document is cached for its errors, so the rest would waste memory."""
    return OperationDefinitionNode(operation=node.operation, name=node.name, selection_set=SelectionSetNode(selections=()))


def too_deep() -> RequestError:
    """Return the error for a document that is nested deeper than Python's recursion limit."""
    return RequestError(Code.MAX_DEPTH_LIMIT, 400, {"message": "The document is nested too deep."})
