"""Read-only SQL over real SQLite files: nothing is written, locked tables and long queries are given up, and no thread is left."""

import asyncio
import math
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gateway.errors import Code, StepFault
from resolvers.databases.sqlite import SqlitePool as Pool
from tests.kit.serving import Answer, Stage, serving, until, write_files
from tests.kit.timing import SLACK


class SqlitePool(Pool):
    """A pool whose queries have all the time in the world unless a test says otherwise."""

    async def select(self, query: str, params: Any, deadline: float = math.inf) -> list[dict[str, object]]:
        return await super().select(query, params, deadline)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000000) SELECT max(i) FROM n"
"""Many seconds of work, though not without end: a query that nobody interrupts would keep this process from ending."""
TABLES = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, born TEXT, balance NUMERIC, photo BLOB, note);
INSERT INTO people VALUES (1, 'Ada', '1815-12-10', 12.5, x'ff00', NULL);
INSERT INTO people VALUES (2, 'Grace', '1906-12-09', 3, NULL, 'two');
INSERT INTO people VALUES (3, 'O''Hara', NULL, -0.25, x'', 9223372036854775807);
CREATE TABLE empty (x);
CREATE INDEX by_name ON people (name);
"""
T = TypeVar("T")
Scenario = Callable[[SqlitePool], Awaitable[T]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "data.db"
    with closing(sqlite3.connect(found)) as database:
        database.executescript(TABLES)
    return found


def with_pool(
    path: Path, scenario: Scenario[T], size: int = 4, max_rows: int = 10_000, *, max_bytes: int = 5_000_000, is_kept: bool = True
) -> T:
    """Run a scenario with a pool, close the pool, and check that its threads have ended and its file is as it was."""

    async def run() -> T:
        pool = SqlitePool(path, size, max_rows, max_bytes)
        try:
            async with asyncio.timeout(20):
                return await scenario(pool)
        finally:
            async with asyncio.timeout(5):
                await pool.aclose()
            assert await settled_threads(before) <= before

    before = threading.active_count()
    content = path.read_bytes() if path.is_file() else None
    result = asyncio.run(run())
    assert not is_kept or (path.read_bytes() if path.is_file() else None) == content
    return result


async def settled_threads(expected: int) -> int:
    """Return how many threads there are, giving those that end a moment to do so."""
    with suppress(TimeoutError):
        await until(partial(_are_threads, expected), 3)
    return threading.active_count()


async def _are_threads(count: int) -> bool:
    return threading.active_count() <= count


def select(path: Path, query: str, params: Any = ()) -> list[dict[str, object]]:
    return with_pool(path, lambda pool: pool.select(query, params))


def refusal(path: Path, query: str, max_rows: int = 10_000, max_bytes: int = 5_000_000) -> StepFault:
    """Return how a query fails."""

    async def scenario(pool: SqlitePool) -> StepFault:
        with pytest.raises(StepFault) as caught:
            await pool.select(query, ())
        return caught.value

    return with_pool(path, scenario, max_rows=max_rows, max_bytes=max_bytes)


# -- values


def test_rows_are_objects_by_column_name(path: Path) -> None:
    assert select(path, 'SELECT id, name AS "full name" FROM people WHERE id < ?', [3]) == [
        {"id": 1, "full name": "Ada"},
        {"id": 2, "full name": "Grace"},
    ]


def test_sqlite_s_types_come_as_they_are(path: Path) -> None:
    row = select(path, "SELECT balance, born, photo, note, 1 = 1 AS yes FROM people WHERE id = :id", {"id": 1})[0]
    assert row == {"balance": 12.5, "born": "1815-12-10", "photo": "/wA=", "note": None, "yes": 1}


def test_no_rows_are_an_empty_list(path: Path) -> None:
    assert select(path, "SELECT * FROM empty") == []


@pytest.mark.parametrize("value", [None, "", "x" * 100_000, "é\0\n'\"--", 0, -(2**63), 2**63 - 1, 1.5, float("inf"), True])
def test_a_bound_value_comes_back_as_it_was_sent(path: Path, value: object) -> None:
    assert select(path, "SELECT ? AS value", [value]) == [{"value": value}]


def test_a_table_of_as_many_rows_as_allowed_is_given_and_one_more_is_a_failure(path: Path) -> None:
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT i FROM n"
    assert len(with_pool(path, lambda pool: pool.select(counting.format(5), ()), max_rows=5)) == 5
    assert refusal(path, counting.format(6), max_rows=5).code is Code.SUBREQUEST_RESPONSE_TOO_LARGE
    assert refusal(path, counting.format(10**12), max_rows=5).code is Code.SUBREQUEST_RESPONSE_TOO_LARGE


def test_a_text_that_is_not_utf8_is_a_failure_of_the_database(path: Path) -> None:
    assert refusal(path, "SELECT CAST(x'fffe41' AS TEXT) AS value").code is Code.DOWNSTREAM_SERVICE_ERROR


COUNTED = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT {} AS value FROM n"


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("SELECT zeroblob(1000) AS value", 1000),
        ("SELECT hex(zeroblob(500)) AS value", 1000),
        ("SELECT replace(hex(zeroblob(500)), '00', 'ß') AS value", 1000),
        (COUNTED.format(10, "zeroblob(100)"), 1000),
        (COUNTED.format(125, "i"), 1000),
        (COUNTED.format(125, "NULL"), 1000),
        ("SELECT zeroblob(10) AS a, 'xy' AS b, 1 AS c", 20),
    ],
)
def test_a_result_of_as_many_bytes_as_allowed_is_given_and_one_more_is_a_failure(path: Path, query: str, size: int) -> None:
    assert with_pool(path, lambda pool: pool.select(query, ()), max_bytes=size)
    assert refusal(path, query, max_bytes=size - 1).code is Code.SUBREQUEST_RESPONSE_TOO_LARGE


@pytest.mark.parametrize(
    "query",
    [
        "SELECT zeroblob(100000000)",
        "SELECT replace(hex(zeroblob(50000000)), '00', 'ab')",
        "SELECT length(zeroblob(100000000) || 'x')",
        "SELECT group_concat(hex(zeroblob(i * 1000))) FROM (" + COUNTED.format(1000, "i").replace("AS value", "AS i") + ")",
        COUNTED.format(10**12, "zeroblob(1000000)"),
    ],
)
def test_what_is_too_large_is_made_only_in_part(path: Path, query: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(path, query).code is Code.SUBREQUEST_RESPONSE_TOO_LARGE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB


def test_columns_beside_a_value_that_is_too_large_are_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO people (id, name, photo, note) VALUES (4, 'Large', zeroblob(20000000), 'after')")
        database.commit()
    query = "SELECT name, note, length(photo) AS size FROM people WHERE id = 4"
    assert select(path, query) == [{"name": "Large", "note": "after", "size": 20_000_000}]


def test_a_query_that_failed_does_not_keep_its_connection(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        for _ in range(10):
            with pytest.raises(StepFault):
                await pool.select("SELECT nothing FROM people", ())
            with pytest.raises(StepFault):
                await pool.select("SELECT :a", {"b": 1})
            assert await pool.select("SELECT count(*) AS n FROM people", ()) == [{"n": 3}]

    with_pool(path, scenario, size=1)


# -- read only


WRITES = [
    "INSERT INTO people (name) VALUES ('Eve')",
    "INSERT INTO people (name) VALUES ('Eve') RETURNING id",
    "REPLACE INTO people (id, name) VALUES (1, 'Eve')",
    "UPDATE people SET name = 'Eve' RETURNING id",
    "DELETE FROM people",
    "WITH e(n) AS (SELECT 'Eve') INSERT INTO people (name) SELECT n FROM e RETURNING id",
    "DROP TABLE people",
    "CREATE TABLE evil (x)",
    "CREATE TEMP TABLE evil (x)",
    "CREATE TEMP VIEW evil AS SELECT 1",
    "CREATE VIRTUAL TABLE evil USING fts5(x)",
    "ALTER TABLE people ADD COLUMN x",
    "VACUUM",
    "VACUUM INTO '{}'",
    "REINDEX by_name",
    "ANALYZE",
    "BEGIN IMMEDIATE",
    "SAVEPOINT s",
    "ATTACH '{}' AS evil",
    "DETACH main",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA user_version = 7",
    "PRAGMA user_version",
    "PRAGMA journal_mode = WAL",
    "SELECT * FROM pragma_user_version",
    "SELECT load_extension('{}')",
    "SELECT writefile('{}', 'x')",
    "SELECT readfile('/etc/passwd')",
    "EXPLAIN DELETE FROM people",
    "SELECT 1; DELETE FROM people",
]


@pytest.mark.parametrize("query", WRITES)
@pytest.mark.case("I-07")
def test_whatever_is_more_than_a_select_is_refused_by_the_database(path: Path, query: str) -> None:
    other = path.with_name("other.db")
    assert refusal(path, query.format(other)).code is Code.DOWNSTREAM_SERVICE_ERROR
    assert sorted(file.name for file in path.parent.iterdir()) == ["data.db"]


def test_a_refused_statement_leaves_the_connection_read_only(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        for query in ("PRAGMA query_only = OFF", "INSERT INTO empty VALUES (1)"):
            with pytest.raises(StepFault):
                await pool.select(query, ())
        assert await pool.select("SELECT * FROM empty", ()) == []

    with_pool(path, scenario, size=1)


@pytest.mark.case("I-07")
def test_the_file_is_opened_read_only_even_without_the_authorizer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.databases.sqlite._authorize", lambda *_: sqlite3.SQLITE_OK)
    assert "readonly" in refusal(path, "INSERT INTO empty VALUES (1)").detail
    assert "readonly" in refusal(path, "PRAGMA user_version = 7").detail


def test_a_missing_file_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    fault = refusal(tmp_path / "missing.db", "SELECT 1")
    assert (fault.code, fault.kind) == (Code.DOWNSTREAM_SERVICE_ERROR, "connect")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    path.write_text("customer,score\n" * 100, "utf-8")
    assert refusal(path, "SELECT * FROM people").code is Code.DOWNSTREAM_SERVICE_ERROR


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert refusal(tmp_path, "SELECT 1").kind == "connect"


@pytest.mark.parametrize("name", ["a b.db", "q?mode=rwc.db", "50%25.db", "a#b.db", "ä.db", "&cache=shared.db"])
def test_a_file_may_have_any_name(path: Path, name: str) -> None:
    odd = path.rename(path.with_name(name))
    assert select(odd, "SELECT count(*) AS n FROM people") == [{"n": 3}]
    assert [file.name for file in odd.parent.iterdir()] == [name]


def test_a_file_that_appears_later_is_found(path: Path) -> None:
    hidden = path.rename(path.with_name("hidden.db"))

    async def scenario(pool: SqlitePool) -> list[dict[str, object]]:
        with pytest.raises(StepFault):
            await pool.select("SELECT 1", ())
        shutil.copy(hidden, path)
        return await pool.select("SELECT count(*) AS n FROM people", ())

    assert with_pool(path, scenario, is_kept=False) == [{"n": 3}]


# -- time


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[sqlite3.Connection]:
    """Hold a lock on a database that nobody can read through."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        yield writer


