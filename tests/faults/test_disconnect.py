"""A client that disconnects: its upstream calls and queries are cancelled, and nothing is left behind (row O-03)."""

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from resolvers import STEP_TYPES
from resolvers.value import Value
from tests.faults import Delay, FaultServer, Hang, Json, Status
from tests.kit.serving import Stage, serve_command, serving, until_tasks_end, write_files
from tests.kit.timing import SLACK

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000000) SELECT max(i) AS most FROM n"
"""Many seconds of work, but not endless: a query that is not interrupted would keep this process from exiting."""
CONFIG = {
    "graph.yaml": f"""
sources:
  core:
    {{ type: api, base_url: UPSTREAM, concurrency: 2, breaker: {{ enabled: false }},
      retry: {{ attempts: 3, base_ms: 1000, cap_ms: 1000, errors: [503], budget_min: 1000 }} }}
  warehouse: {{ type: warehouse, url: "sqlite:///data.db", pool: 1 }}
defaults: {{ api: core, warehouse: warehouse }}
---
operation: call
args: {{ path: ID! }}
steps:
  - {{ name: one, type: api, endpoint: "/{{path}}", timeout_ms: 5000 }}
  - {{ name: two, type: api, endpoint: "/{{path}}", timeout_ms: 5000 }}
  - {{ name: after, type: api, endpoint: "/after/{{one.next}}", timeout_ms: 5000 }}
---
operation: endless
steps: [ {{ name: rows, type: warehouse, query: "{ENDLESS}", timeout_ms: 60000 }} ]
---
operation: quick
steps: [ {{ name: rows, type: warehouse, query: "SELECT 1 AS one" }} ]
"""
}
LEAVING = 0.05
"""Seconds after which the client disconnects."""
CLOSED_WITHIN = 0.25


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("disconnect")
    with closing(sqlite3.connect(folder / "data.db")) as database:
        database.execute("CREATE TABLE t (x)")
    with Stage(folder, CONFIG) as opened:
        yield opened


async def leave(url: str, query: str, after: Awaitable[object] | None = None) -> float:
    """Send a query, close the connection after an awaitable or a short time, and return when that was (``time.monotonic``)."""
    body = json.dumps({"query": query}).encode()
    head = f"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
    writer.write(head.encode() + body)
    await (after or asyncio.sleep(LEAVING))
    left_at = time.monotonic()
    writer.close()
    await writer.wait_closed()
    return left_at


