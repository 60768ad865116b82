"""PostgreSQL over asyncpg: a bounded pool of read-only sessions with prepared statements; cancelling a call stops its query.

A session is read-only by default, and each statement runs as a subquery, where PostgreSQL allows nothing but reading. A function may still
change the session, so that each statement ends with a reset of it, for which the caller does not wait. The server also stops a query by
itself (``statement_timeout``) soon after the deadline of its call, in case the gateway is gone by then.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType, Row
from resolvers.databases.postgresql_protocol import ReceivedBytes
from resolvers.databases.postgresql_types import Parameter, ResultColumn, UnbindableValue, column_of, parameter_of
from resolvers.databases.sql.rows import expand_rows
from resolvers.databases.sql.text import (
    Params,
    quoted_function_calls,
    read_statement,
    rename_placeholders,
    replace_lists,
    without_semicolon,
    word_following,
)
from resolvers.databases.sql.values import parameter_fault, too_many_bytes, too_many_rows

_EXAMPLE = "expected postgresql://user:password@host:5432/database"
_SETTINGS = {"default_transaction_read_only": "on", "application_name": "stepgraph"}
# Read-only transactions still allow most of these functions, which change the session, other sessions, the server or its files.
_FORBIDDEN = re.compile(
    r"set_config|pg_(terminate|cancel)_backend|pg_(try_)?advisory\w*|pg_(read|write|ls|stat)_\w*file\w*|pg_ls_\w+|pg_reload_conf"
    r"|pg_rotate_logfile|pg_notify|lo_\w+|dblink\w*|nextval|setval"
    r"|loread|lowrite|pg_file_\w+|pg_(create|drop|copy|logical|replication|backup|wal_replay|log)_\w+|pg_promote"
    r"|pg_start_backup|pg_stop_backup|pg_switch_wal|pg_export_snapshot|pg_import_system_collations|pg_stat_(\w+_)?reset\w*"
    r"|(query|cursor|table|schema|database)_to_xml\w*|ts_stat|crosstab\w*|connectby|xpath_table"  # these run SQL passed as text
)
_ESCAPED_NAME = re.compile(r"\bU&\"", re.IGNORECASE)
_MAX_STATEMENTS = 256
"""Prepared statements of one session."""
_MAX_IDLE = 300.0
"""Seconds after which an idle session is closed instead of reused."""
_STOP_SECONDS = 2.0
"""Seconds in which a session must be reset, and a cancelled query stop; after that its connection is terminated."""
_RESET = "RESET SESSION AUTHORIZATION; RESET ROLE; DISCARD TEMP; "
"""What asyncpg's own reset of a session leaves: PostgreSQL's ``DISCARD ALL`` has it, but forgets prepared statements too."""
_LARGE_BYTES = 100_000
"""The size from which rows are converted in a thread: 5 MB of small values would hold the event loop for more than half a second."""
_CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_STALE_STATEMENT = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError, asyncpg.SyntaxOrAccessError)
_CONNECT_REFUSED = (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)


class Postgresql(DatabaseType):
    """``postgresql://user:password@host:5432/database``, with the options of libpq, such as ``?sslmode=require``."""

    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Require a URL with a host and a valid port."""
        try:
            parts = urlsplit(url)
            is_usable = bool(parts.netloc or parts.query) and "@" not in parts.path and ("," in parts.netloc or parts.port != 0)
        except ValueError:
            is_usable = False
        if re.search(r"\{[\w.]+\??\}", url):
            return "a url has no references: who is called is never up to a request", "bad-url"
        hint = "; in a password write %40 for '@', %3A for ':' and %2F for '/'"
        return None if is_usable and not parts.fragment else (_EXAMPLE + hint, "bad-url")

    def is_insecure(self, url: str) -> bool:
        """Tell whether the URL has an ``sslmode`` that does not verify, for a server on another machine; without any it is libpq's own."""
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query))
        except ValueError:
            return False
        host = options.get("host", parts.hostname or "")
        is_near = host in {"", "localhost", "::1"} or host.startswith(("127.", "/"))
        mode = options.get("sslmode", "verify-full")
        return not is_near and not mode.startswith("verify-") and not (mode == "require" and "sslrootcert" in options)

    def statement_mistakes(self, query: str) -> Iterator[str]:
        """Yield row locks, and functions that change a session, the server or its files."""
        words = read_statement(query).words
        if locked := word_following(words, "for", {"update", "share", "no", "key"}):
            yield f"a warehouse step reads: 'FOR {locked.upper()}' is not allowed"
        for word in dict.fromkeys(word for word in (*words, *quoted_function_calls(query)) if _FORBIDDEN.fullmatch(word)):
            yield f"a warehouse step reads: '{word}' is not allowed"
        # Escapes would hide the name of a forbidden function.
        if _ESCAPED_NAME.search(query):
            yield 'a name is written as it is, not with escapes as in U&"…"'

    def open(self, location: DatabaseLocation) -> Database:
        """Return the pool of a server."""
        return PostgresqlPool(location)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement prepared at the server, with its parameters and result columns."""

    statement: "PreparedStatement[asyncpg.Record]"
    parameters: tuple[Parameter, ...]
    columns: tuple[ResultColumn, ...]


@dataclass(slots=True, eq=False)
class _Session:
    """One connection, with its prepared statements by text, its ``statement_timeout`` (0: unknown), and the time it became idle."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    meter: ReceivedBytes
    prepared: dict[str, _Prepared] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    timeout_ms: int = 0
    idle_since: float = 0.0

    async def run(self, text: str, names: Sequence[object], values: Sequence[object], budget: float, max_bytes: int) -> list[Row]:
        """Run a statement with values for ``$1`` and so on. ``names`` are the placeholders' names, for messages; ``budget`` is in seconds."""
        prepared = await self.prepare(text)
        bound = [_coerce(*each) for each in zip(prepared.parameters, names, values, strict=True)]
        await self._set_timeout(budget)
        try:
            with self.meter.limited(max_bytes):
                records = await prepared.statement.fetch(*bound)
        except asyncpg.DataError as error:
            # These two types are raised before the query runs. Others, such as a division by zero, are raised while it runs.
            is_input_error = type(error) in {asyncpg.DataError, asyncpg.InvalidTextRepresentationError}
            unchecked = [name for name, parameter in zip(names, prepared.parameters, strict=True) if not parameter.is_checked]
            if not is_input_error or not unchecked:
                raise
            raise parameter_fault(unchecked[0], "what its type in the database can be") from None
        if self.meter.received > _LARGE_BYTES:
            return await asyncio.to_thread(_rows, prepared.columns, records)
        return _rows(prepared.columns, records)

    async def prepare(self, text: str) -> _Prepared:
        """Return a prepared statement; prepare it at its first use, and drop the oldest beyond ``_MAX_STATEMENTS``."""
        prepared = self.prepared.get(text)
        if prepared is None:
            # PostgreSQL keeps only one unnamed statement per session: the next would replace it.
            statement = await self.connection.prepare(text, name=f"step_{next(self.numbers)}")
            parameters = tuple(parameter_of(type_) for type_ in statement.get_parameters())
            columns = tuple(column_of(attribute.name, attribute.type) for attribute in statement.get_attributes())
            prepared = self.prepared[text] = _Prepared(statement, parameters, columns)
            if len(self.prepared) > _MAX_STATEMENTS:
                del self.prepared[next(iter(self.prepared))]
        return prepared

    async def _set_timeout(self, budget: float) -> None:
        """Keep ``statement_timeout`` between one and two times the budget, so that most queries need no round trip to set it."""
        needed_ms = max(1, round(budget * 1000))
        if not needed_ms <= self.timeout_ms <= 2 * needed_ms:
            timeout_ms = needed_ms * 5 // 4 + 1
            self.timeout_ms = 0  # unknown if the next line is cancelled
            await self.connection.execute(f"SET statement_timeout = {timeout_ms}")
            self.timeout_ms = timeout_ms

    async def reset(self) -> None:
        """Undo what a statement has changed in the session (settings, role, locks, cursors, temporary tables); terminate it if that fails.

        A request to cancel the last statement may reach the server late: the reset takes that hit, instead of the next statement.
        """
        timeout = f"SET statement_timeout = {self.timeout_ms}" if self.timeout_ms else ""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.connection.execute(f"{self.connection.get_reset_query()}{_RESET}{timeout}")
        except (asyncpg.PostgresError, *_CONNECTION_LOST, TimeoutError):
            self.connection.terminate()


