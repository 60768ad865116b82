"""JSON Schema nodes and YAML values → text for people: what a key expects, what was written, what to write instead.

The JSON Schema for editors, the reference page and the error messages are generated from the same nodes, so that they agree.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import did_you_mean

Node = Mapping[str, Any]
"""A JSON Schema. The gateway's own keyword ``phrases`` describes its values for people: in the singular and in the plural."""

_PLAIN = re.compile(r"[A-Za-z0-9_./~(=@$][^\n\"]*")
_NOT_TEXT = re.compile(r"~|null|true|false|[-+.]?[0-9][0-9a-fx_.+-]*|\.(inf|nan)", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|seconds?|m|min|minutes?)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][0-9A-Za-z_]{0,79}")
_TRUE, _FALSE = {"yes", "y", "on", "true"}, {"no", "n", "off", "false"}
_MAX_SHOWN = 80
"""Characters of a value that a message repeats."""


def resolve(node: Node, definitions: Node) -> Node:
    """Follow a ``$ref``. Keywords beside it, such as examples, override those of the definition."""
    if "$ref" not in node:
        return node
    return {**definitions[node["$ref"].rpartition("/")[2]], **{key: value for key, value in node.items() if key != "$ref"}}


def branches(node: Node, definitions: Node) -> list[Node]:
    """Return the alternatives of a node, without null: that is only the default of a key that is left out."""
    node = resolve(node, definitions)
    examples = {"examples": node["examples"]} if "examples" in node else {}
    alternatives = [{**resolve(branch, definitions), **examples} for branch in node.get("anyOf", [node])]
    return [branch for branch in alternatives if branch.get("type") != "null"]


def node_at(node: Node, path: Sequence[str | int], definitions: Node) -> Node:
    """Return the node of the value under a path of keys and indexes; an empty node where the path leads nowhere."""
    for part in path:
        node = next((child for branch in branches(node, definitions) if (child := _child(branch, part)) is not None), {})
    return resolve(node, definitions)


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(part, int):
        items: Node | None = node.get("items")
        return items
    own: Node | None = node.get("properties", {}).get(part)
    others = node.get("additionalProperties")
    return own if own is not None else others if isinstance(others, Mapping) else None


def in_words(node: Node, definitions: Node) -> str:
    """Describe the values that a node accepts: "a whole number from 1 to 10", "a list of names", "one of GET, HEAD"."""
    kinds = list(dict.fromkeys(_branch_in_words(branch, definitions) for branch in branches(node, definitions)))
    return (", or " if any(", " in kind for kind in kinds) else " or ").join(kinds)


def _branch_in_words(node: Node, definitions: Node) -> str:
    if "phrases" in node:
        return f"{node['phrases'][0]}{_range(node)}"
    if "enum" in node:
        words = [flow(value) for value in node["enum"]]
        return f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words)
    match node.get("type"):
        case "array":
            return f"a list{_items_in_words(node.get('items', {}), definitions)}"
        case "object":
            return f"a mapping {_keys_in_words(node, definitions)}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text"}
    return kinds.get(node.get("type", ""), "any value") + _range(node)


def _keys_in_words(node: Node, definitions: Node) -> str:
    if "properties" in node:
        return f"with the keys {', '.join(node['properties'])}"
    values = node.get("additionalProperties")
    shortest = branches(values, definitions)[0] if isinstance(values, Mapping) else {}
    return f"of names to {_plural(shortest, definitions) or 'values'}"


def _items_in_words(items: Node, definitions: Node) -> str:
    plural = _plural(items, definitions)
    return f" of {plural}" if plural else f" of which each is {in_words(items, definitions)}"


def _plural(node: Node, definitions: Node) -> str | None:
    """Return the plural for values of a node, None where it has several alternatives or no plural."""
    alternatives = branches(node, definitions)
    if len(alternatives) != 1:
        return None
    (only,) = alternatives
    if "phrases" in only:
        return str(only["phrases"][1])
    kinds = {"string": "texts", "integer": "whole numbers", "object": "mappings", None: "values"}
    return None if "enum" in only else kinds.get(only.get("type"))


def _range(node: Node) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if "exclusiveMinimum" in node:
        low = node["exclusiveMinimum"] + 1
    if low is None and high is None:
        return ""
    return f" from {low} to {high}" if None not in {low, high} else f" of at least {low}" if high is None else f" up to {high}"


