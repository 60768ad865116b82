"""``type: warehouse``: a read-only SQL query on the database of the source's URL.

Values are bound as parameters, never inserted into the SQL. A cancelled query is interrupted, which frees its connection. Statements are
checked when the configuration is loaded, and again by the database itself.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from gateway.blueprint import Source, Step
from gateway.contract import Call, CallContext, Inputs, KeyProblem, Reply, StepType
from gateway.contract.mock import MockUpstream
from gateway.errors import Code, StepFault, did_you_mean
from gateway.language.template import Reference
from gateway.settings import ByteCount, Count, SourceKeys, StepKeys, Text, such_as
from resolvers.databases import database_type
from resolvers.databases.database import Database, DatabaseLocation, DatabaseType
from resolvers.databases.sql.rows import row_tests
from resolvers.databases.sql.text import Statement, has_limit, quoted_references, read_statement
from resolvers.databases.stand_in import StandInDatabase

_LINE_COMMENT = re.compile(r"--[^\n]*")


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
    """The values of the placeholders; texts in them are templates."""


class WarehouseSourceKeys(SourceKeys):
    """The keys of a warehouse source: a database."""

    example = """\
warehouse:
  type: warehouse
  url: sqlite:///warehouse.db
  pool: 4
"""

    url: Annotated[Text, such_as("sqlite:///warehouse.db")]
    """`sqlite:///relative/path.db`, from the configuration folder, or `sqlite:////absolute/path.db`;
    `postgresql://user:password@host/database`; `duckdb:///path.db`, or `duckdb:///` for Parquet, CSV and JSON files alone."""
    pool: Count = 4
    """The most open connections, and so the most concurrent queries; further ones wait."""
    max_rows: Count = 10_000
    """The most rows that a query may return."""
    max_response_bytes: ByteCount = 5_000_000
    """The largest result of a query, in bytes as the database holds its values."""

    @property
    def is_insecure(self) -> bool:
        """Whether the URL says that the server's certificate is not verified."""
        database = _database_type(self)
        return database is not None and database.is_insecure(self.url)


