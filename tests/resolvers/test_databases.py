"""One contract, three databases: an operation that is moved from one to another by its url alone gives the same answers."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.databases import answer, ask, assert_threads, code, configuration, database, opened, run_with_timeout
from tests.kit.timing import SLACK

KINDS = ["sqlite", "postgresql", "duckdb"]
TABLE = """CREATE TABLE customers
  (id INTEGER PRIMARY KEY, ref VARCHAR(20), name TEXT, tier TEXT, balance DOUBLE PRECISION, born DATE, active BOOLEAN, photo {binary}, wakes TIME)"""
ROWS = """INSERT INTO customers VALUES
  (1, '001', 'Ada', 'gold', 10.5, '1980-01-31', TRUE, {photo}, '06:30:00'),
  (2, '2', 'Bo', 'gold', 7.25, '1990-12-01', FALSE, NULL, '23:59:59'),
  (3, '3', 'Cy', 'basic', NULL, NULL, NULL, NULL, NULL)"""
BINARY = {
    "sqlite": {"binary": "BLOB", "photo": "x'0102'"},
    "postgresql": {"binary": "BYTEA", "photo": "'\\x0102'"},
    "duckdb": {"binary": "BLOB", "photo": "'\\x01\\x02'"},
}
TYPES = """
type Person { id: ID! ref: String name: String tier: String balance: Float born: String active: Boolean photo: String wakes: Time }
scalar Time
type Friend { name: String tier: String }
type Sum { rows: Int highest: Float }
"""
OPERATIONS = """
operation: customer
args: { id: ID! }
steps:
  - { name: by_id, type: warehouse, returns: Person, query: "SELECT * FROM customers WHERE id = ?" }
  - { name: by_ref, type: warehouse, returns: Person, query: "SELECT * FROM customers WHERE ref = ?" }
  - name: twice
    type: warehouse
    query: SELECT name FROM customers WHERE id = :id OR ref = :ref ORDER BY id; -- or both?
    params: { id: "{id}", ref: "{id}" }
    returns: "[Friend!]"
---
operation: several
args: { ids: "[ID!]!", tier: String, least: Float, day: String, active: Boolean, rows: Int }
steps:
  - name: among
    type: warehouse
    query: SELECT name FROM customers WHERE id IN (:ids) AND name <> 'x IN (:ids)' ORDER BY id
    params: { ids: "{ids}" }
    returns: "[Friend!]"
  - name: others
    type: warehouse
    query: SELECT name FROM customers WHERE id NOT IN (:ids) ORDER BY id
    params: { ids: "{ids}" }
    returns: "[Friend!]"
  - name: filtered
    type: warehouse
    query: |
      SELECT name FROM customers
      WHERE (tier = :tier OR :tier IS NULL) AND balance >= :least AND born > :day AND active = :active ORDER BY id LIMIT :rows
    params: { tier: "{tier?}", least: "{least}", day: "{day}", active: "{active}", rows: "{rows}" }
    returns: "[Friend!]"
---
operation: early
args: { at: Time!, until: 'Time = "12:00:00"' }
steps:
  - name: risers
    type: warehouse
    query: SELECT name, wakes FROM customers WHERE wakes >= :at AND wakes < :until ORDER BY id
    params: { at: "{at}", until: "{until}" }
    returns: "[Person!]"
---
operation: totals
args: {}
steps:
  - { name: all, type: warehouse, query: "SELECT count(*) AS rows, max(balance) AS highest FROM customers", returns: Sum }
  - { name: none, type: warehouse, query: "SELECT name FROM customers WHERE id = -1", returns: Friend }
  - { name: many, type: warehouse, query: "SELECT name FROM customers", returns: Friend }
  - { name: broken, type: warehouse, query: "SELECT secret FROM nowhere", returns: Friend }
  - name: common
    type: warehouse
    query: WITH gold AS (SELECT * FROM customers WHERE tier = 'gold') SELECT g.id, g.name, c.name FROM gold g JOIN customers c ON c.id = 3 ORDER BY 1
    returns: "[Friend!]"
  - { name: listed, type: warehouse, query: "VALUES (1, 'a''?'), (2, 'b')", returns: "[JSON!]", select: "[].values(@)" }
