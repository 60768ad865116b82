"""SQL text → its placeholders, and what a read-only query may not have. Quotes, comments and ``::`` casts are not placeholders."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"""
      (?P<skip> '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\]
              | --[^\n]* | /\*.*?\*/ | :: )
    | (?P<named> :(?P<name>[A-Za-z_]\w*) )
    | (?P<numbered> \?\d+ | [@$][A-Za-z_]\w* )
    | (?P<positional> \? )
    | (?P<end> ; )
    | (?P<reference> \{[^{}]*\} )
    | (?P<word> [A-Za-z_]\w* )
    """,
    re.VERBOSE | re.DOTALL,
)
_WRITING = {
    *(
        "insert",
        "update",
        "delete",
        "drop",
        "create",
        "alter",
        "attach",
        "detach",
        "pragma",
        "vacuum",
        "reindex",
    ),
    *("replace_into", "truncate", "grant", "merge", "copy", "begin", "commit", "rollback"),
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
    tokens = [(match.lastgroup if match.lastgroup != "name" else "named", match) for match in _TOKEN.finditer(text)]
    named = tuple(match["name"] for kind, match in tokens if kind == "named")
    positional = sum(kind == "positional" for kind, _ in tokens)
    words = [match[0].lower() for kind, match in tokens if kind == "word"]
    return Statement(named, positional, tuple(_mistakes(tokens, words)))


def _mistakes(tokens: list[tuple[str | None, re.Match[str]]], words: list[str]) -> list[str]:
    mistakes = []
    kinds = [kind for kind, _ in tokens if kind != "skip"]
    if "end" in kinds[:-1] and kinds.index("end") < len(kinds) - 1:
        mistakes.append("a step runs one statement; remove what follows the ';'")
    first = words[0] if words else ""
    if first not in {"select", "with", "values"}:
        mistakes.append(
            f"a warehouse step reads: its query begins with SELECT, WITH or VALUES, not '{first.upper() or 'nothing'}'"
        )
    elif first == "with" and (writing := next((word for word in words if word in _WRITING), None)):
        mistakes.append(f"a warehouse step reads: '{writing.upper()}' is not allowed")
    if "load_extension" in words:
        mistakes.append("'load_extension' is not allowed")
    for kind, match in tokens:
        if kind == "reference":
            mistakes.append(f"'{match[0]}' would be spliced into the SQL; bind it: write ':name' and add it to 'params:'")
        elif kind == "numbered":
            mistakes.append(f"the placeholder '{match[0]}' is not known; write '?' or ':name'")
    return mistakes


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
