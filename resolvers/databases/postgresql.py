"""PostgreSQL, by asyncpg: a bounded pool of read-only sessions, statements that are prepared once, and a query that stops with its call.

A session is read-only by its default, and a statement runs as a subquery, which PostgreSQL lets do nothing but read. The server
stops a query by itself (``statement_timeout``) soon after the deadline of its call, should the gateway be gone by then.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from urllib.parse import urlsplit

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType, Row
from resolvers.databases.postgresql_types import Parameter, ResultColumn, UnbindableValue, column_of, parameter_of
from resolvers.databases.sql.rows import expand_rows
from resolvers.databases.sql.text import (
    Params,
    called_in_quotes,
    pairs_followed,
    read_statement,
    rename,
    replace_lists,
    without_end,
)
from resolvers.databases.sql.values import refused

_EXAMPLE = "expected postgresql://user:password@host:5432/database"
_SETTINGS = {"default_transaction_read_only": "on", "application_name": "stepgraph"}
_FORBIDDEN = re.compile(
    r"set_config|pg_(terminate|cancel)_backend|pg_(try_)?advisory\w*|pg_(read|write|ls|stat)_\w*file\w*|pg_ls_\w+|pg_reload_conf"
    r"|pg_rotate_logfile|pg_notify|lo_\w+|dblink\w*|nextval|setval"
    r"|loread|lowrite|pg_file_\w+|pg_(create|drop|copy|logical|replication|backup|wal_replay|log)_\w+|pg_promote"
    r"|pg_start_backup|pg_stop_backup|pg_switch_wal|pg_export_snapshot|pg_import_system_collations|pg_stat_(\w+_)?reset\w*"
    r"|(query|cursor|table|schema|database)_to_xml\w*|ts_stat|crosstab\w*|connectby|xpath_table"  # these run SQL that is given as text
)
_ESCAPED_NAME = re.compile(r"\bU&\"", re.IGNORECASE)
_MAX_STATEMENTS = 256
_MAX_IDLE = 300.0
_GRACE = 2.0
"""Seconds that an abandoned query has to stop before its connection is given up."""
_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError, asyncpg.SyntaxOrAccessError)
_REFUSED = (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError)


class Postgresql(DatabaseType):
    """``postgresql://user:password@host:5432/database``, with the options that libpq knows, such as ``?sslmode=require``."""

    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Ask for a URL whose host and port can be told."""
        try:
            parts = urlsplit(url)
            is_usable = bool(parts.netloc or parts.query) and "@" not in parts.path and ("," in parts.netloc or parts.port != 0)
        except ValueError:
            is_usable = False
        if re.search(r"\{[\w.]+\??\}", url):
            return "a url has no references: who is called is never up to a request", "bad-url"
        hint = "; in a password write %40 for '@', %3A for ':' and %2F for '/'"
        return None if is_usable and not parts.fragment else (_EXAMPLE + hint, "bad-url")

    def statement_mistakes(self, query: str) -> Iterator[str]:
        """Refuse locks, and functions that change a session, the server or its files."""
        words = read_statement(query).words
        if locked := pairs_followed(words, "for", {"update", "share", "no", "key"}):
            yield f"a warehouse step reads: 'FOR {locked.upper()}' is not allowed"
        for word in dict.fromkeys(word for word in (*words, *called_in_quotes(query)) if _FORBIDDEN.fullmatch(word)):
            yield f"a warehouse step reads: '{word}' is not allowed"
        if _ESCAPED_NAME.search(query):
            yield 'a name is written as it is, not with escapes as in U&"…"'

    def open(self, place: DatabaseLocation) -> Database:
        """Return the pool of a server."""
        return PostgresqlPool(place)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement at the server: what it takes and what it gives."""

    statement: "PreparedStatement[asyncpg.Record]"
    parameters: tuple[Parameter, ...]
    columns: tuple[ResultColumn, ...]


@dataclass(slots=True, eq=False)
class _Session:
    """One connection with its prepared statements by text, its ``statement_timeout``, and since when it is idle."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    prepared: dict[str, _Prepared] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)
    limit_ms: int = 0
    idle_since: float = 0.0

    async def run(self, text: str, names: Sequence[object], values: Sequence[object], budget: float) -> list[Row]:
        """Run a statement with values for ``$1`` and so on; ``names`` are what they are called in a message."""
        prepared = await self.prepare(text)
        bound = [_coerce(*each) for each in zip(prepared.parameters, names, values, strict=True)]
        await self._limit(budget)
        try:
            records = await prepared.statement.fetch(*bound)
        except asyncpg.DataError as error:
            # These two come before the query runs; a division by zero, say, while it does.
            is_of_input = type(error) in {asyncpg.DataError, asyncpg.InvalidTextRepresentationError}
            unknown = [name for name, parameter in zip(names, prepared.parameters, strict=True) if not parameter.is_checked]
            if not is_of_input or not unknown:
                raise
            raise refused(unknown[0], "what its type in the database can be") from None
        columns = prepared.columns
        return [{column.name: column.read(value) for column, value in zip(columns, record, strict=True)} for record in records]

    async def prepare(self, text: str) -> _Prepared:
        """Return a statement, prepared at its first use; the oldest makes room."""
        found = self.prepared.get(text)
        if found is None:
            # Named: without a name each would take the place of the one before it.
            statement = await self.connection.prepare(text, name=f"step_{next(self.numbers)}")
            parameters = tuple(parameter_of(type_) for type_ in statement.get_parameters())
            columns = tuple(column_of(attribute.name, attribute.type) for attribute in statement.get_attributes())
            found = self.prepared[text] = _Prepared(statement, parameters, columns)
            if len(self.prepared) > _MAX_STATEMENTS:
                del self.prepared[next(iter(self.prepared))]
        return found

    async def _limit(self, budget: float) -> None:
        """Keep the server's own limit between the budget and twice that, so that it need not be told anew for each query."""
        needed = max(1, round(budget * 1000))
        if not needed <= self.limit_ms <= 2 * needed:
            limit_ms = needed * 5 // 4 + 1
            self.limit_ms = 0  # not known, should it be cancelled now
            await self.connection.execute(f"SET statement_timeout = {limit_ms}")
            self.limit_ms = limit_ms


