"""Read the tables of a SQLite file by pragmas, through a read-only connection."""

import sqlite3
from contextlib import closing
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from gateway.develop.importing.database.tables import Column, DatabaseSchema, ForeignKey, Table
from gateway.develop.importing.result import ImportFault

_AFFINITIES = (
    (("BOOL",), "Boolean"),
    (("BIGINT", "INT8", "UNSIGNED BIG"), "BigInt"),
    (("INT",), "Int"),
    (("CHAR", "CLOB", "TEXT", "DATE", "TIME", "JSON", "UUID"), "String"),
    (("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL", "MONEY"), "Float"),
)
"""Words in a declared type → GraphQL type; the first match decides (https://sqlite.org/datatype3.html#determination_of_column_affinity)."""


def read_sqlite(path: Path, url: str) -> DatabaseSchema:
    """Read the tables of a file. ``url`` is its URL for the configuration.

    :raises ImportFault: the file does not exist, or is not a database.
    """
    if not path.is_file():
        raise ImportFault(f"there is no file {path}; a SQLite URL is sqlite:///relative.db or sqlite:////absolute.db")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)) as connection:
            return DatabaseSchema(url, tuple(_tables(connection)))
    except sqlite3.Error as error:
        raise ImportFault(f"{path} cannot be read as a SQLite database: {error}") from None


def _tables(connection: sqlite3.Connection) -> list[Table]:
    rows = connection.execute("PRAGMA main.table_list").fetchall()
    names = sorted(name for _, name, kind, *_ in rows if kind in {"table", "view", "virtual"} and not name.startswith("sqlite_"))
    tables = {name: _table(connection, name) for name in names}
    return [_with_targets(table, tables) for table in tables.values()]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    info = connection.execute("SELECT name, type, [notnull], pk FROM pragma_table_info(?)", (name,)).fetchall()
    key = tuple(column for column, _, _, place in sorted(info, key=lambda row: row[3]) if place)
    # SQLite allows null in a primary key that is not the row ID; that is hardly ever meant, so key columns count as not null.
    columns = tuple(Column(column, _type(declared), not (is_set or place)) for column, declared, is_set, place in info)
    indexes = connection.execute("SELECT name FROM pragma_index_list(?) WHERE [unique] AND NOT partial", (name,)).fetchall()
    unique = {
        frozenset(row[0] for row in connection.execute("SELECT name FROM pragma_index_info(?)", (index,))) for (index,) in indexes
    }
    return Table(name, columns, key, frozenset(unique | ({frozenset(key)} if key else set())), _foreign_keys(connection, name))


def _foreign_keys(connection: sqlite3.Connection, name: str) -> tuple[ForeignKey, ...]:
    query = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'
    keys = []
    for _, rows in groupby(connection.execute(query, (name,)).fetchall(), key=lambda row: row[0]):
        parts = list(rows)
        targets = tuple(target for _, _, _, target in parts if target is not None)
        keys.append(ForeignKey(tuple(column for _, _, column, _ in parts), parts[0][1], targets))
    return tuple(sorted(keys, key=lambda key: key.columns))


def _with_targets(table: Table, tables: dict[str, Table]) -> Table:
    """Complete foreign keys: with the exact case of table names, and the primary key if they name no target columns."""
    known = {name.lower(): table for name, table in tables.items()}
    keys = []
    for key in table.foreign_keys:
        target = known.get(key.table.lower())
        if target is not None:
            keys.append(ForeignKey(key.columns, target.name, key.targets or target.primary_key))
    return Table(table.name, table.columns, table.primary_key, table.unique, tuple(keys))


def _type(declared: str) -> str | None:
    upper = declared.upper()
    if "BLOB" in upper:
        return None
    return next((kind for parts, kind in _AFFINITIES if any(part in upper for part in parts)), "JSON")
