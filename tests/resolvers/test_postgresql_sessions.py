"""What a statement may leave behind in a session of PostgreSQL for the next caller: nothing."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
import uvloop

from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, DatabaseLocation, Row
from resolvers.databases.postgresql import Postgresql
from tests.kit.databases import SERVER, ask, configuration, on_server, opened, postgresql, run_with_timeout

CHANGES = {
    "writing": "PERFORM set_config('default_transaction_read_only', 'off', false)",
    "writing_at_once": "EXECUTE 'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'",
    "isolation": "PERFORM set_config('default_transaction_isolation', 'serializable', false)",
    "search_path": "PERFORM set_config('search_path', 'elsewhere', false)",
    "role": "PERFORM set_config('role', 'pg_monitor', false)",
    "user": "EXECUTE 'SET SESSION AUTHORIZATION pg_monitor'",
    "timeout": "PERFORM set_config('statement_timeout', '1', false)",
    "lock_timeout": "PERFORM set_config('lock_timeout', '1', false)",
    "zone": "PERFORM set_config('TimeZone', 'Asia/Tokyo', false)",
    "dates": "PERFORM set_config('DateStyle', 'German', false)",
    "encoding": "PERFORM set_config('client_encoding', 'LATIN1', false)",
    "name": "PERFORM set_config('application_name', 'somebody', false)",
    "tenant": "PERFORM set_config('app.tenant', 'a', false)",
    "lock": "PERFORM pg_advisory_lock(1)",
    "shared_lock": "PERFORM pg_advisory_lock_shared(2, 3)",
    "listening": "EXECUTE 'LISTEN something'",
    "temporary": "PERFORM set_config('transaction_read_only', 'off', false); EXECUTE 'CREATE TEMP TABLE kept (i int)'",
    "cursor": "EXECUTE 'DECLARE kept CURSOR WITH HOLD FOR SELECT 1'",
}
"""What a function does to its session, by the function's name."""
STATE = """
SELECT current_user AS role, session_user AS login, coalesce(current_setting('app.tenant', true), '') AS tenant,
  (SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings
    WHERE name NOT IN ('statement_timeout', 'transaction_read_only') AND name NOT LIKE 'plpgsql.%') AS settings,
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
  (SELECT count(*) FROM pg_cursors WHERE is_holdable) AS cursors,
  (SELECT count(*) FROM pg_class WHERE relpersistence = 't') AS tables,
  (SELECT count(*) FROM pg_listening_channels()) AS channels
"""
SCHEMA = [
    "CREATE TABLE written (i int)",
    "CREATE FUNCTION write() RETURNS int LANGUAGE sql AS $$ INSERT INTO written VALUES (1) RETURNING 1 $$",
    *(
        f"CREATE FUNCTION {name}() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        for name, body in {
            "dare": "PERFORM set_config('transaction_read_only', 'off', true); INSERT INTO written VALUES (1); RETURN 1;",
            "fail": "PERFORM set_config('search_path', 'elsewhere', false); PERFORM pg_advisory_lock(9); RETURN 1 / 0;",
            **{f"change_{name}": f"{body}; RETURN 1;" for name, body in CHANGES.items()},
        }.items()
    ),
    "CREATE VIEW changing AS SELECT change_writing() AS i, change_search_path() AS j, change_lock() AS k",
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql(*SCHEMA) as made:
        yield made


def open_session(url: str, max_bytes: int = 5_000_000) -> Database:
    return Postgresql().open(DatabaseLocation(url, Path(), 1, 10_000, max_bytes))


async def select(database: Database, query: str) -> list[Row]:
    return await database.select(query, (), asyncio.get_running_loop().time() + 10)


async def tried(database: Database, query: str) -> Code | None:
    try:
        await select(database, query)
    except StepFault as fault:
        return fault.code
    return None


@pytest.mark.parametrize("first", [*(f"SELECT change_{name}()" for name in CHANGES), "SELECT * FROM changing", "SELECT fail()"])
def test_a_session_is_for_each_statement_what_it_was_for_the_first(first: str, url: str) -> None:
    async def run() -> None:
        database = open_session(url)
        try:
            before = await select(database, STATE)
            process = await select(database, "SELECT pg_backend_pid()")
            await tried(database, first)
            assert await select(database, STATE) == before
            assert await select(database, "SELECT pg_backend_pid()") == process
            assert await tried(database, "SELECT write()") is Code.DOWNSTREAM_SERVICE_ERROR
            assert await select(database, "SELECT count(*) AS n FROM written") == [{"n": 0}]
        finally:
            await database.aclose()

    run_with_timeout(run())


def test_a_session_is_reset_after_a_query_that_was_cancelled(url: str) -> None:
    async def run() -> None:
        database = open_session(url)
        try:
            before = await select(database, STATE)
            for delay in (0.0, 0.001, 0.05):
                running = asyncio.create_task(select(database, "SELECT change_lock(), change_zone(), pg_sleep(20)"))
                await asyncio.sleep(delay)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                assert await select(database, STATE) == before
        finally:
            await database.aclose()

    run_with_timeout(run())