@pytest.mark.case("O-03")
def test_the_calls_of_a_client_that_left_are_closed(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/long", Hang())
        before = len(asyncio.all_tasks())
        left_at = await leave(stage.production.url, '{ call(path: "long") { one } }', stage.upstream.wait_requests("/long"))
        await stage.upstream.wait_closed("/long", CLOSED_WITHIN + SLACK)
        (connection,) = {request.connection for request in stage.upstream.requests if request.path == "/long"}
        assert connection.closed_at is not None
        assert 0 <= connection.closed_at - left_at < CLOSED_WITHIN + SLACK
        await until_tasks_end(before, CLOSED_WITHIN + SLACK)

    stage.run(scenario)


@pytest.mark.case("O-03")
def test_every_call_of_a_client_that_left_ends_the_shared_ones_too(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/shared", Hang())
        before = len(asyncio.all_tasks())
        query = '{ call(path: "shared") { one two } other: call(path: "shared") { one } }'
        await leave(stage.production.url, query, stage.upstream.wait_requests("/shared"))
        await stage.upstream.wait_closed("/shared", CLOSED_WITHIN + SLACK)
        await until_tasks_end(before, CLOSED_WITHIN + SLACK)

    stage.run(scenario)


@pytest.mark.case("O-03")
def test_steps_that_were_still_to_come_are_not_called(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/before", Delay(0.4, Json({"next": 1})))
        await leave(stage.production.url, '{ call(path: "before") { after } }')
        await asyncio.sleep(0.6)
        assert stage.upstream.count("/after/1") == 0

    stage.run(scenario)


@pytest.mark.case("O-03")
def test_a_call_that_waits_to_be_repeated_or_for_a_place_is_given_up(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/failing", Status(503, headers={"connection": "close"}))
        stage.upstream.script("/occupied", Hang())
        before, are_leaving = len(asyncio.all_tasks()), asyncio.Event()
        occupied = '{ call(path: "occupied") { one } }'
        occupying = [asyncio.create_task(leave(stage.production.url, occupied, are_leaving.wait())) for _ in range(2)]
        await stage.upstream.wait_requests("/occupied", 2)
        await leave(stage.production.url, '{ call(path: "failing") { one } }')
        assert stage.upstream.count("/failing") == 0
        are_leaving.set()
        await asyncio.gather(*occupying)
        await leave(stage.production.url, '{ call(path: "failing") { one } }', stage.upstream.wait_requests("/failing"))
        await until_tasks_end(before, CLOSED_WITHIN + SLACK)
        assert stage.upstream.count("/failing") == 1
        stage.upstream.script("/free", Json("again"))
        assert (await stage.production.ask('{ call(path: "free") { one } }')).data == {"call": {"one": "again"}}

    stage.run(scenario)


@pytest.mark.case("O-03")
def test_the_query_of_a_client_that_left_is_interrupted(stage: Stage) -> None:
    """The pool has one connection: the next query shows that nothing still runs."""

    async def scenario() -> tuple[int, int]:
        assert (await stage.production.ask("{ quick { rows } }")).data == {"quick": {"rows": {"one": 1}}}
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        for _ in range(3):
            await leave(stage.production.url, "{ endless { rows } }")
            answer = await stage.production.ask("{ quick { rows } }")
            assert answer.data == {"quick": {"rows": {"one": 1}}}
            assert answer.seconds < CLOSED_WITHIN + SLACK
        await until_tasks_end(tasks, CLOSED_WITHIN + SLACK)
        return threads, threading.active_count()

    before, after = stage.run(scenario)
    assert after <= before


@pytest.mark.case("O-03")
def test_a_crowd_that_leaves_leaves_nothing_behind(stage: Stage) -> None:
    """Two of them are in flight, and the others wait for a place."""

    async def scenario() -> None:
        stage.upstream.script("/crowd", Hang())
        before, are_leaving = len(asyncio.all_tasks()), asyncio.Event()
        query = '{ call(path: "crowd") { one } }'
        served = [asyncio.create_task(leave(stage.production.url, query, are_leaving.wait())) for _ in range(2)]
        await stage.upstream.wait_requests("/crowd", 2)
        await asyncio.gather(*(leave(stage.production.url, query, asyncio.sleep(number / 500)) for number in range(20)))
        are_leaving.set()
        await asyncio.gather(*served)
        await stage.upstream.wait_closed("/crowd", CLOSED_WITHIN + SLACK)
        await until_tasks_end(before, CLOSED_WITHIN + SLACK)
        assert stage.upstream.count("/crowd") == 2
        stage.upstream.script("/crowd", Json("answered"))
        answers = await asyncio.gather(*(stage.production.ask(query) for _ in range(5)))
        assert [answer.data for answer in answers] == [{"call": {"one": "answered"}}] * 5

    stage.run(scenario)


def test_one_client_that_leaves_does_not_disturb_another(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/both", Json("answered", delay=0.4))
        staying = asyncio.create_task(stage.production.ask('{ call(path: "both") { one } }'))
        await leave(stage.production.url, '{ call(path: "both") { one } }')
        assert (await staying).data == {"call": {"one": "answered"}}

    stage.run(scenario)


class Scoped(Value):
    """A step type whose call cancels itself for a while, as cancel scopes and timeouts of libraries do, and then hangs."""

    name = "scoped"
    calls_out = True
    ended = 0

    def call(self, step: Step, connection: None) -> Call:
        async def hang(inputs: Inputs, context: CallContext) -> Reply:
            task = asyncio.current_task()
            assert task is not None
            try:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                await asyncio.sleep(2 * LEAVING)
                task.uncancel()
                await asyncio.Event().wait()
            finally:
                self.ended += 1
            raise AssertionError("unreachable")

        return hang


@pytest.mark.case("O-03")
def test_a_call_that_is_cancelled_from_within_is_cancelled_as_well(tmp_path: Path) -> None:
    async def scenario() -> int:
        scoped = Scoped()
        folder = write_files(
            tmp_path, {"graph.yaml": "operation: call\nsteps: [ { name: one, type: scoped, value: 1, timeout_ms: 60000 } ]\n"}
        )
        async with serving(folder, step_types={**STEP_TYPES, "scoped": scoped}) as gateway:
            before = len(asyncio.all_tasks())
            await leave(gateway.url, "{ call { one } }")
            await until_tasks_end(before, 2 * LEAVING + SLACK)
            return scoped.ended

    assert asyncio.run(scenario()) == 1


@pytest.mark.case("O-03")
def test_the_served_process_notices_as_well(tmp_path: Path) -> None:
    """It runs on another event loop than these tests do."""

    async def scenario() -> float:
        async with FaultServer() as upstream:
            upstream.script("/long", Hang())
            folder = write_files(
                tmp_path / "config", {name: text.replace("UPSTREAM", upstream.url) for name, text in CONFIG.items()}
            )
            with serve_command(tmp_path, folder) as process:
                left_at = await leave(process.url, '{ call(path: "long") { one } }', upstream.wait_requests("/long"))
                await upstream.wait_closed("/long", 5)
            (connection,) = {request.connection for request in upstream.requests}
            assert connection.closed_at is not None
            return connection.closed_at - left_at

    assert 0 <= asyncio.run(scenario()) < CLOSED_WITHIN + SLACK
