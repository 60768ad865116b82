"""What is known of a database: tables, columns and foreign keys, whichever database it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its GraphQL type as text (None for one that JSON cannot carry) and how it is selected, if not by its name."""

    name: str
    type: str | None
    is_nullable: bool = True
    description: str = ""
    cast: str = ""
    """A type that it is cast to, so that it comes as text."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of a table that refer to columns of another."""

    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view. ``unique`` are the sets of columns that no two rows share, the primary key among them."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique: frozenset[frozenset[str]] = frozenset()
    foreign_keys: tuple[ForeignKey, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseSchema:
    """The tables of a database, its enumerations by name, and the schema that table names are written with, if any."""

    url: str
    tables: tuple[Table, ...]
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schema: str = ""
