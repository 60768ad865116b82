"""``@sensitive`` in the SDL → the types that contain sensitive fields, directly or in nested types."""

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


def is_marked_sensitive(field: GraphQLField | GraphQLInputField | GraphQLArgument | None) -> bool:
    """Tell whether a field has the directive ``@sensitive`` in the SDL."""
    node = field.ast_node if field is not None else None
    return node is not None and any(directive.name.value == DIRECTIVE for directive in node.directives or ())


def sensitive_types(types: Mapping[str, GraphQLNamedType], mentions: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the types with a sensitive field, and all that reach one of them; ``mentions`` has the types that each type refers to."""
    names = {
        name
        for name, declared in types.items()
        if isinstance(declared, _WITH_FIELDS) and any(is_marked_sensitive(field) for field in declared.fields.values())
    }
    pending = list(names)
    while pending:
        name = pending.pop()
        referring = {other for other, mentioned in mentions.items() if name in mentioned} - names
        names |= referring
        pending += referring
    return frozenset(names)


def record_sensitive_types(schema: GraphQLSchema, names: frozenset[str]) -> None:
    """Store the names of the sensitive types in a schema, for :func:`holds_sensitive`."""
    schema.extensions[_EXTENSION] = names


def holds_sensitive(returns: str, types: GraphQLSchema | None) -> bool:
    """Tell whether a type (as text) contains a sensitive field, directly or in nested types."""
    return types is not None and returns.strip("[]!") in types.extensions.get(_EXTENSION, ())