---
operation: customers
args: {}
steps: [ { name: list, type: warehouse, returns: "[Person!]", query: "SELECT id, tier, name FROM customers ORDER BY id" } ]
aggregation: { strategy: pick, step: list }
---
field: Person.friends
returns: "[Friend!]!"
step:
  type: warehouse
  query: SELECT tier, name FROM customers WHERE tier IN (:tiers) ORDER BY name
  params: { tiers: "{keys}" }
  batch: { key: tier, match: tier, max: 1 }
---
field: Person.twins
returns: "[Person!]!"
step:
  type: warehouse
  query: SELECT id, tier, name, ref FROM customers WHERE name <> '' AND (tier, id) IN (:keys) AND (tier, id) NOT IN (:none) ORDER BY id
  params: { keys: "{keys}", none: [] }
  batch: { key: [tier, id], match: [tier, id], max: 2 }
---
operation: pairs
args: { pairs: "[JSON!]" }
steps:
  - name: found
    type: warehouse
    query: SELECT name FROM customers WHERE (tier, lower(name), id) IN ( :pairs ) ORDER BY id
    params: { pairs: "{pairs?}" }
    returns: "[Friend!]"
  - name: others
    type: warehouse
    query: SELECT name FROM customers WHERE coalesce(tier, '') <> '(tier, id) IN (:pairs)' AND (tier, lower(name), id) NOT IN (:pairs) ORDER BY id
    params: { pairs: "{pairs?}" }
    returns: "[Friend!]"
