"""Tables → their GraphQL names: the type, the operations, and a field for each column that JSON can represent."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.develop.importing.database.sql_text import quoted, selected
from gateway.develop.importing.database.tables import Column, DatabaseSchema, Table
from gateway.develop.importing.names import ID, UniqueNames, camel, is_name, singular, snake, type_names, words
from gateway.develop.importing.result import Omission

_ID_SUFFIX = re.compile(r"[_-](id|ID|Id)$|(?<=[a-z])(Id|ID)$")
_CAN_BE_ID = {"Int", "BigInt", "String", "UUID"}


@dataclass(frozen=True, slots=True)
class NamedTable:
    """A table with its type, the names of its operations, and its columns by field."""

    table: Table
    type: str
    one: str
    many: str
    fields: Mapping[str, Column]

    def field_of(self, column: str) -> str | None:
        """Return the field of a column; None if the column was left out."""
        return next((name for name, candidate in self.fields.items() if candidate.name == column), None)

    def type_of(self, name: str) -> str:
        """Return the type of a field, without its exclamation mark. Keys and names such as ``user_id`` are IDs, whatever the column type."""
        column = self.fields[name]
        is_key = (column.name,) == self.table.primary_key or any(key.columns == (column.name,) for key in self.table.foreign_keys)
        return "ID" if column.type in _CAN_BE_ID and (is_key or ID.search(column.name)) else str(column.type)

    @property
    def selection(self) -> list[str]:
        """The SQL expression of every field."""
        return [selected(column, field) for field, column in self.fields.items()]

    @property
    def order(self) -> str:
        """The clause that orders rows by their primary key; empty if there is none."""
        key = self.table.primary_key
        return f"ORDER BY {', '.join(map(quoted, key))}" if key else ""

    def relation(self, schema: str) -> str:
        """Return the name of the table in SQL, qualified by ``schema`` unless that is empty."""
        return f"{quoted(schema)}.{quoted(self.table.name)}" if schema else quoted(self.table.name)


def name_tables(database: DatabaseSchema, left_out: list[Omission]) -> tuple[dict[str, NamedTable], dict[str, str]]:
    """Name all tables with at least one field, and the enumerations; return both by their names in the database."""
    types, operations = type_names(), UniqueNames()
    tables = {}
    for table in database.tables:
        fields = _fields(table, left_out)
        if not fields:
            left_out.append(Omission("a table without a column that JSON can carry", table.name))
            continue
        many = snake(table.name)
        one = singular(many)
        # A word without a plural form: both operations would have the same name.
        one = one if one != many else f"{many}_by_{'_and_'.join(map(snake, table.primary_key)) or 'key'}"
        type_name = types.take(camel(singular(_readable(table.name))))
        tables[table.name] = NamedTable(table, type_name, operations.take(one), operations.take(many), fields)
    return tables, {name: types.take(camel(name)) for name in database.enums}


def _readable(name: str) -> str:
    return name if re.search(r"[a-z]", name) else name.lower()


def _fields(table: Table, left_out: list[Omission]) -> dict[str, Column]:
    # Valid names are reserved first: a converted name must not take that of a later column.
    names = UniqueNames(*(column.name for column in table.columns if is_name(column.name)))
    fields = {}
    for column in table.columns:
        if column.type is None:
            left_out.append(Omission("a column of bytes, which JSON cannot carry", f"{table.name}.{column.name}"))
        else:
            fields[column.name if is_name(column.name) else names.take(snake(column.name))] = column
    return fields


def link_name(column: str, target: str) -> str:
    """Return the name of a link from its column: ``customer`` for ``customer_id``; ``target`` if the column has no such suffix."""
    stem = _ID_SUFFIX.sub("", column)
    return snake(stem) if stem and stem != column and words(stem) else target
