"""``*.graphql`` files → the types that they declare, as graphql-core objects. Mistakes are problems with their place."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from graphql import (
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    ExecutableDefinitionNode,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    InterfaceTypeDefinitionNode,
    InterfaceTypeExtensionNode,
    Lexer,
    Node,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    ScalarTypeDefinitionNode,
    ScalarTypeExtensionNode,
    SchemaDefinitionNode,
    SchemaExtensionNode,
    Source,
    TokenKind,
    TypeDefinitionNode,
    TypeExtensionNode,
    TypeNode,
    build_ast_schema,
    get_named_type,
    is_introspection_type,
    is_specified_scalar_type,
    parse,
    parse_type,
    print_ast,
    specified_scalar_types,
    validate_schema,
)
from graphql.validation.validate import validate_sdl

from gateway.errors import Place, Problem, did_you_mean
from gateway.garbage import unlink_tokens
from gateway.language.scalars import SCALARS, attach_coercion
from gateway.load.types.sensitive import record_sensitive_types, sensitive_types

T = TypeVar("T")
_COMMENT = re.compile(r"#[^\n]*")
ROOT_TYPES = ("Query", "Mutation", "Subscription")
_DESCRIPTION = "Syntax Error: Unexpected description"
_KEYWORDS = ("type", "interface", "union", "enum", "input", "scalar", "extend", "directive", "schema", "implements", "repeatable")
_WITH_FIELDS = ObjectTypeDefinitionNode | ObjectTypeExtensionNode | InterfaceTypeDefinitionNode | InterfaceTypeExtensionNode
_BUILT_IN = "scalar JSON\ntype Query { _: JSON }\ndirective @sensitive on FIELD_DEFINITION | INPUT_FIELD_DEFINITION"


@dataclass(frozen=True, slots=True)
class SdlTypes:
    """The types that all SDL files together declare. ``schema`` has no root types and is never modified.

    ``digests`` has a hash of each declared type, to detect changes; ``mentions`` the types of its fields, its members, interfaces and
    implementers.
    """

    schema: GraphQLSchema
    digests: Mapping[str, str]
    mentions: Mapping[str, frozenset[str]]
    _definitions: tuple[DefinitionNode, ...]

    def fresh(self) -> dict[str, GraphQLNamedType]:
        """Return copies of the declared types by name. The schema of a generation adds fields to them."""
        types = {name: _clone(declared) for name, declared in declared_types(self.schema).items()}
        for copy in types.values():
            if isinstance(copy, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
                fields = {name: _clone(field) for name, field in copy.fields.items()}
                for field in fields.values():
                    field.type = _with_copies(field.type, types)
                copy.fields = fields
            if isinstance(copy, GraphQLObjectType | GraphQLInterfaceType):
                copy.interfaces = tuple(types[interface.name] for interface in copy.interfaces)
            if isinstance(copy, GraphQLUnionType):
                copy.types = tuple(types[member.name] for member in copy.types)
        return types

    def closure(self, names: Iterable[str]) -> dict[str, str]:
        """Return the digests of the declared types among some names, and of all types that these refer to, directly or indirectly."""
        digests: dict[str, str] = {}
        pending = [name for name in names if name in self.digests]
        while pending:
            name = pending.pop()
            if name not in digests:
                digests[name] = self.digests[name]
                pending += self.mentions[name]
        return digests

    def text(self, names: Iterable[str]) -> str:
        """Return the definitions of some types as SDL."""
        wanted = set(names)
        return "\n".join(_text(definition) for definition in self._definitions if _name(definition) in wanted)


def read_types(
    texts: Mapping[str, str], python_types: str = "", python_place: Place | None = None
) -> tuple[SdlTypes | None, list[Problem]]:
    """Build the types of all SDL files (path → text) together. ``JSON`` is always among them.

    ``python_types`` is the SDL of Python classes, which is merged with them; ``python_place`` is where the classes are named, for problems.
    If the SDL is invalid there are problems and no types (None): then nothing that uses a type can be checked.
    """
    problems: list[Problem] = []
    kept = [definition for definition in _parsed(texts, problems) if _is_kept(definition, problems)]
    if python_types and python_place:
        kept += _python_definitions(python_types, kept, python_place, problems)
    names = {definition.name.value for definition in kept if isinstance(definition, TypeDefinitionNode | DirectiveDefinitionNode)}
    built_in = [
        definition
        for definition in parse(_BUILT_IN).definitions
        if isinstance(definition, TypeDefinitionNode | DirectiveDefinitionNode) and definition.name.value not in names
    ]
    document = DocumentNode(definitions=(*kept, *built_in))
    problems += [_problem(error, "sdl-invalid") for error in validate_sdl(document)]
    if problems:
        return None, problems
    schema = _build(document)
    problems += [_problem(error, "sdl-invalid") for error in validate_schema(schema)]
    types = declared_types(schema)
    # The query type of _BUILT_IN was only there because a schema without one is invalid.
    rootless = GraphQLSchema(types=[*types.values(), *specified_scalar_types.values()], assume_valid=True)
    unlink_tokens(document.definitions)
    mentions = _mentions(types)
    record_sensitive_types(rootless, sensitive_types(types, mentions))
    return SdlTypes(rootless, _digests(document, types), mentions, document.definitions), problems


def _build(document: DocumentNode) -> GraphQLSchema:
    schema = build_ast_schema(document, assume_valid_sdl=True)
    for declared in schema.type_map.values():
        if isinstance(declared, GraphQLScalarType):
            attach_coercion(declared)
    return schema


def _clone(value: T) -> T:
    """Return a shallow copy. The constructors of GraphQL types would check and resolve everything again."""
    clone = object.__new__(type(value))
    vars(clone).update(vars(value))
    return clone


def _with_copies(original: Any, types: Mapping[str, GraphQLNamedType]) -> Any:
    """Return a type with its named type replaced by the copy of that name in ``types``."""
    if isinstance(original, GraphQLList | GraphQLNonNull):
        return type(original)(_with_copies(original.of_type, types))
    return types.get(original.name, original)


def _name(definition: DefinitionNode) -> str:
    return definition.name.value if isinstance(definition, TypeDefinitionNode | TypeExtensionNode) else ""


def _text(definition: DefinitionNode) -> str:
    location = definition.loc
    return location.source.body[location.start : location.end] if location else print_ast(definition)


def _digests(document: DocumentNode, types: Iterable[str]) -> dict[str, str]:
    digests = {name: hashlib.sha256() for name in types}
    for definition in document.definitions:
        if _name(definition) in digests:
            digests[_name(definition)].update(_text(definition).encode() + b"\0")
    return {name: digest.hexdigest() for name, digest in digests.items()}


def _mentions(types: Mapping[str, GraphQLNamedType]) -> dict[str, frozenset[str]]:
    mentions: dict[str, set[str]] = {name: set() for name in types}
    for name, declared in types.items():
        if isinstance(declared, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            mentions[name] |= {get_named_type(field.type).name for field in declared.fields.values()} & types.keys()
        if isinstance(declared, GraphQLUnionType):
            mentions[name] |= {member.name for member in declared.types}
        if isinstance(declared, GraphQLObjectType | GraphQLInterfaceType):
            for interface in declared.interfaces:
                # In both directions: a value of an interface can be of any type that implements it.
                mentions[name].add(interface.name)
                mentions[interface.name].add(name)
    return {name: frozenset(names) for name, names in mentions.items()}


def _parsed(texts: Mapping[str, str], problems: list[Problem]) -> list[DefinitionNode]:
    definitions: list[DefinitionNode] = []
    for file, text in texts.items():
        if not _COMMENT.sub("", text).strip():
            continue  # graphql-core rejects an empty document, but an empty file does no harm
        try:
            definitions += parse(Source(text, file)).definitions
        except GraphQLError as error:
            problems.append(_problem(error, "sdl-syntax"))
    return definitions


def _is_kept(definition: DefinitionNode, problems: list[Problem]) -> bool:
    """Tell whether a definition is allowed in the SDL of a configuration; report it if it is not."""
    problems += _field_arguments(definition)
    problem = _misplaced(definition)
    problems += [problem] if problem else []
    return problem is None


def _python_definitions(text: str, kept: list[DefinitionNode], place: Place, problems: list[Problem]) -> list[DefinitionNode]:
    """Return the definitions of Python classes to add to those of the SDL. Both may declare the same scalars, but no other types."""
    declared = {definition.name.value: definition for definition in kept if isinstance(definition, TypeDefinitionNode)}
    added: list[DefinitionNode] = []
    for definition in parse(Source(text, place.file)).definitions:
        name = definition.name.value if isinstance(definition, TypeDefinitionNode) else ""
        if name in ROOT_TYPES:
            continue
        if name in declared:
            if not isinstance(definition, ScalarTypeDefinitionNode) or not isinstance(declared[name], ScalarTypeDefinitionNode):
                message = f"a Python class makes the type '{name}', and the SDL declares it too; remove one of them"
                problems.append(Problem(place, "types", message, "type-conflict"))
        elif isinstance(definition, ScalarTypeDefinitionNode) and name in {*SCALARS, "JSON"}:
            added.append(ScalarTypeDefinitionNode(name=definition.name))  # with the gateway's description, not Strawberry's
        else:
            added.append(definition)
    return added


def declared_types(schema: GraphQLSchema) -> dict[str, GraphQLNamedType]:
    """Return the types of a schema by name, without built-in types and root types."""
    return {
        name: declared
        for name, declared in schema.type_map.items()
        if name not in ROOT_TYPES and not is_introspection_type(declared) and not is_specified_scalar_type(declared)
    }


MAX_TYPE_TEXTS = 4096


@lru_cache(maxsize=MAX_TYPE_TEXTS)
def read_type(text: str) -> TypeNode | None:
    """Parse a type such as ``[Post!]``; return None for any other text."""
    try:
        return parse_type(text, no_location=True)
    except GraphQLError:
        return None


def _field_arguments(definition: DefinitionNode) -> Iterator[Problem]:
    """Yield a problem for each field with arguments: a field of the SDL is read from its object, so its arguments would have no effect."""
    if not isinstance(definition, _WITH_FIELDS):
        return
    for field in definition.fields or ():
        if field.arguments:
            name = f"{definition.name.value}.{field.name.value}"
            message = (
                f"the field '{name}' has arguments, which would have no effect; make it a link ('field: {name}' with 'args:')"
            )
            yield _at(field, f"type {definition.name.value}", f"{message}, or remove them", "field-arguments")


def _problem(error: GraphQLError, code: str) -> Problem:
    file = error.source.name if error.source else "schema"
    location = error.locations[0] if error.locations else None
    place = Place(file, location.line, location.column) if location else Place(file)
    message = error.message.removeprefix("Syntax Error: ")
    return _keyword_mistake(error) or Problem(place, "types", message, code)


def _keyword_mistake(error: GraphQLError) -> Problem | None:
    """Return the problem of a misspelt keyword at the begin of a definition, None for any other error.

    After a description graphql-core reports the place of the description, so the keyword is searched for from there.
    """
    if error.source is None or not error.message.startswith(("Syntax Error: Unexpected Name", _DESCRIPTION)):
        return None
    start = min(error.positions or (0,))
    lexer = Lexer(error.source)
    token = lexer.advance()
    while token.start < start or token.kind not in {TokenKind.NAME, TokenKind.EOF}:
        token = lexer.advance()
    hint = did_you_mean(token.value or "", _KEYWORDS)
    place = Place(error.source.name, token.line, token.column)
    return Problem(place, "types", f"unexpected '{token.value}'{hint}", "sdl-syntax") if hint else None


def _misplaced(definition: DefinitionNode) -> Problem | None:
    """Return the problem of a definition that is not allowed in the SDL of a configuration, or None."""
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


def _at(node: Node, subject: str, message: str, code: str) -> Problem:
    assert node.loc is not None, "the parser sets locations"
    token = node.loc.start_token
    return Problem(Place(node.loc.source.name, token.line, token.column), subject, message, code)
