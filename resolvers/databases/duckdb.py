"""DuckDB, in this process: a database file, or only Parquet, CSV and JSON files. Each running query has a thread.

The database is opened read-only and fetches no extensions, and DuckDB's own parser must take every statement for a SELECT. Numbers are
bound as text, as in a literal, so that they fit a column of any type. ``stepgraph[duckdb]`` installs the driver.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType, Row
from resolvers.databases.sql.rows import expand_rows
from resolvers.databases.sql.text import Params, expand_lists, rename_placeholders, tokens
from resolvers.databases.sql.values import is_encodable, parameter_fault, to_json

_IS_INSTALLED = find_spec("duckdb") is not None
if _IS_INSTALLED:  # 20 MiB, so that it is an optional extra
    import duckdb

_SCHEME = "duckdb:///"
_INTERRUPT_EVERY = 0.02
"""Seconds between two interrupts of a cancelled query."""
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "temp_directory": "",  # no temporary files: a query that needs more than the memory fails
}
_FILE_FUNCTION = re.compile(r"read_\w+|\w+_scan|scan_\w+|parquet_\w+|glob|sniff_csv|query|query_table")
_FILE = re.compile(
    r"(?P<before>\b(?:FROM|JOIN)\s+|\b(?:read_\w+|\w+_scan|parquet_\w+|glob|sniff_csv)\s*\(\s*\[?\s*)"
    r"(?P<files>'[^']+'(?:\s*,\s*'[^']+')*)",
    re.IGNORECASE,
)
_LOOKS_LIKE_FILE = re.compile(r"'(?![/\\]|\w+:)[^']*\.\w+'")
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
        """Refuse a placeholder in a function that reads files: a request must never choose the file."""
        enclosing: list[str | None] = []
        previous_word = ""
        for kind, match in tokens(query):
            if match[0] == "(":
                enclosing.append(previous_word if _FILE_FUNCTION.fullmatch(previous_word) else None)
            elif match[0] == ")" and enclosing:
                enclosing.pop()
            elif kind in {"named", "positional"} and (function := next(filter(None, enclosing), None)):
                yield f"the file that '{function}' reads is named by the configuration alone, not by '{match[0]}'"
            previous_word = match[0].lower() if kind == "word" else ""

    def open(self, location: DatabaseLocation) -> Database:
        """Return a database that the first query opens."""
        return DuckDbPool(location)


class DuckDbPool(Database):
    """A pool of cursors of one database. A cursor runs one query at a time, in a thread; further queries wait for a free one."""

    def __init__(self, location: DatabaseLocation) -> None:
        path = location.url.removeprefix(_SCHEME)
        self._path = str(Path(location.folder, path)) if path else ":memory:"
        self._folder = location.folder.absolute()
        self._max_rows = location.max_rows
        self._slots = asyncio.Semaphore(location.pool)
        self._threads = ThreadPoolExecutor(location.pool, "duckdb")
        self._opening: asyncio.Future[Any] | None = None
        self._idle: list[Any] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._numeric_queries: set[str] = set()
        """Queries that compute with their parameters, so that numbers cannot be bound as text."""

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Run a query and return its rows; a list is bound item by item."""
        text, bound = _expand(query, params, self._folder)
        await self._slots.acquire()
        cursor = None
        job: asyncio.Future[list[Row]] | None = None
        try:
            cursor = self._idle.pop() if self._idle else await self._open_cursor()
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._run, cursor, query, text, bound)
            rows = await asyncio.shield(job)  # a thread cannot be cancelled: _stop interrupts the query and waits for it
        except asyncio.CancelledError:
            self._release_later(cursor, job)
            raise
        except BaseException:
            self._release(cursor)
            raise
        self._release(cursor)
        if len(rows) > self._max_rows:
            raise StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {self._max_rows} rows")
        return rows

    async def aclose(self) -> None:
        """Wait for cancelled queries to stop, and close the database."""
        await asyncio.gather(*self._stopping, return_exceptions=True)
        opened = await asyncio.gather(*filter(None, [self._opening]), return_exceptions=True)
        for connection in (*self._idle, *(result for result in opened if not isinstance(result, BaseException))):
            connection.close()
        self._idle.clear()
        self._threads.shutdown(wait=False)

    async def _open_cursor(self) -> Any:
        """Return a new cursor; the first call opens the database. The opening continues when its caller is cancelled."""
        opening = self._opening
        # An opening that failed is tried again: another process may have locked the file.
        if opening is None or (opening.done() and opening.exception() is not None):
            opening = self._opening = asyncio.get_running_loop().run_in_executor(self._threads, self._connect)
        cursor = (await asyncio.shield(opening)).cursor()
        # Times with a time zone are read in the session's zone, which is that of the machine otherwise.
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def _connect(self) -> Any:
        is_file = self._path != ":memory:"  # DuckDB refuses to open an in-memory database read-only
        try:
            return duckdb.connect(self._path, read_only=is_file, config=_SETTINGS)
        except duckdb.Error as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{self._path}: {error}") from error

    def _run(self, cursor: Any, query: str, text: str, params: Mapping[str, object]) -> list[Row]:
        """Run a query, in a thread."""
        try:
            # The parser decides, because even a read-only database runs COPY to a file.
            statements = duckdb.extract_statements(text)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail="not one SELECT")
            self._execute(cursor, query, text, params)
            rows = cursor.fetchmany(self._max_rows + 1)
            columns = [(name, _reader(str(type_))) for name, type_, *_ in cursor.description]
            return [{name: read(value) for (name, read), value in zip(columns, row, strict=True)} for row in rows]
        except duckdb.ConversionException as error:
            raise _input_fault(error, params) or _database_fault(error) from error
        except (duckdb.Error, RuntimeError, TypeError, ValueError) as error:
            raise _database_fault(error) from error

    def _execute(self, cursor: Any, query: str, text: str, params: Mapping[str, object]) -> None:
        """Execute with numbers bound as text, or as numbers where the query does not accept text; remember which."""
        if query not in self._numeric_queries:
            try:
                cursor.execute(text, _as_literals(params))
            except duckdb.BinderException:
                self._numeric_queries.add(query)
            else:
                return
        cursor.execute(text, _as_numbers(params))

    def _release(self, cursor: Any) -> None:
        if cursor is not None:
            self._idle.append(cursor)
        self._slots.release()

    def _release_later(self, cursor: Any, job: "asyncio.Future[list[Row]] | None") -> None:
        """Release the cursor of a cancelled query once the query has stopped; it holds its slot until then."""
        if job is None:
            self._release(cursor)
            return
        task = asyncio.create_task(self._stop(cursor, job))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop(self, cursor: Any, job: "asyncio.Future[list[Row]]") -> None:
        """Interrupt a query until that takes effect: an interrupt before the query has started does nothing."""
        while not job.done():
            cursor.interrupt()
            await asyncio.wait({job}, timeout=_INTERRUPT_EVERY)
        if not job.cancelled():
            job.exception()  # retrieved, or the event loop logs it
        self._release(cursor)


def _expand(query: str, params: Params, folder: Path) -> tuple[str, dict[str, object]]:
    """Return a statement in DuckDB's syntax, and its parameters: ``$name`` placeholders, expanded lists, file names below ``folder``."""
    if not isinstance(params, Mapping):
        names = iter(range(1, len(params) + 1))
        text = rename_placeholders(query, lambda name: f":{name}", lambda: f"${next(names, 0)}")
        bound = {str(index): value for index, value in enumerate(params, 1)}
    else:
        expanded, bound = expand_lists(*expand_rows(query, params))
        text = rename_placeholders(expanded, lambda name: f"${name}", lambda: "?")
    for name, value in bound.items():
        _check_bindable(name, value)
    return _FILE.sub(lambda match: match["before"] + _resolve_files(folder, match["files"]), text), bound


def _resolve_files(folder: Path, files: str) -> str:
    """Return quoted file names, the relative ones resolved against a folder."""
    start = str(folder).replace("'", "''")
    return _LOOKS_LIKE_FILE.sub(lambda match: f"'{start}/{match[0][1:]}", files)


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
        return lambda value: None if value is None else orjson.loads(value)
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
