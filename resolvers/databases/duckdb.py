"""DuckDB, in this process: an analytical database file, or Parquet, CSV and JSON files alone. A thread for each running query.

Opened read-only, without fetching extensions; and every statement is held to be a SELECT by DuckDB's own parser. A text is bound as a
literal is written, so that it fits a column of any type. ``stepgraph[duckdb]`` installs it.
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
from resolvers.databases.sql.text import Params, expand_lists, rename, tokens
from resolvers.databases.sql.values import is_text, refused, to_json

_IS_INSTALLED = find_spec("duckdb") is not None
if _IS_INSTALLED:  # it is large, and so an extra of its own
    import duckdb

_SCHEME = "duckdb:///"
_INTERRUPT_EVERY = 0.02
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "temp_directory": "",
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
        """Ask for a path or nothing, and for the package."""
        if not url.startswith(_SCHEME):
            return "expected duckdb:///path/to/file.db, or duckdb:/// for files alone", "bad-url"
        if not _IS_INSTALLED:
            return "DuckDB is not installed; run: pip install 'stepgraph[duckdb]'", "missing-package"
        return None

    def statement_mistakes(self, query: str) -> Iterator[str]:
        """Refuse a placeholder where a file is named: which file is read is never up to a request."""
        inside: list[str | None] = []
        last = ""
        for kind, match in tokens(query):
            if match[0] == "(":
                inside.append(last if _FILE_FUNCTION.fullmatch(last) else None)
            elif match[0] == ")" and inside:
                inside.pop()
            elif kind in {"named", "positional"} and (function := next(filter(None, inside), None)):
                yield f"the file that '{function}' reads is named by the configuration alone, not by '{match[0]}'"
            last = match[0].lower() if kind == "word" else ""

    def open(self, place: DatabaseLocation) -> Database:
        """Return a database that is opened with its first query."""
        return DuckDbPool(place)


class DuckDbPool(Database):
    """Cursors of one database. A cursor serves one query at a time, in a thread; further queries wait for one."""

    def __init__(self, place: DatabaseLocation) -> None:
        path = place.url.removeprefix(_SCHEME)
        self._path = str(Path(place.folder, path)) if path else ":memory:"
        self._folder = place.folder.absolute()
        self._max_rows = place.max_rows
        self._places = asyncio.Semaphore(place.pool)
        self._threads = ThreadPoolExecutor(place.pool, "duckdb")
        self._opening: asyncio.Future[Any] | None = None
        self._idle: list[Any] = []
        self._stopping: set[asyncio.Task[None]] = set()
        self._wants_numbers: set[str] = set()
        """Queries that compute with what is bound, for which a text is no literal."""

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Return the rows of a query; a list is bound item by item."""
        text, bound = _expanded(query, params, self._folder)
        await self._places.acquire()
        cursor = None
        job: asyncio.Future[list[Row]] | None = None
        try:
            cursor = self._idle.pop() if self._idle else await self._cursor()
            job = asyncio.get_running_loop().run_in_executor(self._threads, self._run, cursor, query, text, bound)
            rows = await asyncio.shield(job)
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
        """Wait for the queries that are being stopped, and close the database."""
        await asyncio.gather(*self._stopping, return_exceptions=True)
        opened = await asyncio.gather(*filter(None, [self._opening]), return_exceptions=True)
        for connection in (*self._idle, *(one for one in opened if not isinstance(one, BaseException))):
            connection.close()
        self._idle.clear()
        self._threads.shutdown(wait=False)

    async def _cursor(self) -> Any:
        """Return a new cursor; the first opens the database. Whoever waits may be cancelled, the opening goes on."""
        opening = self._opening
        if opening is None or (opening.done() and opening.exception() is not None):
            opening = self._opening = asyncio.get_running_loop().run_in_executor(self._threads, self._connect)
        cursor = (await asyncio.shield(opening)).cursor()
        cursor.execute("SET TimeZone = 'UTC'")
        return cursor

    def _connect(self) -> Any:
        is_file = self._path != ":memory:"
        try:
            return duckdb.connect(self._path, read_only=is_file, config=_SETTINGS)
        except duckdb.Error as error:
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind="connect", detail=f"{self._path}: {error}") from error

    def _run(self, cursor: Any, query: str, text: str, params: Mapping[str, object]) -> list[Row]:
        """Run a query, in a thread."""
        try:
            statements = duckdb.extract_statements(text)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail="not one SELECT")
            self._execute(cursor, query, text, params)
            rows = cursor.fetchmany(self._max_rows + 1)
            columns = [(name, _reader(str(type_))) for name, type_, *_ in cursor.description]
            return [{name: read(value) for (name, read), value in zip(columns, row, strict=True)} for row in rows]
        except duckdb.ConversionException as error:
            raise _unfit(error, params) or _failed(error) from error
        except (duckdb.Error, RuntimeError, TypeError, ValueError) as error:
            raise _failed(error) from error

    def _execute(self, cursor: Any, query: str, text: str, params: Mapping[str, object]) -> None:
        if query not in self._wants_numbers:
            try:
                cursor.execute(text, _as_literals(params))
            except duckdb.BinderException:
                self._wants_numbers.add(query)
            else:
                return
        cursor.execute(text, _as_numbers(params))

    def _release(self, cursor: Any) -> None:
        if cursor is not None:
            self._idle.append(cursor)
        self._places.release()

    def _release_later(self, cursor: Any, job: "asyncio.Future[list[Row]] | None") -> None:
        """Release a cursor whose query was cancelled once it has stopped; its place stays taken until then."""
        if job is None:
            self._release(cursor)
            return
        task = asyncio.create_task(self._stop(cursor, job))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop(self, cursor: Any, job: "asyncio.Future[list[Row]]") -> None:
        """Interrupt a query, again and again until it has noticed: one that has not begun yet would not."""
        while not job.done():
            cursor.interrupt()
            await asyncio.wait({job}, timeout=_INTERRUPT_EVERY)
        if not job.cancelled():
            job.exception()
        self._release(cursor)