"""
CUSTOMER = "id ref name tier balance born active photo wakes"
ADA = {
    "id": "1",
    "ref": "001",
    "name": "Ada",
    "tier": "gold",
    "balance": 10.5,
    "born": "1980-01-31",
    "active": True,
    "photo": "AQI=",
    "wakes": "06:30:00",
}


@pytest.fixture(params=KINDS, scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    folder = tmp_path_factory.mktemp(request.param)
    written = BINARY[request.param]
    with database(request.param, folder, TABLE.format(**written), ROWS.format(**written)) as url:
        yield request.param, folder, url


def answered(place: tuple[str, Path, str], query: str, **variables: object) -> dict[str, Any]:
    _, folder, url = place
    return answer(folder, {"a.yaml": configuration(url, OPERATIONS), "types.graphql": TYPES}, query, **variables)


def names(*found: str) -> list[dict[str, str]]:
    return [{"name": name} for name in found]


def test_an_id_finds_the_row_of_an_integer_column_and_of_a_text_column(place: tuple[str, Path, str]) -> None:
    query = f"query ($id: ID!) {{ customer(id: $id) {{ by_id {{ {CUSTOMER} }} by_ref {{ {CUSTOMER} }} twice {{ name }} }} }}"
    assert answered(place, query, id="1") == {"data": {"customer": {"by_id": ADA, "by_ref": None, "twice": names("Ada")}}}
    assert answered(place, query, id="001") == {"data": {"customer": {"by_id": ADA, "by_ref": ADA, "twice": names("Ada")}}}
    cy = {**dict.fromkeys(ADA), "id": "3", "ref": "3", "name": "Cy", "tier": "basic"}
    assert answered(place, query, id=3) == {"data": {"customer": {"by_id": cy, "by_ref": cy, "twice": names("Cy")}}}


def test_a_list_is_in_the_brackets_of_in(place: tuple[str, Path, str]) -> None:
    query = "query ($ids: [ID!]!) { several(ids: $ids) { among { name } others { name } } }"
    for ids, among, others in (
        (["1", "3", "99"], names("Ada", "Cy"), names("Bo")),
        (["2"], names("Bo"), names("Ada", "Cy")),
        ([], [], names("Ada", "Bo", "Cy")),
    ):
        assert answered(place, query, ids=ids) == {"data": {"several": {"among": among, "others": others}}}


def test_values_of_every_scalar_are_bound_and_one_that_is_left_out_is_null(place: tuple[str, Path, str]) -> None:
    query = """query ($tier: String, $least: Float, $day: String, $active: Boolean, $rows: Int) {
      several(ids: [], tier: $tier, least: $least, day: $day, active: $active, rows: $rows) { filtered { name } } }"""

    def found(**variables: object) -> object:
        return answered(place, query, **{"least": 1, "day": "1970-01-01", "active": True, "rows": 9, **variables})

    assert found() == {"data": {"several": {"filtered": names("Ada")}}}
    assert found(tier="gold", active=False, least=7.25) == {"data": {"several": {"filtered": names("Bo")}}}
    assert found(tier="basic") == found(day="1980-01-31") == found(least=10.6) == found(rows=0)
    assert found(rows=0) == {"data": {"several": {"filtered": []}}}


def test_rows_are_one_object_none_or_too_many(place: tuple[str, Path, str]) -> None:
    query = "{ totals { all { rows highest } none { name } many { name } broken { name } common { name } listed } }"
    body = answered(place, query)
    assert body["data"]["totals"] == {
        "all": {"rows": 3, "highest": 10.5},
        "none": None,
        "many": None,
        "broken": None,
        "common": names("Cy", "Cy"),
        "listed": [[1, "a'?"], [2, "b"]],
    }
    assert {(error["path"][1], error["extensions"]["code"]) for error in body["errors"]} == {
        ("many", "RESPONSE_VALIDATION_FAILED"),
        ("broken", "DOWNSTREAM_SERVICE_ERROR"),
    }
    assert "nowhere" not in str(body)


def test_times_of_the_day_are_bound_and_come_back(place: tuple[str, Path, str]) -> None:
    found = answered(place, '{ early(at: "06:00:00") { risers { name wakes } } }')
    assert found == {"data": {"early": {"risers": [{"name": "Ada", "wakes": "06:30:00"}]}}}
    found = answered(place, '{ early(at: "06:30:00.5", until: "23:59:59.999999") { risers { name wakes } } }')
    assert found == {"data": {"early": {"risers": [{"name": "Bo", "wakes": "23:59:59"}]}}}


def test_a_link_asks_for_its_keys_in_batches(place: tuple[str, Path, str]) -> None:
    assert answered(place, "{ customers { name friends { name } } }")["data"]["customers"] == [
        {"name": "Ada", "friends": names("Ada", "Bo")},
        {"name": "Bo", "friends": names("Ada", "Bo")},
        {"name": "Cy", "friends": names("Cy")},
    ]


def test_a_link_asks_for_compound_keys_as_rows(place: tuple[str, Path, str]) -> None:
    assert answered(place, "{ customers { name twins { ref } } }")["data"]["customers"] == [
        {"name": "Ada", "twins": [{"ref": "001"}]},
        {"name": "Bo", "twins": [{"ref": "2"}]},
        {"name": "Cy", "twins": [{"ref": "3"}]},
    ]


def test_a_list_of_rows_is_in_the_brackets_of_in(place: tuple[str, Path, str]) -> None:
    query = "query ($pairs: [JSON!]) { pairs(pairs: $pairs) { found { name } others { name } } }"
    ada, bo, cy = ["gold", "ada", "1"], ["gold", "bo", 2], {"a": "basic", "b": "cy", "c": "3"}
    for pairs, found, others in (
        ([ada], names("Ada"), names("Bo", "Cy")),
        ([ada, bo, cy], names("Ada", "Bo", "Cy"), []),
        ([["gold", "ada", "2"], ["gold", "'", 1]], [], names("Ada", "Bo", "Cy")),
        ([], [], names("Ada", "Bo", "Cy")),
        (None, [], []),
    ):
        assert answered(place, query, pairs=pairs) == {"data": {"pairs": {"found": found, "others": others}}}


@pytest.mark.parametrize("pairs", [[["gold", "ada"]], ["gold"], [["gold", "ada", [1]]]])
def test_a_row_of_other_values_is_refused(pairs: list[object], place: tuple[str, Path, str]) -> None:
    body = answered(place, "query ($pairs: [JSON!]) { pairs(pairs: $pairs) { found { name } } }", pairs=pairs)
    assert (body["data"], code(body)) == ({"pairs": {"found": None}}, "BAD_USER_INPUT")


def test_values_are_bound_whatever_they_look_like(place: tuple[str, Path, str]) -> None:
    query = "query ($id: ID!) { customer(id: $id) { by_ref { name } } totals { all { rows } } }"
    for text in ("1 OR 1=1", "'; DROP TABLE customers;--", "x' OR 'a'='a", "$1", ":ref", "\\", "é🎉"):
        assert answered(place, query, id=text) == {"data": {"customer": {"by_ref": None}, "totals": {"all": {"rows": 3}}}}


@pytest.mark.parametrize("value", [2**70, [1], {"a": 1}, "\ud800"])
def test_a_value_that_no_database_can_take_is_refused(value: object, place: tuple[str, Path, str]) -> None:
    _, folder, url = place
    operation = "operation: one\nargs: { id: JSON! }\nsteps:\n  - { name: row, type: warehouse, query: SELECT name FROM customers WHERE id = ? }"
    body = answer(folder, {"a.yaml": configuration(url, operation)}, "query ($id: JSON!) { one(id: $id) { row } }", id=value)
    assert (body["data"], code(body)) == ({"one": {"row": None}}, "BAD_USER_INPUT")


def test_more_rows_than_allowed_are_a_failure(place: tuple[str, Path, str]) -> None:
    _, folder, url = place
    operation = 'operation: all\nargs: {}\nsteps:\n  - { name: rows, type: warehouse, query: SELECT id FROM customers, returns: "[JSON]" }'
    for limit, expected in ((2, "SUBREQUEST_RESPONSE_TOO_LARGE"), (3, None)):
        texts = {"a.yaml": configuration(url, operation, max_rows=limit)}
        assert code(answer(folder, texts, "{ all { rows } }")) == expected


LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS n FROM n WHERE i < 0",
    # One long series would first be written to a file, which the server has to delete before it is free again.
    "postgresql": (
        "SELECT count(*) AS n FROM generate_series(1, 9999) AS a(i), generate_series(1, 9999) AS b(i), generate_series(1, 9999) AS c(i) "
        "WHERE a.i + b.i + c.i < 0"
    ),
    "duckdb": "SELECT count(*) AS n FROM range(1000000000) a, range(1000000) b WHERE hash(a.range * b.range) % 7 = 3",
}


def test_a_long_query_is_stopped_and_the_next_one_is_fast(place: tuple[str, Path, str]) -> None:
    kind, folder, url = place
    operation = f"""
