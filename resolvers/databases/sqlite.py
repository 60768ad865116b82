"""SQLite, in this process: each connection has a thread of its own, can only read, and is interrupted when nobody waits for it any more."""

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
from resolvers.databases.sql.values import MAX_INTEGER, is_text, refused, to_json

_BUSY_WAIT = 0.01
_INTERRUPT_EVERY = 0.02
_SCHEME = "sqlite:///"


class Sqlite(DatabaseType):
    """``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db``."""

    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Ask for a path."""
        is_path = url.startswith(_SCHEME) and len(url) > len(_SCHEME)
        return None if is_path else ("expected sqlite:///path/to/file.db", "bad-url")

    def open(self, place: DatabaseLocation) -> Database:
        """Return the pool of a file."""
        return SqlitePool(Path(place.folder, place.url.removeprefix(_SCHEME)), place.pool, place.max_rows)


class SqlitePool(Database):
    """Read-only connections to one SQLite file. A connection serves one query at a time; further queries wait for one."""

    def __init__(self, path: Path, size: int, max_rows: int) -> None:
        self._path = path
        self._max_rows = max_rows
        self._places = asyncio.Semaphore(size)
        self._idle: list[aiosqlite.Connection] = []
        self._opening: set[asyncio.Task[aiosqlite.Connection]] = set()
        self._closing: dict[aiosqlite.Connection, asyncio.Task[None] | None] = {}
        """Every open connection, and the task that closes it once there is one."""
        self._size = size
        self._is_closed = False

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Return the rows of a query; a list is bound item by item."""
        query, params = expand_lists(*expand_rows(query, params, before="VALUES "))
        _check(params)
        async with self._places:
            if self._is_closed:
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail="the pool was closed")
            connection = self._idle.pop() if self._idle else await self._open()
            try:
                rows = await self._run(connection, query, params)
            except asyncio.CancelledError:
                if connection in self._closing:  # not when the pool was closed meanwhile
                    self._close(connection)
                raise
            except (sqlite3.Error, OverflowError, ValueError) as error:  # ValueError: the pool was closed meanwhile
                self._give_back(connection)
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=f"{type(error).__name__}: {error}") from error
            self._give_back(connection)
        if len(rows) > self._max_rows:
            raise StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {self._max_rows} rows")
        return rows

    async def aclose(self) -> None:
        """Close every connection, also those that are being opened or whose query still runs. Queries that wait fail."""
        self._is_closed = True
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(self._close(connection) for connection in tuple(self._closing)))
        self._idle.clear()

    async def _run(self, connection: aiosqlite.Connection, query: str, params: Any) -> list[Row]:
        """Run a query; while the database is locked, try again without holding its thread."""
        while True:
            try:
                # Not "async with": leaving it would wait for the very query that a cancellation wants to stop.
                cursor = await connection.execute(query, params)
                rows = await cursor.fetchmany(self._max_rows + 1)
                names = [column[0] for column in cursor.description or ()]
                await cursor.close()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    raise
                await asyncio.sleep(_BUSY_WAIT)
            else:
                return [dict(zip(names, map(to_json, row) if bytes in map(type, row) else row, strict=True)) for row in rows]

    async def _open(self) -> aiosqlite.Connection:
        """Open a connection. Whoever waits may be cancelled, the opening may not: its thread would be left behind."""
        opening = asyncio.create_task(self._connect())
        self._opening.add(opening)
        opening.add_done_callback(self._opened)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._keep)
            raise

    async def _connect(self) -> aiosqlite.Connection:
        """Open a connection that can only read: by its mode, by a pragma, and by an authorizer that allows nothing but SELECT."""
        uri = f"file:{quote(str(self._path))}?mode=ro"
        try:
            connection = await aiosqlite.connect(uri, uri=True, timeout=0, isolation_level=None, cached_statements=256)
        except sqlite3.Error as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{self._path}: {error}") from error
        await (await connection.execute("PRAGMA query_only = ON")).close()
        await connection.set_authorizer(_authorize)
        return connection

    def _opened(self, opening: asyncio.Task[aiosqlite.Connection]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            self._closing[opening.result()] = None

    def _keep(self, opening: asyncio.Task[aiosqlite.Connection]) -> None:
        """Keep a connection that nobody waits for any more for the next query."""
        if opening.cancelled() or opening.exception() is not None:
            return
        if len(self._closing) > self._size:  # whoever came next has opened one of its own already
            self._close(opening.result())
        else:
            self._idle.append(opening.result())

    def _give_back(self, connection: aiosqlite.Connection) -> None:
        if self._closing.get(connection, self) is None:
            self._idle.append(connection)

    def _close(self, connection: aiosqlite.Connection) -> asyncio.Task[None]:
        """Begin to close a connection, once: aiosqlite waits for ever on a second close. The pool's end waits for it."""
        task = self._closing[connection]
        if task is None:
            task = self._closing[connection] = asyncio.create_task(self._stop(connection))
        return task

    async def _stop(self, connection: aiosqlite.Connection) -> None:
        """Interrupt a connection's query, again and again until it has noticed, and close it."""
        closing = asyncio.create_task(connection.close())
        while not closing.done():
            with suppress(ValueError, sqlite3.Error):
                await connection.interrupt()
            await asyncio.wait({closing}, timeout=_INTERRUPT_EVERY)
        del self._closing[connection]


def _check(params: Params) -> None:
    """Hold parameters to what SQLite can bind: text, numbers, null.

    :raises StepFault: a value is a list, an object, or an integer of more than 64 bits.
    """
    for name, value in params.items() if isinstance(params, dict) else enumerate(params, 1):
        is_scalar = value is None or isinstance(value, str | int | float)
        if not is_scalar or (isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER):
            raise refused(name, "a text or a number that the database can take")
        if isinstance(value, str) and not is_text(value):
            raise refused(name, "text")


_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Allow what a SELECT is made of (https://sqlite.org/c3ref/c_alter_table.html) and no loading of code."""
    is_loading = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    return sqlite3.SQLITE_OK if action in _ALLOWED and not is_loading else sqlite3.SQLITE_DENY
