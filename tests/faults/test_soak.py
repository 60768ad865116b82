"""Many requests with faults, documents and tenants: the resources that the gateway holds do not grow (rows O-08 to O-10)."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults import Behaviour, CloseWhenIdle, DeepJson, Delay, GzipBomb, Hang, Html, Json, NaN, Raw, Reset, Status, Truncate
from tests.faults.crowd import Tally, closed_loop, request
from tests.faults.graph import GRAPH, TABLES
from tests.faults.probes import Holdings, Watch, holdings
from tests.faults.served import Served
from tests.kit.timing import SLACK

case = pytest.mark.case
REQUESTS = int(os.environ.get("STEPGRAPH_SOAK_REQUESTS", "100000"))
WARM_UP = REQUESTS // 5
ROUNDS = 5
GROWTH = 0.03
CLIENTS = 16

FAULTS: dict[str, Behaviour] = {
    "sound": Json({"number": 1, "name": "a"}),
    "status": Status(500),
    "reset": Reset(),
    "page": Html(),
    "nan": NaN(),
    "cut": Truncate(),
    "idle": CloseWhenIdle(Json(1)),
    "deep": DeepJson(1_000),
    "garbage": Raw(b"\x16\x03\x01"),
    "bomb": GzipBomb(6_000_000),
    "none": Status(204),
    "late": Delay(0.02, Json(1)),
}


def mixed(number: int) -> bytes:
    """Return one of the requests of the soak test: nineteen of twenty succeed."""
    name = list(FAULTS)[number // 20 % len(FAULTS)] if number % 20 == 0 else "sound"
    kinds = [
        f'{{ pair(left: "{name}", right: "sound") {{ first second }} }}',
        f'{{ typed(path: "{name}") {{ item {{ number name }} }} }}',
        "{ constant { one value } }",
        "query($id: JSON) { person(id: $id) { row } }",
        "{ nothing }" if number % 40 == 1 else f"{{ constant {{ a{number % 997}: one }} }}",
    ]
    return request(kinds[number % 5], variables={"id": number % 7})


@pytest.fixture
def soaked(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "config").mkdir()
    with closing(sqlite3.connect(tmp_path / "config" / "data.db")) as database:
        database.executescript(TABLES)
    with Served(tmp_path, {name: text.replace("NOBODY", "9") for name, text in GRAPH.items()}) as served:
        for name, behaviour in FAULTS.items():
            served.upstream.script(f"/{name}", behaviour)
        yield served


async def rest(served: Served) -> Holdings:
    """Return what the gateway holds once nothing is in flight."""
    await asyncio.sleep(1)
    return holdings(served.pid)


async def soak(served: Served, count: int) -> Holdings:
    tally = await closed_loop(served.port, CLIENTS, count, mixed)
    assert sum(tally.statuses.values()) == count
    assert set(tally.statuses) <= {200, 400}
    served.upstream.forget()
    return await rest(served)


async def measure(served: Served, warm_up: int, each: int) -> list[Holdings]:
    await soak(served, warm_up)
    return [await soak(served, each) for _ in range(ROUNDS)]


def is_flat(rounds: list[Holdings], growth: float) -> None:
    first, last = rounds[0], rounds[-1]
    sizes = [one.resident for one in rounds]
    assert last.resident <= first.resident * (1 + growth), sizes
    assert growth > GROWTH or not all(after > before * 1.002 for before, after in pairwise(sizes)), (
        f"it grows in every round: {sizes}"
    )
    assert max(one.threads for one in rounds) <= first.threads + 1
    assert abs(last.sockets - first.sockets) <= CLIENTS
    assert abs(last.files - first.files) <= CLIENTS


@case("O-08")
def test_some_thousand_requests_with_faults_leave_nothing_behind(soaked: Served) -> None:
    """A small soak test: it finds what grows with each request, but not what grows slowly, as the caches are not full yet."""
    rounds = soaked.run(lambda: measure(soaked, 1_000, 400))
    is_flat(rounds, 1.0)


@pytest.mark.soak
@case("O-08")
def test_a_hundred_thousand_requests_with_faults_leave_nothing_behind(soaked: Served) -> None:
    soaked.limit = 3_600
    rounds = soaked.run(lambda: measure(soaked, WARM_UP, REQUESTS // ROUNDS))
    is_flat(rounds, GROWTH)


MANY_KEYS = """
sources: { core: { type: api, base_url: UPSTREAM, dedupe: true, breaker: { enabled: false } } }
defaults: { api: core }
---
server:
  max_cache_bytes: 10000000
  dedupe_queries: true
  rate_limits: [ { key: context.tenant, limit: 5/second }, { key: peer, limit: 1000000/minute, window: fixed } ]
