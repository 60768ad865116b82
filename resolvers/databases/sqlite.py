"""SQLite over aiosqlite: one thread per connection, read-only, and cancelled queries are interrupted.

A file that was replaced or written past SQLite is noticed within ``_CHECK_EVERY`` seconds, and opened anew.
"""

import asyncio
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType, Row
from resolvers.databases.files import version_of
from resolvers.databases.sql.rows import expand_rows
from resolvers.databases.sql.text import Params, expand_lists
from resolvers.databases.sql.values import MAX_INTEGER, ResultSize, is_encodable, parameter_fault, to_json, too_many_rows

_BUSY_WAIT = 0.01
"""Seconds between two attempts at a locked database."""
_INTERRUPT_EVERY = 0.02
_CHECK_EVERY = 0.5
"""Seconds for which a connection takes its file to be the one that it has opened."""
_BATCH = 8
"""Rows that are read at once; of as many values as large as they may be, the last are in vain."""
_MIN_VALUE_BYTES = 5_000_000
"""The least that a value may have within SQLite: rows and parameters pass through it too, of which a result may show only a part."""
_UNUSABLE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_SCHEME = "sqlite:///"


class Sqlite(DatabaseType):
    """``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db``."""

    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Require a path."""
        is_path = url.startswith(_SCHEME) and len(url) > len(_SCHEME)
        return None if is_path else ("expected sqlite:///path/to/file.db", "bad-url")

    def open(self, location: DatabaseLocation) -> Database:
        """Return the pool of a file."""
        return SqlitePool(
            Path(location.folder, location.url.removeprefix(_SCHEME)), location.pool, location.max_rows, location.max_bytes
        )


class _FileReplaced(Exception):
    """The file of a connection is another one by now."""


class _Connection(aiosqlite.Connection):
    """A read-only connection to a file, whose queries run in its thread as a whole."""

    def __init__(self, path: Path, max_rows: int, max_bytes: int) -> None:
        super().__init__(self._open_file, iter_chunk_size=1)
        self._path = path
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._version: tuple[int, ...] = ()
        self._checked = 0.0
        self._stopping: asyncio.Future[Any] | None = None

    async def open(self) -> None:
        """Open the file; when that fails, wait until the thread has ended."""
        try:
            await self
        except sqlite3.Error:
            if self._stopping is not None:
                await self._stopping
            raise

    def stop(self) -> asyncio.Future[Any] | None:
        """Let the thread end, and keep what tells when."""
        self._stopping = super().stop()
        return self._stopping

    async def select(self, query: str, params: Any) -> list[Row]:
        """Run a query and return its rows.

        :raises _FileReplaced: the file is another one than the one that was opened.
        """
        rows: list[Row] = await self._execute(self._select, query, params)  # type: ignore[no-untyped-call]
        return rows

    def _open_file(self) -> sqlite3.Connection:
        """Open the file, read-only by its mode, by a pragma, and by an authorizer that allows SELECT only."""
        self._version = version_of(self._path)
        self._checked = time.monotonic()
        uri = f"file:{quote(str(self._path))}?mode=ro"
        # timeout=0: the pool waits for locks, in the event loop.
        database = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, cached_statements=256)
        database.execute("PRAGMA query_only = ON").close()
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(self._max_bytes, _MIN_VALUE_BYTES))
        database.set_authorizer(_authorize)
        return database

    def _select(self, query: str, params: Any) -> list[Row]:
        self._check_file()
        with closing(self._conn.execute(query, params)) as cursor:
            return self._read(cursor)

    def _read(self, cursor: sqlite3.Cursor) -> list[Row]:
        """Read rows, and not many more than a result may have."""
        names = [column[0] for column in cursor.description or ()]
        size = ResultSize(self._max_bytes)
        rows: list[Row] = []
        while batch := cursor.fetchmany(_BATCH):
            if len(rows) + len(batch) > self._max_rows:
                raise too_many_rows(self._max_rows)
            size.add(batch)
            # Only bytes need converting, so that most rows are copied as they are.
            rows += [dict(zip(names, map(to_json, row) if bytes in map(type, row) else row, strict=True)) for row in batch]
        return rows

    def _check_file(self) -> None:
        if time.monotonic() - self._checked > _CHECK_EVERY:
            if version_of(self._path) != self._version:
                raise _FileReplaced
            self._checked = time.monotonic()


class SqlitePool(Database):
    """Read-only connections to one SQLite file. A connection serves one query at a time; further queries wait for one."""

    def __init__(self, path: Path, size: int, max_rows: int, max_bytes: int) -> None:
        self._path = path
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(size)
        self._idle: list[_Connection] = []
        self._opening: set[asyncio.Task[_Connection]] = set()
        self._connections: dict[_Connection, asyncio.Task[None] | None] = {}
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
            while True:
                connection = self._idle.pop() if self._idle else await self._open()
                try:
                    return await self._run(connection, query, params)
                except _FileReplaced:
                    self._discard(connection)

    async def aclose(self) -> None:
        """Close every connection, including those being opened and those with a running query. Waiting queries fail."""
        self._is_closed = True
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(self._close(connection) for connection in tuple(self._connections)))
        self._idle.clear()

    async def _run(self, connection: _Connection, query: str, params: Any) -> list[Row]:
        """Run a query, and return its connection to the pool unless that is of no more use."""
        try:
            rows = await self._when_unlocked(connection, query, params)
        except asyncio.CancelledError:
            self._discard(connection)  # the query may still run in its thread
            raise
        except (sqlite3.Error, OverflowError, ValueError) as error:  # ValueError: the pool was closed meanwhile
            cause = _cause(error)
            if cause in _UNUSABLE:
                self._discard(connection)
            self._release(connection)
            code = Code.SUBREQUEST_RESPONSE_TOO_LARGE if cause == sqlite3.SQLITE_TOOBIG else Code.DOWNSTREAM_SERVICE_ERROR
            raise StepFault(code, detail=f"{type(error).__name__}: {error}") from error
        except StepFault:
            self._release(connection)
            raise
        self._release(connection)
        return rows

    async def _when_unlocked(self, connection: _Connection, query: str, params: Any) -> list[Row]:
        """Run a query; while the database is locked, retry from the event loop instead of blocking the connection's thread."""
        while True:
            try:
                return await connection.select(query, params)
            except sqlite3.OperationalError as error:
                if _cause(error) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    raise
                await asyncio.sleep(_BUSY_WAIT)

    async def _open(self) -> _Connection:
        """Open a connection. A cancelled caller does not cancel the opening, which would leak its thread: the connection goes to the pool."""
        opening = asyncio.create_task(self._connect())
        self._opening.add(opening)
        opening.add_done_callback(self._register)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._keep_idle)
            raise

    async def _connect(self) -> _Connection:
        try:
            connection = _Connection(self._path, self._max_rows, self._max_bytes)
            await connection.open()
        except sqlite3.Error as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{self._path}: {error}") from error
        return connection

    def _register(self, opening: asyncio.Task[_Connection]) -> None:
        """Note a connection that was opened."""
        self._opening.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            self._connections[opening.result()] = None

    def _keep_idle(self, opening: asyncio.Task[_Connection]) -> None:
        """Keep a connection whose caller was cancelled for the next query."""
        if opening.cancelled() or opening.exception() is not None:
            return
        if len(self._connections) > self._size:  # the next query has opened its own connection already
            self._close(opening.result())
        else:
            self._idle.append(opening.result())

    def _release(self, connection: _Connection) -> None:
        """Return a connection to the pool, unless it is being closed or was closed."""
        if self._connections.get(connection, self) is None:
            self._idle.append(connection)

    def _discard(self, connection: _Connection) -> None:
        """Start closing a connection, unless a pool that was closed meanwhile has done so."""
        if connection in self._connections:
            self._close(connection)

    def _close(self, connection: _Connection) -> asyncio.Task[None]:
        """Start closing a connection, at most once, because aiosqlite hangs on a second close; ``aclose`` waits for the task."""
        task = self._connections[connection]
        if task is None:
            task = self._connections[connection] = asyncio.create_task(self._interrupt_and_close(connection))
        return task

    async def _interrupt_and_close(self, connection: _Connection) -> None:
        """Close a connection, and interrupt its query until that takes effect: an interrupt before the query has started does nothing."""
        closing = asyncio.create_task(connection.close())
        while not closing.done():
            with suppress(ValueError, sqlite3.Error):
                await connection.interrupt()
            await asyncio.wait({closing}, timeout=_INTERRUPT_EVERY)
        del self._connections[connection]


def _cause(error: Exception) -> int:
    """Return the primary result code of SQLite, the low byte of an extended one; 0 for what Python found, such as text that is not UTF-8."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


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
