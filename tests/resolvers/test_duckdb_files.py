"""DuckDB reads the files that the configuration and the database name, and never one that a value of a request names."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.errors import Code, ConfigurationError, StepFault
from resolvers.databases import duckdb_statement
from resolvers.databases.database import DatabaseLocation, Row
from resolvers.databases.duckdb import DuckDb, DuckDbPool
from resolvers.databases.duckdb_statement import read_query
from tests.kit.databases import ask, configuration, opened, run_with_timeout
from tests.kit.timing import SLACK

CANARY = "canary-5d1c"
FUNCTIONS = [
    *("read_csv", "read_csv_auto", "read_text", "read_blob", "read_json", "read_json_auto", "read_json_objects", "read_ndjson"),
    *("read_parquet", "parquet_scan", "parquet_metadata", "parquet_schema", "sniff_csv", "glob", "query_table", "query"),
    *("read_single_csv_file", "parquet_full_metadata", "json_execute_serialized_sql", "sqlite_scan", "read_xlsx", "which_secret"),
]
SPELLINGS = [
    "{}(",
    "{} (",
    '"{}"(',
    '"{}" (',
    "{} /* x */ (",
    '"{}"\n--\n(',
    "main.{}(",
    'main."{}"(',
    "system.main.{}(",
    '"system" . "main" . "{}" /**/ (',
]
VALUES = [
    ":f",
    "lower(:f)",
    "'' || :f",
    "CAST(:f AS VARCHAR)",
    "[:f]",
    "(SELECT :f)",
    "CASE WHEN true THEN :f END",
    "coalesce(:f, 'x')",
]
SHAPES = [
    "SELECT * FROM {}",
    "SELECT * FROM (SELECT * FROM {}) AS x",
    "WITH x AS (SELECT * FROM {}) SELECT * FROM x",
    "SELECT (SELECT count(*) FROM {}) AS n",
    "SELECT 1 AS one FROM (VALUES (1)) AS t(i), LATERAL (SELECT * FROM {}) AS x",
    "SELECT 1 AS one WHERE EXISTS (FROM {})",
    "SELECT 1 AS one UNION ALL SELECT 2 FROM {}",
    "SELECT i FROM range(3) AS r(i) ORDER BY (SELECT count(*) FROM {})",
    "SELECT /* 'read_csv(' */ '--' AS a FROM {}",
]
MACROS = [
    "CREATE MACRO table_macro(f) AS TABLE SELECT * FROM read_text(f)",
    "CREATE MACRO scalar_macro(f) AS (SELECT content FROM read_text(f))",
    "CREATE MACRO outer_macro(a) AS TABLE SELECT * FROM table_macro(a || '')",
    "CREATE MACRO outermost(a) AS upper((SELECT max(content) FROM outer_macro(lower(a))))",
    "CREATE MACRO with_default(n, f := 'x.csv') AS TABLE SELECT n, content FROM read_text(f)",
    "CREATE MACRO by_query(s) AS TABLE SELECT * FROM query('SELECT content FROM read_text(''' || s || ''')')",
    "CREATE MACRO by_table(t) AS TABLE SELECT * FROM query_table(t)",
    'CREATE MACRO "Quoted Macro"(f) AS TABLE SELECT * FROM read_csv(f, header = true, all_varchar = true)',
    "CREATE MACRO lower(f) AS (SELECT content FROM read_text(f))",
]
MACRO_CALLS = [
    "SELECT * FROM table_macro(:f)",
    "SELECT * FROM main.table_macro(:f)",
    'SELECT * FROM "TABLE_MACRO" /* */ (:f)',
    "SELECT scalar_macro(:f) AS s",
    "SELECT :f.scalar_macro() AS s",
    "SELECT * FROM outer_macro(:f)",
    "SELECT outermost(:f) AS s",
    "SELECT * FROM with_default(1, f := :f)",
    "SELECT * FROM by_query(:f)",
    "SELECT * FROM by_table(:f)",
    'SELECT * FROM "Quoted Macro"(:f)',
    "SELECT lower(:f) AS s",
    "SELECT scalar_macro((SELECT :f)) AS s",
    "SELECT (SELECT scalar_macro(x.f)) AS s FROM (SELECT :f AS f) AS x",
    "WITH x AS (SELECT :f AS f) SELECT t.* FROM x, LATERAL (SELECT * FROM table_macro(x.f)) AS t",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database with macros and views, files that are named, and files beside them that are not."""
    root = tmp_path_factory.mktemp("files")
    for name in ("named.csv", "named/a.csv", "named/secret.txt", "secret.csv", "secret.json"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f'{{"a": "{CANARY}"}}\n' if name.endswith("json") else f"a,b\n{CANARY},2\n", "utf-8")
    (root / "viewed.csv").write_text("a,b\nseen,1\n", "utf-8")
    with closing(duckdb.connect(str(root / "data.db"))) as database:
        database.execute(f"COPY (SELECT '{CANARY}' AS a) TO '{root}/secret.parquet'")
        for statement in MACROS:
            database.execute(statement)
        database.execute("CREATE MACRO plain(a, b) AS a + b")
        database.execute("CREATE MACRO rows_of(n) AS TABLE SELECT * FROM range(n) AS r(i)")
        database.execute(
            f"CREATE MACRO viewed_above(n) AS TABLE SELECT * FROM read_csv('{root}/viewed.csv', header = true) WHERE b >= n"
        )
        database.execute(f"CREATE VIEW viewed (x, y) AS SELECT a, b FROM '{root}/viewed.csv'")
        database.execute('CREATE TABLE "dotted.name" AS SELECT 1 AS i')
    return root


