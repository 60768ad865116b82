"""``type: warehouse``: a read-only SQL query.

Values are bound, never spliced. A query that is not needed any more is interrupted, so that its connection is free again. What a
statement may do is checked when the configuration is loaded, and once more by the database itself.
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiosqlite

from gateway.blueprint import Source, Step
from gateway.errors import Code, StepFault
from gateway.resolver import Call, CallContext, Inputs, KeyProblem, Reply, StepType
from gateway.settings import Count, SourceKeys, StepKeys, Text, such_as
from gateway.template import Reference
from resolvers.sql import Statement, expand_lists, read_statement

_LINE_COMMENT = re.compile(r"--[^\n]*")
_BUSY_WAIT = 0.01
_INTERRUPT_EVERY = 0.02
_MAX_INTEGER = 2**63


class WarehouseKeys(StepKeys):
    """The keys of a warehouse step: a read-only SQL query."""

    example = """\
- name: riskProfile
  type: warehouse
  query: SELECT score, segment FROM risk_profiles WHERE customer_id = :id
  params: { id: "{customer_id}" }
  returns: RiskProfile
"""

    query: Annotated[Text, such_as("SELECT score FROM risk_profiles WHERE customer_id = :id")]
    """One SELECT. `:name` takes its value from `params`; `?` from a list `params`, or without `params` from the arguments in order."""
    params: Annotated[dict[Text, Any] | list[Any] | None, such_as({"id": "{customer_id}"})] = None
    """What is bound to the placeholders; texts are templates."""


class WarehouseSourceKeys(SourceKeys):
    """The keys of a warehouse source: a database."""

    example = """\
warehouse:
  type: warehouse
  url: sqlite:///warehouse.db
  pool: 4
