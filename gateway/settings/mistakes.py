"""Mismatches between a YAML mapping and its JSON Schema → messages for people: which key, what is expected there, what to write."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.errors import did_you_mean
from gateway.settings.words import Node, branches, example_of, explain_mismatch, node_at

Mismatch = tuple[Literal["unknown", "missing", "type", "value"], tuple[str | int, ...]]
"""What does not fit, and pydantic's location: keys, indexes, and names of union branches between them; ``[key]`` is the key itself."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a mapping: the path of YAML keys, a message, a code, and whether the key itself is wrong, not its value."""

    path: tuple[str | int, ...]
    message: str
    code: str
    is_about_key: bool = False


def mistakes_of(schema: Node, value: object, mismatches: Iterable[Mismatch], documents: Mapping[str, Node]) -> list[Mistake]:
    """Return the mistakes behind mismatches, one for each path.

    A value that fits no branch of a union is one mistake. Where a mistake is inside that value, only the inner one is returned.
    ``documents`` maps the distinguishing key of each kind of document to its schema: an unknown key may belong to another kind.
    """
    mistakes: dict[tuple[tuple[str | int, ...], bool], Mistake] = {}
    for kind, location in mismatches:
        mistake = _mistake(schema, value, kind, location, documents)
        # pydantic reports a mismatch for each branch of a union: all have the same path here.
        mistakes.setdefault((mistake.path, mistake.is_about_key), mistake)
    parents = {path[:length] for path, _ in mistakes for length in range(len(path))}
    return [mistake for mistake in mistakes.values() if mistake.path not in parents]


def _mistake(schema: Node, value: object, kind: str, location: tuple[str | int, ...], documents: Mapping[str, Node]) -> Mistake:
    definitions = schema.get("$defs", {})
    path = _yaml_path(value, location, is_missing=kind == "missing")
    last = str(location[-1])
    if kind == "unknown":
        return Mistake(path, f"unknown key '{last[:80]}'{_advice(schema, path, documents)}", "unknown-key", is_about_key=True)
    node = node_at(schema, path, definitions)
    if kind == "missing":
        example = example_of(node, definitions)
        shown = f"; for example '{last}: {example}'" if example else ""
        return Mistake(path, f"the key '{last}' is missing{shown}", "missing-key")
    if last == "[key]":
        owner = node_at(schema, path[:-1], definitions)
        message = explain_mismatch(_key_node(owner, definitions), path[-1], definitions)
        return Mistake(path, message, "bad-value", is_about_key=True)
    message = explain_mismatch(node, _value_at(value, path), definitions)
    return Mistake(path, message, "wrong-type" if kind == "type" else "bad-value")


def _keys_at(schema: Node, path: Sequence[str | int]) -> dict[str, Node]:
    """Return the known keys of the mapping under a path."""
    definitions = schema.get("$defs", {})
    keys: dict[str, Node] = {}
    for branch in branches(node_at(schema, path, definitions), definitions):
        keys |= branch.get("properties", {})
    return keys


def _advice(schema: Node, path: tuple[str | int, ...], documents: Mapping[str, Node]) -> str:
    """Say where an unknown key belongs: into a nested mapping, an enclosing one, another document, or here with another spelling."""
    key, definitions = str(path[-1]), schema.get("$defs", {})
    known = _keys_at(schema, path[:-1])
    for name, part in known.items():
        if any(key in branch.get("properties", {}) for branch in branches(part, definitions)):
            return f"; it belongs under '{name}:'"
    for depth in range(len(path) - 2, -1, -1):
        if key in _keys_at(schema, path[:depth]):
            return f"; it belongs beside '{path[depth]}:', not under it"
    # Schemas are cached by model, so identity tells whether this is the schema of a whole document.
    if key in documents and any(schema is kind for kind in documents.values()):
        return "; it begins a document of its own: put a line '---' before it"
    owner = next((name for name, kind in documents.items() if key in kind["properties"]), None)
    elsewhere = f"; it is a key of a document with '{owner}:', not of this mapping" if owner else ""
    return _spelling(known, key) or elsewhere or f"; known keys: {', '.join(known)}"


def _spelling(known: Mapping[str, Node], key: str) -> str:
    longer = next((name for name in known if key.lower() in name.split("_")), None)
    return did_you_mean(key, known) or (f"; did you mean '{longer}'?" if longer else "")


def _key_node(node: Node, definitions: Node) -> Node:
    """Return the node of the keys of a mapping of names."""
    return next((branch["propertyNames"] for branch in branches(node, definitions) if "propertyNames" in branch), {})


def _yaml_path(value: object, location: tuple[str | int, ...], *, is_missing: bool) -> tuple[str | int, ...]:
    """Return the parts of pydantic's location that are YAML keys and indexes, without the names of union branches."""
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