def test_a_query_on_a_locked_table_can_be_given_up_at_any_time(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> float:
        async with locked(path):
            started = time.perf_counter()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await pool.select("SELECT * FROM people", ())
            return time.perf_counter() - started

    assert 0.1 <= with_pool(path, scenario) < 0.1 + SLACK


def test_a_query_on_a_locked_table_is_answered_once_the_lock_is_gone(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> int:
        async with locked(path) as writer:
            waiting = asyncio.create_task(pool.select("SELECT * FROM people", ()))
            await asyncio.wait({waiting}, timeout=0.05)
            assert not waiting.done()
            writer.execute("COMMIT")
            return len(await waiting)

    assert with_pool(path, scenario, size=1) == 3


async def give_up(pool: SqlitePool, query: str, after: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after):
            await pool.select(query, ())


def test_a_long_query_is_interrupted_and_the_next_one_is_quick(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> list[float]:
        waits = []
        for _ in range(8):
            await give_up(pool, ENDLESS, 0.03)
            started = time.perf_counter()
            await pool.select("SELECT 1", ())
            waits.append(time.perf_counter() - started)
        return waits

    waits = with_pool(path, scenario, size=1)
    assert sorted(waits)[len(waits) // 2] < 0.05 + SLACK
    assert max(waits) < 0.5 + SLACK


@pytest.mark.case("S-02")
def test_many_interrupted_queries_leave_as_many_threads_as_before(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        for _ in range(5):
            await asyncio.gather(*(pool.select("SELECT 1", ()) for _ in range(4)))
            assert await settled_threads(before + 4) == before + 4
            await asyncio.gather(*(give_up(pool, ENDLESS, 0.03) for _ in range(8)))

    before = threading.active_count()
    with_pool(path, scenario)


def test_a_thousand_queries_share_four_connections(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> int:
        before = threading.active_count()
        results = await asyncio.gather(*(pool.select("SELECT ? AS n", [number]) for number in range(1_000)))
        assert results == [[{"n": number}] for number in range(1_000)]
        return threading.active_count() - before

    assert with_pool(path, scenario) <= 4


# -- cancellation at every step


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_a_query_may_be_cancelled_after_any_turn_of_the_loop(path: Path, turns: int) -> None:
    """Opening a connection takes several turns: a cancellation in any of them leaves a pool that works."""

    async def scenario(pool: SqlitePool) -> None:
        task = asyncio.create_task(pool.select("SELECT count(*) AS n FROM people", ()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or task.result() == [{"n": 3}]
        assert await pool.select("SELECT count(*) AS n FROM people", ()) == [{"n": 3}]

    with_pool(path, scenario, size=1)


def test_callers_that_leave_while_connections_are_being_opened_leave_no_more_than_the_pool_may_have(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        for _ in range(10):
            task = asyncio.create_task(pool.select("SELECT 1", ()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0.1)
        assert await settled_threads(before + 2) <= before + 2

    before = threading.active_count()
    with_pool(path, scenario, size=2)


@pytest.mark.parametrize("turns", [*range(8), 12, 20])
def test_a_pool_may_close_while_a_connection_is_being_opened_for_a_caller_that_left(path: Path, turns: int) -> None:
    async def scenario(pool: SqlitePool) -> None:
        task = asyncio.create_task(pool.select("SELECT 1", ()))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    with_pool(path, scenario, size=1)


def test_a_pool_that_closes_ends_the_query_that_runs_and_those_that_wait(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        queries = [asyncio.create_task(pool.select(ENDLESS, ())) for _ in range(3)]
        await asyncio.sleep(0.05)
        await pool.aclose()
        await asyncio.wait(queries, timeout=2)
        assert all(query.done() for query in queries)
        for query in queries:
            assert query.cancelled() or isinstance(query.exception(), StepFault)

    with_pool(path, scenario, size=1)


def test_a_pool_that_closes_ends_the_queries_that_wait_for_a_lock(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        async with locked(path):
            waiting = [asyncio.create_task(pool.select("SELECT * FROM people", ())) for _ in range(4)]
            await asyncio.sleep(0.05)
            await pool.aclose()
            await asyncio.wait(waiting, timeout=2)
            for query in waiting:
                assert query.cancelled() or isinstance(query.exception(), StepFault)

    with_pool(path, scenario)


def test_a_query_that_ends_after_its_pool_was_closed_leaves_no_connection(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        running = asyncio.create_task(pool.select(ENDLESS.replace("50000000", "300000"), ()))
        await asyncio.sleep(0.01)
        await pool.aclose()
        await asyncio.wait({running})

    with_pool(path, scenario)


def test_a_pool_may_be_closed_twice(path: Path) -> None:
    async def scenario(pool: SqlitePool) -> None:
        await pool.select("SELECT 1", ())
        await pool.aclose()

    with_pool(path, scenario)


# -- through the gateway

CONFIG = {
    "graph.yaml": """
sources:
  warehouse: { type: warehouse, url: "sqlite:///data.db", pool: 1, max_rows: 3, retry: { attempts: 1 } }
defaults: { warehouse: warehouse }
---
operation: someone
args: { id: JSON }
steps:
  - { name: row, type: warehouse, query: "SELECT id, name FROM people WHERE id = ?", params: ["{id}"] }
  - { name: named, type: warehouse, query: "SELECT id, name FROM people WHERE name = :name", params: { name: "{id}" }, returns: "[JSON]" }
---
operation: typed
args: { id: ID! }
steps: [ { name: row, type: warehouse, query: "SELECT * FROM people WHERE id = ?", returns: Person } ]
---
operation: untyped
args: { id: ID! }
steps: [ { name: row, type: warehouse, query: "SELECT * FROM people WHERE id = ?" } ]
---
operation: several
steps:
  - { name: one, type: warehouse, query: "SELECT id FROM people" }
  - { name: all, type: warehouse, query: "SELECT id FROM people", returns: "[JSON]" }
  - { name: tooMany, type: warehouse, query: "SELECT id FROM people UNION ALL SELECT 4", returns: "[JSON]" }
---
operation: slow
steps:
  - { name: endless, type: warehouse, query: "ENDLESS", timeout_ms: 200 }
  - { name: people, type: warehouse, query: "SELECT count(*) AS n FROM people", timeout_ms: 300 }
---
operation: broken
steps: [ { name: row, type: warehouse, query: "SELECT secret FROM nowhere" } ]
""".replace("ENDLESS", ENDLESS),
    "types.graphql": "type Person { id: ID! name: String! born: String balance: Float photo: String note: String }",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("warehouse")
    with closing(sqlite3.connect(folder / "data.db")) as database:
        database.executescript(TABLES)
    with Stage(folder, CONFIG) as opened:
        yield opened


def ask(stage: Stage, query: str, variables: Mapping[str, object] | None = None) -> Answer:
    return stage.run(lambda: stage.production.ask(query, variables))


@pytest.mark.parametrize("value", ["1 OR 1=1", "'; DROP TABLE people;--", "Ada' --", "%", "*", "Ada\0"])
@pytest.mark.case("I-06")
def test_sql_in_a_value_is_nothing_but_a_value(stage: Stage, value: str) -> None:
    answer = ask(stage, "query($id: JSON) { someone(id: $id) { row named } }", {"id": value})
    assert answer.body == {"data": {"someone": {"row": None, "named": []}}}
    assert ask(stage, "query($id: JSON) { someone(id: $id) { named } }", {"id": "O'Hara"}).data["someone"]["named"][0]["id"] == 3


@pytest.mark.parametrize("literal", ["1180591620717411303424", "-9223372036854775809", "{ a: 1 }", "[1]", "[]"])
@pytest.mark.case("I-06")
def test_what_the_database_cannot_take_is_bad_user_input(stage: Stage, literal: str) -> None:
    answer = ask(stage, f"{{ someone(id: {literal}) {{ row }} }}")
    assert answer.data == {"someone": {"row": None}}
    assert answer.fault == ("BAD_USER_INPUT", "row", ["someone", "row"])


def test_columns_become_the_fields_of_their_types(stage: Stage) -> None:
    answer = ask(stage, '{ typed(id: "2") { row { id name born balance photo note } } }')
    assert answer.body == {
        "data": {
            "typed": {"row": {"id": "2", "name": "Grace", "born": "1906-12-09", "balance": 3.0, "photo": None, "note": "two"}}
        }
    }


def test_a_blob_is_base64(stage: Stage) -> None:
    assert ask(stage, '{ typed(id: "1") { row { name photo } } }').data == {"typed": {"row": {"name": "Ada", "photo": "/wA="}}}


def test_one_row_is_expected_unless_the_step_returns_a_list(stage: Stage) -> None:
    answer = ask(stage, "{ several { one all } }")
    assert answer.data == {"several": {"one": None, "all": [{"id": 1}, {"id": 2}, {"id": 3}]}}
    assert answer.fault == ("RESPONSE_VALIDATION_FAILED", "one", ["several", "one"])
    assert ask(stage, "{ several { tooMany } }").fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "tooMany", ["several", "tooMany"])


def test_an_error_of_the_database_says_nothing_of_the_sql(stage: Stage) -> None:
    answer = ask(stage, "{ broken { row } }")
    assert answer.fault == ("DOWNSTREAM_SERVICE_ERROR", "row", ["broken", "row"])
    assert "secret" not in str(answer.body)
    assert "nowhere" not in str(answer.body)


@pytest.mark.case("S-02")
def test_an_endless_query_is_a_timeout_and_the_next_query_is_answered(stage: Stage) -> None:
    answer = ask(stage, "{ slow { endless } }")
    assert answer.fault == ("GATEWAY_TIMEOUT", "endless", ["slow", "endless"])
    assert 0.2 <= answer.seconds < 0.3 + SLACK
    assert ask(stage, "{ slow { people } }").data == {"slow": {"people": {"n": 3}}}


@pytest.mark.case("S-01")
def test_a_locked_table_is_a_timeout(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "data.db")) as database:
        database.executescript(TABLES)

    async def scenario() -> Answer:
        async with serving(write_files(tmp_path, CONFIG)) as gateway, locked(tmp_path / "data.db"):
            return await gateway.ask("{ slow { people } }")

    answer = asyncio.run(scenario())
    assert answer.fault == ("GATEWAY_TIMEOUT", "people", ["slow", "people"])
    assert 0.3 <= answer.seconds < 0.4 + SLACK
