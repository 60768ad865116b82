"""The text of a request → a parsed, validated document; work done once per text."""

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
from gateway.document.coercion import VariableCoercion, told, told_once
from gateway.document.limits import MOST_TOKENS, DocumentSize, exceeded, measure
from gateway.document.redaction import read_redaction
from gateway.document.selection import condition_variables, field_names, root_names
from gateway.document.validation import mistakes
from gateway.errors import Code, RequestError
from gateway.garbage import cut_tokens

log = getLogger("stepgraph.document")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Definition:
    """An operation definition of a document that was read.

    ``conditions`` are the variables that decide what is selected: those that it declares itself.
    """

    node: OperationDefinitionNode
    document: DocumentNode
    variables: VariableCoercion
    """Coerces the variables of a request, and raises RequestError."""
    conditions: tuple[str, ...]
    overlaid: tuple[str, ...]
    """The fields of the document that are operations with overlays."""

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
class DocumentReader:
    """Reads documents for one blueprint and its schema."""

    blueprint: Blueprint
    schema: GraphQLSchema
    is_development: bool

    @property
    def hides_suggestions(self) -> bool:
        """Whether errors suggest no names."""
        suggests = self.blueprint.limits.suggestions
        return not (self.is_development if suggests is None else suggests)

    def read(self, text: str) -> Document:
        """Parse and validate a document.

        :raises RequestError: it is larger than allowed, or cannot be parsed. What validation finds stands in the document.
        """
        is_circular = self._measure(text).is_circular
        try:
            node = parse(text)
            redaction = read_redaction(node, self.blueprint.sensitive)
            found = mistakes(self.schema, node, is_circular=is_circular, hides_suggestions=self.hides_suggestions)
            told_mistakes = tuple(redaction.told(mistake) for mistake in told_once(found))
            conditions = condition_variables(node)
            fields = field_names(node) if self.blueprint.overlaid else frozenset()
            cut_tokens([node])
        except GraphQLError as error:
            raise RequestError(Code.GRAPHQL_PARSE_FAILED, 400, told(error)) from None
        except RecursionError:
            raise too_deep() from None
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
        redaction = read_redaction(document, self.blueprint.sensitive)
        limits = self.blueprint.limits
        coercion = VariableCoercion(self.schema, node, limits, redaction, hides_suggestions=self.hides_suggestions)
        return Definition(node, document, coercion, tuple(name for name in declared if name in conditions), overlaid)

    def _measure(self, text: str) -> DocumentSize:
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


def _named(node: OperationDefinitionNode) -> OperationDefinitionNode:
    """Return what of a definition is asked even of a document that is not valid: such are kept for the mistakes in them alone."""
    return OperationDefinitionNode(operation=node.operation, name=node.name, selection_set=SelectionSetNode(selections=()))


def too_deep() -> RequestError:
    """Return the error of a document that is nested deeper than Python can follow."""
    return RequestError(Code.MAX_DEPTH_LIMIT, 400, {"message": "The document is nested too deep."})
