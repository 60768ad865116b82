"""Results of databases that are too large, of one value and of many (row S-06)."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tests.faults.probes import resident
from tests.faults.served import Served
from tests.kit.databases import postgresql
from tests.kit.timing import SLACK

case = pytest.mark.case
QUERIES = {
    "sqlite": {
        "blob": "SELECT zeroblob(100000000) AS v",
        "text": "SELECT replace(hex(zeroblob(50000000)), '00', 'ab') AS v",
        "rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9000) SELECT zeroblob(100000) AS v FROM n",
    },
    "postgresql": {
        "text": "SELECT repeat('x', 100000000) AS v",
        "json": "SELECT to_jsonb(repeat('x', 50000000)) AS v",
        "rows": "SELECT repeat('x', 100000) AS v FROM generate_series(1, 9000)",
    },
    "duckdb": {
        "blob": "SELECT repeat('x', 100000000)::BLOB AS v",
        "text": "SELECT repeat('x', 100000000) AS v",
        "rows": "SELECT repeat('x', 10000) AS v FROM range(9000)",
    },
}
LIMITED = ["sqlite", "postgresql"]
"""Databases in which, or before which, the memory of a value can be limited."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root: Path = tmp_path_factory.mktemp("sizes")
    (root / "config").mkdir()
    with closing(sqlite3.connect(root / "config" / "sqlite.db")) as database:
        database.execute("CREATE TABLE t (i)")
    duckdb.connect(str(root / "config" / "duckdb.db")).close()
    with postgresql() as url:
        urls = {"sqlite": "sqlite:///sqlite.db", "duckdb": "duckdb:///duckdb.db", "postgresql": url}
        sources = "".join(
            f"  {kind}: {{ type: warehouse, url: '{urls[kind]}', timeout_ms: 20000, breaker: {{ enabled: false }} }}\n"
            for kind in urls
        )
        operations = "".join(
            f"---\noperation: {kind}_{name}\ndeadline_ms: 20000\nsteps:\n"
            f'  - {{ name: row, type: warehouse, source: {kind}, query: "{query}", returns: "[JSON]" }}\n'
            for kind, queries in QUERIES.items()
            for name, query in {**queries, "small": "SELECT 'x' AS v"}.items()
        )
        constant = "---\noperation: constant\nsteps: [ { name: one, type: value, value: 1 } ]\n"
        with Served(root, {"graph.yaml": f"sources:\n{sources}{operations}{constant}"}) as opened:
            yield opened


@case("S-06")
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, queries in QUERIES.items() for name in queries])
def test_a_result_that_is_too_large_is_refused_and_holds_nobody_up(kind: str, name: str, served: Served) -> None:
    async def ask_beside_others() -> float:
        slowest = 0.0
        asked = asyncio.create_task(served.gateway.ask(f"{{ {kind}_{name} {{ row }} }}"))
        while not asked.done():
            slowest = max(slowest, (await served.gateway.ask("{ constant { one } }")).seconds)
        answer = await asked
        assert answer.fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "row", [f"{kind}_{name}", "row"])
        assert len(str(answer.body)) < 1000
        return slowest

    for query in (f"{{ {kind}_small {{ row }} }}", "{ constant { one } }"):
        served.ask(query)
    before = resident(served.pid)
    assert served.run(ask_beside_others) < 0.1 + SLACK
    if kind in LIMITED:
        assert resident(served.pid) - before < 60_000_000
    assert served.ask(f"{{ {kind}_small {{ row }} }}").data == {f"{kind}_small": {"row": [{"v": "x"}]}}