def explain_mismatch(node: Node, value: object, definitions: Node) -> str:
    """Say what is wrong with a value that does not fit a node, and what to write instead.

    A text is repeated only where a word or a name is expected: any other may be a secret that came from the environment.
    """
    expected = in_words(node, definitions)
    if value is None:
        return f"expected {expected}, but there is no value{_example(node, definitions)}"
    advice = _correction(node, value, definitions) or _example(node, definitions)
    takes_words = any(branch.keys() & {"enum", "pattern"} for branch in branches(node, definitions))
    word = value[:_MAX_SHOWN] if takes_words and isinstance(value, str) else ""
    return f"expected {expected}, not {repr(word) if word else _describe(value)}{advice}"


def _describe(value: object) -> str:
    """Return a number or boolean as text, and for any other value only its kind: its text may be a secret."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)[:_MAX_SHOWN]
    kind = "text" if isinstance(value, str) else "list" if isinstance(value, list) else "mapping"
    return f"a {kind}" if value else f"an empty {kind}"


def _similar_word(node: Node, value: str, definitions: Node) -> str | None:
    """Return the word that a node accepts and that is most similar to a value, None where none is similar."""
    alternatives = branches(node, definitions)
    words = [
        word if word is not None else "null"
        for branch in alternatives
        for word in branch.get("enum", ())
        if isinstance(word, str | None)
    ]
    # For words such as "yes" and "off" _correction() knows which of the two is meant.
    words += (
        ["true", "false"]
        if any(branch.get("type") == "boolean" for branch in alternatives) and value.lower() not in _TRUE | _FALSE
        else []
    )
    same = next((word for word in words if word.lower() == value.lower()), None)
    hint = did_you_mean(value, words)
    return same or (hint.split("'")[1] if hint else None)


def _correction(node: Node, value: object, definitions: Node) -> str | None:
    """Return what to write instead where the intended value is obvious, else None."""
    if isinstance(value, str) and (similar := _similar_word(node, value, definitions)):
        return f"; did you mean '{similar}'?"
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
    return re.sub(r"\W+", "_", text[:_MAX_SHOWN], flags=re.ASCII).strip("_")


def _number(text: str, node: Node) -> int | None:
    """Return the number that a text in quotes stands for; where milliseconds are expected also that of a duration such as ``2s``."""
    if text.isascii() and text.isdecimal():
        return int(text[:_MAX_SHOWN])
    duration = _DURATION.fullmatch(text.strip()) if "millisecond" in "".join(node.get("phrases", ())) else None
    if duration is None:
        return None
    unit = duration[2].lower()
    return round(float(duration[1]) * (1 if unit == "ms" else 1000 if unit.startswith("s") else 60_000))


def _unquoted(value: object, node: Node) -> str | None:
    """Return the intended text where its quotes are missing: ``5``, ``{customer_id}``, ``[Post]``."""
    if isinstance(value, bool | int | float) and "phrases" not in node:
        return _describe(value)
    if isinstance(value, Mapping) and len(value) == 1 and next(iter(value.values())) is None:
        return f"{{{str(next(iter(value)))[:_MAX_SHOWN]}}}"
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return f"[{value[0][:_MAX_SHOWN]}]"
    return None


def _example(node: Node, definitions: Node) -> str:
    example = example_of(node, definitions)
    return f"; for example {example}" if example is not None else ""


def example_of(node: Node, definitions: Node) -> str | None:
    """Return a node's first example as YAML on one line, or None."""
    nodes = [resolve(node, definitions), *branches(node, definitions)]
    return next((flow(each["examples"][0]) for each in nodes if each.get("examples")), None)


def flow(value: object, *, is_inside: bool = False) -> str:
    """Write a value as YAML in flow style, on one line. Texts are quoted where they need it."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key}: {flow(item, is_inside=True)}' for key, item in value.items())} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(flow(item, is_inside=True) for item in value)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value) and ": " not in value and " #" not in value
    is_plain = is_plain and not value.endswith((":", " ")) and not (is_inside and set(value) & set(",[]{}"))
    return value if is_plain else json.dumps(value, ensure_ascii=False)