def test_the_limit_of_time_outlives_the_reset(url: str) -> None:
    async def run() -> list[Row]:
        database = open_session(url)
        try:
            await select(database, "SELECT change_timeout()")
            return await select(database, "SELECT setting::int > 1 AS holds FROM pg_settings WHERE name = 'statement_timeout'")
        finally:
            await database.aclose()

    assert run_with_timeout(run()) == [{"holds": True}]


@pytest.mark.case("I-12")
def test_each_statement_is_read_only_whatever_an_earlier_one_did(url: str, tmp_path: Path) -> None:
    steps = {"allow": "SELECT change_writing() AS done", "write": "SELECT write() AS done", "dare": "SELECT dare() AS done"}
    operations = "\n---\n".join(
        f'operation: {name}\nargs: {{}}\nsteps:\n  - {{ name: row, type: warehouse, query: "{query}" }}'
        for name, query in steps.items()
    )

    async def run() -> list[Any]:
        texts = {"a.yaml": configuration(url, operations, pool=1)}
        async with opened(tmp_path, texts) as generation:
            bodies = [await ask(generation, f"{{ {name} {{ row }} }}") for name in ("allow", "write", "dare", "allow", "write")]
        assert await on_server(url, "SELECT i FROM written") == []
        return [[error["extensions"]["code"] for error in body.get("errors", [])] for body in bodies]

    refused = ["DOWNSTREAM_SERVICE_ERROR"]
    assert run_with_timeout(run()) == [[], refused, refused, [], refused]


# -- size


@pytest.mark.parametrize(
    "query",
    [
        "SELECT repeat('x', 100000000)",
        "SELECT decode(repeat('00', 50000000), 'hex')",
        "SELECT to_jsonb(repeat('x', 50000000))",
        "SELECT ARRAY[repeat('x', 50000000)]",
        "SELECT ROW(repeat('x', 50000000))",
        "SELECT array_agg(i) FROM generate_series(1, 1000000) AS i",
        "SELECT repeat('x', 1000000) FROM generate_series(1, 10000)",
        "SELECT repeat('x', 1000) FROM generate_series(1, 10000)",
    ],
)
def test_a_result_that_is_too_large_is_not_taken_in(query: str, url: str) -> None:
    async def run() -> None:
        database = open_session(url)
        try:
            for _ in range(2):
                assert await tried(database, query) is Code.SUBREQUEST_RESPONSE_TOO_LARGE
                assert await select(database, "SELECT length(repeat('x', 100000000)) AS n") == [{"n": 100_000_000}]
        finally:
            await database.aclose()

    run_with_timeout(run(), 60)


def test_as_many_bytes_as_allowed_are_given_and_a_few_more_are_a_failure(url: str) -> None:
    async def run() -> None:
        database = open_session(url, max_bytes=50_000)
        try:
            assert await select(database, "SELECT repeat('x', 49900) AS v") == [{"v": "x" * 49_900}]
            assert await tried(database, "SELECT repeat('x', 50000) AS v") is Code.SUBREQUEST_RESPONSE_TOO_LARGE
        finally:
            await database.aclose()

    run_with_timeout(run())


def test_many_values_do_not_hold_the_event_loop(url: str) -> None:
    """They are converted in a thread; what comes back is the same."""

    async def run() -> None:
        database = open_session(url)
        try:
            query = "SELECT i::numeric AS n, DATE '2024-01-01' + i AS day FROM generate_series(1, 9999) AS i"
            rows = await select(database, query)
            assert (len(rows), rows[30]) == (9_999, {"n": "31", "day": "2024-02-01"})
        finally:
            await database.aclose()

    run_with_timeout(run())


async def serve_over_tls(authority: trustme.CA) -> asyncio.Server:
    """Put TLS before the PostgreSQL server of the tests, which may have none."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)  # SSLRequest
        writer.write(b"S")
        await writer.start_tls(context)
        parts = urlsplit(SERVER)
        server_reader, server_writer = await asyncio.open_connection(parts.hostname, parts.port or 5432)
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.wait(
                [asyncio.create_task(forward(reader, server_writer)), asyncio.create_task(forward(server_reader, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        server_writer.close()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_bytes_are_counted_below_tls_and_on_either_event_loop(run: Callable[[Coroutine[Any, Any, None]], None], url: str) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), await serve_over_tls(trustme.CA()) as server:
            port = server.sockets[0].getsockname()[1]
            parts = urlsplit(url)
            database = open_session(f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}?sslmode=require")
            try:
                for _ in range(2):
                    assert await select(database, "SELECT 1 AS one") == [{"one": 1}]
                    assert await tried(database, "SELECT repeat('x', 30000000)") is Code.SUBREQUEST_RESPONSE_TOO_LARGE
                assert await select(database, "SELECT length(repeat('x', 30000000)) AS n") == [{"n": 30_000_000}]
            finally:
                await database.aclose()

    run(scenario())