def pool_of(folder: Path, url: str = "duckdb:///data.db", max_bytes: int = 5_000_000) -> DuckDbPool:
    database = DuckDb().open(DatabaseLocation(url, folder, 2, 1000, max_bytes))
    assert isinstance(database, DuckDbPool)
    return database


async def select(database: DuckDbPool, query: str, params: Any = ()) -> list[Row]:
    return await database.select(query, params, asyncio.get_running_loop().time() + 10)


async def outcome(database: DuckDbPool, query: str, file: str) -> str:
    """Return the rows with ``file`` for ``:f``, or the code of the fault, as text."""
    try:
        return str(await select(database, query, {"f": file}))
    except StepFault as fault:
        return fault.code


def rows(folder: Path, query: str, params: Any = (), **place: Any) -> list[Row]:
    async def once() -> list[Row]:
        database = pool_of(folder, **place)
        try:
            return await select(database, query, params)
        finally:
            await database.aclose()

    return run_with_timeout(once())


def spelled(seed: int) -> Iterator[str]:
    """Yield statements: each function in a few of the spellings, with a value in one of the places of each shape."""
    chance = random.Random(seed)
    for function, spelling in itertools.product(FUNCTIONS, SPELLINGS):
        written = "".join(chance.choice((letter.upper(), letter)) for letter in function) if chance.random() < 0.3 else function
        yield chance.choice(SHAPES).format(f"{spelling.format(written)}{chance.choice(VALUES)})")


def targets(folder: Path) -> list[str]:
    files = [str(folder / name) for name in ("named.csv", "secret.csv", "secret.json", "secret.parquet", "named/secret.txt", "*")]
    return [*files, "named.csv", "secret.csv", f"SELECT * FROM '{folder}/secret.csv'"]


# -- what a value may not do


@pytest.mark.parametrize("seed", range(2))
def test_a_value_in_a_function_that_reads_is_a_problem_of_the_configuration(seed: int) -> None:
    for query in spelled(seed):
        mistakes = list(DuckDb().statement_mistakes(query))
        assert mistakes, query
        assert "is named by the configuration alone, not by ':f'" in mistakes[0], query