class Warehouse(StepType):
    """The step type ``warehouse``."""

    name = "warehouse"
    keys = WarehouseKeys
    source_keys = WarehouseSourceKeys
    timeout_ms = 1000
    templated = ("params",)

    def inputs(self, keys: WarehouseKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the templates of ``params``; without ``params``, the arguments in order."""
        if keys.params is not None:
            return {"params": templates["params"]}
        return {"params": tuple(Reference((name,)) for name in arguments) if read_statement(keys.query).positional else ()}

    def check(self, keys: WarehouseKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield the problems of the statement and its parameters."""
        statement = read_statement(keys.query)
        for message in statement.mistakes:
            yield KeyProblem("query", message, "bad-sql")
        for reference in (text for text, root in quoted_references(keys.query) if root in arguments):
            message = (
                f"'{reference}' in quotes is text, and no value takes its place; bind one: write ':name' and add it to 'params:'"
            )
            yield KeyProblem("query", message, "bad-sql")
        if not statement.mistakes:
            yield from _check_parameters(statement, keys, arguments)
            yield from _check_compound_keys(keys)

    def check_against(self, keys: WarehouseKeys, source: Source) -> Iterator[KeyProblem]:
        """Yield what the statement does beyond reading in the dialect of the source's database."""
        assert isinstance(source.keys, WarehouseSourceKeys)
        database = _database_type(source.keys)
        for message in database.statement_mistakes(keys.query) if database else ():
            yield KeyProblem("query", message, "bad-sql")

    def check_source(self, keys: WarehouseSourceKeys) -> Iterator[KeyProblem]:
        """Yield the problems of the URL."""
        database = _database_type(keys)
        if database is None:
            yield KeyProblem(
                "url", "expected sqlite:///path/to/file.db, postgresql://host/database or duckdb:///path.db", "bad-url"
            )
        elif mistake := database.url_mistake(keys.url):
            yield KeyProblem("url", *mistake)

    def advise_source(self, keys: WarehouseSourceKeys) -> Iterator[KeyProblem]:
        """Yield a warning when the URL says that the server's certificate is not verified."""
        if keys.is_insecure:
            message = (
                "whoever answers in place of this server is believed; write 'sslmode=verify-full', with 'sslrootcert' if need be"
            )
            yield KeyProblem("url", message, "unverified-certificate")

    def advise(self, step: Step) -> Iterator[KeyProblem]:
        """Yield a warning when nothing limits the rows of a list. A batch is limited by its keys."""
        keys = step.keys
        assert isinstance(keys, WarehouseKeys)
        if step.returns.startswith("[") and keys.batch is None and not has_limit(keys.query):
            max_rows = step.source.keys.max_rows if step.source and isinstance(step.source.keys, WarehouseSourceKeys) else 0
            message = f"nothing bounds the rows, and with more than {max_rows} the step fails; add a LIMIT"
            yield KeyProblem("query", message, "query-without-limit")

    def is_idempotent(self, keys: WarehouseKeys) -> bool:
        """Return True: a SELECT may be repeated."""
        return True

    def describe(self, keys: WarehouseKeys) -> str:
        """Return the statement on one line."""
        return " ".join(_LINE_COMMENT.sub("", keys.query).split())

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator[Database]:
        """Open the database of a source; it connects when the first query needs it."""
        keys = source.keys
        assert isinstance(keys, WarehouseSourceKeys)
        database_type = _database_type(keys)
        assert database_type is not None
        location = DatabaseLocation(keys.url, Path(source.folder), keys.pool, keys.max_rows, keys.max_response_bytes)
        database = database_type.open(location)
        try:
            yield database
        finally:
            await database.aclose()

    def call(self, step: Step, connection: Database) -> Call:
        """Return a call that runs the statement once."""
        keys = step.keys
        assert isinstance(keys, WarehouseKeys)
        is_list = step.returns.startswith("[")
        # A parameter that is left out ({name?}) is null, so that every placeholder has a value.
        nulls = dict.fromkeys(read_statement(keys.query).named)

        async def select(inputs: Inputs, context: CallContext) -> Reply:
            params = inputs["params"]
            deadline = min(context.deadline, asyncio.get_running_loop().time() + step.timeout)
            rows = await connection.select(keys.query, {**nulls, **params} if nulls else params, deadline)
            if is_list:
                return Reply(rows)
            if len(rows) > 1:
                detail = f"{len(rows)} rows where one is expected; 'returns: [...]' takes them all"
                raise StepFault(Code.RESPONSE_VALIDATION_FAILED, detail=detail)
            return Reply(rows[0] if rows else None)

        return select

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return the call over a mocked database."""
        return self.call(step, StandInDatabase(upstream))


def _database_type(keys: WarehouseSourceKeys) -> DatabaseType | None:
    return database_type(keys.url.partition("://")[0])


def _check_compound_keys(keys: WarehouseKeys) -> Iterator[KeyProblem]:
    """Yield the problems of the ``IN`` test for the keys of a batch: it must have as many columns as a key has names."""
    key = keys.batch.key if keys.batch else ""
    columns = {test.name: test.width for test in row_tests(keys.query)}
    width = len(key) if isinstance(key, list) else 1
    for name in (
        (name for name, value in (keys.params or {}).items() if value == "{keys}") if isinstance(keys.params, dict) else ()
    ):
        if columns.get(name, 1) != width:
            test = "column" if width == 1 else f"({', '.join(key)})"
            message = f"a key has {width} {'part' if width == 1 else 'parts'}; write {test} IN (:{name})"
            yield KeyProblem("query", message, "bad-batch")


def _check_parameters(statement: Statement, keys: WarehouseKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
    """Yield placeholders without a value, and values without a placeholder."""
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
                f"the parameter '{name}' is not in the query as ':{name}'{did_you_mean(name, statement.named)}",
                "unused-parameter",
                is_about_key=True,
            )
    else:
        values = arguments if given is None else given
        in_all = f"the operation has {{}} arguments ({', '.join(arguments)}); mend one that is misspelt, or write 'params:'"
        what = in_all if given is None else "'params' has {} values"
        if statement.positional != len(values) and (statement.positional or given is not None):
            message = f"the query has {statement.positional} times '?', but {what.format(len(values))}"
            yield KeyProblem("query", message, "parameter-count")
        if any(isinstance(value, str) and "?}" in value for value in given or ()):
            message = "what '?' stands for cannot be left out; write ':name', which is then null"
            yield KeyProblem("params", message, "parameter-count")
