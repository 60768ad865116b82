"""Scan SQL text: find its placeholders, and what a read-only query must not contain.

One scanner serves all databases: quotes (including PostgreSQL's ``E''`` and ``$$``), comments and ``::`` casts hold no placeholders. The
module of each database in :mod:`resolvers.databases` checks what only that database knows.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

Params = Mapping[str, object] | Sequence[object]
"""Bound values: by name for ``:name``, or in order for ``?``."""

# Order matters: comments and quotes come first, so that nothing inside them is taken for a placeholder; `::` comes before `:name`.
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
_READ_KEYWORDS = {"select", "with", "values"}
_WRITE_KEYWORDS = {
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
    """A scanned statement: its named placeholders in order, the number of positional ones, and its mistakes.

    ``words`` are the keywords and names outside quotes, in lower case.
    """

    named: tuple[str, ...]
    positional: int
    words: tuple[str, ...]
    mistakes: tuple[str, ...]


@lru_cache(maxsize=1024)
def read_statement(text: str) -> Statement:
    """Scan a statement. It must be one SELECT (or VALUES, or WITH … SELECT) that takes values through placeholders only."""
    scanned = list(tokens(text))
    named = tuple(match["name"] for kind, match in scanned if kind == "named")
    positional = sum(kind == "positional" for kind, _ in scanned)
    words = tuple(match[0].lower() for kind, match in scanned if kind == "word")
    return Statement(named, positional, words, tuple(_mistakes(scanned, words)))


def tokens(text: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield the tokens of a statement, each with its kind."""
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        yield {"name": "named", "tag": "skip"}.get(kind, kind), match


def _mistakes(scanned: list[tuple[str, re.Match[str]]], words: tuple[str, ...]) -> Iterator[str]:
    code = [(kind, match[0]) for kind, match in scanned if kind != "comment"]
    if "end" in [kind for kind, _ in code[:-1]]:
        yield "a step runs one statement; remove what follows the ';'"
    first = next((text for kind, text in code if kind in {"word", "quoted"}), "nothing")
    if first.lower() not in _READ_KEYWORDS:
        yield f"a warehouse step reads: its query begins with SELECT, WITH or VALUES, not '{first.upper()[:40]}'"
    else:
        # SELECT … INTO creates a table.
        writing = list(_writing_words(code)) or (["into"] if "into" in words else [])
        yield from (f"a warehouse step reads: '{word.upper()}' is not allowed" for word in writing)
    for kind, match in scanned:
        yield from _token_mistakes(kind, match[0])


def _writing_words(code: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the keywords that begin a writing statement after or inside a WITH. Elsewhere such words name columns and functions."""
    for (_, before), (kind, word), (_, after) in zip(code, code[1:], [*code[2:], ("", "")], strict=False):
        if kind == "word" and word.lower() in _WRITE_KEYWORDS and before in {"(", ")"} and after != "(":
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


def word_following(words: tuple[str, ...], first: str, then: set[str]) -> str | None:
    """Return the first word of ``then`` that directly follows ``first``, or None."""
    return next((word for before, word in pairwise(words) if before == first and word in then), None)


def quoted_function_calls(text: str) -> Iterator[str]:
    """Yield the functions that are called by quoted names, in lower case: ``"f"(x)`` is a call just as ``f(x)`` is."""
    for (kind, match), (_, after) in pairwise(token for token in tokens(text) if token[0] != "comment"):
        if kind == "quoted" and after[0] == "(":
            yield match[0][1:-1].lower()


def quoted_references(text: str) -> Iterator[tuple[str, str]]:
    """Yield quoted texts that look like references, such as ``'{id}'``: as written, and their first name."""
    for kind, match in tokens(text):
        if kind in {"skip", "quoted"}:
            yield from ((reference[0], reference["root"]) for reference in _REFERENCE.finditer(match[0]))


def has_limit(text: str) -> bool:
    """Tell whether the number of rows is bounded: by LIMIT or FETCH outside all parentheses, or by VALUES."""
    depth = 0
    for kind, match in tokens(text):
        if kind == "parenthesis":
            depth += 1 if match[0] == "(" else -1
        elif kind == "word" and depth == 0 and match[0].lower() in {"limit", "fetch", "values"}:
            return True
    return False


def without_semicolon(text: str) -> str:
    """Return a statement without its final semicolon."""
    code = [match for kind, match in tokens(text) if kind != "comment"]
    last = code[-1] if code else None
    return text if last is None or last[0] != ";" else text[: last.start()] + text[last.end() :]


def rename_placeholders(text: str, named: Callable[[str], str], positional: Callable[[], str]) -> str:
    """Return a statement with its placeholders rewritten by the two functions."""

    def replace(match: re.Match[str]) -> str:
        if match["name"]:
            return named(match["name"])
        return positional() if match["positional"] else match[0]

    return _TOKEN.sub(replace, text)


def replace_lists(text: str, write: Callable[[str, bool], str | None]) -> str:
    """Return a statement with each ``IN (:name)`` rewritten.

    ``write`` takes the name and whether the test is negated (``NOT IN``), and returns the new text, or None to keep the old.
    """
    quoted = [(match.start(), match.end()) for kind, match in tokens(text) if kind in {"skip", "quoted", "comment"}]

    def replace(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in quoted):
            return match[0]
        written = write(match["list"], match["negated"] is not None)
        return match[0] if written is None else written

    return _IN_LIST.sub(replace, text)


@lru_cache(maxsize=1024)
def list_placeholders(text: str) -> frozenset[str]:
    """Return the named placeholders that are lists at every occurrence: ``IN (:name)``."""
    as_list: Counter[str] = Counter()
    replace_lists(text, lambda name, _: as_list.update([name]))
    used = Counter(read_statement(text).named)
    return frozenset(name for name, count in as_list.items() if count == used[name])


def expand_lists(text: str, params: Any) -> tuple[str, Any]:
    """Return a statement with one placeholder for each item of a list, ``IN (:keys)``, and its parameters.

    Nothing is ``IN`` an empty list, and everything is ``NOT IN`` it. A list for any other placeholder is kept, and refused when it is bound.
    """
    if not isinstance(params, Mapping) or not any(isinstance(value, list) for value in params.values()):
        return text, params
    lists = list_placeholders(text)
    empty = {name for name, value in params.items() if value == [] and name in lists}
    if empty:
        text = replace_lists(text, lambda name, negated: f"{_IN[negated]} (SELECT NULL WHERE 1 = 0)" if name in empty else None)
    names = {name: _item_names(name, value) for name, value in params.items() if isinstance(value, list) and name in lists}
    expanded: dict[str, Any] = {name: value for name, value in params.items() if name not in names}
    for name, items in names.items():
        expanded |= dict(zip(items, params[name] or [None], strict=True))
    written = rename_placeholders(
        text, lambda name: ", ".join(f":{item}" for item in names[name]) if name in names else f":{name}", lambda: "?"
    )
    used = set(read_statement(written).named)
    return written, {name: value for name, value in expanded.items() if name in used}


_IN = {False: "IN", True: "NOT IN"}


def _item_names(name: str, items: list[object]) -> list[str]:
    return [f"{name}_{index}" for index in range(max(len(items), 1))]
