"""JSON Schema nodes and YAML values → words and YAML for people: what a key expects, what was written, what to write instead.

The editor's schema, the reference and the messages of problems are made of the same nodes, so that they say the same.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import nearest

Node = Mapping[str, Any]
"""A JSON Schema; its own keyword ``said`` has words for one such value and for several."""

_PLAIN = re.compile(r"[A-Za-z0-9_./~(=@$][^\n\"]*")
_NOT_TEXT = re.compile(r"~|null|true|false|[-+.]?[0-9][0-9a-fx_.+-]*|\.(inf|nan)", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|seconds?|m|min|minutes?)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_]{0,79}")
_TRUE, _FALSE = {"yes", "y", "on", "true"}, {"no", "n", "off", "false"}
_SHORT = 80


def resolve(node: Node, definitions: Node) -> Node:
    """Follow a ``$ref``: keywords beside it, such as examples, go before the definition's."""
    if "$ref" not in node:
        return node
    return {**definitions[node["$ref"].rpartition("/")[2]], **{key: value for key, value in node.items() if key != "$ref"}}


def branches(node: Node, definitions: Node) -> list[Node]:
    """Return what a value can be, one node each, without the null that stands for a key that is left out."""
    node = resolve(node, definitions)
    shown = {"examples": node["examples"]} if "examples" in node else {}
    found = [{**resolve(branch, definitions), **shown} for branch in node.get("anyOf", [node])]
    return [branch for branch in found if branch.get("type") != "null"]


def node_at(node: Node, path: Sequence[str | int], definitions: Node) -> Node:
    """Return the node of the value under a path of keys and indexes; a node that says nothing where the path leads nowhere."""
    for part in path:
        node = next((found for branch in branches(node, definitions) if (found := _below(branch, part)) is not None), {})
    return resolve(node, definitions)


def _below(node: Node, part: str | int) -> Node | None:
    if isinstance(part, int):
        items: Node | None = node.get("items")
        return items
    own: Node | None = node.get("properties", {}).get(part)
    others = node.get("additionalProperties")
    return own if own is not None else others if isinstance(others, Mapping) else None


def in_words(node: Node, definitions: Node) -> str:
    """Say what a value is: "a whole number from 1 to 10", "a list of names", "one of GET, HEAD"."""
    kinds = list(dict.fromkeys(_one(branch, definitions) for branch in branches(node, definitions)))
    return (", or " if any(", " in kind for kind in kinds) else " or ").join(kinds)


def _one(node: Node, definitions: Node) -> str:
    if "said" in node:
        return f"{node['said'][0]}{_range(node)}"
    if "enum" in node:
        words = [flow(value) for value in node["enum"]]
        return f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words)
    match node.get("type"):
        case "array":
            return f"a list{_of(node.get('items', {}), definitions)}"
        case "object":
            return f"a mapping {_with(node, definitions)}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text"}
    return kinds.get(node.get("type", ""), "any value") + _range(node)


def _with(node: Node, definitions: Node) -> str:
    if "properties" in node:
        return f"with the keys {', '.join(node['properties'])}"
    values = node.get("additionalProperties")
    shortest = branches(values, definitions)[0] if isinstance(values, Mapping) else {}
    return f"of names to {_several(shortest, definitions) or 'values'}"


def _of(items: Node, definitions: Node) -> str:
    several = _several(items, definitions)
    return f" of {several}" if several else f" of which each is {in_words(items, definitions)}"


def _several(node: Node, definitions: Node) -> str | None:
    found = branches(node, definitions)
    if len(found) != 1:
        return None
    if "said" in found[0]:
        return str(found[0]["said"][1])
    kinds = {"string": "texts", "integer": "whole numbers", "object": "mappings", None: "values"}
    return None if "enum" in found[0] else kinds.get(found[0].get("type"))


