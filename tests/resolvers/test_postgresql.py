"""PostgreSQL as a warehouse: types both ways, the walls against writing, and what happens when a query is slow, locked or cut off."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.errors import Code, ConfigurationError, StepFault
from resolvers.databases.database import DatabaseLocation, Row
from resolvers.databases.postgresql import Postgresql, PostgresqlPool
from tests.kit.databases import answer, ask, code, configuration, on_server, opened, postgresql, run_with_timeout
from tests.kit.timing import SLACK

SCHEMA = (
    "CREATE TYPE mood AS ENUM ('calm', 'cross')",
    """CREATE TABLE things (
         small int2, whole int4, large int8, real4 float4, real8 float8, exact numeric(12, 2), flag bool, label varchar(20), code char(3),
         day date, at_local timestamp, at_zone timestamptz, clock time, zoned timetz, span interval, key uuid, doc json, docb jsonb,
         data bytea, mood mood, numbers int4[], moments date[], docs jsonb[], net inet, period daterange)""",
    """INSERT INTO things VALUES (
         1, 2, 9007199254740993, 1.5, 2.25, 1234567.80, true, 'x', 'ab', '2024-05-31', '2024-05-31 13:45:00', '2024-05-31 13:45:00.25+02',
         '13:45:00', '13:45:00+02', '1 day 2 hours 0.5 seconds', '0b9b1d3e-7d3f-4c3e-9a41-0d8a4c1f2b10', '{"a": [1, null]}', '"text"',
         '\\x0102', 'cross', '{1,NULL,3}', '{2024-05-31}', ARRAY['{"b": 1}'::jsonb, NULL], '10.0.0.1/8', '[2024-01-01,2024-02-01)')""",
    "CREATE TABLE customers (id int PRIMARY KEY, name text)",
    "INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(1, 100) AS i",
)
VALUES = {
    "small": 1,
    "whole": 2,
    "large": 9007199254740993,
    "real4": 1.5,
    "real8": 2.25,
    "exact": "1234567.80",
    "flag": True,
    "label": "x",
    "code": "ab ",
    "day": "2024-05-31",
    "at_local": "2024-05-31T13:45:00",
    "clock": "13:45:00",
    "at_zone": "2024-05-31T11:45:00.250000+00:00",
    "zoned": "13:45:00+02:00",
    "span": "P1DT2H0.5S",
    "key": "0b9b1d3e-7d3f-4c3e-9a41-0d8a4c1f2b10",
    "doc": {"a": [1, None]},
    "docb": "text",
    "data": "AQI=",
    "mood": "cross",
    "numbers": [1, None, 3],
    "moments": ["2024-05-31"],
    "docs": [{"b": 1}, None],
    "net": "10.0.0.1/8",
    "period": "[2024-01-01,2024-02-01)",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql(*SCHEMA) as made:
        yield made


@asynccontextmanager
async def pool_of(url: str, pool: int = 4, max_rows: int = 1000, max_bytes: int = 5_000_000) -> AsyncIterator[PostgresqlPool]:
    database = Postgresql().open(DatabaseLocation(url, Path(), pool, max_rows, max_bytes))
    assert isinstance(database, PostgresqlPool)
    try:
        yield database
    finally:
        await database.aclose()


async def select(database: PostgresqlPool, query: str, params: Any = (), budget: float = 10) -> list[Row]:
    return await database.select(query, params, asyncio.get_running_loop().time() + budget)


def rows(url: str, query: str, params: Any = (), **place: int) -> list[Row]:
    async def once() -> list[Row]:
        async with pool_of(url, **place) as database:
            return await select(database, query, params)

    return run_with_timeout(once())


def fault(url: str, query: str, params: Any = ()) -> StepFault:
    with pytest.raises(StepFault) as caught:
        rows(url, query, params)
    return caught.value


async def activity(url: str, state: str) -> int:
    """Return how many connections to this database are in a state."""
    query = f"SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'stepgraph' AND state = '{state}'"
    return len(await on_server(url, query))


# -- types


def test_values_come_back_as_their_graphql_scalars_would(url: str) -> None:
    assert rows(url, "SELECT * FROM things") == [VALUES]


def test_nulls_of_every_type_come_back_as_null(url: str) -> None:
    nulls = rows(url, "SELECT t.* FROM (SELECT 1) AS one LEFT JOIN things AS t ON false")
    assert nulls == [dict.fromkeys(VALUES)]


def test_what_comes_back_finds_its_row_again(url: str) -> None:
    for column, value in VALUES.items():
        if column not in {"doc", "period"}:  # json has no equality, and a range is bound by its ends
            sent = f'"{value}"' if column == "docb" else value
            assert len(rows(url, f"SELECT 1 AS found FROM things WHERE {column} = :value", {"value": sent})) == 1, column


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ("small", [1, "1", " 1 ", "+1", 1.0, True], ["abc", "1.5", 1.5, "", "32768", 2**15, 2**70, "1 OR 1=1", "1" * 40]),
        ("whole", ["2"], [2**31, "2147483648"]),
        ("large", ["9007199254740993", 9007199254740993], [2**63, "9" * 31]),
        ("real8", [2.25, "2.25", "225e-2"], ["x", "nan", "2,25", "1e9999999"]),
        ("exact", [1234567.8, "1234567.80", "1234567.8"], ["x", "1_0", "Infinity"]),
        ("flag", [True, "true", "t", "on", 1], ["yep", 2, 1.5]),
        ("label", ["x"], ["a\x00b", "\ud800"]),
        ("day", ["2024-05-31"], ["31.5.2024", "2024-02-30", 20240531, "2024-05-31T13:45:00"]),
        ("at_local", ["2024-05-31T13:45:00", "2024-05-31 13:45", "2024-05-31T15:45:00+02:00"], ["now", "0"]),
        ("at_zone", ["2024-05-31T13:45:00.25+02:00", "2024-05-31T11:45:00.25Z", "2024-05-31T11:45:00.25"], ["yesterday", 0]),
        ("clock", ["13:45", "13:45:00"], ["25:00", "13:45+02:00"]),
        ("zoned", ["13:45:00+02:00"], ["noon"]),
        ("span", ["P1DT2H0.5S", "P1DT120M0.5S"], ["P", "1 day", "P1Y", "PT"]),
        ("key", ["0B9B1D3E7D3F4C3E9A410D8A4C1F2B10"], ["0b9b", 7]),
        ("docb", ['"text"', ' "text" '], ["text", "{"]),
        ("data", ["AQI="], ["AQI", "??"]),
        ("mood", ["cross"], ["angry", 1]),
        ("net", ["10.0.0.1/8"], ["10.0.0", "x"]),
        ("period", [], ["[2024-01-01,2024-02-01)"]),
        ("numbers", [[1, None, 3], ["1", None, "3"]], [["x"], [[1]], "x"]),
        ("moments", [["2024-05-31"], "2024-05-31"], [["x"]]),
    ],
)
def test_values_are_coerced_to_the_type_of_their_column(column: str, good: list[object], bad: list[object], url: str) -> None:
    async def tried() -> None:
        async with pool_of(url) as database:
            query = f"SELECT count(*) AS found FROM things WHERE {column} = :value"
            for value in good:
                assert await select(database, query, {"value": value}) == [{"found": 1}], value
            for value in [*bad, {"a": 1}] if column != "docb" else bad:
                with pytest.raises(StepFault) as caught:
                    await select(database, query, {"value": value})
                assert caught.value.code == Code.BAD_USER_INPUT, value
                assert caught.value.message is not None
                assert caught.value.message.startswith("The value of the query parameter 'value' is not ")

    run_with_timeout(tried())


def test_any_json_is_bound_to_a_json_type(url: str) -> None:
    for value in ({"a": [1, None]}, [1], 1, True, '{"a": 1}'):
        assert len(rows(url, "SELECT CAST(:value AS jsonb) AS back", {"value": value})) == 1
    assert rows(url, "SELECT CAST(:value AS jsonb) AS back", {"value": {"a": [1]}}) == [{"back": {"a": [1]}}]


def test_a_type_that_json_has_nothing_for_is_a_failure_that_leaves_the_connection_whole(url: str) -> None:
    async def tried() -> None:
        async with pool_of(url, pool=1) as database:
            with pytest.raises(StepFault) as caught:
                await select(database, "SELECT '((1,2),(3,4))'::path AS p")
            assert caught.value.code == Code.DOWNSTREAM_SERVICE_ERROR
            assert await select(database, "SELECT 1 AS one") == [{"one": 1}]

    run_with_timeout(tried())


def test_placeholders_are_known_among_everything_that_looks_like_one(url: str) -> None:
    query = """
      SELECT :a || ':b' || E'\\':c' || $$ :d '$$ || $x$ ? $x$ || ':e'::text AS "text :f", /* :g ? */
        (ARRAY[:a, :b])[2] AS second, 'x' ~ ANY (ARRAY['[[:alpha:]]']) AS is_alpha -- :h
      FROM things WHERE docb @> '"text"' AND label = :a AND small IN (:numbers) AND NOT whole IN (:numbers) AND :a = :a;"""
    found = rows(url, query, {"a": "x", "b": "y", "numbers": [1, "3"]})
    assert found == [{"text :f": "x:b':c :d ' ? :e", "second": "y", "is_alpha": True}]


def test_an_array_takes_a_list(url: str) -> None:
    assert rows(url, "SELECT id FROM customers WHERE id = ANY(?) ORDER BY id", [["7", 9]]) == [{"id": 7}, {"id": 9}]


def test_lists_of_every_length_are_one_prepared_statement(url: str) -> None:
    async def tried() -> list[Row]:
        async with pool_of(url, pool=1) as database:
            for length in range(20):
                await select(database, "SELECT id FROM customers WHERE id IN (:ids)", {"ids": list(range(length))})
            return await select(database, "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '%customers%'")

    assert run_with_timeout(tried()) == [{"n": 2}]  # itself, and the one with the list


# -- walls


@pytest.mark.parametrize(
    ("query", "mistake"),
    [
        ("DELETE FROM customers", "'DELETE'"),
        ("SELECT 1; DELETE FROM customers", "one statement"),
        ("WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone", "'DELETE' is not allowed"),
        ("SELECT * INTO copied FROM customers", "'INTO' is not allowed"),
        ("SELECT * FROM customers FOR UPDATE", "'FOR UPDATE' is not allowed"),
        ("SELECT * FROM customers FOR NO KEY UPDATE", "'FOR NO' is not allowed"),
        ("SELECT set_config('default_transaction_read_only', 'off', false)", "'set_config' is not allowed"),
        ("SELECT pg_terminate_backend(1)", "'pg_terminate_backend' is not allowed"),
        ("SELECT pg_read_file('/etc/passwd')", "'pg_read_file' is not allowed"),
        ("SELECT pg_advisory_lock(1)", "'pg_advisory_lock' is not allowed"),
        ("SELECT * FROM dblink('x', 'y') AS t(i int)", "'dblink' is not allowed"),
        ("SELECT \"set_config\"('default_transaction_read_only', 'off', false)", "'set_config' is not allowed"),
        ("SELECT pg_catalog . \"pg_read_file\" /**/ ('/etc/passwd')", "'pg_read_file' is not allowed"),
        ("SELECT U&\"pg_r\\0065ad_file\"('/etc/passwd')", "escapes"),
        ("SELECT query_to_xml('DELETE FROM customers', true, true, '')", "'query_to_xml' is not allowed"),
        ("SELECT lowrite(1, 'x')", "'lowrite' is not allowed"),
        ("SELECT pg_stat_reset()", "'pg_stat_reset' is not allowed"),
        ("SELECT pg_create_restore_point('x')", "'pg_create_restore_point' is not allowed"),
        ("SELECT name FROM customers WHERE id = '{id}'", "'{id}' in quotes is text"),
        ("SELECT name FROM customers WHERE id = $$ {id.a?} $$", "'{id.a?}' in quotes is text"),
        ("SELECT $1::int", "the placeholder '$1' is not known"),
        ("SELECT name FROM customers WHERE id = {id}", "spliced"),
        ("SELECT 1 /* a /* b */ c */", "comment"),
        ("CALL something()", "'CALL'"),
        ("COPY customers TO '/tmp/x'", "'COPY'"),
        ("", "expected"),
    ],
)
def test_what_does_more_than_read_is_a_problem_of_the_configuration(query: str, mistake: str, tmp_path: Path) -> None:
    operation = (
        f"operation: one\nargs: {{ id: ID! }}\nsteps:\n  - name: row\n    type: warehouse\n    query: {json.dumps(query)}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        answer(tmp_path, {"a.yaml": configuration("postgresql://nowhere/db", operation)}, "{ __typename }")
    [problem] = [problem for problem in caught.value.problems if problem.code != "parameter-count"]
    assert mistake in problem.message
    assert (problem.place.line, problem.place.column) == (10, 12)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO customers VALUES (1000, 'x')",
        "SELECT 1; DELETE FROM customers",
        "SELECT 1) AS step; DELETE FROM customers; SELECT * FROM (SELECT 1",
        "WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone",
        "SELECT nextval('numbers')",
        "SELECT writes()",
        "SELECT * FROM customers FOR UPDATE",
    ],
)
def test_the_database_refuses_to_write_even_what_was_not_checked(statement: str, url: str) -> None:
    run_with_timeout(
        on_server(
            url,
            "CREATE SEQUENCE IF NOT EXISTS numbers",
            "CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql AS $$ INSERT INTO customers VALUES (1001, 'x') RETURNING 1 $$",
        )
    )
    assert fault(url, statement).code == Code.DOWNSTREAM_SERVICE_ERROR
    assert rows(url, "SELECT count(*) AS n FROM customers") == [{"n": 100}]


@pytest.mark.parametrize(
    ("written", "is_sound"),
    [
        ("postgresql://user:pa%40ss@db.internal:5432/crm?sslmode=require", True),
        ("postgres://db.internal/crm", True),
        ("postgresql:///crm?host=/var/run/postgresql", True),
        ("postgresql://one:5432,two:5432/crm", True),
        ("postgresql://user:se:cret@/x@db:54x/crm", False),
        ("postgresql://user:secret@db:99999/crm", False),
        ("postgresql://user:secret@{request.headers.host}/crm", False),
        ("postgresql://", False),
        ("mysql://user:secret@db/crm", False),
        ("user:secret", False),
    ],
)
def test_a_url_is_checked_and_its_password_not_shown(written: str, is_sound: bool, tmp_path: Path) -> None:
    operation = "operation: one\nargs: {}\nsteps:\n  - { name: row, type: warehouse, query: SELECT 1 AS one }"
    texts = {"a.yaml": configuration(written, operation)}
    if is_sound:
        assert answer(tmp_path, texts, "{ __typename }") == {"data": {"__typename": "Query"}}
        return
    with pytest.raises(ConfigurationError) as caught:
        answer(tmp_path, texts, "{ __typename }")
    assert [problem.code for problem in caught.value.problems] == ["bad-url"]
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_a_password_is_in_no_answer_and_no_log(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    operation = "operation: one\nargs: {}\nsteps:\n  - { name: row, type: warehouse, query: SELECT 1 AS one }"
    unreachable = [
        "postgresql://someone:s3cret@127.0.0.1:1/crm",
        "postgresql://someone:s3cret@no-such-host.invalid/crm",
        url.replace("://", "://nobody-s3cret:s3cret@", 1) if "@" not in url else url.rpartition("/")[0] + "/no-such-database",
        "postgresql://someone:s3cret@127.0.0.1/crm?sslmode=s3cret",
    ]
    for written in unreachable:
        body = answer(tmp_path, {"a.yaml": configuration(written, operation)}, "{ one { row } }")
        assert code(body) == "DOWNSTREAM_SERVICE_ERROR"
        assert "s3cret" not in str(body)
    assert "step failed" in caplog.text
    assert not any("s3cret" in str(vars(record)) for record in caplog.records)


def test_nothing_is_connected_before_the_first_query(tmp_path: Path) -> None:
    operation = "operation: one\nargs: {}\nsteps:\n  - { name: row, type: warehouse, query: SELECT 1 AS one }"
    texts = {"a.yaml": configuration("postgresql://someone@127.0.0.1:1/crm", operation)}
    assert answer(tmp_path, texts, "{ __typename }") == {"data": {"__typename": "Query"}}


# -- faults


@pytest.mark.case("S-01")
def test_a_locked_table_ends_with_the_timeout_and_holds_up_nobody_else(url: str, tmp_path: Path) -> None:
    operation = """
