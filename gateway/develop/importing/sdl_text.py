"""Types as data → SDL text."""

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
    """An object type; ``comments`` are lines about what it does not have."""

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
        found = types.get(name)
        if found is None or name in seen:
            continue
        seen[name] = found
        if isinstance(found, ObjectType):
            waiting += [named(field.type) for field in found.fields]
    return [seen[name] for name in sorted(seen)]


def sdl_text(types: Iterable[NamedType], used: Iterable[str]) -> str:
    """Return definitions, if any; scalars among the type texts ``used``, or among the fields, are declared first."""
    types = list(types)
    names = {named(text) for text in used} | {
        named(field.type) for found in types if isinstance(found, ObjectType) for field in found.fields
    }
    scalars = [f"scalar {name}" for name in SCALARS if name in names]
    blocks = ["\n".join(scalars), *map(_definition, types)]
    return "".join(f"{block}\n\n" for block in blocks if block).removesuffix("\n")


def _definition(found: NamedType) -> str:
    lines = [*_description(found.description, ""), f"{'enum' if isinstance(found, EnumType) else 'type'} {found.name} {{"]
    if isinstance(found, EnumType):
        lines += [f"  {value}" for value in found.values]
    else:
        for field in found.fields:
            lines += [*_description(field.description, "  "), f"  {field.name}: {field.type}"]
        lines += [f"  # {' '.join(comment.split())}" for comment in found.comments]
    return "\n".join([*lines, "}"])


def _description(text: str, indent: str) -> list[str]:
    return [indent + json.dumps(text, ensure_ascii=False)] if text else []
