"""A database file → one DuckDB that reads it, and no files but those that the configuration and the database itself name."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.errors import Code, StepFault
from resolvers.databases.duckdb_statement import allowed, choosing_macros, files_of_definition
from resolvers.databases.files import version_of

if find_spec("duckdb") is not None:  # 20 MiB, so that it is an optional extra
    import duckdb

_CHECK_EVERY = 0.5
"""Seconds for which the file is taken to be the one that was opened."""
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "temp_directory": "",  # no temporary files: a query that needs more than the memory fails
}
_NAMES_OF_ITS_OWN = {"memory", "system", "temp", "main"}


class DuckDbInstance:
    """A DuckDB in memory with a database file attached, read-only. Its settings are locked.

    Two of them may have the same file attached: one that was replaced stays until its last query has ended.
    """

    def __init__(self, path: Path | None, files: frozenset[str]) -> None:
        """Open it. ``files`` are those that statements name.

        :raises StepFault: the file is not there, is locked by another process, or is no database.
        """
        if path is not None and path.exists() and not path.is_file():  # to open a pipe would wait for ever
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{path}: is no file")
        self._path = path
        self._version = version_of(path) if path else ()
        self._checked = time.monotonic()
        self.files = files
        self.is_broken = False
        self.choosing: frozenset[str] = frozenset()
        """The macros of the database whose arguments choose what is read."""
        self._connection = duckdb.connect(":memory:", config=_SETTINGS)
        try:
            self._attach()
            self._lock()
        except duckdb.Error as error:
            self._connection.close()
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{path}: {error}") from error

    def cursor(self) -> Any:
        """Return a new cursor, in the attached database."""
        cursor = self._connection.cursor()
        cursor.execute(f"USE {self._catalog}")
        return cursor

    def is_outdated(self) -> bool:
        """Tell whether this must be opened anew: the file is another one by now, or DuckDB has given up."""
        if not self.is_broken and time.monotonic() - self._checked > _CHECK_EVERY:
            self.is_broken = self._path is not None and version_of(self._path) != self._version
            self._checked = time.monotonic()
        return self.is_broken

    def close(self) -> None:
        """Close it, except for cursors with a running query."""
        self._connection.close()

    def _attach(self) -> None:
        if self._path is None:
            self._catalog = "memory"
            return
        name = self._path.stem if self._path.stem.lower() not in _NAMES_OF_ITS_OWN else f"{self._path.stem}_db"
        self._catalog = f'"{name.replace(chr(34), chr(34) * 2)}"'
        file = str(self._path).replace("'", "''")
        self._connection.execute(f"ATTACH '{file}' AS {self._catalog} (READ_ONLY, TYPE duckdb)")
        macros = "SELECT function_name, parameters, macro_definition FROM duckdb_functions() WHERE NOT internal AND macro_definition IS NOT NULL"
        views = "SELECT sql FROM duckdb_views() WHERE NOT internal"
        found = self._connection.execute(macros).fetchall()
        self.choosing = choosing_macros(found)
        definitions = [*(text for _, _, text in found), *(text for (text,) in self._connection.execute(views).fetchall())]
        self.files = self.files.union(*map(files_of_definition, definitions))

    def _lock(self) -> None:
        paths, directories = allowed(self.files)
        # Times with a time zone are read in the session's zone, which is that of the machine otherwise.
        self._connection.execute("SET GLOBAL TimeZone = 'UTC'")
        self._connection.execute(f"SET allowed_paths = {_list(paths)}")
        self._connection.execute(f"SET allowed_directories = {_list(directories)}")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")


def _list(texts: list[str]) -> str:
    quoted = ("'" + text.replace("'", "''") + "'" for text in texts)
    return f"[{', '.join(quoted)}]"
