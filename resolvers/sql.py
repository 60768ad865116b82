"""SQL text → its placeholders, and what a read-only query may not have. Quotes, comments and ``::`` casts are not placeholders."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""
      (?P<skip> --[^\n]* | /\*.*?\*/ | :: )
    | (?P<text> '(?:[^']|'')*' )
    | (?P<quoted> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]\[]*\] )
    | (?P<unclosed> ['"`\[] .* | /\* .* )
    | (?P<named> :(?P<name>[A-Za-z_]\w*) )
    | (?P<numbered> \?\d+ | [@$:]\w+ )
    | (?P<positional> \? )
    | (?P<end> ; )
    | (?P<reference> \{[^{}]*\} )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<other> [^\s] )
    """,
    re.VERBOSE | re.DOTALL,
)
_READING = {"select", "with", "values"}
_WRITING = {
    "insert",
    "update",
    "delete",
    "replace",
    "drop",
    "create",
    "alter",
    "attach",
    "detach",
    "pragma",
    "truncate",
    "merge",
    "copy",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What a statement needs: named placeholders in order, the number of positional ones; and what is wrong with it."""

    named: tuple[str, ...]
    positional: int
    mistakes: tuple[str, ...]


@lru_cache(maxsize=1024)
def read_statement(text: str) -> Statement:
    """Scan a statement. It must be one SELECT (or VALUES, or WITH … SELECT) that takes its values by placeholders alone."""
    tokens = [(_kind(match), match) for match in _TOKEN.finditer(text)]
    named = tuple(match["name"] for kind, match in tokens if kind == "named")
    positional = sum(kind == "positional" for kind, _ in tokens)
    return Statement(named, positional, tuple(_mistakes([token for token in tokens if token[0] != "skip"])))


def _kind(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return "named" if kind == "name" else kind


def _mistakes(tokens: list[tuple[str, re.Match[str]]]) -> list[str]:
    mistakes = []
    kinds = [kind for kind, _ in tokens]
    if "end" in kinds[:-1]:
        mistakes.append("a step runs one statement; remove what follows the ';'")
    first = next((match[0] for kind, match in tokens if kind in {"word", "quoted"}), "nothing")
    if first.lower() not in _READING:
        mistakes.append(f"a warehouse step reads: its query begins with SELECT, WITH or VALUES, not '{first.upper()[:40]}'")
    mistakes += [f"a warehouse step reads: '{word.upper()}' is not allowed" for word in _writing_words(tokens)]
    for kind, match in tokens:
        if kind == "reference":
            mistakes.append(f"'{match[0]}' would be spliced into the SQL; bind it: write ':name' and add it to 'params:'")
        elif kind == "numbered":
            mistakes.append(f"the placeholder '{match[0][:40]}' is not known; write '?' or ':name'")
        elif kind == "unclosed":
            mistakes.append(f"what begins with {match[0][:20]!r} is not closed")
        elif kind in {"word", "quoted"} and match[0].strip('"`[]').lower() == "load_extension":
            mistakes.append("'load_extension' is not allowed")
    return mistakes


def _writing_words(tokens: list[tuple[str, re.Match[str]]]) -> list[str]:
    """Return the words that begin something that writes: behind a WITH, or as a part of it. Elsewhere they are names of columns."""
    words = []
    before = ""
    for kind, match in tokens:
        if kind == "word" and match[0].lower() in _WRITING and before in {")", "("}:
            words.append(match[0])
        before = match[0]
    return words


def expand_lists(text: str, params: Any) -> tuple[str, Any]:
    """Return a statement in which each named placeholder of a list, as in ``IN (:keys)``, is one placeholder for each of its items.

    An empty list is a placeholder for null, which equals nothing.
    """
    if not isinstance(params, dict) or not any(isinstance(value, list) for value in params.values()):
        return text, params
    expanded: dict[str, Any] = {}
    for name, value in params.items():
        items = (
            {f"{name}_{index}": item for index, item in enumerate(value or [None])} if isinstance(value, list) else {name: value}
        )
        expanded |= items

    def replace(match: re.Match[str]) -> str:
        value = params.get(match["name"]) if match["name"] else None
        if not isinstance(value, list):
            return match[0]
        return ", ".join(f":{match['name']}_{index}" for index in range(max(len(value), 1)))

    return _TOKEN.sub(replace, text), expanded
