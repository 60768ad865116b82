"""What is wrong with a YAML mapping, in words: which key, what is expected there, what to write.

In: the JSON Schema of the mapping's model, the mapping, and where it does not fit. Out: mistakes for people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.errors import nearest
from gateway.settings.words import Node, branches, example_of, expected, node_at

Misfit = tuple[Literal["unknown", "missing", "type", "value"], tuple[str | int, ...]]
"""What does not fit, and where: a location names the branches of unions beside keys and indexes; ``[key]`` is the key itself."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a mapping: the path of YAML keys, what is wrong, a code, and whether it is about the key itself."""

    path: tuple[str | int, ...]
    message: str
    code: str
    is_about_key: bool = False


def mistakes_of(schema: Node, value: object, misfits: Iterable[Misfit], documents: Mapping[str, Node]) -> list[Mistake]:
    """Return the mistakes behind misfits, one for each place.

    A value that fits no branch of a union is one mistake; where a part of it is wrong, the part is. ``documents`` are the schemas of
    the kinds of documents by the keys that tell them apart: an unknown key may have been meant for another one.
    """
    found: dict[tuple[tuple[str | int, ...], bool], Mistake] = {}
    for kind, location in misfits:
        mistake = _mistake(schema, value, kind, location, documents)
        found.setdefault((mistake.path, mistake.is_about_key), mistake)
    wholes = {path[:length] for path, _ in found for length in range(len(path))}
    return [mistake for mistake in found.values() if mistake.path not in wholes]


def _mistake(schema: Node, value: object, kind: str, location: tuple[str | int, ...], documents: Mapping[str, Node]) -> Mistake:
    definitions = schema.get("$defs", {})
    path = _within(value, location, is_missing=kind == "missing")
    last = str(location[-1])
    if kind == "unknown":
        return Mistake(path, f"unknown key '{last[:80]}'{_meant(schema, path, documents)}", "unknown-key", is_about_key=True)
    node = node_at(schema, path, definitions)
    if kind == "missing":
        example = example_of(node, definitions)
        shown = f"; for example '{last}: {example}'" if example else ""
        return Mistake(path, f"the key '{last}' is missing{shown}", "missing-key")
    if last == "[key]":
        owner = node_at(schema, path[:-1], definitions)
        return Mistake(path, expected(_keys_of(owner, definitions), path[-1], definitions), "bad-value", is_about_key=True)
    return Mistake(path, expected(node, _value_at(value, path), definitions), "wrong-type" if kind == "type" else "bad-value")


def _keys_at(schema: Node, path: Sequence[str | int]) -> dict[str, Node]:
    """Return the known keys of the mapping under a path."""
    definitions = schema.get("$defs", {})
    keys: dict[str, Node] = {}
    for branch in branches(node_at(schema, path, definitions), definitions):
        keys |= branch.get("properties", {})
    return keys


def _meant(schema: Node, path: tuple[str | int, ...], documents: Mapping[str, Node]) -> str:
    """Say where a key belongs that is unknown where it stands, or how it is spelt: deeper, higher, here, in another document."""
    key, definitions = str(path[-1]), schema.get("$defs", {})
    known = _keys_at(schema, path[:-1])
    for name, part in known.items():
        if any(key in branch.get("properties", {}) for branch in branches(part, definitions)):
            return f"; it belongs under '{name}:'"
    for depth in range(len(path) - 2, -1, -1):
        if key in _keys_at(schema, path[:depth]):
            return f"; it belongs beside '{path[depth]}:', not under it"
    if key in documents and any(schema is kind for kind in documents.values()):
        return "; it begins a document of its own: put a line '---' before it"
    owner = next((name for name, kind in documents.items() if key in kind["properties"]), None)
    elsewhere = f"; it is a key of a document with '{owner}:', not of this mapping" if owner else ""
    return _spelling(known, key) or elsewhere or f"; known keys: {', '.join(known)}"


def _spelling(known: Mapping[str, Node], key: str) -> str:
    longer = next((name for name in known if key.lower() in name.split("_")), None)
    return nearest(key, known) or (f"; did you mean '{longer}'?" if longer else "")


def _keys_of(node: Node, definitions: Node) -> Node:
    return next((branch["propertyNames"] for branch in branches(node, definitions) if "propertyNames" in branch), {})


def _within(value: object, location: tuple[str | int, ...], *, is_missing: bool) -> tuple[str | int, ...]:
    """Keep the parts of a location that are YAML keys and indexes."""
    path: list[str | int] = []
    for depth, part in enumerate(location):
        if isinstance(value, Mapping) and (part in value or (is_missing and depth == len(location) - 1)):
            path.append(part)
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int):
            path.append(part)
            value = value[part] if part < len(value) else None
    return tuple(path)


def _value_at(value: Any, path: tuple[str | int, ...]) -> object:
    for part in path:
        value = value[part]
    return value