def _range(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if "exclusiveMinimum" in node:
        low = node["exclusiveMinimum"] + 1
    if low is None and high is None:
        return ""
    return f" from {low} to {high}" if None not in {low, high} else f" of at least {low}" if high is None else f" up to {high}"


def expected(node: Node, value: object, definitions: Node) -> str:
    """Say what is wrong with a value that does not fit a node, and what to write instead.

    A text is repeated only where a word or a name is expected: any other may be a secret that came from the environment.
    """
    said = in_words(node, definitions)
    if value is None:
        return f"expected {said}, but there is no value{_example(node, definitions)}"
    instead = _instead(node, value, definitions) or _example(node, definitions)
    takes_words = any(branch.keys() & {"enum", "pattern"} for branch in branches(node, definitions))
    word = value[:_SHORT] if takes_words and isinstance(value, str) else ""
    return f"expected {said}, not {repr(word) if word else kind_of(value)}{instead}"


def kind_of(value: object) -> str:
    """Say what a value is, without repeating a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)[:_SHORT]
    kind = "text" if isinstance(value, str) else "list" if isinstance(value, list) else "mapping"
    return f"a {kind}" if value else f"an empty {kind}"


def _meant(node: Node, value: str, definitions: Node) -> str | None:
    found = branches(node, definitions)
    texts = [
        text if text is not None else "null"
        for branch in found
        for text in branch.get("enum", ())
        if isinstance(text, str | None)
    ]
    texts += (
        ["true", "false"]
        if any(branch.get("type") == "boolean" for branch in found) and value.lower() not in _TRUE | _FALSE
        else []
    )
    same = next((text for text in texts if text.lower() == value.lower()), None)
    hint = nearest(value, texts)
    return same or (hint.split("'")[1] if hint else None)


def _instead(node: Node, value: object, definitions: Node) -> str | None:
    """Return what to write instead where it is plain what a value was meant to be."""
    if isinstance(value, str) and (meant := _meant(node, value, definitions)):
        return f"; did you mean '{meant}'?"
    for branch in branches(node, definitions):
        match branch.get("type"):
            case "integer" if isinstance(value, str) and (number := _number(value, branch)) is not None:
                return f"; write {number}"
            case "boolean" if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
                return f"; write {'true' if value.lower() in _TRUE else 'false'}"
            case "array" if not isinstance(value, list) and (hint := _as_list(branch, value, definitions)):
                return hint
            case "string" if "pattern" in branch and isinstance(value, str) and re.search(branch["pattern"], _as_name(value)):
                return f"; write {_as_name(value)}"
            case "string" if not branch.keys() & {"pattern", "enum"} and (text := _unquoted(value, branch)) is not None:
                return f"; write {json.dumps(text, ensure_ascii=False)}, in quotes"
    return None


def _as_list(node: Node, value: object, definitions: Node) -> str | None:
    items = branches(node.get("items", {}), definitions)
    if isinstance(value, Mapping):
        example: Any = next(iter(node.get("examples", ())), None)
        return f"; begin each entry with '- ', as in '- {flow(example[0])}'" if isinstance(example, list) else None
    kind = "string" if isinstance(value, str) else "integer" if type(value) is int else None
    if isinstance(value, str) and not _NAME.fullmatch(value):
        return None
    return f"; write {flow([value])}" if any(item.get("type") == kind for item in items) else None


def _as_name(text: str) -> str:
    return re.sub(r"\W+", "_", text[:_SHORT], flags=re.ASCII).strip("_")


def _number(text: str, node: Node) -> int | None:
    if text.isascii() and text.isdecimal():
        return int(text[:_SHORT])
    duration = _DURATION.fullmatch(text.strip()) if "millisecond" in "".join(node.get("said", ())) else None
    if duration is None:
        return None
    unit = duration[2].lower()
    return round(float(duration[1]) * (1 if unit == "ms" else 1000 if unit.startswith("s") else 60_000))


def _unquoted(value: object, node: Node) -> str | None:
    """Return the text that was meant where quotes were forgotten: ``5``, ``{customer_id}``, ``[Post]``."""
    if isinstance(value, bool | int | float) and "said" not in node:
        return kind_of(value)
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value.values())) is None:
        return f"{{{str(next(iter(value)))[:_SHORT]}}}"
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return f"[{value[0][:_SHORT]}]"
    return None


def _example(node: Node, definitions: Node) -> str:
    shown = example_of(node, definitions)
    return f"; for example {shown}" if shown is not None else ""


def example_of(node: Node, definitions: Node) -> str | None:
    """Return a node's first example as YAML on one line, or None."""
    nodes = [resolve(node, definitions), *branches(node, definitions)]
    return next((flow(found["examples"][0]) for found in nodes if found.get("examples")), None)


def flow(value: object, *, is_inside: bool = False) -> str:
    """Write a value as YAML on one line; texts are in quotes where they need them."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key}: {flow(item, is_inside=True)}' for key, item in value.items())} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow(item, is_inside=True) for item in value)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value) and ": " not in value and " #" not in value
    is_plain = is_plain and not value.endswith((":", " ")) and not (is_inside and set(value) & set(",[]{}"))
    return value if is_plain else json.dumps(value, ensure_ascii=False)
