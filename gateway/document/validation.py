"""A parsed document → what is not valid about it (GraphQL spec 5), at a cost that grows with its text alone.

graphql-core counts the lines of the text anew for each mistake, writes out a whole object for each field in it that is unknown, and
compares the fields of a response key each with each: a few kilobytes can take it a second.
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

from gateway.document.overlapping_fields import conflicts

MAX_MISTAKES = 50
MAX_MISTAKES_OF_A_VALUE = 5
MAX_COUNTED = 1_500_000
"""How many characters are looked at to tell the places of all mistakes, a line as 20: 15 ms."""
_LINE = 20


class _Enough(Exception):
    """As many mistakes of a value are known as are told."""


class _Values(ValuesOfCorrectTypeRule):
    """Values are of their types (GraphQL spec 5.6.1); of each argument only the first mistakes are told."""

    left = 0

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> Any:
        """Check a value as a whole."""
        self.left = MAX_MISTAKES_OF_A_VALUE
        with suppress(_Enough):
            super().is_valid_value_node(node, input_type)
        return SKIP

    def report_error(self, error: GraphQLError) -> None:
        """Take a mistake.

        :raises _Enough: it is the last that is told of this value.
        """
        super().report_error(error)
        self.left -= 1
        if self.left == 0:
            raise _Enough


_LINEAR_ELSEWHERE = {OverlappingFieldsCanBeMergedRule, MaxIntrospectionDepthRule}
_RULES = tuple(_Values if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules if rule not in _LINEAR_ELSEWHERE)
_CIRCLE_RULES = (UniqueFragmentNamesRule, NoFragmentCyclesRule)
"""What finds the mistake of a document that is circular: of two fragments of one name only one may be, and which of them counts differs."""


def mistakes(schema: GraphQLSchema, node: DocumentNode, *, is_circular: bool, hides_suggestions: bool) -> list[GraphQLError]:
    """Return what is not valid about a document; ``is_circular`` when a fragment in it seems to lead to itself."""
    most = _most_mistakes(node)

    def found_by(rules: tuple[type[ASTValidationRule], ...]) -> list[GraphQLError]:
        return validate(schema, node, rules, most, hide_suggestions=hides_suggestions)

    for definition in node.definitions:
        if isinstance(definition, OperationDefinitionNode) and schema.get_root_type(definition.operation) is None:
            return [GraphQLError(f"The schema has no {definition.operation.value} operations.", definition)]
    # What a fragment that leads to itself is as a whole, nobody can tell: its other mistakes are left aside.
    found = found_by(_CIRCLE_RULES) if is_circular else []
    return found or found_by(_RULES) or list(islice(conflicts(schema, node), most))


def _most_mistakes(node: DocumentNode) -> int:
    """Return how many mistakes of a document are told: fewer of a long one, as the place of each is found by counting lines."""
    text = node.loc.source.body if node.loc else ""
    cost = len(text) + _LINE * (text.count("\n") + text.count("\r"))
    return max(1, min(MAX_MISTAKES, MAX_COUNTED // (cost + 1)))