class PostgresqlPool(Database):
    """A pool of sessions of one server. A session runs one query at a time; further queries wait for a free one."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._url = location.url
        self._max_rows = location.max_rows
        self._max_bytes = location.max_bytes
        self._slots = asyncio.Semaphore(location.pool)
        self._idle: list[_Session] = []
        self._open: set[_Session] = set()
        self._resetting: set[asyncio.Task[None]] = set()

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Run a query and return its rows; values are coerced to the types of the prepared statement."""
        query, params = expand_rows(query, params)
        text, order = _number_placeholders(query, self._max_rows + 1)
        named = params if isinstance(params, dict) else dict(enumerate(params, 1))
        values = [named.get(name) for name in order]
        await self._slots.acquire()
        session: _Session | None = None
        try:
            session = await self._take_session()
            budget = deadline - asyncio.get_running_loop().time()
            rows = await self._run(session, text, order, values, budget)
        finally:
            self._release(session)
        if len(rows) > self._max_rows:
            raise too_many_rows(self._max_rows)
        return rows

    async def aclose(self) -> None:
        """Wait for cancelled queries to stop, and close every connection."""
        await asyncio.gather(*self._resetting, return_exceptions=True)
        sessions, self._open = self._open, set()
        self._idle.clear()
        await asyncio.gather(*(_close(session) for session in sessions))

    async def _run(
        self, session: _Session, text: str, names: Sequence[object], values: Sequence[object], budget: float
    ) -> list[Row]:
        """Run a statement and map the driver's errors to faults; a stale prepared statement is prepared again, once."""
        is_known = text in session.prepared
        try:
            try:
                return await session.run(text, names, values, budget, self._max_bytes)
            except _STALE_STATEMENT:
                if not is_known:
                    raise
                # A table may have been altered since the statement was prepared for its old columns.
                session.prepared.clear()
                await session.connection.reload_schema_state()
                return await session.run(text, names, values, budget, self._max_bytes)
        except asyncpg.QueryCanceledError as error:
            raise StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=str(error)) from error
        except _CONNECTION_LOST as error:
            session.connection.terminate()
            if session.meter.is_exceeded:
                raise too_many_bytes(self._max_bytes) from error
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="reset", detail=_error_detail(error)) from error
        except (asyncpg.PostgresError, TypeError, ValueError, OverflowError) as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=_error_detail(error)) from error

    async def _take_session(self) -> _Session:
        """Return an idle session that is still connected, or open a new one."""
        oldest = asyncio.get_running_loop().time() - _MAX_IDLE
        while self._idle:
            session = self._idle.pop()
            if not session.connection.is_closed() and session.idle_since > oldest:
                return session
            session.connection.terminate()
            self._open.discard(session)
        try:
            # No statement cache of asyncpg's: _Session prepares the statements itself.
            connection = await asyncpg.connect(self._url, server_settings=_SETTINGS, statement_cache_size=0)
        except (*_CONNECT_REFUSED, *_CONNECTION_LOST, asyncpg.PostgresError, ValueError) as error:
            kind = "connect" if isinstance(error, (*_CONNECT_REFUSED, OSError, asyncpg.PostgresConnectionError)) else ""
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind=kind, detail=_error_detail(error)) from None
        session = _Session(connection, ReceivedBytes(connection))
        self._open.add(session)
        return session

    def _release(self, session: _Session | None) -> None:
        """Reset a session and make it idle; until then it holds its slot. A query that was cancelled is stopped at the server before."""
        if session is None or session.connection.is_closed():
            self._put_back(session)
            return
        task = asyncio.create_task(self._reset(session))
        self._resetting.add(task)
        task.add_done_callback(self._resetting.discard)

    async def _reset(self, session: _Session) -> None:
        try:
            await session.reset()
        finally:
            self._put_back(session)

    def _put_back(self, session: _Session | None) -> None:
        if session is not None and session in self._open:
            if session.connection.is_closed():
                self._open.discard(session)
            else:
                session.idle_since = asyncio.get_running_loop().time()
                self._idle.append(session)
        self._slots.release()


