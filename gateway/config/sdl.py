"""``*.graphql`` files → the types that they declare, as graphql-core objects; mistakes are problems with their place."""

import re
from collections.abc import Mapping

from graphql import (
    DefinitionNode,
    DocumentNode,
    ExecutableDefinitionNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLSchema,
    ScalarTypeDefinitionNode,
    ScalarTypeExtensionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    Source,
    TypeDefinitionNode,
    TypeExtensionNode,
    TypeNode,
    build_ast_schema,
    is_introspection_type,
    is_specified_scalar_type,
    parse,
    parse_type,
    specified_scalar_types,
    validate_schema,
)
from graphql.validation.validate import validate_sdl

from gateway.errors import Place, Problem

_COMMENT = re.compile(r"#[^\n]*")
ROOT_TYPES = ("Query", "Mutation", "Subscription")
_BUILT_IN = "scalar JSON\ntype Query { _: JSON }"


def read_types(texts: Mapping[str, str]) -> tuple[GraphQLSchema | None, list[Problem]]:
    """Build the types of all SDL files (path → text) together, as a schema without root types; ``JSON`` is always among them.

    Where the files do not fit together there are no types (None), only problems: nothing that uses a type can be judged then.
    """
    problems: list[Problem] = []
    definitions: list[DefinitionNode] = []
    for file, text in texts.items():
        if not _COMMENT.sub("", text).strip():
            continue
        try:
            definitions += parse(Source(text, file)).definitions
        except GraphQLError as error:
            problems.append(_problem(error, "sdl-syntax"))
    misplaced = {id(definition): _misplaced(definition) for definition in definitions}
    problems += [problem for problem in misplaced.values() if problem]
    kept = [definition for definition in definitions if not misplaced[id(definition)]]
    names = {definition.name.value for definition in kept if isinstance(definition, TypeDefinitionNode)}
    built_in = [
        definition
        for definition in parse(_BUILT_IN).definitions
        if isinstance(definition, TypeDefinitionNode) and definition.name.value not in names
    ]
    document = DocumentNode(definitions=(*kept, *built_in))
    errors = validate_sdl(document)
    problems += [_problem(error, "sdl-invalid") for error in errors]
    if problems:
        return None, problems
    schema = build_ast_schema(document, assume_valid_sdl=True)
    problems += [_problem(error, "sdl-invalid") for error in validate_schema(schema)]
    types = [*declared_types(schema).values(), *specified_scalar_types.values()]
    return GraphQLSchema(types=types, assume_valid=True), problems


def declared_types(schema: GraphQLSchema) -> dict[str, GraphQLNamedType]:
    """Return the types of a schema that are neither built in nor roots, by name."""
    return {
        name: declared
        for name, declared in schema.type_map.items()
        if name not in ROOT_TYPES and not is_introspection_type(declared) and not is_specified_scalar_type(declared)
    }


def read_type(text: str) -> TypeNode | None:
    """Parse a type such as ``[Post!]``; None when it is none."""
    try:
        return parse_type(text, no_location=True)
    except GraphQLError:
        return None


def _problem(error: GraphQLError, code: str) -> Problem:
    file = error.source.name if error.source else "schema"
    location = error.locations[0] if error.locations else None
    place = Place(file, location.line, location.column) if location else Place(file)
    message = error.message.removeprefix("Syntax Error: ")
    return Problem(place, "types", message, code)


def _misplaced(definition: DefinitionNode) -> Problem | None:
    """Return the problem of a definition that does not belong into the SDL of a configuration."""
    name = definition.name.value if isinstance(definition, TypeDefinitionNode | TypeExtensionNode) else ""
    if isinstance(definition, SchemaDefinitionNode | SchemaExtensionNode):
        return _at(definition, "schema", "the schema is generated; remove this definition", "sdl-root-type")
    if isinstance(definition, ExecutableDefinitionNode):
        message = "a type system has no operations and fragments; a .graphql file here declares types"
        return _at(definition, "types", message, "sdl-invalid")
    if name in ROOT_TYPES:
        return _at(definition, f"type {name}", f"the type '{name}' is generated from the operations; remove it", "sdl-root-type")
    if name == "JSON" and not isinstance(definition, ScalarTypeDefinitionNode | ScalarTypeExtensionNode):
        return _at(definition, "type JSON", "'JSON' is the scalar of untyped steps; give the type another name", "sdl-invalid")
    return None


def _at(node: DefinitionNode, subject: str, message: str, code: str) -> Problem:
    assert node.loc is not None, "the parser sets locations"
    token = node.loc.start_token
    return Problem(Place(node.loc.source.name, token.line, token.column), subject, message, code)
