"""Tables and columns → SELECT statements, with identifiers quoted if necessary."""

import re

from gateway.develop.importing.database.tables import Column

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Reserved words of SQLite and PostgreSQL.
_KEYWORDS = frozenset(
    """
    all alter analyse analyze and any array as asc asymmetric attach authorization autoincrement begin between binary both by cascade
    case cast check collate collation column commit concurrently conflict constraint create cross current current_date current_role
    current_time current_timestamp current_user default deferrable deferred delete desc detach distinct do drop each else end escape
    except exclude exclusive exists explain fail false fetch filter following for foreign freeze from full glob grant group groups
    having if ignore ilike immediate in index indexed initially inner insert instead intersect into is isnull join key lateral leading
    left like limit localtime localtimestamp match materialized natural no not nothing notnull null nulls of offset on only or order
    others outer over overlaps partition placing plan pragma preceding primary query raise range recursive references regexp reindex
    release rename replace restrict returning right rollback row rows savepoint select session_user set similar some symmetric
    system_user table tablesample temp temporary then ties to trailing transaction trigger true unbounded union unique update user
    using vacuum values variadic verbose view virtual when where window with without
    """.split()  # noqa: SIM905 - a list of a hundred and fifty strings would not be read
)


def quoted(name: str) -> str:
    """Return an identifier for SQL, quoted if it is no plain lower-case name or is a keyword."""
    if _PLAIN.fullmatch(name) and name not in _KEYWORDS:
        return name
    return '"' + name.replace('"', '""') + '"'


def selected(column: Column, field: str) -> str:
    """Return the expression that selects a column under the name of its field."""
    if field == column.name and not column.cast:
        return quoted(field)
    return f"{quoted(column.name)}{f'::{column.cast}' if column.cast else ''} AS {quoted(field)}"


def select(columns: list[str], table: str, *clauses: str) -> str:
    """Return a SELECT of expressions from a table, with further clauses."""
    return " ".join(["SELECT", ", ".join(columns), "FROM", table, *(clause for clause in clauses if clause)])
