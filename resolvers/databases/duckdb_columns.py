"""The columns of a result of DuckDB → a statement that refuses values which are too large, within DuckDB.

To make a Python object of a value of 100 MB takes a third of a second, in which no other thread runs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from resolvers.databases.sql.text import without_semicolon

_FIXED_SIZE = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|BOOLEAN|DATE|TIME|TIMESTAMP(_S|_MS|_NS)?"
    r"|TIME(STAMP)? WITH TIME ZONE|INTERVAL|UUID|\"NULL\""
)
_NESTED = re.compile(r"STRUCT|MAP|UNION|VARIANT|.*\]")
_SIZES = {"VARCHAR": "strlen(step.{})", "JSON": "strlen(step.{})", "BLOB": "octet_length(step.{})"}
TOO_LARGE = "this value is larger than the result may be"
"""What DuckDB says of such a value."""


@dataclass(frozen=True, slots=True)
class DuckDbColumns:
    """The columns of a statement: names, as in ``DESCRIBE``, and what tells the bytes of values that may be large.

    ``found`` are the names and types with which results came; they change with the files and tables that are read.
    """

    names: list[str]
    sizes: list[str]
    is_flat: bool
    found: Sequence[tuple[str, str]] = ()

    @classmethod
    def described(cls, description: Sequence[tuple[Any, ...]]) -> Self:
        """Return the columns of a ``DESCRIBE``."""
        names, types = [str(name) for name, *_ in description], [str(type_) for _, type_, *_ in description]
        return cls(names, _size_expressions(names, types), not any(map(_NESTED.match, types)))

    def refusing(self, text: str, max_bytes: int) -> str:
        """Return the statement, as one that is an error where a value is larger than a result may be."""
        if not self.sizes:
            return text
        test = f"CASE WHEN {' OR '.join(f'{size} > {max_bytes}' for size in self.sizes)} THEN error('{TOO_LARGE}') ELSE true END"
        return f"SELECT * FROM (\n{without_semicolon(text)}\n) AS step WHERE {test}"  # noqa: S608 - from the configuration


def found_columns(cursor: Any) -> list[tuple[str, str]]:
    """Return names and types of the columns of a result."""
    return [(str(name), str(type_)) for name, type_, *_ in cursor.description]


def _size_expressions(names: list[str], types: list[str]) -> list[str]:
    if len({name.lower() for name in names}) < len(names):
        return ["strlen(step::VARCHAR)"]  # a name that several columns have says nothing
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    sized = [(name, type_) for name, type_ in zip(quoted, types, strict=True) if not _FIXED_SIZE.fullmatch(type_)]
    return [_SIZES.get(type_, "strlen(step.{}::VARCHAR)").format(name) for name, type_ in sized]