def test_the_second_wall_holds_whatever_the_first_lets_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of the configuration, DuckDB itself opens no file that was not named."""

    async def run() -> None:
        database = pool_of(folder)
        try:
            for query in [*MACRO_CALLS, *itertools.islice(spelled(2), 0, None, 3)]:
                for file in targets(folder):
                    assert CANARY not in await outcome(database, query, file), (query, file)
        finally:
            await database.aclose()

    monkeypatch.setattr(duckdb_statement, "is_reading", lambda name: False)
    duckdb_statement.read_query.cache_clear()
    run_with_timeout(run(), 60)
    duckdb_statement.read_query.cache_clear()


@pytest.mark.parametrize("query", MACRO_CALLS)
def test_a_macro_of_the_database_reads_no_file_that_a_value_names(query: str, folder: Path) -> None:
    """Not even one that the configuration names elsewhere, so that DuckDB would open it."""

    async def run() -> None:
        database = pool_of(folder)
        try:
            assert len(await select(database, "SELECT * FROM 'named.csv'")) == 1
            assert len(await select(database, "SELECT * FROM 'named/*.csv'")) == 1
            for file in targets(folder):
                assert await outcome(database, query, file) == Code.DOWNSTREAM_SERVICE_ERROR, file
        finally:
            await database.aclose()

    run_with_timeout(run())


@pytest.mark.case("I-11")
def test_no_value_of_a_request_names_a_file(folder: Path) -> None:
    step = "{ name: row, type: warehouse, query: QUERY, params: { f: '{f}' }, returns: '[JSON]' }"
    operation = f"operation: one\nargs: {{ f: String! }}\nsteps:\n  - {step}"

    async def run(query: str, file: str) -> Any:
        texts = {"a.yaml": configuration("duckdb:///data.db", operation.replace("QUERY", json.dumps(query)))}
        async with opened(folder, texts) as generation:
            return await ask(generation, "query ($f: String!) { one(f: $f) { row } }", f=file)

    with pytest.raises(ConfigurationError) as caught:
        run_with_timeout(run('SELECT * FROM "read_csv"(:f)', "/etc/passwd"))
    [problem] = caught.value.problems
    assert (problem.code, problem.message) == (
        "bad-sql",
        "what 'read_csv' reads is named by the configuration alone, not by ':f'",
    )
    for file in ("/etc/passwd", *targets(folder)):
        body = run_with_timeout(run("SELECT * FROM table_macro(:f)", file))
        assert (body["data"], body["errors"][0]["extensions"]["code"]) == ({"one": {"row": None}}, "DOWNSTREAM_SERVICE_ERROR")
        assert CANARY not in str(body)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM query('SELECT * FROM ''/etc/passwd''')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_extensions()",
        "SELECT * FROM 'https://example.test/x.csv'",
        "SELECT * FROM read_csv('s3://bucket/x.csv')",
        "SELECT * FROM enable_logging()",
    ],
)
def test_other_ways_out_are_failures(query: str, folder: Path) -> None:
    async def run() -> str:
        database = pool_of(folder)
        try:
            return await outcome(database, f"{query} WHERE :f = 'x'", "x")
        finally:
            await database.aclose()

    assert run_with_timeout(run()) == Code.DOWNSTREAM_SERVICE_ERROR


# -- what stays possible


@pytest.mark.parametrize(
    ("query", "params", "expected"),
    [
        ("SELECT * FROM viewed WHERE y = :y", {"y": 1}, [{"x": "seen", "y": 1}]),
        ("SELECT a FROM viewed_above(:n)", {"n": 1}, [{"a": "seen"}]),
        ("SELECT plain(:a, 2) AS n", {"a": 40}, [{"n": 42}]),
        ("SELECT count(*) AS n FROM rows_of(:n)", {"n": 3}, [{"n": 3}]),
        ("SELECT count(*) AS n FROM range(:n), generate_series(1, :n), unnest([:n])", {"n": 3}, [{"n": 9}]),
        ('SELECT * FROM "dotted.name"', (), [{"i": 1}]),
        ('SELECT * FROM data.main."dotted.name"', (), [{"i": 1}]),
        ("SELECT v.a AS é FROM 'viewed.csv' AS v, read_csv(['viewed.csv']) AS b WHERE v.a = :a", {"a": "seen"}, [{"é": "seen"}]),
        ("SELECT count(*) AS n FROM/**/'viewed.csv' AS x, \"read_csv\" /**/ ($$viewed.csv$$)", (), [{"n": 1}]),
        ("SELECT i FROM range(5) AS r(i) ORDER BY -i;", (), [{"i": i} for i in (4, 3, 2, 1, 0)]),
        ("SELECT i, 'x' || i AS s FROM range(3) AS r(i) ORDER BY -i -- last", (), [{"i": i, "s": f"x{i}"} for i in (2, 1, 0)]),
    ],
)
def test_what_the_configuration_and_the_database_name_is_read(query: str, params: Any, expected: list[Row], folder: Path) -> None:
    assert rows(folder, query, params) == expected


@pytest.mark.parametrize("name", ["memory", "temp", "system", "main", "select", 'a"b', "a.b"])
def test_a_database_may_have_any_name(name: str, tmp_path: Path) -> None:
    with closing(duckdb.connect()) as database:
        file = str(tmp_path / f"{name}.db").replace("'", "''")
        database.execute(f"ATTACH '{file}' AS made; CREATE TABLE made.t AS SELECT 1 AS i")
    assert rows(tmp_path, "SELECT * FROM t", url=f"duckdb:///{name}.db") == [{"i": 1}]


def test_columns_may_change_and_names_may_be_double(tmp_path: Path) -> None:
    async def run() -> None:
        database = pool_of(tmp_path, "duckdb:///", max_bytes=1000)
        try:
            for content, expected in (
                ("a,b\n1,x\n", [{"a": 1, "b": "x"}]),
                ("b,a\n1,x\n", [{"b": 1, "a": "x"}]),
                ("c,a\n1,x\n", [{"c": 1, "a": "x"}]),
                ("a,c,d\n1,x,2\n", [{"a": 1, "c": "x", "d": 2}]),
                ("a\n1\n", [{"a": 1}]),
                ("b\n1\n", [{"b": 1}]),
                (f"a\n{'x' * 1000}\n", [{"a": "x" * 1000}]),
                ('"odd ""name""",A\nx,y\n', [{'odd "name"': "x", "A": "y"}]),
            ):
                (tmp_path / "x.csv").write_text(content, "utf-8")
                assert await select(database, "SELECT * FROM 'x.csv'") == expected
            (tmp_path / "x.csv").write_text(f"a\n{'x' * 1001}\n", "utf-8")
            assert await outcome(database, "SELECT * FROM 'x.csv' WHERE :f = 'f'", "f") == Code.SUBREQUEST_RESPONSE_TOO_LARGE
            assert await select(database, "SELECT 1 AS a, 'x' AS a, 'y' AS b") == [{"a": "x", "b": "y"}]
            assert await outcome(database, "SELECT 1 AS a, repeat(:f, 1001) AS a", "f") == Code.SUBREQUEST_RESPONSE_TOO_LARGE
        finally:
            await database.aclose()

    run_with_timeout(run())


