"""YAML documents → readable text: stable order, short mappings on one line, long texts folded.

The gateway reads back every string unchanged (YAML 1.2 core scalars, ``${NAME}`` replaced).
"""

import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.load.read.yaml_source import plain_scalar

_WIDTH = 110
# Strings that need no quotes: allow-lists, narrower than YAML's rules. Inside { } and [ ] fewer characters are safe.
_IN_BLOCK = re.compile(r"[A-Za-z_/$](?:[\w ./$(){}\[\],*=<>!\"'?-]|:(?=[/\w-]))*(?<! )", re.ASCII)
_IN_FLOW = re.compile(r"[A-Za-z_/](?:[\w ./$()*=<>!-]|:(?=/))*(?<! )", re.ASCII)
_YAML_1_1_BOOLEANS = {"yes", "no", "on", "off", "y", "n"}
"""Strings for the gateway, but booleans for YAML 1.1 parsers; they are quoted for these."""


@dataclass(frozen=True, slots=True)
class CommentedDocument:
    """A YAML document and the comment before it, one entry per line."""

    value: Mapping[str, object]
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommentedValue:
    """The value of a key, and the comment before that key."""

    value: object
    comments: tuple[str, ...]


def yaml_text(documents: Iterable[CommentedDocument], header: Iterable[str] = (), footer: Iterable[str] = ()) -> str:
    """Return the text of a file: a header comment, documents, a footer comment."""
    bodies = ["\n".join([*_comments(document.comments, ""), *_mapping(document.value, "")]) for document in documents]
    parts = ["\n".join(_comments(header, "")), "\n---\n".join(bodies), "\n".join(_comments(footer, ""))]
    return "\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return a text in which the gateway finds no environment variable: ``${`` becomes ``$ {``."""
    return text.replace("${", "$ {")


def _comments(lines: Iterable[str], indent: str) -> list[str]:
    return [f"{indent}# {' '.join(line.split())}".rstrip() for line in lines]


def _mapping(value: Mapping[str, object], indent: str) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        inner = item
        if isinstance(item, CommentedValue):
            lines += _comments(item.comments, indent)
            inner = item.value
        lines += _entry(f"{indent}{_scalar(key, _IN_FLOW)}:", inner, indent)
    return lines


def _entry(head: str, value: object, indent: str) -> list[str]:
    """Return the lines of a value after its key or dash (``head``): on the same line if it fits."""
    inner = indent + "  "
    if isinstance(value, Mapping) and not _is_short(head, value):
        return [head, *_mapping(value, inner)]
    if isinstance(value, list | tuple) and not _is_short(head, value):
        return [head, *(line for item in value for line in _item(item, inner))]
    if isinstance(value, str) and _is_foldable(value) and len(head) + len(value) > _WIDTH + 20:
        folded = textwrap.wrap(value, _WIDTH - len(inner), break_long_words=False, break_on_hyphens=False)
        return [f"{head} >-", *(inner + line for line in folded)]
    return [f"{head} {_flow(value) if isinstance(value, Mapping | list | tuple) else _scalar(value, _IN_BLOCK)}"]


def _item(value: object, indent: str) -> list[str]:
    if not isinstance(value, Mapping) or _is_short(f"{indent}-", value):
        return _entry(f"{indent}-", value, indent)
    first, *rest = _mapping(value, indent + "  ")
    return [f"{indent}- {first.strip()}", *rest]


def _is_short(head: str, value: Mapping[str, object] | Sequence[object]) -> bool:
    """Tell whether a mapping or list fits on the line of its key: it is short, and has no comment and is no list of mappings."""
    items = list(value.values() if isinstance(value, Mapping) else value)
    is_list = not isinstance(value, Mapping)
    if any(isinstance(item, CommentedValue) or (isinstance(item, Mapping) and is_list) for item in items):
        return False
    if head.strip() == "sources:":
        return False
    text = _flow(value)
    return len(head) + 1 + len(text) <= _WIDTH and "${" not in text


def _flow(value: object) -> str:
    if isinstance(value, CommentedValue):
        return _flow(value.value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_scalar(key, _IN_FLOW)}: {_flow(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value, _IN_FLOW)


def _scalar(value: object, plain: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = plain.fullmatch(value) is not None and plain_scalar(value) == value and value.lower() not in _YAML_1_1_BOOLEANS
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _is_foldable(text: str) -> bool:
    """Tell whether a folded block scalar (``>-``) reads back as this text."""
    return "  " not in text and text == text.strip() and text.isprintable() and not text.startswith(("#", "-"))
