"""A parsed document → its validation errors (GraphQL spec 5), in time that is linear in its text.

graphql-core counts the lines of the text again for each error, prints a whole object for each unknown field in it, and compares every pair of
fields of a response key: a document of a few kilobytes can take it a second.
"""

from contextlib import suppress
from itertools import islice
from typing import Any

from graphql import (
    SKIP,
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLInputType,
    GraphQLSchema,
    MaxIntrospectionDepthRule,
    NoFragmentCyclesRule,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    UniqueFragmentNamesRule,
    ValueNode,
    ValuesOfCorrectTypeRule,
    specified_rules,
    validate,
)

from gateway.document.budget import PlanningBudget
from gateway.document.overlapping_fields import conflicts
from gateway.garbage import unlink_visitors

MAX_ERRORS = 50
MAX_ERRORS_PER_VALUE = 5
MAX_SCANNED_CHARACTERS = 1_500_000
"""How many characters may be scanned to locate all errors of a document, each line counted as 20 more: this takes 15 ms."""
_CHARACTERS_PER_LINE = 20


class _EnoughErrors(Exception):
    """The maximum number of errors of one value has been reported."""


class _ValuesOfCorrectType(ValuesOfCorrectTypeRule):
    """Values are of their types (GraphQL spec 5.6.1). Only the first errors of each value are reported."""

    remaining = 0

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> Any:
        """Check a value as a whole, with everything inside it."""
        self.remaining = MAX_ERRORS_PER_VALUE
        with suppress(_EnoughErrors):
            super().is_valid_value_node(node, input_type)
        return SKIP  # the visitor would check what is inside again

    def report_error(self, error: GraphQLError) -> None:
        """Report an error.

        :raises _EnoughErrors: it is the last error that is reported for this value.
        """
        super().report_error(error)
        self.remaining -= 1
        if self.remaining == 0:
            raise _EnoughErrors


_REPLACED_RULES = {OverlappingFieldsCanBeMergedRule, MaxIntrospectionDepthRule}
"""Rules that graphql-core's validation leaves out here: ``overlapping_fields`` and ``limits`` check the same in linear time."""
_RULES = tuple(
    _ValuesOfCorrectType if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules if rule not in _REPLACED_RULES
)
_CYCLE_RULES = (UniqueFragmentNamesRule, NoFragmentCyclesRule)
"""The rules that reject a document with a fragment cycle. Fragment names must be unique for that: of two fragments with one name each rule
may follow a different one."""


def validation_errors(
    schema: GraphQLSchema, node: DocumentNode, budget: PlanningBudget, *, is_circular: bool, hides_suggestions: bool
) -> list[GraphQLError]:
    """Return the validation errors of a document; ``is_circular`` if the size check has found a fragment cycle.

    :raises RequestError: the budget is spent.
    """
    max_errors = _max_errors(node)

    def check(rules: tuple[type[ASTValidationRule], ...]) -> list[GraphQLError]:
        visitors: list[ASTValidationRule] = []

        def noted(rule: type[ASTValidationRule]) -> Any:
            def make(context: Any) -> ASTValidationRule:
                visitors.append(rule(context))
                return visitors[-1]

            return make

        try:
            return validate(schema, node, [noted(rule) for rule in rules], max_errors, hide_suggestions=hides_suggestions)
        finally:
            unlink_visitors(visitors)

    for definition in node.definitions:
        if isinstance(definition, OperationDefinitionNode) and schema.get_root_type(definition.operation) is None:
            return [GraphQLError(f"The schema has no {definition.operation.value} operations.", definition)]
    # With a fragment cycle the document has no finite expansion, so its other errors are not looked for.
    errors = check(_CYCLE_RULES) if is_circular else []
    # conflicts() comes last because it takes an otherwise valid document: it looks up fields and types without a check.
    return errors or check(_RULES) or list(islice(conflicts(schema, node, budget), max_errors))


def _max_errors(node: DocumentNode) -> int:
    """Return how many errors of a document are reported: fewer for a long one, as graphql-core counts lines to locate each error."""
    text = node.loc.source.body if node.loc else ""
    cost = len(text) + _CHARACTERS_PER_LINE * (text.count("\n") + text.count("\r"))
    return max(1, min(MAX_ERRORS, MAX_SCANNED_CHARACTERS // (cost + 1)))