---
context: { tenant: request.headers."x-tenant" }
---
operation: thing
args: { id: ID! }
steps:
  - { name: one, type: value, value: 1 }
  - { name: kept, type: api, endpoint: /kept, query: { of: "{context.tenant}" }, cache: { ttl_ms: 60000 }, fallback: [ { stale_ms: 60000 } ] }
"""


@case("O-09")
def test_more_documents_and_tenants_than_are_remembered_take_no_more_room_nor_series(tmp_path: Path) -> None:
    """The same in a few seconds: each request is new, and the cache of documents is full after the first thousand."""

    def document(number: int) -> bytes:
        return request(f"{{ a{number}: thing(id: {number}) {{ b{number}: one kept }} }}", f"x-tenant: t{number}")

    async def ask(served: Served, first: int, count: int) -> tuple[Holdings, int]:
        tally = await closed_loop(served.port, 8, count, lambda number: document(first + number))
        assert tally.statuses == {200: count}
        text = (await served.gateway.client.get(f"{served.admin}/metrics")).text
        return await rest(served), sum(not line.startswith("#") for line in text.splitlines())

    with Served(tmp_path, {"graph.yaml": MANY_KEYS}) as served:
        served.upstream.script("/kept", Json("kept"))
        full, series = served.run(lambda: ask(served, 0, 1_100))
        fuller, still = served.run(lambda: ask(served, 1_100, 1_100))
    assert fuller.resident < full.resident * 1.1
    assert fuller.threads <= full.threads + 2, "beside the few that look after the files and the log"
    assert still == series <= 2_000


@case("O-09", "O-10")
@pytest.mark.parametrize(
    "count",
    [pytest.param(20_000, id="20,000", marks=pytest.mark.load), pytest.param(100_000, id="100,000", marks=pytest.mark.soak)],
)
def test_documents_and_tenants_without_end_are_not_all_remembered(soaked: Served, count: int) -> None:
    soaked.limit = 3_600

    def document(number: int) -> bytes:
        return request(f"{{ constant {{ a{number}: one }} }}", f"x-tenant: t{number % 10_000}", f"authorization: Bearer {number}")

    async def scenario() -> tuple[Holdings, Holdings, Watch]:
        await closed_loop(soaked.port, 8, 5_000, lambda number: document(10_000_000 + number))
        before = await rest(soaked)
        async with Watch(soaked.pid, soaked.process.url) as watch:
            tally: Tally = await closed_loop(soaked.port, 8, count, document)
        assert tally.statuses == {200: count}
        return before, await rest(soaked), watch

    before, after, watch = soaked.run(scenario)
    assert after.resident < before.resident * 1.1
    assert watch.delay < 0.1 + SLACK
    text = soaked.run(lambda: soaked.gateway.client.get(f"{soaked.admin}/metrics")).text
    assert sum(not line.startswith("#") for line in text.splitlines()) <= 2_000


@pytest.mark.load
@case("O-10", "U-03")
def test_five_hundred_hanging_calls_hold_up_nobody(soaked: Served) -> None:
    soaked.upstream.script("/hangs", Hang())

    async def scenario() -> Watch:
        async with Watch(soaked.pid, soaked.process.url) as watch:
            tally = await closed_loop(soaked.port, 90, 500, lambda _: request('{ impatient(left: "hangs") { first } }'))
        assert tally.statuses == {200: 500}
        return watch

    watch = soaked.run(scenario)
    assert watch.delay < 0.1 + SLACK