operation: both
args: {{}}
steps:
  - {{ name: long, type: warehouse, timeout_ms: 300, retry: {{ attempts: 1 }}, query: "{LONG[kind]}" }}
  - {{ name: short, type: warehouse, query: SELECT 1 AS one }}"""

    async def ask_all() -> None:
        async with opened(folder, {"a.yaml": configuration(url, operation, pool=1)}) as generation:
            await ask(generation, "{ both { short } }")
            for _ in range(3):
                began = time.monotonic()
                assert code(await ask(generation, "{ both { long } }")) == "GATEWAY_TIMEOUT"
                stopped = time.monotonic()
                assert await ask(generation, "{ both { short } }") == {"data": {"both": {"short": {"one": 1}}}}
                assert 0.29 < stopped - began < 0.5 + SLACK
                assert time.monotonic() - stopped < 0.25 + SLACK

    run_with_timeout(ask_all())


def test_threads_stay_constant_over_many_queries(place: tuple[str, Path, str]) -> None:
    _, folder, url = place

    async def ask_all() -> list[int]:
        async with opened(folder, {"a.yaml": configuration(url, OPERATIONS), "t.graphql": TYPES}) as generation:
            counts = []
            for _ in range(4):
                asked = (ask(generation, "query ($id: ID!) { customer(id: $id) { by_id { id } } }", id=i % 4) for i in range(100))
                assert all("errors" not in body for body in await asyncio.gather(*asked))
                counts.append(threading.active_count())
            return counts

    before = threading.active_count()
    counts = run_with_timeout(ask_all())
    assert len(set(counts)) == 1, counts
    assert_threads(before)


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_a_json_column_is_as_deep_as_a_response_may_be(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as url:
        for depth, expected in (
            (128, None),
            (129, "DOWNSTREAM_SERVICE_ERROR"),
            (1000, "DOWNSTREAM_SERVICE_ERROR"),
            (5000, "DOWNSTREAM_SERVICE_ERROR"),
        ):
            query = f"SELECT CAST(repeat('[', {depth}) || repeat(']', {depth}) AS JSON) AS value"
            operation = f'operation: one\nargs: {{}}\nsteps:\n  - {{ name: row, type: warehouse, query: "{query}" }}'
            assert code(answer(tmp_path, {"a.yaml": configuration(url, operation)}, "{ one { row } }")) == expected
