"""DuckDB, in this process: a database file, or only Parquet, CSV and JSON files. Each running query has a thread.

The database is opened read-only, fetches no extensions and reads no file that the configuration does not name, and DuckDB's own parser must
take every statement for a SELECT. Numbers are bound as text, as in a literal, so that they fit a column of any type. ``stepgraph[duckdb]``
installs the driver.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType, Row
from resolvers.databases.duckdb_columns import TOO_LARGE, DuckDbColumns, found_columns
from resolvers.databases.duckdb_instance import DuckDbInstance
from resolvers.databases.duckdb_statement import DuckDbStatement, read_query
from resolvers.databases.sql.rows import expand_rows
from resolvers.databases.sql.text import Params, expand_lists, rename_placeholders
from resolvers.databases.sql.values import (
    ResultSize,
    is_encodable,
    parameter_fault,
    read_json,
    to_json,
    too_many_bytes,
    too_many_rows,
)

_IS_INSTALLED = find_spec("duckdb") is not None
if _IS_INSTALLED:  # 20 MiB, so that it is an optional extra
    import duckdb

_SCHEME = "duckdb:///"
_INTERRUPT_EVERY = 0.02
"""Seconds between two interrupts of a cancelled query."""
_BATCH = 8
"""Rows that are read at once; of as many values as large as they may be, the last are in vain."""
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?")


class DuckDb(DatabaseType):
    """``duckdb:///relative/path.db``, ``duckdb:////absolute/path.db``, and ``duckdb:///`` for files alone."""

    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Require a path or nothing, and the installed package."""
        if not url.startswith(_SCHEME):
            return "expected duckdb:///path/to/file.db, or duckdb:/// for files alone", "bad-url"
        if not _IS_INSTALLED:
            return "DuckDB is not installed; run: pip install 'stepgraph[duckdb]'", "missing-package"
        return None

    def statement_mistakes(self, query: str) -> Iterator[str]:
        """Refuse what DuckDB cannot parse, and a value that would choose what is read: a request never names a file."""
        if _IS_INSTALLED:
            yield from read_query(query, Path()).mistakes

    def open(self, location: DatabaseLocation) -> Database:
        """Return a database that the first query opens."""
        return DuckDbPool(location)


class _FileReplaced(Exception):
    """The file of an instance is another one by now."""

    def __init__(self, instance: DuckDbInstance) -> None:
        self.instance = instance


@dataclass(slots=True, eq=False)
class _Session:
    """A cursor, with the instance that it belongs to."""

    instance: DuckDbInstance
    cursor: Any


class DuckDbPool(Database):
    """A pool of cursors of one database. A cursor runs one query at a time, in a thread; further queries wait for a free one."""

    def __init__(self, location: DatabaseLocation) -> None:
        path = location.url.removeprefix(_SCHEME)
        self._path = Path(location.folder, path) if path else None
        self._folder = location.folder.absolute()
        self._max_rows = location.max_rows
        self._max_bytes = location.max_bytes
        self._slots = asyncio.Semaphore(location.pool)
        self._threads = ThreadPoolExecutor(location.pool, "duckdb")
        self._instance: DuckDbInstance | None = None
        self._opening: asyncio.Future[DuckDbInstance] | None = None
        self._idle: list[_Session] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._files: frozenset[str] = frozenset()
        """The files that the statements so far have named."""
        self._columns: dict[object, DuckDbColumns] = {}
        """The columns of statements, by statement and types of parameters."""
        self._numeric_queries: set[str] = set()
        """Queries that compute with their parameters, so that numbers cannot be bound as text."""

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Run a query and return its rows; a list is bound item by item."""
        statement = read_query(query, self._folder)
        if statement.mistakes:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail="; ".join(statement.mistakes))
        text, bound = _expand(statement.text, params)
        while True:
            try:
                return await self._select(statement, text, bound)
            except _FileReplaced as replaced:
                self._close_instance(replaced.instance)

    async def _select(self, statement: DuckDbStatement, text: str, params: Mapping[str, object]) -> list[Row]:
        await self._slots.acquire()
        session = None
        job: asyncio.Future[list[Row]] | None = None
        try:
            session = await self._take_session(statement.files)
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._run, session, statement, text, params)
            rows = await asyncio.shield(job)  # a thread cannot be cancelled: _stop interrupts the query and waits for it
        except asyncio.CancelledError:
            self._release_later(session, job)
            raise
        except BaseException:
            self._release(session)
            raise
        self._release(session)
        return rows

    async def aclose(self) -> None:
        """Wait for cancelled queries to stop, and close the database."""
        await asyncio.gather(*self._stopping, return_exceptions=True)
        await asyncio.gather(*filter(None, [self._opening]), return_exceptions=True)
        self._close_instance(self._instance)
        self._threads.shutdown(wait=False)

    async def _take_session(self, files: frozenset[str]) -> _Session:
        """Return a cursor of an instance that may read some files; the opening of one continues when its caller is cancelled."""
        if not files <= self._files:
            self._files |= files
            self._close_instance(self._instance)
        while not self._idle:
            if self._opening is None:
                loop = asyncio.get_running_loop()
                self._opening = loop.run_in_executor(self._threads, DuckDbInstance, self._path, self._files)
                self._opening.add_done_callback(self._note_instance)
            instance = await asyncio.shield(self._opening)
            if instance is self._instance:
                return _Session(instance, instance.cursor())
        return self._idle.pop()

    def _note_instance(self, opening: asyncio.Future[DuckDbInstance]) -> None:
        """Note an instance that was opened. An opening that failed is tried again: another process may have locked the file."""
        is_open = not opening.cancelled() and opening.exception() is None
        if opening is not self._opening:  # statements have named more files meanwhile
            if is_open:
                opening.result().close()
        elif is_open:
            self._instance = opening.result()
        else:
            self._opening = None

    def _close_instance(self, instance: DuckDbInstance | None) -> None:
        """Let go of an instance; what runs in it goes on. The next query opens another."""
        if instance is not self._instance:
            return
        self._instance = self._opening = None
        idle, self._idle = self._idle, []
        for session in idle:
            session.cursor.close()
        if instance is not None:
            instance.close()

    def _run(self, session: _Session, statement: DuckDbStatement, text: str, params: Mapping[str, object]) -> list[Row]:
        """Run a query, in a thread."""
        if session.instance.is_outdated():
            raise _FileReplaced(session.instance)
        if params and (choosing := statement.given & session.instance.choosing):
            detail = f"the macro {', '.join(sorted(choosing))} reads what its arguments name, which is not up to a value"
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=detail)
        try:
            return self._fetch(session.cursor, self._execute(session.cursor, statement.text, text, params))
        except duckdb.ConversionException as error:
            raise _input_fault(error, params) or _database_fault(error) from error
        except (duckdb.FatalException, duckdb.InternalException) as error:
            session.instance.is_broken = True  # DuckDB answers nothing after a fatal error
            raise _database_fault(error) from error
        except (duckdb.Error, RuntimeError, TypeError, ValueError) as error:
            raise (too_many_bytes(self._max_bytes) if TOO_LARGE in str(error) else _database_fault(error)) from error

    def _execute(self, cursor: Any, query: str, text: str, params: Mapping[str, object]) -> DuckDbColumns:
        """Execute with numbers bound as text, or as numbers where the query does not accept text (remember which); return the columns."""
        if query not in self._numeric_queries:
            try:
                return self._execute_refusing(cursor, query, text, _as_literals(params))
            except duckdb.BinderException:
                self._numeric_queries.add(query)
        return self._execute_refusing(cursor, query, text, _as_numbers(params))

    def _execute_refusing(self, cursor: Any, query: str, text: str, params: Mapping[str, object]) -> DuckDbColumns:
        """Execute, so that a value that is too large is an error within DuckDB: to make a Python object of it would hold everybody up."""
        key = (query, frozenset(map(type, params.values())))
        known = self._columns.get(key)
        if known is not None:
            with suppress(duckdb.BinderException):
                _run_statement(cursor, known.refusing(text, self._max_bytes), params)
                if known.found == found_columns(cursor):
                    return known
            del self._columns[key]  # a file or a table has other columns by now
        columns = DuckDbColumns.described(cursor.execute(f"DESCRIBE {text}", params).fetchall())
        _run_statement(cursor, columns.refusing(text, self._max_bytes), params)
        self._columns[key] = columns = replace(columns, found=found_columns(cursor))
        return columns

    def _fetch(self, cursor: Any, columns: DuckDbColumns) -> list[Row]:
        readers = [_reader(type_) for _, type_ in columns.found]
        size = ResultSize(self._max_bytes, is_flat=columns.is_flat)
        rows: list[Row] = []
        while batch := cursor.fetchmany(_BATCH):
            if len(rows) + len(batch) > self._max_rows:
                raise too_many_rows(self._max_rows)
            size.add(batch)
            rows += [{name: read(value) for name, read, value in zip(columns.names, readers, row, strict=True)} for row in batch]
        return rows

    def _release(self, session: _Session | None) -> None:
        if session is not None:
            if session.instance is self._instance:
                self._idle.append(session)
            else:
                session.cursor.close()
        self._slots.release()

    def _release_later(self, session: _Session | None, job: "asyncio.Future[list[Row]] | None") -> None:
        """Release the cursor of a cancelled query once the query has stopped; it holds its slot until then."""
        if session is None or job is None:
            self._release(session)
            return
        task = asyncio.create_task(self._stop(session, job))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop(self, session: _Session, job: "asyncio.Future[list[Row]]") -> None:
        """Interrupt a query until that takes effect: an interrupt before the query has started does nothing."""
        while not job.done():
            session.cursor.interrupt()
            await asyncio.wait({job}, timeout=_INTERRUPT_EVERY)
        if not job.cancelled():
            job.exception()  # retrieved, or the event loop logs it
        self._release(session)


