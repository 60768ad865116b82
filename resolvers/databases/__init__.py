"""One module per database; the table below is the whole list. A new one is a module here and a line below."""

from collections.abc import Mapping

from resolvers.databases.database import DatabaseType
from resolvers.databases.duckdb import DuckDb
from resolvers.databases.postgresql import Postgresql
from resolvers.databases.sqlite import Sqlite

DATABASES: Mapping[str, DatabaseType] = {
    "sqlite": Sqlite(),
    "postgresql": Postgresql(),
    "postgres": Postgresql(),
    "duckdb": DuckDb(),
}
"""Databases by the scheme of a source's url."""
