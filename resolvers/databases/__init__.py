"""One module per database; the table below is the whole list. A new one is a module here and a line below."""

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
"""Databases by the scheme of a source's url. Their drivers are large (asyncpg 9 MiB, DuckDB 20), so only one that a url names is imported."""

SCHEMES = tuple(_CLASSES)


@cache
def database_type(scheme: str) -> DatabaseType | None:
    """Return the database of a scheme, None when there is none."""
    if scheme not in _CLASSES:
        return None
    module, name = _CLASSES[scheme]
    found: DatabaseType = getattr(import_module(module), name)()
    return found
