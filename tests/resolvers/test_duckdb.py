"""DuckDB as a warehouse: files queried by SQL, types, the walls against writing, and what happens when a query is long or cut off."""

import asyncio
import importlib
import importlib.util
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.errors import Code, ConfigurationError, StepFault
from resolvers.databases import duckdb as owner
from resolvers.databases.database import DatabaseLocation, Row
from resolvers.databases.duckdb import DuckDb, DuckDbPool
from tests.kit.databases import answer, assert_threads, code, configuration, run_with_timeout
from tests.kit.timing import SLACK

THINGS = """CREATE TABLE things AS SELECT
  1::TINYINT AS small, 9007199254740993 AS large, 170141183460469231731687303715884105727 AS huge, 1.5::FLOAT AS real4, 2.25::DOUBLE AS real8,
  1234567.80::DECIMAL(12, 2) AS exact, true AS flag, 'x' AS label, DATE '2024-05-31' AS day, TIMESTAMP '2024-05-31 13:45:00' AS at_local,
  TIMESTAMPTZ '2024-05-31 13:45:00.25+02' AS at_zone, TIME '13:45:00' AS clock, INTERVAL '1 day 2 hours' AS span,
  '0b9b1d3e-7d3f-4c3e-9a41-0d8a4c1f2b10'::UUID AS key, '{"a": [1, null]}'::JSON AS doc, '\\x01\\x02'::BLOB AS data,
  [1, NULL, 3] AS numbers, {'a': 1.5, 'b': DATE '2024-05-31'} AS parts, MAP {1: 'one'} AS lookup, 'cross'::ENUM ('calm', 'cross') AS mood"""
VALUES = {
    "small": 1,
    "large": 9007199254740993,
    "huge": "170141183460469231731687303715884105727",
    "real4": 1.5,
    "real8": 2.25,
    "exact": "1234567.80",
    "flag": True,
    "label": "x",
    "day": "2024-05-31",
    "at_local": "2024-05-31T13:45:00",
    "at_zone": "2024-05-31T11:45:00.250000+00:00",
    "clock": "13:45:00",
    "span": "P1DT2H",
    "key": "0b9b1d3e-7d3f-4c3e-9a41-0d8a4c1f2b10",
    "doc": {"a": [1, None]},
    "data": "AQI=",
    "numbers": [1, None, 3],
    "parts": {"a": "1.5", "b": "2024-05-31"},
    "lookup": {"1": "one"},
    "mood": "cross",
}
LONG = "SELECT count(*) AS n FROM range(1000000000) a, range(1000000) b WHERE hash(a.range * b.range) % 7 = 3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a configuration folder with a database, and with files in folders below and beside it."""
    root = tmp_path_factory.mktemp("duck's")
    configured = root / "configured"
    (configured / "data").mkdir(parents=True)
    with closing(duckdb.connect(str(configured / "things.db"))) as database:
        database.execute(THINGS)
        database.execute(
            "CREATE TABLE sales AS SELECT i AS id, 'shop ' || i % 3 AS shop, i * 1.5::DOUBLE AS amount FROM range(100) AS r(i)"
        )
        for name in ("sales.parquet", "sales.csv", "data/part-1.parquet", "data/part-2.parquet", "data/sales.json"):
            where = str(configured / name).replace("'", "''")
            database.execute(f"COPY sales TO '{where}'")
        database.execute(f"COPY sales TO '{str(root / 'beside.csv').replace(chr(39), chr(39) * 2)}'")
    return configured


@asynccontextmanager
async def pool_of(
    folder: Path, url: str = "duckdb:///things.db", pool: int = 4, max_bytes: int = 5_000_000
) -> AsyncIterator[DuckDbPool]:
    database = DuckDb().open(DatabaseLocation(url, folder, pool, 1000, max_bytes))
    assert isinstance(database, DuckDbPool)
    try:
        yield database
    finally:
        await database.aclose()


