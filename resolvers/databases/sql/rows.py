"""``(a, b) IN (:keys)`` → the same test with a placeholder for each value of each row: compound keys.

Databases differ in how a list of rows is written, and none can bind one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from resolvers.databases.sql.text import Params, tokens
from resolvers.databases.sql.values import refused

_PART = r"(?:[^()']|\([^()]*\))*"
_ROW_LIST = re.compile(
    rf"(?P<row>\({_PART},{_PART}\))\s*(?P<negated>\bNOT\s+)?\bIN\s*\(\s*:(?P<name>[A-Za-z_]\w*)\s*\)", re.IGNORECASE
)
_WORD_BEFORE = re.compile(r"(\w+)\s*\Z")
_BEFORE_A_ROW = {"where", "and", "or", "not", "on", "when", "having", "select"}
"""After any other word what stands in parentheses are the arguments of a function."""


@dataclass(frozen=True, slots=True)
class RowTest:
    """A test for one of several rows: its place in the statement, the columns as they are written, and how many they are."""

    start: int
    end: int
    columns: str
    width: int
    is_negated: bool
    name: str


@lru_cache(maxsize=1024)
def row_tests(text: str) -> tuple[RowTest, ...]:
    """Find the tests for one of several rows in a statement."""
    quoted = [match.span() for kind, match in tokens(text) if kind in {"skip", "quoted", "comment"}]
    found = []
    for match in _ROW_LIST.finditer(text):
        before = _WORD_BEFORE.search(text[: match.start()])
        is_quoted = any(start <= place < end for start, end in quoted for place in (match.start(), match.start("name")))
        if not is_quoted and (before is None or before[1].lower() in _BEFORE_A_ROW):
            width = re.sub(r"\([^()]*\)", "", match["row"][1:-1]).count(",") + 1
            found.append(RowTest(*match.span(), match["row"], width, match["negated"] is not None, match["name"]))
    return tuple(found)


def expand_rows(text: str, params: Params, *, before: str = "") -> tuple[str, Params]:
    """Return a statement in which lists of rows are written out; ``before`` is the word that the database wants in front of them.

    The last row is repeated up to a power of two, so that there are few texts to prepare.

    :raises StepFault: an item of such a list is no row of as many values.
    """
    tests = row_tests(text) if isinstance(params, Mapping) else ()
    if not tests or not isinstance(params, Mapping):
        return text, params
    bound, parts, end = dict(params), [], 0
    for test in tests:
        given = params[test.name]
        rows = [_row(test, item) for item in given] if isinstance(given, list) else []
        rows += rows[-1:] * ((1 << (len(rows) - 1).bit_length()) - len(rows) if rows else 0)
        names = [[f"{test.name}_{index}_{column}" for column in range(test.width)] for index in range(len(rows))]
        for row, values in zip(names, rows, strict=True):
            bound |= zip(row, values, strict=True)
        written = ", ".join(f"({', '.join(f':{name}' for name in row)})" for row in names)
        one = f"{test.columns} {'NOT IN' if test.is_negated else 'IN'} ({before}{written})"
        parts += [text[end : test.start], one if rows else "1 = 1" if test.is_negated and given == [] else "1 = 0"]
        end = test.end
    return "".join([*parts, text[end:]]), {
        name: value for name, value in bound.items() if name not in {test.name for test in tests}
    }


def _row(test: RowTest, item: object) -> list[object]:
    row = list(item.values()) if isinstance(item, Mapping) else item
    if not isinstance(row, list) or len(row) != test.width or any(isinstance(value, list | dict) for value in row):
        raise refused(test.name, f"a list of rows of {test.width} values")
    return row
