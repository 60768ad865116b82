"""Blueprint → the GraphQL schema that clients see: one query field per operation, one type per composite."""

from collections.abc import Iterator
from functools import lru_cache

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDefaultInput,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    TypeNode,
    parse_type,
    specified_scalar_types,
    type_from_ast,
)

from gateway.blueprint import Argument, Blueprint, Link, Operation, Strategy


def build_schema(blueprint: Blueprint) -> GraphQLSchema:
    """Build the schema. Its types are those of the blueprint, so a blueprint makes one schema."""
    types = _Types(blueprint)
    return GraphQLSchema(
        query=types.root("Query", [operation for operation in blueprint.operations.values() if not operation.is_mutation]),
        mutation=types.root("Mutation", [operation for operation in blueprint.operations.values() if operation.is_mutation]),
        types=types.known.values(),
        assume_valid=True,
    )


@lru_cache(maxsize=4096)
def _parsed(text: str) -> TypeNode:
    return parse_type(text, no_location=True)


class _Types:
    """The named types, and how texts become types."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.known: dict[str, GraphQLNamedType] = dict(blueprint.types)
        self._lookup = GraphQLSchema(types=[*self.known.values(), *specified_scalar_types.values()], assume_valid=True)
        for (owner, field), link in blueprint.links.items():
            self._add_link(owner, field, link)
        for operation in blueprint.operations.values():
            if operation.strategy is not Strategy.PICK:
                self._add_composite(operation)

    def of(self, text: str) -> GraphQLType:
        """Return the type that a text of the blueprint names; the rules have checked that there is one."""
        name = text.strip("[]!")
        found = type_from_ast(self._lookup, _parsed(text)) if name != text else self.known.get(name)
        found = found or self._lookup.get_type(name)
        assert found is not None, text
        return found

    def root(self, name: str, operations: list[Operation]) -> GraphQLObjectType | None:
        """Return the root type of some operations; None for none, but for Query, which every schema has."""
        fields = {operation.name: self.root_field(operation) for operation in operations}
        if not fields and name == "Query":
            fields = {"_empty": GraphQLField(GraphQLBoolean, description="There is no query; a schema must have one.")}
        return GraphQLObjectType(name, fields) if fields else None

    def root_field(self, operation: Operation) -> GraphQLField:
        """Return the query field of an operation."""
        return self._field(operation)

    def _field(self, of: Operation | Link) -> GraphQLField:
        made = {argument.name: self._argument(argument) for argument in of.arguments}
        returned = self.of(of.returns)
        return GraphQLField(returned, made, description=of.description, deprecation_reason=of.deprecated)  # type: ignore[arg-type]

    def _argument(self, argument: Argument) -> GraphQLArgument:
        default = GraphQLDefaultInput(literal=argument.default) if argument.default is not None else None
        about = {"description": argument.description, "deprecation_reason": argument.deprecated}
        return GraphQLArgument(self.of(argument.type), default=default, **about)  # type: ignore[arg-type]

    def _add_link(self, name: str, field: str, link: Link) -> None:
        owner = self.known[name]
        assert isinstance(owner, GraphQLObjectType | GraphQLInterfaceType)
        owner.fields[field] = self._field(link)

    def _add_composite(self, operation: Operation) -> None:
        """Make the type of an operation; one that the SDL declares only gets the fields that it has not."""
        declared = self.known.get(operation.returns)
        fields = dict(self._composite_fields(operation))
        if isinstance(declared, GraphQLObjectType):
            for field, made in fields.items():
                if field not in declared.fields:
                    declared.fields[field] = made
            return
        self.known[operation.returns] = GraphQLObjectType(operation.returns, fields, description=operation.description)

    def _composite_fields(self, operation: Operation) -> Iterator[tuple[str, GraphQLField]]:
        """Yield the fields of an operation's type; those that only overlays fill may be null."""
        for name, origin in operation.origins.items():
            yield name, GraphQLField(self._field_type(operation.steps[origin.step].returns, origin.key))  # type: ignore[arg-type]
        for name, field in operation.overlay_fields.items():
            found = self._field_type(field.returns, field.origin.key)
            nullable = found.of_type if isinstance(found, GraphQLNonNull) else found
            yield name, GraphQLField(nullable)  # type: ignore[arg-type]

    def _field_type(self, returns: str, key: str | None) -> GraphQLType:
        returned = self.of(returns)
        if key is None:
            return returned
        owner = self.of(returns.removesuffix("!"))
        assert isinstance(owner, GraphQLObjectType)
        field: GraphQLField = owner.fields[key]
        return field.type
