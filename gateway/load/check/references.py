"""References in templates and expressions, checked against the arguments, steps and types of their operation."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    is_specified_scalar_type,
    type_from_ast,
)

from gateway.errors import Problem, did_you_mean
from gateway.language.template import Reference, TemplateError, parse, references
from gateway.load.read.decode import Decoded, Path
from gateway.load.types.sdl import read_type

_REFERENCE = re.compile(r"[A-Za-z_][\w.-]*\??")
RESERVED = ("args", "context", "request", "parent", "keys", "env")


@dataclass(frozen=True, slots=True)
class PlacedReference:
    """A reference, and the path of YAML keys to the text that contains it."""

    reference: Reference
    path: Path


def read_templates(decoded: Decoded[Any], names: tuple[str, ...], problems: list[Problem]) -> dict[str, object]:
    """Return the template trees of the given keys that are set. Invalid templates are reported and remain plain text."""
    written = {name: getattr(decoded.keys, name) for name in names}
    return {name: _read_tree(value, (name,), decoded, problems) for name, value in written.items() if value is not None}


def _read_tree(value: object, path: Path, decoded: Decoded[Any], problems: list[Problem]) -> object:
    if isinstance(value, str):
        try:
            return parse(value)
        except TemplateError as error:
            problems.append(decoded.problem(path, str(error), "bad-template"))
            return value
    if isinstance(value, dict):
        _check_quotes(value, path, decoded, problems)
        return {key: _read_tree(item, (*path, key), decoded, problems) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_read_tree(item, (*path, index), decoded, problems) for index, item in enumerate(value))
    return value


def _check_quotes(value: Mapping[str, object], path: Path, decoded: Decoded[Any], problems: list[Problem]) -> None:
    """Report a reference without quotes, ``{ id: {customer_id} }``: YAML reads it as a mapping with one key without a value."""
    # A body may have a key without a value on purpose.
    if len(path) > 1 and len(value) == 1 and path[0] != "body":
        ((key, inner),) = value.items()
        if inner is None and _REFERENCE.fullmatch(key):
            message = f'a reference needs quotes, else YAML reads a mapping; write "{{{key}}}"'
            problems.append(decoded.problem(path, message, "unquoted-reference"))


def placed_references(decoded: Decoded[Any], templates: Mapping[str, object]) -> list[PlacedReference]:
    """Return the references of a step's own templates, in file order."""
    unordered = [placed for name, tree in templates.items() for placed in _placed(tree, (name,))]
    return sorted(unordered, key=lambda placed: decoded.marks.at(placed.path)) if len(unordered) > 1 else unordered


def _placed(tree: object, path: Path) -> Iterator[PlacedReference]:
    if isinstance(tree, str):
        return
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from _placed(item, (*path, key))
    elif isinstance(tree, tuple):
        for index, item in enumerate(tree):
            yield from _placed(item, (*path, index))
    else:
        for reference in references(tree):
            yield PlacedReference(reference, path)


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that references of one operation or link may use: arguments and steps with their types (None where a type is not known)."""

    arguments: Mapping[str, GraphQLType | None]
    steps: Mapping[str, GraphQLType | None]
    of_link: Mapping[str, GraphQLType | None] = field(default_factory=dict)
    """``parent`` with its type in a link, ``keys`` in a link with a batch."""
    context: Collection[str] = ()
    """The names of the context values."""

    def mistake(self, path: tuple[str, ...]) -> tuple[str, str] | None:
        """Return the mistake in a dotted path as (message, code), or None."""
        root = path[0]
        if root == "args":
            if len(path) == 1 or path[1] in self.arguments:
                return self.mistake(path[1:]) if len(path) > 1 else None
            return f"unknown argument '{path[1]}'{did_you_mean(path[1], self.arguments)}", "unknown-reference"
        if root == "request":
            return request_mistake(path)
        if root == "context":
            return context_mistake(path, self.context)
        if root in RESERVED and root not in self.of_link:
            return f"'{root}' cannot be used here", "unknown-reference"
        for known in (self.of_link, self.steps, self.arguments):
            if root in known:
                message = path_mistake(known[root], path)
                return (message, "unknown-field") if message else None
        hint = did_you_mean(root, (*self.arguments, *self.steps, *self.of_link)) or "; it is neither an argument nor a step here"
        return f"unknown reference '{root}'{hint}", "unknown-reference"


def context_mistake(path: tuple[str, ...], known: Collection[str]) -> tuple[str, str] | None:
    """Return the mistake in a path into the context as (message, code), or None."""
    if len(path) == 1 or path[1] in known:
        return None
    hint = did_you_mean(path[1], known) or "; declare it in a document 'context:'"
    return f"unknown context key '{path[1]}'{hint}", "unknown-reference"


def request_mistake(path: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the mistake in a path into the request as (message, code), or None."""
    if path == ("request", "id") or (len(path) == 3 and path[:2] == ("request", "headers") and path[2] == path[2].lower()):
        return None
    return (
        f"unknown reference '{'.'.join(path)}'; a request has 'request.id' and 'request.headers.<lower-case-name>'",
        "unknown-reference",
    )


def path_mistake(current: GraphQLType | None, path: tuple[str, ...]) -> str | None:
    """Return the mistake in a path into a typed value, or None. Paths into untyped values (JSON, custom scalars, unions) are not checked."""
    for depth, name in enumerate(path[1:], 1):
        current = current.of_type if isinstance(current, GraphQLNonNull) else current
        so_far = ".".join(path[:depth])
        if isinstance(current, GraphQLList):
            if not name.isdecimal():
                return f"'{so_far}' is a list; write an index, such as '{so_far}.0'"
            current = current.of_type
        elif isinstance(current, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            if name not in current.fields:
                return f"the type '{current.name}' of '{so_far}' has no field '{name}'{did_you_mean(name, current.fields)}"
            current = current.fields[name].type
        elif isinstance(current, GraphQLEnumType) or (
            isinstance(current, GraphQLNamedType) and is_specified_scalar_type(current)
        ):
            return f"'{so_far}' is of the type '{current.name}' and has no fields"
        else:
            return None
    return None


def resolve_type(text: str, types: GraphQLSchema) -> GraphQLType | str:
    """Return the type that a text names, or a message if there is no such type."""
    node = read_type(text)
    if node is None:
        return f"'{text}' is not a GraphQL type such as Account, [Post!] or ID!"
    resolved = type_from_ast(types, node)
    if resolved is None:
        name = text.strip("[]! ")
        return f"unknown type '{name}'{did_you_mean(name, types.type_map) or '; declare it in a .graphql file'}"
    return resolved
