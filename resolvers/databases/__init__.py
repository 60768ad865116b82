"""The databases of warehouse sources: one module each, listed in the table below."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from resolvers.databases.database import DatabaseType

_CLASSES: Mapping[str, tuple[str, str]] = {
    "sqlite": ("resolvers.databases.sqlite", "Sqlite"),
    "postgresql": ("resolvers.databases.postgresql", "Postgresql"),
    "postgres": ("resolvers.databases.postgresql", "Postgresql"),
    "duckdb": ("resolvers.databases.duckdb", "DuckDb"),
}
"""Module and class by URL scheme. Drivers are large (asyncpg 9 MiB, DuckDB 20), so that a module is imported only when a URL names it."""

SCHEMES = tuple(_CLASSES)


@cache
def database_type(scheme: str) -> DatabaseType | None:
    """Return the database type of a URL scheme, or None for an unknown scheme."""
    if scheme not in _CLASSES:
        return None
    module, name = _CLASSES[scheme]
    instance: DatabaseType = getattr(import_module(module), name)()
    return instance