async def select(database: DuckDbPool, query: str, params: Any = ()) -> list[Row]:
    return await database.select(query, params, asyncio.get_running_loop().time() + 10)


def rows(folder: Path, query: str, params: Any = (), url: str = "duckdb:///things.db") -> list[Row]:
    async def once() -> list[Row]:
        async with pool_of(folder, url) as database:
            return await select(database, query, params)

    return run_with_timeout(once())


def problems(tmp_path: Path, query: str, url: str = "duckdb:///") -> list[str]:
    operation = f"operation: one\nargs: {{ id: ID! }}\nsteps:\n  - name: row\n    type: warehouse\n    query: |\n      {query}\n"
    with pytest.raises(ConfigurationError) as caught:
        answer(tmp_path, {"a.yaml": configuration(url, operation)}, "{ __typename }")
    return [f"{problem.message} [{problem.code}]" for problem in caught.value.problems]


# -- files


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("'sales.parquet'", 100),
        ("'sales.csv'", 100),
        ("'data/sales.json'", 100),
        ("'data/part-*.parquet'", 200),
        ("'**/*.parquet'", 300),
        ("'../beside.csv'", 100),
        ("read_parquet('data/part-1.parquet')", 100),
        ("read_csv( 'sales.csv', header = true)", 100),
        ("read_parquet(['data/part-1.parquet', 'sales.parquet'], union_by_name = true)", 200),
    ],
)
@pytest.mark.parametrize("url", ["duckdb:///", "duckdb:///things.db"])
def test_files_are_found_from_the_configuration_folder(source: str, count: int, url: str, folder: Path) -> None:
    assert rows(folder, f"SELECT count(*) AS n FROM {source}", url=url) == [{"n": count}]


def test_an_absolute_path_stays_one(folder: Path) -> None:
    where = str(folder / "sales.csv").replace("'", "''")
    assert rows(folder.parent, f"SELECT count(*) AS n FROM '{where}'", url="duckdb:///") == [{"n": 100}]


def test_an_operation_over_parquet_and_csv_answers(folder: Path) -> None:
    operation = """
operation: shop
args: { shop: String!, ids: "[ID!]!" }
steps:
  - name: total
    type: warehouse
    query: |
      SELECT p.shop, sum(p.amount) AS total, count(*) AS sales, extract(year FROM DATE '2024-01-01') AS year, 'from ''x.csv''' AS said
      FROM 'sales.parquet' AS p JOIN 'sales.csv' AS c USING (id)
      WHERE p.shop = :shop AND c.id IN (:ids) GROUP BY ALL
    params: { shop: "{shop}", ids: "{ids}" }
"""
    query = 'query { shop(shop: "shop 1", ids: [1, "4", 5, 99]) { total } }'
    assert answer(folder, {"a.yaml": configuration("duckdb:///", operation)}, query) == {
        "data": {"shop": {"total": {"shop": "shop 1", "total": 7.5, "sales": 2, "year": 2024, "said": "from 'x.csv'"}}}
    }


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv(?)",
        "SELECT * FROM read_text('data/' || ?)",
        "SELECT * FROM read_parquet([lower(?)])",
        "SELECT * FROM glob(?)",
        "SELECT * FROM query(?)",
        "SELECT * FROM query_table(?)",
    ],
)
def test_which_file_is_read_is_never_up_to_a_request(query: str, tmp_path: Path) -> None:
    [problem] = problems(tmp_path, query)
    assert "is named by the configuration alone, not by '?' [bad-sql]" in problem


def test_a_value_beside_a_file_is_bound_as_everywhere(folder: Path) -> None:
    assert rows(folder, "SELECT shop FROM read_csv('sales.csv') WHERE id = ?", ["7"], url="duckdb:///") == [{"shop": "shop 1"}]


# -- types


def test_values_come_back_as_their_graphql_scalars_would(folder: Path) -> None:
    assert rows(folder, "SELECT * FROM things") == [VALUES]


