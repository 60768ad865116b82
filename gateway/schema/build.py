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

from gateway.blueprint import Argument, Blueprint, Link, Operation


def build_schema(blueprint: Blueprint) -> GraphQLSchema:
    """Build the schema. It adds fields to the types of the blueprint itself, so a blueprint has one schema."""
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
    """The named types of the schema, and the parsing of type texts."""

    def __init__(self, blueprint: Blueprint) -> None:
        self.known: dict[str, GraphQLNamedType] = dict(blueprint.types)
        self._lookup = GraphQLSchema(types=[*self.known.values(), *specified_scalar_types.values()], assume_valid=True)
        for (owner, field), link in blueprint.links.items():
            self._add_link(owner, field, link)
        for operation in blueprint.operations.values():
            if operation.strategy.composite:
                self._add_composite(operation)

    def resolve(self, text: str) -> GraphQLType:
        """Return the type for a type text of the blueprint such as ``[User!]``; loading has checked that it exists."""
        name = text.strip("[]!")
        # A plain name may be a composite, which is added to known after _lookup was made. Parsing is only needed for lists and non-nulls.
        resolved = type_from_ast(self._lookup, _parsed(text)) if name != text else self.known.get(name)
        resolved = resolved or self._lookup.get_type(name)
        assert resolved is not None, text
        return resolved

    def root(self, name: str, operations: list[Operation]) -> GraphQLObjectType | None:
        """Return the root type with a field for each operation. Without operations this is None, except for Query, which every schema must have."""
        fields = {operation.name: self.root_field(operation) for operation in operations}
        if not fields and name == "Query":
            fields = {"_empty": GraphQLField(GraphQLBoolean, description="There is no query; a schema must have one.")}
        return GraphQLObjectType(name, fields) if fields else None

    def root_field(self, operation: Operation) -> GraphQLField:
        """Return the root field of an operation."""
        return self._field(operation)

    def _field(self, source: Operation | Link) -> GraphQLField:
        arguments = {argument.name: self._argument(argument) for argument in source.arguments}
        returned = self.resolve(source.returns)
        about = {"description": source.description, "deprecation_reason": source.deprecated}
        return GraphQLField(returned, arguments, **about)  # type: ignore[arg-type]

    def _argument(self, argument: Argument) -> GraphQLArgument:
        default = GraphQLDefaultInput(literal=argument.default) if argument.default is not None else None
        about = {"description": argument.description, "deprecation_reason": argument.deprecated}
        return GraphQLArgument(self.resolve(argument.type), default=default, **about)  # type: ignore[arg-type]

    def _add_link(self, name: str, field: str, link: Link) -> None:
        owner = self.known[name]
        assert isinstance(owner, GraphQLObjectType | GraphQLInterfaceType)
        owner.fields[field] = self._field(link)

    def _add_composite(self, operation: Operation) -> None:
        """Add the composite type of an operation; if the SDL declares that type, add only the fields that it lacks."""
        declared = self.known.get(operation.returns)
        fields = dict(self._composite_fields(operation))
        if isinstance(declared, GraphQLObjectType):
            for name, field in fields.items():
                if name not in declared.fields:
                    declared.fields[name] = field
            return
        self.known[operation.returns] = GraphQLObjectType(operation.returns, fields, description=operation.description)

    def _composite_fields(self, operation: Operation) -> Iterator[tuple[str, GraphQLField]]:
        """Yield the fields of an operation's composite type. Fields that only overlays fill are nullable."""
        for name, origin in operation.strategy.origins.items():
            yield name, GraphQLField(self._field_type(operation.steps[origin.step].returns, origin.key))  # type: ignore[arg-type]
        for name, field in operation.overlay_fields.items():
            # Such a field is null for a request for which the overlay does not hold.
            declared = self._field_type(field.returns, field.origin.key)
            nullable = declared.of_type if isinstance(declared, GraphQLNonNull) else declared
            yield name, GraphQLField(nullable)  # type: ignore[arg-type]

    def _field_type(self, returns: str, key: str | None) -> GraphQLType:
        returned = self.resolve(returns)
        if key is None:
            return returned
        owner = self.resolve(returns.removesuffix("!"))
        assert isinstance(owner, GraphQLObjectType)
        field: GraphQLField = owner.fields[key]
        return field.type