class PostgresqlPool(Database):
    """Sessions of one server. A session serves one query at a time; further queries wait for one."""

    def __init__(self, place: DatabaseLocation) -> None:
        self._url = place.url
        self._max_rows = place.max_rows
        self._places = asyncio.Semaphore(place.pool)
        self._idle: list[_Session] = []
        self._open: set[_Session] = set()
        self._stopping: set[asyncio.Task[None]] = set()

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Return the rows of a query, its values coerced to the types of the prepared statement."""
        query, params = expand_rows(query, params)
        text, order = _numbered(query, self._max_rows + 1)
        named = params if isinstance(params, dict) else dict(enumerate(params, 1))
        values = [named.get(name) for name in order]
        await self._places.acquire()
        session: _Session | None = None
        try:
            session = await self._take()
            budget = deadline - asyncio.get_running_loop().time()
            rows = await self._run(session, text, order, values, budget)
        except asyncio.CancelledError:
            self._release_later(session)
            raise
        except BaseException:
            self._release(session)
            raise
        self._release(session)
        if len(rows) > self._max_rows:
            raise StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {self._max_rows} rows")
        return rows

    async def aclose(self) -> None:
        """Wait for the queries that are being stopped, and close every connection."""
        await asyncio.gather(*self._stopping, return_exceptions=True)
        sessions, self._open = self._open, set()
        self._idle.clear()
        await asyncio.gather(*(_close(session) for session in sessions))

    async def _run(
        self, session: _Session, text: str, names: Sequence[object], values: Sequence[object], budget: float
    ) -> list[Row]:
        is_known = text in session.prepared
        try:
            try:
                return await session.run(text, names, values, budget)
            except _STALE:
                if not is_known:
                    raise
                # A table may have been altered since: what was prepared for its old columns is prepared anew.
                session.prepared.clear()
                await session.connection.reload_schema_state()
                return await session.run(text, names, values, budget)
        except asyncpg.QueryCanceledError as error:
            raise StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=str(error)) from error
        except _GONE as error:
            session.connection.terminate()
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="reset", detail=_told(error)) from error
        except (asyncpg.PostgresError, TypeError, ValueError, OverflowError) as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=_told(error)) from error

    async def _take(self) -> _Session:
        """Return an idle session that is still connected, or a new one."""
        oldest = asyncio.get_running_loop().time() - _MAX_IDLE
        while self._idle:
            session = self._idle.pop()
            if not session.connection.is_closed() and session.idle_since > oldest:
                return session
            session.connection.terminate()
            self._open.discard(session)
        try:
            connection = await asyncpg.connect(self._url, server_settings=_SETTINGS, statement_cache_size=0)
        except (*_REFUSED, *_GONE, asyncpg.PostgresError, ValueError) as error:
            kind = "connect" if isinstance(error, (*_REFUSED, OSError, asyncpg.PostgresConnectionError)) else ""
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind=kind, detail=_told(error)) from None
        session = _Session(connection)
        self._open.add(session)
        return session

    def _release(self, session: _Session | None) -> None:
        if session is not None and session in self._open:
            if session.connection.is_closed():
                self._open.discard(session)
            else:
                session.idle_since = asyncio.get_running_loop().time()
                self._idle.append(session)
        self._places.release()

    def _release_later(self, session: _Session | None) -> None:
        """Release a session whose query was cancelled once the server has stopped it; its place stays taken until then."""
        if session is None:
            self._places.release()
            return
        task = asyncio.create_task(self._stop(session))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop(self, session: _Session) -> None:
        """See a cancelled query to its end. The round trip that follows takes a cancellation that comes too late for it."""
        try:
            async with asyncio.timeout(_GRACE):
                await session.connection.execute("SELECT 1")
        except (asyncpg.PostgresError, *_GONE, TimeoutError):
            session.connection.terminate()
        finally:
            self._release(session)


@lru_cache(maxsize=1024)
def _numbered(query: str, limit: int) -> tuple[str, tuple[object, ...]]:
    """Return a statement with ``$1`` and so on, of ``limit`` rows at the most, and the named placeholders in that order."""
    order: list[object] = []

    def number(name: object) -> str:
        if name not in order:
            order.append(name)
        return f"${order.index(name) + 1}"

    # What asks for one of a list asks an array, so that the text of the statement is the same for every length.
    text = replace_lists(query, lambda name, negated: f"{'<> ALL' if negated else '= ANY'} (:{name})")
    text = rename(text, number, lambda: number(len(order) + 1))
    return f"SELECT * FROM (\n{without_end(text)}\n) AS step LIMIT {limit}", tuple(order)  # noqa: S608 - from the configuration


def _coerce(parameter: Parameter, name: object, value: object) -> object:
    try:
        return parameter.coerce(value)
    except UnbindableValue as unfit:
        raise refused(name, str(unfit)) from None


async def _close(session: _Session) -> None:
    try:
        async with asyncio.timeout(_GRACE):
            await session.connection.close()
    except (asyncpg.PostgresError, *_GONE, TimeoutError):
        session.connection.terminate()


def _told(error: BaseException) -> str:
    """Return what an error says for the log, but only where its words are the server's: others could quote the url."""
    return f"{type(error).__name__}: {error}" if isinstance(error, asyncpg.PostgresError | OSError) else type(error).__name__
