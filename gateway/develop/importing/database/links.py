"""Foreign keys → links in both directions: from a row to the row that it references, and from that to all rows that reference it."""

from collections.abc import Mapping

from gateway.develop.importing.database.named import NamedTable, link_name
from gateway.develop.importing.database.sql_text import quoted, select
from gateway.develop.importing.database.tables import DatabaseSchema, ForeignKey
from gateway.develop.importing.names import UniqueNames, singular
from gateway.develop.importing.result import Omission
from gateway.develop.importing.yaml_text import CommentedDocument


def links(
    tables: Mapping[str, NamedTable], database: DatabaseSchema, source: str, left_out: list[Omission]
) -> list[CommentedDocument]:
    """Return two links for each foreign key of one column. One of several columns cannot be queried by a single ``IN``."""
    names = {name: UniqueNames(*table.fields) for name, table in tables.items()}
    documents = []
    for table in tables.values():
        keys = []
        for key in table.table.foreign_keys:
            obstacle = _obstacle(table, key, tables)
            if obstacle:
                left_out.append(Omission(obstacle, f"{table.table.name}({', '.join(key.columns)}) → {key.table}"))
            else:
                keys.append(key)
        for key in keys:
            target = tables[key.table]
            documents.append(_forward(table, key, target, names[table.table.name], _Writer(database, source)))
        for key in keys:
            target = tables[key.table]
            is_only = sum(other.table == key.table for other in keys) == 1
            documents.append(_backward(table, key, target, names[key.table], _Writer(database, source), is_only=is_only))
    return documents


def _obstacle(table: NamedTable, key: ForeignKey, tables: Mapping[str, NamedTable]) -> str | None:
    if len(key.columns) != 1 or len(key.targets) != 1:
        return "a foreign key of several columns"
    target = tables.get(key.table)
    if target is None or not target.field_of(key.targets[0]) or not table.field_of(key.columns[0]):
        return "a foreign key whose columns are left out"
    return None


class _Writer:
    """Builds the document of a link."""

    def __init__(self, database: DatabaseSchema, source: str) -> None:
        self._database = database
        self._source = source

    def write(self, field: str, returns: str, target: NamedTable, column: str, key: str) -> CommentedDocument:
        """Return the link that selects the rows of ``target`` whose ``column`` equals the parent's field ``key``."""
        condition = f"WHERE {quoted(column)} IN (:keys)"
        order = target.order if returns.startswith("[") else ""
        step = {
            "type": "warehouse",
            "source": self._source,
            "query": select(target.selection, target.relation(self._database.schema), condition, order),
            "params": {"keys": "{keys}"},
            "batch": {"key": key, "match": target.field_of(column)},
        }
        return CommentedDocument({"field": field, "returns": returns, "step": step})


def _forward(table: NamedTable, key: ForeignKey, target: NamedTable, names: UniqueNames, writer: _Writer) -> CommentedDocument:
    (column,), (target_column,) = key.columns, key.targets
    name = names.take(link_name(column, singular(target.many)))
    return writer.write(f"{table.type}.{name}", target.type, target, target_column, str(table.field_of(column)))


def _backward(
    table: NamedTable, key: ForeignKey, target: NamedTable, names: UniqueNames, writer: _Writer, *, is_only: bool
) -> CommentedDocument:
    """Return the link to all rows that reference a parent; to a single row if the column is unique.

    ``is_only`` tells whether this is the only foreign key between both tables; else the column is part of the name.
    """
    (column,), (target_column,) = key.columns, key.targets
    is_single = frozenset((column,)) in table.table.unique
    name = singular(table.many) if is_single else table.many
    name = names.take(name if is_only else f"{name}_by_{link_name(column, column)}")
    returns = table.type if is_single else f"[{table.type}!]"
    return writer.write(f"{target.type}.{name}", returns, table, column, str(target.field_of(target_column)))