def _rows(columns: Sequence[ResultColumn], records: Sequence[asyncpg.Record]) -> list[Row]:
    return [{column.name: column.read(value) for column, value in zip(columns, record, strict=True)} for record in records]


@lru_cache(maxsize=1024)
def _number_placeholders(query: str, limit: int) -> tuple[str, tuple[object, ...]]:
    """Return a statement with ``$1`` and so on, limited to ``limit`` rows, and the placeholders' names in that order."""
    order: list[object] = []

    def number(name: object) -> str:
        if name not in order:
            order.append(name)
        return f"${order.index(name) + 1}"

    # Lists become arrays, so that one prepared statement serves lists of every length.
    text = replace_lists(query, lambda name, negated: f"{'<> ALL' if negated else '= ANY'} (:{name})")
    text = rename_placeholders(text, number, lambda: number(len(order) + 1))
    # On lines of its own: a statement may end with a line comment, which would hide the bracket.
    return f"SELECT * FROM (\n{without_semicolon(text)}\n) AS step LIMIT {limit}", tuple(order)  # noqa: S608 - from the configuration


def _coerce(parameter: Parameter, name: object, value: object) -> object:
    try:
        return parameter.coerce(value)
    except UnbindableValue as error:
        raise parameter_fault(name, str(error)) from None


async def _close(session: _Session) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await session.connection.close()
    except (asyncpg.PostgresError, *_CONNECTION_LOST, TimeoutError):
        session.connection.terminate()


def _error_detail(error: BaseException) -> str:
    """Return an error for the log. Only the server's own messages are included: those of the driver could quote the URL and its password."""
    return f"{type(error).__name__}: {error}" if isinstance(error, asyncpg.PostgresError | OSError) else type(error).__name__
