"""SQL text → its placeholders, and what a read-only query may not have.

One reading for all databases: quotes (also PostgreSQL's ``E''`` and ``$$``), comments and ``::`` casts are not placeholders. What
only one database knows is refused in its module in :mod:`resolvers.databases`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

Params = Mapping[str, object] | Sequence[object]
"""What is bound: by name to ``:name``, or in order to ``?``."""

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<skip> [eE]'(?:\\.|''|[^'\\])*' | '(?:[^']|'')*' | \$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$ | :: )
    | (?P<quoted> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[\w\ ]*\] )
    | (?P<unclosed> ['"`] .* | /\* .* | \[[^\[\]]*\Z )
    | (?P<named> :(?P<name>[A-Za-z_]\w*) )
    | (?P<numbered> \?\d+ | (?<![\w@:\]])[@$:]\w+ )
    | (?P<positional> \? )
    | (?P<end> ; )
    | (?P<reference> \{\s*[A-Za-z_][\w.-]*\??\s*\} )
    | (?P<word> [A-Za-z_][\w$]* )
    | (?P<parenthesis> [()] )
    | (?P<other> \S )
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_LIST = re.compile(r"(?P<negated>\bNOT\s+)?\bIN\s*\(\s*:(?P<list>[A-Za-z_]\w*)\s*\)", re.IGNORECASE)
_REFERENCE = re.compile(r"\{\s*(?P<root>[A-Za-z_]\w*)[\w.-]*\??\s*\}")
_READING = {"select", "with", "values"}
_WRITING = {
    *(
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
    ),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What a statement needs: named placeholders in order, the number of positional ones; and what is wrong with it.

    ``words`` are its keywords and names outside of quotes, in lower case.
    """

    named: tuple[str, ...]
    positional: int
    words: tuple[str, ...]
    mistakes: tuple[str, ...]


@lru_cache(maxsize=1024)
def read_statement(text: str) -> Statement:
    """Scan a statement. It must be one SELECT (or VALUES, or WITH … SELECT) that takes its values by placeholders alone."""
    found = list(tokens(text))
    named = tuple(match["name"] for kind, match in found if kind == "named")
    positional = sum(kind == "positional" for kind, _ in found)
    words = tuple(match[0].lower() for kind, match in found if kind == "word")
    return Statement(named, positional, words, tuple(_mistakes(found, words)))


def tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield what matters of a statement, each with its kind."""
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        yield {"name": "named", "tag": "skip"}.get(kind, kind), match


def _mistakes(found: list[tuple[str, re.Match[str]]], words: tuple[str, ...]) -> Iterator[str]:
    said = [(kind, match[0]) for kind, match in found if kind != "comment"]
    if "end" in [kind for kind, _ in said[:-1]]:
        yield "a step runs one statement; remove what follows the ';'"
    first = next((text for kind, text in said if kind in {"word", "quoted"}), "nothing")
    if first.lower() not in _READING:
        yield f"a warehouse step reads: its query begins with SELECT, WITH or VALUES, not '{first.upper()[:40]}'"
    else:
        writing = list(_writing_words(said)) or (["into"] if "into" in words else [])
        yield from (f"a warehouse step reads: '{word.upper()}' is not allowed" for word in writing)
    for kind, match in found:
        yield from _token_mistakes(kind, match[0])


def _writing_words(said: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the words that begin something that writes, behind a WITH or inside of it. Elsewhere they name columns and functions."""
    for (_, before), (kind, word), (_, after) in zip(said, said[1:], [*said[2:], ("", "")], strict=False):
        if kind == "word" and word.lower() in _WRITING and before in {"(", ")"} and after != "(":
            yield word


def _token_mistakes(kind: str, text: str) -> Iterator[str]:
    if kind == "reference":
        yield f"'{text}' would be spliced into the SQL; bind it: write ':name' and add it to 'params:'"
    elif kind == "numbered":
        yield f"the placeholder '{text[:40]}' is not known; write '?' or ':name'"
    elif kind == "unclosed":
        yield f"what begins with {text[:20]!r} is not closed"
    elif kind == "comment" and "/*" in text[2:]:
        yield "a comment inside a comment ends at another place in each database; remove one of them"
    elif kind in {"word", "quoted"} and text.strip('"`[]').lower() == "load_extension":
        yield "'load_extension' is not allowed"