def test_what_comes_back_finds_its_row_again(folder: Path) -> None:
    for column, value in VALUES.items():
        if column not in {"doc", "data", "numbers", "parts", "lookup", "span"}:
            assert len(rows(folder, f"SELECT 1 AS found FROM things WHERE {column} = :value", {"value": value})) == 1, column


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT id FROM sales WHERE id = ?", "abc"),
        ("SELECT id FROM sales WHERE id = ?", "1 OR 1=1"),
        ("SELECT id FROM sales WHERE id = ?", 2**70),
        ("SELECT id FROM sales WHERE id = ?", "a\0b"),
        ("SELECT 1 AS one FROM things WHERE day = ?", "31.5.2024"),
        ("SELECT 1 AS one FROM things WHERE key = ?", "0b9b"),
        ("SELECT 1 AS one FROM things WHERE exact > ?", "much"),
        ("SELECT 1 AS one FROM things WHERE label = ?", {"a": 1}),
        ("SELECT 1 AS one FROM things WHERE label = ?", "\ud800"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_placeholder(query: str, value: object, folder: Path) -> None:
    with pytest.raises(StepFault) as caught:
        rows(folder, query, [value])
    assert caught.value.code == Code.BAD_USER_INPUT
    assert str(caught.value.message).startswith("The value of the query parameter '1' is not ")


def test_a_row_that_cannot_be_converted_is_not_the_clients_mistake(folder: Path) -> None:
    with pytest.raises(StepFault) as caught:
        rows(folder, "SELECT id FROM sales WHERE CAST(shop AS INTEGER) = ?", ["1"])
    assert (caught.value.code, caught.value.message) == (Code.DOWNSTREAM_SERVICE_ERROR, None)


def test_a_number_is_compared_as_text_with_text_and_computed_with_as_a_number(folder: Path) -> None:
    query = "SELECT count(*) AS n FROM sales WHERE shop = :shop"
    assert rows(folder, query, {"shop": 7}) == [{"n": 0}]
    query = "SELECT :a + :b AS sum, upper(:name) AS name"
    assert rows(folder, query, {"a": "40", "b": 2.5, "name": "x"}) == [{"sum": 42.5, "name": "X"}]


# -- walls


@pytest.mark.parametrize(
    ("query", "mistake"),
    [
        ("INSERT INTO sales VALUES (1)", "'INSERT'"),
        ("COPY sales TO 'x.csv'", "'COPY'"),
        ("ATTACH 'other.db'", "'ATTACH'"),
        ("INSTALL httpfs", "'INSTALL'"),
        ("SET threads = 1", "'SET'"),
        ("SELECT 1; COPY sales TO 'x.csv'", "one statement"),
        ("SELECT $id", "the placeholder '$id' is not known"),
    ],
)
def test_what_does_more_than_read_is_a_problem_of_the_configuration(query: str, mistake: str, tmp_path: Path) -> None:
    assert any(mistake in problem for problem in problems(tmp_path, query))


@pytest.mark.parametrize("url", ["duckdb:///", "duckdb:///things.db"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more (i INTEGER)",
        "COPY (SELECT 1) TO 'written.csv'",
        "ATTACH 'written.db'",
        "INSTALL httpfs",
        "SET threads = 1",
        "SELECT 1; CREATE TABLE more (i INTEGER)",
    ],
)
def test_the_database_refuses_to_write_even_what_was_not_checked(statement: str, url: str, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(StepFault) as caught:
        rows(folder, statement, url=url)
    assert caught.value.code == Code.DOWNSTREAM_SERVICE_ERROR
    assert sorted(folder.rglob("*")) == before


def test_a_struct_is_no_reference(folder: Path) -> None:
    assert rows(folder, "SELECT {'a': ?, 'b': [?, 2]} AS made", ["x", 1]) == [{"made": {"a": "x", "b": [1, 2]}}]


@pytest.mark.parametrize("url", ["duckdb://things.db", "duckdb:things.db", "duckdb"])
def test_a_url_is_checked(url: str, tmp_path: Path) -> None:
    assert any("[bad-url]" in problem for problem in problems(tmp_path, "SELECT 1 AS one", url))


def test_without_the_package_the_configuration_has_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "_IS_INSTALLED", False)
    [problem] = [problem for problem in problems(tmp_path, "SELECT ? AS id") if "parameter" not in problem]
    assert problem == "DuckDB is not installed; run: pip install 'stepgraph[duckdb]' [missing-package]"


def test_the_module_can_be_imported_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("alone", owner.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    spec.loader.exec_module(module)
    assert not hasattr(module, "duckdb")
    assert module.DuckDb().url_mistake("duckdb:///x.db")[1] == "missing-package"


def test_a_missing_file_is_a_failure_and_is_not_made(tmp_path: Path) -> None:
    operation = "operation: one\nargs: {}\nsteps:\n  - { name: row, type: warehouse, query: SELECT 1 AS one }"
    body = answer(tmp_path, {"a.yaml": configuration("duckdb:///absent.db", operation)}, "{ one { row } }")
    assert code(body) == "DOWNSTREAM_SERVICE_ERROR"
    assert "absent" not in str(body)
    assert list(tmp_path.iterdir()) == []


# -- faults


def test_a_file_that_another_process_writes_is_tried_again_with_the_next_query(tmp_path: Path) -> None:
    async def tried() -> None:
        async with pool_of(tmp_path, "duckdb:///late.db") as database:
            for _ in range(2):
                with pytest.raises(StepFault) as caught:
                    await select(database, "SELECT 1 AS one")
                assert (caught.value.code, caught.value.kind) == (Code.DOWNSTREAM_SERVICE_ERROR, "connect")
            duckdb.connect(str(tmp_path / "late.db")).close()
            assert await select(database, "SELECT 1 AS one") == [{"one": 1}]

    run_with_timeout(tried())


def test_a_cancelled_query_is_interrupted_and_frees_its_place(folder: Path) -> None:
    async def tried() -> None:
        async with pool_of(folder, pool=1) as database:
            assert await select(database, "SELECT 1 AS one") == [{"one": 1}]
            for delay in (0, 0, 0.001, 0.01, 0.1, 0.3):
                running = asyncio.create_task(select(database, LONG))
                await asyncio.sleep(delay)
                began = time.monotonic()
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
                assert time.monotonic() - began < 0.1 + SLACK
                assert await select(database, "SELECT 1 AS one") == [{"one": 1}]
                assert time.monotonic() - began < 0.5 + SLACK

    run_with_timeout(tried())


def test_closing_waits_for_a_query_that_was_cut_off(folder: Path) -> None:
    async def tried() -> None:
        async with pool_of(folder, pool=2) as database:
            running = asyncio.create_task(select(database, LONG))
            await asyncio.sleep(0.1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    before = threading.active_count()
    run_with_timeout(tried(), seconds=3)
    assert_threads(before)


def test_a_database_may_be_opened_twice_as_while_a_configuration_is_exchanged(folder: Path) -> None:
    async def tried() -> list[Row]:
        async with pool_of(folder) as first, pool_of(folder) as second:
            await select(first, "SELECT 1 AS one")
            await select(second, "SELECT 1 AS one")
            await first.aclose()
            return await select(second, "SELECT count(*) AS n FROM sales")

    assert run_with_timeout(tried()) == [{"n": 100}]


def test_many_queries_at_once_run_in_a_bounded_number_of_threads(folder: Path) -> None:
    async def tried() -> int:
        async with pool_of(folder, pool=3) as database:
            asked = [select(database, "SELECT shop FROM sales WHERE id = ?", [str(i % 100)]) for i in range(500)]
            found = await asyncio.gather(*asked)
            assert [row[0]["shop"] for row in found] == [f"shop {i % 100 % 3}" for i in range(500)]
            return sum(thread.name.startswith("duckdb") for thread in threading.enumerate())

    assert run_with_timeout(tried()) == 3