def _expanded(query: str, params: Params, folder: Path) -> tuple[str, dict[str, object]]:
    """Return a statement with ``$name`` and its lists expanded, files below the folder, and what is bound to it."""
    if not isinstance(params, Mapping):
        names = iter(range(1, len(params) + 1))
        text = rename(query, lambda name: f":{name}", lambda: f"${next(names, 0)}")
        bound = {str(index): value for index, value in enumerate(params, 1)}
    else:
        expanded, bound = expand_lists(*expand_rows(query, params))
        text = rename(expanded, lambda name: f"${name}", lambda: "?")
    for name, value in bound.items():
        _check(name, value)
    return _FILE.sub(lambda match: match["before"] + _below(folder, match["files"]), text), bound


def _below(folder: Path, files: str) -> str:
    """Return the names of files, in quotes, with the relative ones below a folder."""
    start = str(folder).replace("'", "''")
    return _LOOKS_LIKE_FILE.sub(lambda match: f"'{start}/{match[0][1:]}", files)


def _check(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str | int | float):
        raise refused(name, "a text or a number that the database can take")
    if isinstance(value, str) and not is_text(value):
        raise refused(name, "text")


def _as_literals(params: Mapping[str, object]) -> dict[str, object]:
    """Return numbers as their text: DuckDB would rather read a whole column of text as numbers than compare it as text."""
    is_number = {name: isinstance(value, int | float) and not isinstance(value, bool) for name, value in params.items()}
    return {name: str(value) if is_number[name] else value for name, value in params.items()}


def _as_numbers(params: Mapping[str, object]) -> dict[str, object]:
    """Return what reads as a number as one."""
    return {name: _number(value) if isinstance(value, str) else value for name, value in params.items()}


def _number(text: str) -> object:
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    return float(text) if found[2] else int(text)


def _reader(type_: str) -> Callable[[Any], object]:
    if type_ == "JSON":
        return lambda value: None if value is None else orjson.loads(value)
    return to_json


def _unfit(error: Exception, params: Mapping[str, object]) -> StepFault | None:
    """Return the fault of a value that is not of the type that it is compared with; None when the data is to blame."""
    said = str(error)
    if "source column" in said:
        return None
    shown = {name: str(value).replace("\0", "\\0") for name, value in params.items()}
    name = next((name for name, value in shown.items() if f"'{value}'" in said or f'"{value}"' in said), None)
    return None if name is None else refused(name, "of the type that the query compares it with")


def _failed(error: Exception) -> StepFault:
    return StepFault(Code.DOWNSTREAM_SERVICE_ERROR, detail=f"{type(error).__name__}: {error}")