"""

    url: Annotated[Text, such_as("sqlite:///warehouse.db")]
    """`sqlite:///relative/path.db`, from the configuration folder, or `sqlite:////absolute/path.db`."""
    pool: Count = 4
    """How many connections are kept open; each has a thread of its own."""
    max_rows: Count = 10_000
    """The most rows that a query may give."""


class Warehouse(StepType):
    """The step type ``warehouse``."""

    name = "warehouse"
    keys = WarehouseKeys
    source_keys = WarehouseSourceKeys
    timeout_ms = 1000
    templated = ("params",)

    def inputs(self, keys: WarehouseKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the tree of ``params``; without it, the arguments in order."""
        if keys.params is not None:
            return {"params": templates["params"]}
        return {"params": tuple(Reference((name,)) for name in arguments) if read_statement(keys.query).positional else ()}

    def check(self, keys: WarehouseKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield what is wrong with the statement and with its parameters."""
        statement = read_statement(keys.query)
        for message in statement.mistakes:
            yield KeyProblem("query", message, "bad-sql")
        if not statement.mistakes:
            yield from _check_parameters(statement, keys, arguments)

    def check_source(self, keys: WarehouseSourceKeys) -> Iterator[KeyProblem]:
        """Yield what is wrong with the url."""
        if not keys.url.startswith("sqlite:///") or not keys.url.removeprefix("sqlite:///"):
            yield KeyProblem("url", "expected sqlite:///path/to/file.db", "bad-url")

    def is_idempotent(self, keys: WarehouseKeys) -> bool:
        """Tell that a SELECT may be repeated."""
        return True

    def describe(self, keys: WarehouseKeys) -> str:
        """Return the statement on one line."""
        return " ".join(_LINE_COMMENT.sub("", keys.query).split())

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator["SqlitePool"]:
        """Open the pool of a source; its connections are made when they are first needed."""
        keys = source.keys
        assert isinstance(keys, WarehouseSourceKeys)
        pool = SqlitePool(Path(source.folder, keys.url.removeprefix("sqlite:///")), keys.pool, keys.max_rows)
        try:
            yield pool
        finally:
            await pool.aclose()

    def call(self, step: Step, connection: "SqlitePool") -> Call:
        """Return a call that runs the statement once."""
        keys = step.keys
        assert isinstance(keys, WarehouseKeys)
        is_list = step.returns.startswith("[")
        absent = dict.fromkeys(read_statement(keys.query).named)

        async def select(inputs: Inputs, context: CallContext) -> Reply:
            given = inputs["params"]
            query, params = expand_lists(keys.query, {**absent, **given} if absent else given)
            rows = await connection.select(query, _bindable(params))
            if is_list:
                return Reply(rows)
            if len(rows) > 1:
                detail = f"{len(rows)} rows where one is expected; 'returns: [...]' takes them all"
                raise StepFault(Code.RESPONSE_VALIDATION_FAILED, detail=detail)
            return Reply(rows[0] if rows else None)

        return select


def _check_parameters(statement: Statement, keys: WarehouseKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
    given = keys.params
    if statement.named and statement.positional:
        yield KeyProblem("query", "':name' and '?' cannot be mixed", "bad-sql")
    elif isinstance(given, list) and statement.named:
        yield KeyProblem("params", "':name' placeholders take a mapping of names to values", "wrong-type")
    elif isinstance(given, dict) or statement.named:
        names = given if isinstance(given, dict) else {}
        for name in dict.fromkeys(name for name in statement.named if name not in names):
            yield KeyProblem("query", f"':{name}' has no value; add it to 'params:'", "missing-parameter")
        for name in (name for name in names if name not in statement.named):
            yield KeyProblem(
                ("params", name),
                f"the parameter '{name}' is not in the query as ':{name}'",
                "unused-parameter",
                is_about_key=True,
            )
    else:
        values = arguments if given is None else given
        what = "the operation has {} arguments in all; write 'params:'" if given is None else "'params' has {} values"
        if statement.positional != len(values) and (statement.positional or given is not None):
            message = f"{statement.positional} placeholders '?', but {what.format(len(values))}"
            yield KeyProblem("query", message, "parameter-count")


def _bindable(params: Any) -> Any:
    """Return parameters that SQLite can bind: text, numbers, null.

    :raises StepFault: a value is a list, an object, or an integer of more than 64 bits.
    """
    values = params.items() if isinstance(params, dict) else enumerate(params, 1)
    for name, value in values:
        is_scalar = value is None or isinstance(value, str | int | float)
        if not is_scalar or (isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER):
            message = f"The value of the query parameter '{name}' is not a text or a number that the database can take."
            raise StepFault(Code.BAD_USER_INPUT, message=message, detail=message)
        if isinstance(value, str) and not _is_text(value):
            message = f"The value of the query parameter '{name}' is not text."
            raise StepFault(Code.BAD_USER_INPUT, message=message, detail=message)
    return params


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class SqlitePool:
    """Read-only connections to one SQLite file. A connection serves one query at a time; further queries wait for one."""

    def __init__(self, path: Path, size: int, max_rows: int) -> None:
        self._path = path
        self._max_rows = max_rows
        self._places = asyncio.Semaphore(size)
        self._idle: list[aiosqlite.Connection] = []
        self._opening: set[asyncio.Task[aiosqlite.Connection]] = set()
        self._closing: dict[aiosqlite.Connection, asyncio.Task[None] | None] = {}
        """Every open connection, and the task that closes it once there is one."""

    async def select(self, query: str, params: Any) -> list[dict[str, object]]:
        """Return the rows of a query as objects.

        :raises StepFault: the database refused or failed, or there are too many rows.
        """
        async with self._places:
            connection = self._idle.pop() if self._idle else await self._open()
            try:
                rows = await self._run(connection, query, params)
            except asyncio.CancelledError:
                if connection in self._closing:  # not when the pool was closed meanwhile
                    self._close(connection)
                raise
            except (sqlite3.Error, OverflowError) as error:
                self._idle.append(connection)
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=f"{type(error).__name__}: {error}") from error
            self._idle.append(connection)
        if len(rows) > self._max_rows:
            raise StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {self._max_rows} rows")
        return rows

    async def aclose(self) -> None:
        """Close every connection, also those that are being opened or whose query still runs."""
        await asyncio.gather(*self._opening, return_exceptions=True)
        await asyncio.gather(*(self._close(connection) for connection in tuple(self._closing)))
        self._idle.clear()

    async def _run(self, connection: aiosqlite.Connection, query: str, params: Any) -> list[dict[str, object]]:
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
                return [dict(zip(names, row, strict=True)) for row in rows]

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
        if not opening.cancelled() and opening.exception() is None:
            self._idle.append(opening.result())

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


_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    """Allow what a SELECT is made of (https://sqlite.org/c3ref/c_alter_table.html) and no loading of code."""
    is_loading = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    return sqlite3.SQLITE_OK if action in _ALLOWED and not is_loading else sqlite3.SQLITE_DENY
