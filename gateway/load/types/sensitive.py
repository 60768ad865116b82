"""``@sensitive`` in the SDL → the types that have something sensitive in them."""

from collections.abc import Mapping

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
)

DIRECTIVE = "sensitive"
_EXTENSION = "stepgraph.sensitive"
_WITH_FIELDS = GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType


def is_declared(field: GraphQLField | GraphQLInputField | GraphQLArgument | None) -> bool:
    """Tell whether the SDL says of a field that it is sensitive."""
    node = field.ast_node if field is not None else None
    return node is not None and any(directive.name.value == DIRECTIVE for directive in node.directives or ())


def holders(types: Mapping[str, GraphQLNamedType], mentions: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the types that have a sensitive field, and those that lead to one; ``mentions`` says what each leads to."""
    found = {
        name
        for name, declared in types.items()
        if isinstance(declared, _WITH_FIELDS) and any(is_declared(field) for field in declared.fields.values())
    }
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        above = {other for other, mentioned in mentions.items() if name in mentioned} - found
        found |= above
        waiting += above
    return frozenset(found)


def note_holders(schema: GraphQLSchema, names: frozenset[str]) -> None:
    """Write down in a schema which of its types have something sensitive in them."""
    schema.extensions[_EXTENSION] = names


def holds_sensitive(returns: str, types: GraphQLSchema | None) -> bool:
    """Tell whether a type (as text) has something sensitive in it."""
    return types is not None and returns.strip("[]!") in types.extensions.get(_EXTENSION, ())