def pairs_followed(words: tuple[str, ...], first: str, then: set[str]) -> str | None:
    """Return the first word of ``then`` that directly follows the word ``first``, or None."""
    return next((word for before, word in pairwise(words) if before == first and word in then), None)


def called_in_quotes(text: str) -> Iterator[str]:
    """Yield the functions that a statement calls by names in quotes, in lower case: ``"f"(x)`` calls as much as ``f(x)``."""
    for (kind, match), (_, after) in pairwise(found for found in tokens(text) if found[0] != "comment"):
        if kind == "quoted" and after[0] == "(":
            yield match[0][1:-1].lower()


def quoted_references(text: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in quotes as if it were a reference, such as ``'{id}'``: as it is written, and the first name in it."""
    for kind, match in tokens(text):
        if kind in {"skip", "quoted"}:
            yield from ((found[0], found["root"]) for found in _REFERENCE.finditer(match[0]))


def has_limit(text: str) -> bool:
    """Tell whether the number of a statement's rows has a bound: a LIMIT or FETCH outside of all parentheses, or VALUES."""
    depth = 0
    for kind, match in tokens(text):
        if kind == "parenthesis":
            depth += 1 if match[0] == "(" else -1
        elif kind == "word" and depth == 0 and match[0].lower() in {"limit", "fetch", "values"}:
            return True
    return False


def without_end(text: str) -> str:
    """Return a statement without its final semicolon."""
    found = [match for kind, match in tokens(text) if kind != "comment"]
    last = found[-1] if found else None
    return text if last is None or last[0] != ";" else text[: last.start()] + text[last.end() :]


def rename(text: str, named: Callable[[str], str], positional: Callable[[], str]) -> str:
    """Return a statement with each placeholder written in another way."""

    def replace(match: re.Match[str]) -> str:
        if match["name"]:
            return named(match["name"])
        return positional() if match["positional"] else match[0]

    return _TOKEN.sub(replace, text)


def replace_lists(text: str, write: Callable[[str, bool], str | None]) -> str:
    """Return a statement in which each ``IN (:name)`` is written anew.

    ``write`` is given the name and whether the test is negated (``NOT IN``); None leaves the text as it is.
    """
    quoted = [(match.start(), match.end()) for kind, match in tokens(text) if kind in {"skip", "quoted", "comment"}]

    def replace(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in quoted):
            return match[0]
        written = write(match["list"], match["negated"] is not None)
        return match[0] if written is None else written

    return _IN_LIST.sub(replace, text)


@lru_cache(maxsize=1024)
def list_names(text: str) -> frozenset[str]:
    """Return the named placeholders of a statement that stand for a list wherever they stand: ``IN (:name)``."""
    found: Counter[str] = Counter()
    replace_lists(text, lambda name, _: found.update([name]))
    used = Counter(read_statement(text).named)
    return frozenset(name for name, count in found.items() if count == used[name])


def expand_lists(text: str, params: Any) -> tuple[str, Any]:
    """Return a statement in which each named placeholder of a list, ``IN (:keys)``, is one placeholder for each of its items.

    Nothing is ``IN`` an empty list, and everything is ``NOT IN`` it. A list for any other placeholder stays what it is: no value of SQL.
    """
    if not isinstance(params, Mapping) or not any(isinstance(value, list) for value in params.values()):
        return text, params
    lists = list_names(text)
    empty = {name for name, value in params.items() if value == [] and name in lists}
    if empty:
        text = replace_lists(text, lambda name, negated: f"{_IN[negated]} (SELECT NULL WHERE 1 = 0)" if name in empty else None)
    names = {name: _item_names(name, value) for name, value in params.items() if isinstance(value, list) and name in lists}
    expanded: dict[str, Any] = {name: value for name, value in params.items() if name not in names}
    for name, items in names.items():
        expanded |= dict(zip(items, params[name] or [None], strict=True))
    written = rename(
        text, lambda name: ", ".join(f":{item}" for item in names[name]) if name in names else f":{name}", lambda: "?"
    )
    used = set(read_statement(written).named)
    return written, {name: value for name, value in expanded.items() if name in used}


_IN = {False: "IN", True: "NOT IN"}


def _item_names(name: str, items: list[object]) -> list[str]:
    return [f"{name}_{index}" for index in range(max(len(items), 1))]