operation: both
args: {}
steps:
  - { name: locked, type: warehouse, timeout_ms: 500, retry: { attempts: 1 }, query: SELECT name FROM customers WHERE id = 1 }
  - { name: free, type: warehouse, query: SELECT small FROM things }"""

    async def tried() -> None:
        blocker = await asyncpg.connect(url)
        async with opened(tmp_path, {"a.yaml": configuration(url, operation, pool=2)}) as generation:
            await ask(generation, "{ both { locked free } }")
            async with blocker.transaction():
                await blocker.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
                began = time.monotonic()
                body = await ask(generation, "{ both { locked free } }")
                assert 0.5 <= time.monotonic() - began < 0.7 + SLACK
                assert body["data"] == {"both": {"locked": None, "free": {"small": 1}}}
                assert code(body) == "GATEWAY_TIMEOUT"
                await asyncio.sleep(0.1)
                assert await activity(url, "active") == 0
            assert "errors" not in await ask(generation, "{ both { locked free } }")
        await blocker.close()

    run_with_timeout(tried())


@pytest.mark.case("S-02")
def test_a_cancelled_query_stops_at_the_server_and_frees_its_connection(url: str) -> None:
    async def tried() -> None:
        async with pool_of(url, pool=1) as database:
            [before] = await select(database, "SELECT pg_backend_pid() AS pid")
            running = asyncio.create_task(select(database, "SELECT pg_sleep(60)"))
            await asyncio.sleep(0.2)
            assert await activity(url, "active") == 1
            began = time.monotonic()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert time.monotonic() - began < 0.1 + SLACK
            assert await select(database, "SELECT pg_backend_pid() AS pid") == [before]
            assert time.monotonic() - began < 0.3 + SLACK
            assert await activity(url, "active") == 0

    run_with_timeout(tried())


def test_a_cancellation_never_hits_the_query_after_it(url: str) -> None:
    """Cancelled at any moment: while it connects, is prepared, runs, or has just ended."""

    async def tried() -> None:
        chance = random.Random(7)
        async with pool_of(url, pool=3) as database:
            for _ in range(300):
                running = asyncio.create_task(select(database, "SELECT pg_sleep(0.002)"))
                await asyncio.sleep(chance.uniform(0, 0.004))
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                assert await select(database, "SELECT 1 AS one") == [{"one": 1}]
            await asyncio.sleep(0.1)
            assert await activity(url, "idle") <= 3
            assert await activity(url, "active") == 0

    run_with_timeout(tried())
    assert run_with_timeout(activity(url, "idle")) == 0


def test_connections_stay_few_over_many_queries_and_are_closed_with_the_pool(url: str) -> None:
    async def tried() -> None:
        async with pool_of(url, pool=3) as database:
            await asyncio.gather(*(select(database, "SELECT name FROM customers WHERE id = ?", [i % 100]) for i in range(1000)))
            assert await activity(url, "idle") == 3

    run_with_timeout(tried())
    assert run_with_timeout(activity(url, "idle")) == 0


def test_the_server_is_told_of_the_steps_own_timeout_where_the_deadline_is_later(url: str, tmp_path: Path) -> None:
    query = "SELECT setting::int AS ms FROM pg_settings WHERE name = 'statement_timeout'"
    step = f'{{ name: limit, type: warehouse, timeout_ms: 400, query: "{query}" }}'
    operation = f"operation: one\nargs: {{}}\ndeadline_ms: 30000\nsteps:\n  - {step}"
    body = answer(tmp_path, {"a.yaml": configuration(url, operation)}, "{ one { limit } }")
    assert 0 < body["data"]["one"]["limit"]["ms"] <= 2 * 400


def test_the_server_stops_a_query_whose_gateway_is_gone(url: str) -> None:
    async def tried() -> list[Any]:
        async with pool_of(url, pool=1) as database:
            limits = []
            for budget in (10, 9.5, 30, 0.4):
                [row] = await select(database, "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'", budget=budget)
                limits.append(float(str(row["setting"])) / 1000 / budget)
            with pytest.raises(StepFault) as caught:
                await select(database, "SELECT pg_sleep(10)", budget=0.2)
            assert (caught.value.code, caught.value.kind) == (Code.GATEWAY_TIMEOUT, "timeout")
            return limits

    began = time.monotonic()
    assert all(1 <= limit <= 2 for limit in run_with_timeout(tried()))
    assert time.monotonic() - began < 1 + SLACK


def test_a_lost_connection_is_a_reset_and_the_next_query_has_a_new_one(url: str) -> None:
    async def tried() -> None:
        async with pool_of(url, pool=1) as database:
            running = asyncio.create_task(select(database, "SELECT pg_sleep(60)"))
            await asyncio.sleep(0.2)
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stepgraph' AND datname = current_database()"
            await on_server(url, end)
            with pytest.raises(StepFault) as caught:
                await running
            assert (caught.value.code, caught.value.kind) == (Code.DOWNSTREAM_SERVICE_ERROR, "reset")
            assert await select(database, "SELECT 1 AS one") == [{"one": 1}]
            await on_server(url, end)  # while it is idle
            await asyncio.sleep(0.05)
            assert await select(database, "SELECT 1 AS one") == [{"one": 1}]

    run_with_timeout(tried())


def test_a_table_may_change_under_a_prepared_statement(url: str) -> None:
    async def tried() -> None:
        await on_server(url, "CREATE TABLE changing (id int)", "INSERT INTO changing VALUES (1)")
        async with pool_of(url, pool=1) as database:
            query = "SELECT * FROM changing WHERE id = :id"
            assert await select(database, query, {"id": "1"}) == [{"id": 1}]
            await on_server(url, "ALTER TABLE changing ADD COLUMN name text DEFAULT 'new'")
            assert await select(database, query, {"id": "1"}) == [{"id": 1, "name": "new"}]
            await on_server(url, "ALTER TABLE changing ALTER COLUMN id TYPE text")
            assert await select(database, query, {"id": "1"}) == [{"id": "1", "name": "new"}]
            await on_server(url, "DROP TABLE changing")
            with pytest.raises(StepFault):
                await select(database, query, {"id": "1"})

    run_with_timeout(tried())


def test_too_many_rows_are_refused_without_being_fetched(url: str) -> None:
    async def tried() -> None:
        async with pool_of(url, max_rows=10) as database:
            began = time.monotonic()
            with pytest.raises(StepFault) as caught:  # a hundred million rows
                await select(database, "SELECT a.* FROM customers a, customers b, customers c, customers d", budget=20)
            assert caught.value.code == Code.SUBREQUEST_RESPONSE_TOO_LARGE
            assert time.monotonic() - began < 2 + SLACK
            assert len(await select(database, "SELECT id FROM customers ORDER BY id LIMIT 10")) == 10

    run_with_timeout(tried())
