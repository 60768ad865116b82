"""Read the tables of a PostgreSQL schema from ``pg_catalog``, in one read-only transaction."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import asyncpg

from gateway.develop.importing.database.tables import Column, DatabaseSchema, ForeignKey, Table
from gateway.develop.importing.names import is_enum_value, sentence
from gateway.develop.importing.result import ImportFault

_TIMEOUT = 20.0
_TYPES = {
    **dict.fromkeys(("int2", "int4"), "Int"),
    **dict.fromkeys(("float4", "float8"), "Float"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name"), "String"),
    **dict.fromkeys(("timestamp", "timestamptz"), "DateTime"),
    **dict.fromkeys(("json", "jsonb"), "JSON"),
    "int8": "BigInt",
    "numeric": "Decimal",
    "bool": "Boolean",
    "uuid": "UUID",
    "date": "Date",
    "time": "Time",
}
# 'd' is a domain, which has the type that it is based on; partitions are left out, as their parent table has all rows.
_COLUMNS = """
SELECT c.relname AS "table", a.attname AS name, a.attnotnull AS is_set, a.atttypid::regtype::text AS declared,
       coalesce(e.typname, t.typname) AS type, t.typelem <> 0 AND t.typcategory = 'A' AS is_list,
       coalesce(e.typtype, t.typtype) AS kind, col_description(c.oid, a.attnum) AS comment, obj_description(c.oid) AS table_comment
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type b ON b.oid = a.atttypid
JOIN pg_type t ON t.oid = CASE WHEN b.typtype = 'd' THEN b.typbasetype ELSE b.oid END
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
ORDER BY c.relname, a.attnum
"""
# Partial indexes (indpred) and indexes of expressions (indexprs) do not make the columns themselves unique.
_KEYS = """
SELECT c.relname AS "table", i.indisprimary AS is_primary,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k(number, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number ORDER BY k.place) AS columns
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
"""
# conparentid = 0 leaves out the copies of a constraint on the partitions of a table.
_FOREIGN_KEYS = """
SELECT c.relname AS "table", f.relname AS target,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY x(number, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.number ORDER BY x.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY x(number, place)
             JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = x.number ORDER BY x.place) AS targets
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.oid = f.relnamespace
WHERE n.nspname = $1 AND k.contype = 'f' AND k.conparentid = 0
ORDER BY k.conname
"""
_ENUMS = """
SELECT t.typname AS name, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY t.oid, t.typname
"""

Rows = list[Mapping[str, Any]]


def read_postgres(url: str, shown_url: str, schema: str) -> DatabaseSchema:
    """Read the tables of a schema. ``shown_url`` has no password: it is for messages and the configuration.

    :raises ImportFault: the server is not reachable, or refuses the connection.
    """
    try:
        columns, keys, foreign_keys, enums = asyncio.run(_read(url, schema))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise ImportFault(f"{shown_url} cannot be read: {error or type(error).__name__}") from None
    labels = {row["name"]: tuple(row["labels"]) for row in enums if all(map(is_enum_value, row["labels"]))}
    tables = _tables(columns, keys, foreign_keys, labels)
    used = {name for row in columns for name in (row["type"],) if name in labels}
    return DatabaseSchema(
        shown_url, tuple(tables), {name: labels[name] for name in sorted(used)}, "" if schema == "public" else schema
    )


async def _read(url: str, schema: str) -> tuple[Rows, Rows, Rows, Rows]:
    connection = await asyncpg.connect(url, timeout=_TIMEOUT, command_timeout=_TIMEOUT)
    try:
        # Repeatable read: all queries see the same catalogue, even if a migration runs meanwhile.
        async with connection.transaction(readonly=True, isolation="repeatable_read"):
            columns, keys, foreign_keys = [await connection.fetch(query, schema) for query in (_COLUMNS, _KEYS, _FOREIGN_KEYS)]
            enums = await connection.fetch(_ENUMS)
    finally:
        await connection.close(timeout=_TIMEOUT)
    return columns, keys, foreign_keys, enums


def _tables(columns: Rows, keys: Rows, foreign_keys: Rows, enums: Mapping[str, tuple[str, ...]]) -> list[Table]:
    grouped = defaultdict(list)
    for row in columns:
        grouped[row["table"]].append(row)
    primary = {row["table"]: tuple(row["columns"]) for row in keys if row["is_primary"]}
    unique = defaultdict(set)
    for row in keys:
        unique[row["table"]].add(frozenset(row["columns"]))
    links = defaultdict(list)
    for row in foreign_keys:
        if row["target"] in grouped:
            links[row["table"]].append(ForeignKey(tuple(row["columns"]), row["target"], tuple(row["targets"])))
    return [
        Table(
            name,
            tuple(_column(row, enums) for row in rows),
            primary.get(name, ()),
            frozenset(unique[name]),
            tuple(links[name]),
            sentence(rows[0]["table_comment"]),
        )
        for name, rows in grouped.items()
    ]


def _column(row: Mapping[str, Any], enums: Mapping[str, tuple[str, ...]]) -> Column:
    description, kind = sentence(row["comment"]), row["type"]
    if kind == "bytea":
        return Column(row["name"], None)
    known = kind if kind in enums else _TYPES.get(kind)
    if known is None and row["kind"] == "c":  # a composite type
        return Column(row["name"], "JSON", not row["is_set"], description, "jsonb" if not row["is_list"] else "")
    # A type without a GraphQL equivalent, such as an interval or an address, is cast to PostgreSQL's text form.
    cast = ("text[]" if row["is_list"] else "text") if known is None else ""
    name = known or "String"
    return Column(row["name"], f"[{name}]" if row["is_list"] else name, not row["is_set"], description, cast)
