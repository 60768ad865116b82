"""Expand compound keys: ``(a, b) IN (:keys)`` → the same test with one placeholder for each value of each row.

No database can bind a list of rows, and they differ in how one is written.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from resolvers.databases.sql.text import Params, tokens
from resolvers.databases.sql.values import parameter_fault

_PART = r"(?:[^()']|\([^()]*\))*"
_ROW_LIST = re.compile(
    rf"(?P<row>\({_PART},{_PART}\))\s*(?P<negated>\bNOT\s+)?\bIN\s*\(\s*:(?P<name>[A-Za-z_]\w*)\s*\)", re.IGNORECASE
)
_WORD_BEFORE = re.compile(r"(\w+)\s*\Z")
_WORDS_BEFORE_ROW = {"where", "and", "or", "not", "on", "when", "having", "select"}
"""After any other word, parentheses hold the arguments of a function."""


@dataclass(frozen=True, slots=True)
class RowTest:
    """An ``IN`` test of rows: its position in the statement, its columns as written, and their number (``width``)."""

    start: int
    end: int
    columns: str
    width: int
    is_negated: bool
    name: str


@lru_cache(maxsize=1024)
def row_tests(text: str) -> tuple[RowTest, ...]:
    """Find the ``IN`` tests of rows in a statement."""
    quoted = [match.span() for kind, match in tokens(text) if kind in {"skip", "quoted", "comment"}]
    tests = []
    for match in _ROW_LIST.finditer(text):
        before = _WORD_BEFORE.search(text[: match.start()])
        is_quoted = any(start <= position < end for start, end in quoted for position in (match.start(), match.start("name")))
        if not is_quoted and (before is None or before[1].lower() in _WORDS_BEFORE_ROW):
            # Commas inside the brackets of a function separate its arguments, not columns.
            width = re.sub(r"\([^()]*\)", "", match["row"][1:-1]).count(",") + 1
            tests.append(RowTest(*match.span(), match["row"], width, match["negated"] is not None, match["name"]))
    return tuple(tests)


def expand_rows(text: str, params: Params, *, before: str = "") -> tuple[str, Params]:
    """Return a statement with lists of rows written out, and its parameters; ``before`` is the keyword that the database needs before them.

    The last row is repeated up to a power of two, so that few different statements are prepared.

    :raises StepFault: an item of such a list is not a row of that many values.
    """
    tests = row_tests(text) if isinstance(params, Mapping) else ()
    if not tests or not isinstance(params, Mapping):
        return text, params
    bound, parts, end = dict(params), [], 0
    for test in tests:
        value = params[test.name]
        rows = [_row(test, item) for item in value] if isinstance(value, list) else []
        rows += rows[-1:] * ((1 << (len(rows) - 1).bit_length()) - len(rows) if rows else 0)
        names = [[f"{test.name}_{index}_{column}" for column in range(test.width)] for index in range(len(rows))]
        for row, values in zip(names, rows, strict=True):
            bound |= zip(row, values, strict=True)
        placeholders = ", ".join(f"({', '.join(f':{name}' for name in row)})" for row in names)
        expanded = f"{test.columns} {'NOT IN' if test.is_negated else 'IN'} ({before}{placeholders})"
        # An empty list: nothing is IN it, everything is NOT IN it. Null is never true, as in SQL.
        parts += [text[end : test.start], expanded if rows else "1 = 1" if test.is_negated and value == [] else "1 = 0"]
        end = test.end
    return "".join([*parts, text[end:]]), {
        name: value for name, value in bound.items() if name not in {test.name for test in tests}
    }


def _row(test: RowTest, item: object) -> list[object]:
    row = list(item.values()) if isinstance(item, Mapping) else item
    if not isinstance(row, list) or len(row) != test.width or any(isinstance(value, list | dict) for value in row):
        raise parameter_fault(test.name, f"a list of rows of {test.width} values")
    return row