def _expand(query: str, params: Params) -> tuple[str, dict[str, object]]:
    """Return a statement in DuckDB's syntax, and its parameters: ``$name`` placeholders, expanded lists."""
    if not isinstance(params, Mapping):
        names = iter(range(1, len(params) + 1))
        text = rename_placeholders(query, lambda name: f":{name}", lambda: f"${next(names, 0)}")
        bound = {str(index): value for index, value in enumerate(params, 1)}
    else:
        expanded, bound = expand_lists(*expand_rows(query, params))
        text = rename_placeholders(expanded, lambda name: f"${name}", lambda: "?")
    for name, value in bound.items():
        _check_bindable(name, value)
    return text, bound


def _run_statement(cursor: Any, text: str, params: Mapping[str, object]) -> None:
    # A statement that is parsed already is executed in half the time.
    cursor.execute(*duckdb.extract_statements(text), params)


def _check_bindable(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise parameter_fault(name, "a text or a number that the database can take")
    if isinstance(value, str) and not is_encodable(value):
        raise parameter_fault(name, "text")


def _as_literals(params: Mapping[str, object]) -> dict[str, object]:
    """Return numbers as text: DuckDB would cast a whole text column to numbers to compare it with a number."""
    is_number = {name: isinstance(value, int | float) and not isinstance(value, bool) for name, value in params.items()}
    return {name: str(value) if is_number[name] else value for name, value in params.items()}


def _as_numbers(params: Mapping[str, object]) -> dict[str, object]:
    """Return texts that are numbers as numbers."""
    return {name: _number(value) if isinstance(value, str) else value for name, value in params.items()}


def _number(text: str) -> object:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    return float(text) if match[2] else int(text)


def _reader(type_: str) -> Callable[[Any], object]:
    if type_ == "JSON":
        return lambda value: None if value is None else read_json(value)
    return to_json


def _input_fault(error: Exception, params: Mapping[str, object]) -> StepFault | None:
    """Return the fault of a parameter that cannot be converted to the type of its column; None when the error is about stored data.

    DuckDB names no parameter: the message quotes the value.
    """
    message = str(error)
    if "source column" in message:
        return None
    shown = {name: str(value).replace("\0", "\\0") for name, value in params.items()}
    name = next((name for name, value in shown.items() if f"'{value}'" in message or f'"{value}"' in message), None)
    return None if name is None else parameter_fault(name, "of the type that the query compares it with")


def _database_fault(error: Exception) -> StepFault:
    return StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=f"{type(error).__name__}: {error}")
