"""The schema of a database as data, independent of the database product: tables, columns and foreign keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``type`` is its GraphQL type as text; None if JSON cannot represent it."""

    name: str
    type: str | None
    is_nullable: bool = True
    description: str = ""
    cast: str = ""
    """The SQL type that the column is cast to in a SELECT; empty for none."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that reference the columns ``targets`` of ``table``, in the same order."""

    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view. ``unique`` has the sets of columns with a unique constraint, including the primary key."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique: frozenset[frozenset[str]] = frozenset()
    foreign_keys: tuple[ForeignKey, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseSchema:
    """The tables of a database, its enumerations (name → values), and the schema that qualifies table names, if any."""

    url: str
    tables: tuple[Table, ...]
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schema: str = ""
