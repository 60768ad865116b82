"""Type definitions as data → SDL text."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.develop.importing.names import SCALARS


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object type; ``type`` is a GraphQL type as text."""

    name: str
    type: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class ObjectType:
    """An object type; ``comments`` are lines about properties that were left out."""

    name: str
    fields: tuple[Field, ...]
    description: str = ""
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum type."""

    name: str
    values: tuple[str, ...]
    description: str = ""


NamedType = ObjectType | EnumType


def named(type_text: str) -> str:
    """Return the name in a type such as ``[Post!]!``."""
    return type_text.strip("[]!")


def reachable(types: Mapping[str, NamedType], roots: Iterable[str]) -> list[NamedType]:
    """Return the types that can be reached from the type texts ``roots``, in order of name."""
    seen: dict[str, NamedType] = {}
    waiting = [named(root) for root in roots]
    while waiting:
        name = waiting.pop()
        definition = types.get(name)
        if definition is None or name in seen:
            continue
        seen[name] = definition
        if isinstance(definition, ObjectType):
            waiting += [named(field.type) for field in definition.fields]
    return [seen[name] for name in sorted(seen)]


def sdl_text(types: Iterable[NamedType], used: Iterable[str]) -> str:
    """Return the definitions as SDL, empty if there are none. Scalars that ``used`` or the fields refer to are declared first."""
    types = list(types)
    names = {named(text) for text in used} | {
        named(field.type) for definition in types if isinstance(definition, ObjectType) for field in definition.fields
    }
    scalars = [f"scalar {name}" for name in SCALARS if name in names]
    blocks = ["\n".join(scalars), *map(_definition, types)]
    return "".join(f"{block}\n\n" for block in blocks if block).removesuffix("\n")


def _definition(definition: NamedType) -> str:
    keyword = "enum" if isinstance(definition, EnumType) else "type"
    lines = [*_description(definition.description, ""), f"{keyword} {definition.name} {{"]
    if isinstance(definition, EnumType):
        lines += [f"  {value}" for value in definition.values]
    else:
        for field in definition.fields:
            lines += [*_description(field.description, "  "), f"  {field.name}: {field.type}"]
        # On one line: a line break in a property's name would end the comment.
        lines += [f"  # {' '.join(comment.split())}" for comment in definition.comments]
    return "\n".join([*lines, "}"])


def _description(text: str, indent: str) -> list[str]:
    return [indent + json.dumps(text, ensure_ascii=False)] if text else []