# -- size


@pytest.mark.parametrize(
    "query",
    [
        "SELECT repeat('x', 100000000) AS v",
        "SELECT repeat('x', 100000000)::BLOB AS v",
        "SELECT [repeat('x', 50000000)] AS v",
        "SELECT {'a': repeat('x', 50000000)} AS v",
        "SELECT to_json(repeat('x', 50000000)) AS v",
        "SELECT range(2000000) AS v",
        "SELECT repeat('x', 100000) AS v FROM range(100)",
        "SELECT [repeat('x', 100000)] AS v FROM range(100)",
        "SELECT i, i + 1, i + 2 FROM range(300000) AS r(i)",
    ],
)
def test_a_result_that_is_too_large_is_refused(query: str, tmp_path: Path) -> None:
    async def run() -> None:
        database = pool_of(tmp_path, "duckdb:///")
        try:
            with pytest.raises(StepFault) as caught:
                await select(database, query)
            assert caught.value.code is Code.SUBREQUEST_RESPONSE_TOO_LARGE
            assert await select(database, "SELECT length(repeat('x', 1000)) AS n, 'x' AS x") == [{"n": 1000, "x": "x"}]
        finally:
            await database.aclose()

    run_with_timeout(run())


def test_as_many_bytes_as_allowed_are_given_and_one_more_is_a_failure(tmp_path: Path) -> None:
    for query in ("SELECT repeat('x', 1000) AS v", "SELECT repeat('x', 100) AS v FROM range(10)", "SELECT repeat('ß', 500) AS v"):
        assert rows(tmp_path, query, url="duckdb:///", max_bytes=1000)
        with pytest.raises(StepFault) as caught:
            rows(tmp_path, query, url="duckdb:///", max_bytes=999)
        assert caught.value.code is Code.SUBREQUEST_RESPONSE_TOO_LARGE


@pytest.mark.parametrize(
    "unit", ["(", "( ", "((", "- ", "+", "+(", "-\n", "NOT ", "[", "f(", "(a+", "(1,", "(SELECT ", "CASE WHEN ", "{x:"]
)
def test_a_statement_without_end_is_refused_within_a_moment(unit: str) -> None:
    """To read a statement must not hold up what follows the folder."""
    started = time.perf_counter()
    assert read_query("SELECT " + unit * 20_000, Path()).mistakes
    assert time.perf_counter() - started < 2 + SLACK
