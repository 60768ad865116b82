"""SQLite over aiosqlite: one thread per connection, read-only, and cancelled queries are interrupted."""

import asyncio
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType, Row
from resolvers.databases.sql.rows import expand_rows
from resolvers.databases.sql.text import Params, expand_lists
from resolvers.databases.sql.values import MAX_INTEGER, is_encodable, parameter_fault, to_json

_BUSY_WAIT = 0.01
"""Seconds between two attempts at a locked database."""
_INTERRUPT_EVERY = 0.02
_SCHEME = "sqlite:///"


class Sqlite(DatabaseType):
    """``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db``."""

    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Require a path."""
        is_path = url.startswith(_SCHEME) and len(url) > len(_SCHEME)
        return None if is_path else ("expected sqlite:///path/to/file.db", "bad-url")

    def open(self, location: DatabaseLocation) -> Database:
        """Return the pool of a file."""
        return SqlitePool(Path(location.folder, location.url.removeprefix(_SCHEME)), location.pool, location.max_rows)


class SqlitePool(Database):
    """Read-only connections to one SQLite file. A connection serves one query at a time; further queries wait for one."""

    def __init__(self, path: Path, size: int, max_rows: int) -> None:
        self._path = path
        self._max_rows = max_rows
        self._slots = asyncio.Semaphore(size)
        self._idle: list[aiosqlite.Connection] = []
        self._opening: set[asyncio.Task[aiosqlite.Connection]] = set()
        self._connections: dict[aiosqlite.Connection, asyncio.Task[None] | None] = {}
        """Every open connection, with the task that closes it if one was started."""
        self._size = size
        self._is_closed = False

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Return the rows of a query; a list is bound item by item."""
        query, params = expand_lists(*expand_rows(query, params, before="VALUES "))
        _check_bindable(params)
        async with self._slots:
            if self._is_closed:
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail="the pool was closed")
            connection = self._idle.pop() if self._idle else await self._open()
            try:
                rows = await self._run(connection, query, params)
            except asyncio.CancelledError:
                # The query may still run in the thread: its connection is not reusable. A pool that was closed meanwhile has closed it.
                if connection in self._connections:
                    self._close(connection)
                raise
            except (sqlite3.Error, OverflowError, ValueError) as error:  # ValueError: the pool was closed meanwhile
                self._release(connection)
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=f"{type(error).__name__}: {error}") from error
            self._release(connection)
        if len(rows) > self._max_rows:
            raise StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {self._max_rows} rows")
        return rows

    async def aclose(self) -> None:
        """Close every connection, including those being opened and those with a running query. Waiting queries fail."""
        self._is_closed = True
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(self._close(connection) for connection in tuple(self._connections)))
        self._idle.clear()

    async def _run(self, connection: aiosqlite.Connection, query: str, params: Any) -> list[Row]:
        """Run a query; while the database is locked, retry from the event loop instead of blocking the connection's thread."""
        while True:
            try:
                # Not "async with": its exit would wait for the query that a cancellation must stop.
                cursor = await connection.execute(query, params)
                rows = await cursor.fetchmany(self._max_rows + 1)
                names = [column[0] for column in cursor.description or ()]
                await cursor.close()
            except sqlite3.OperationalError as error:
                # The low byte of an extended result code is the primary code.
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    raise
                await asyncio.sleep(_BUSY_WAIT)
            else:
                # Only bytes need converting, so that most rows are copied as they are.
                return [dict(zip(names, map(to_json, row) if bytes in map(type, row) else row, strict=True)) for row in rows]

    async def _open(self) -> aiosqlite.Connection:
        """Open a connection. A cancelled caller does not cancel the opening, which would leak its thread: the connection goes to the pool."""
        opening = asyncio.create_task(self._connect())
        self._opening.add(opening)
        opening.add_done_callback(self._register)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._keep_idle)
            raise

    async def _connect(self) -> aiosqlite.Connection:
        """Open a read-only connection: by its mode, by a pragma, and by an authorizer that allows SELECT only."""
        uri = f"file:{quote(str(self._path))}?mode=ro"
        try:
            # timeout=0: _run waits for locks, in the event loop.
            connection = await aiosqlite.connect(uri, uri=True, timeout=0, isolation_level=None, cached_statements=256)
        except sqlite3.Error as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{self._path}: {error}") from error
        await (await connection.execute("PRAGMA query_only = ON")).close()
        await connection.set_authorizer(_authorize)
        return connection

    def _register(self, opening: asyncio.Task[aiosqlite.Connection]) -> None:
        """Note a connection that was opened."""
        self._opening.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            self._connections[opening.result()] = None

    def _keep_idle(self, opening: asyncio.Task[aiosqlite.Connection]) -> None:
        """Keep a connection whose caller was cancelled for the next query."""
        if opening.cancelled() or opening.exception() is not None:
            return
        if len(self._connections) > self._size:  # the next query has opened its own connection already
            self._close(opening.result())
        else:
            self._idle.append(opening.result())

    def _release(self, connection: aiosqlite.Connection) -> None:
        """Return a connection to the pool, unless it is being closed or was closed."""
        if self._connections.get(connection, self) is None:
            self._idle.append(connection)

    def _close(self, connection: aiosqlite.Connection) -> asyncio.Task[None]:
        """Start closing a connection, at most once, because aiosqlite hangs on a second close; ``aclose`` waits for the task."""
        task = self._connections[connection]
        if task is None:
            task = self._connections[connection] = asyncio.create_task(self._interrupt_and_close(connection))
        return task

    async def _interrupt_and_close(self, connection: aiosqlite.Connection) -> None:
        """Close a connection, and interrupt its query until that takes effect: an interrupt before the query has started does nothing."""
        closing = asyncio.create_task(connection.close())
        while not closing.done():
            with suppress(ValueError, sqlite3.Error):
                await connection.interrupt()
            await asyncio.wait({closing}, timeout=_INTERRUPT_EVERY)
        del self._connections[connection]


def _check_bindable(params: Params) -> None:
    """Check that SQLite can bind every parameter: text, numbers and null.

    :raises StepFault: a value is a list, an object, or an integer of more than 64 bits.
    """
    for name, value in params.items() if isinstance(params, dict) else enumerate(params, 1):
        is_scalar = value is None or isinstance(value, str | int | float)
        if not is_scalar or (isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER):
            raise parameter_fault(name, "a text or a number that the database can take")
        if isinstance(value, str) and not is_encodable(value):
            raise parameter_fault(name, "text")


_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Allow the actions of a SELECT (https://sqlite.org/c3ref/c_alter_table.html), but not ``load_extension``, which loads code."""
    is_loading = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    return sqlite3.SQLITE_OK if action in _ALLOWED and not is_loading else sqlite3.SQLITE_DENY
