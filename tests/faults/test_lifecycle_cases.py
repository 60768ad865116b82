"""Startup, shutdown, disconnecting clients and overload of a gateway process (rows O-01 to O-07)."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.faults import Drip, Hang, HangAfterHeaders, Json, refused_port
from tests.faults.crowd import Client, all_at_once, open_loop, request
from tests.faults.probes import holdings
from tests.faults.served import Served, connection, in_background, post, query_body, status_of
from tests.kit.timing import SLACK

case = pytest.mark.case

CONFIG = {
    "graph.yaml": """
sources:
  core: { type: api, base_url: UPSTREAM, retry: { attempts: 1 } }
  nobody: { type: api, base_url: "http://127.0.0.1:NOBODY", retry: { attempts: 1 } }
  data: { type: warehouse, url: "sqlite:///data.db" }
defaults: { api: core, warehouse: data }
---
operation: call
args: { path: ID! }
steps: [ { name: one, type: api, endpoint: "/{path}", timeout_ms: 20000 } ]
---
operation: down
steps: [ { name: one, type: api, source: nobody, endpoint: / } ]
---
operation: endless
steps:
  - name: row
    type: warehouse
    query: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000000) SELECT max(i) AS most FROM n"
    timeout_ms: 20000
---
operation: impatient
deadline_ms: 300
steps: [ { name: one, type: api, endpoint: /impatient } ]
---
operation: row
steps: [ { name: row, type: warehouse, query: "SELECT 1 AS one" } ]
---
operation: constant
steps: [ { name: one, type: value, value: 1 } ]
---
operation: blocking
steps: [ { name: one, type: python, call: "blocking:block", timeout_ms: 20000 } ]
""".replace("NOBODY", str(refused_port()))
}
BLOCKING = """
import time


async def block():
    time.sleep(2)
    return 1
"""
NO_DRAIN = {"server.yaml": "server: { drain_delay_ms: 0 }\n"}
CONSTANT = request("{ constant { one } }")


def call(path: str) -> str:
    return f'{{ call(path: "{path}") {{ one }} }}'


@contextlib.contextmanager
def serving(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Serve the configuration of this module, with a database and a Python function."""
    (folder / "config").mkdir(parents=True)
    (folder / "modules").mkdir()
    (folder / "modules" / "blocking.py").write_text(BLOCKING, "utf-8")
    with closing(sqlite3.connect(folder / "config" / "data.db")) as database:
        database.execute("CREATE TABLE t (x)")
    with Served(folder, {**CONFIG, **(more or {})}, PYTHONPATH=str(folder / "modules")) as served:
        yield served


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("lifecycle") / "served") as served:
        yield served


async def ended(served: Served, within: float) -> int:
    """Wait until the process has exited, and return its status."""
    async with asyncio.timeout(within):
        while (status := served.process.popen.poll()) is None:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
    return status


# -- shutdown


@case("O-01")
def test_a_gateway_that_is_told_to_end_answers_what_it_has_and_what_comes_for_a_while(tmp_path: Path) -> None:
    """50 requests of two seconds are in flight, and 50 new ones arrive each second: none is refused until it stops listening."""

    async def scenario(served: Served) -> None:
        served.upstream.script("/slow", Json("slow", delay=2.0))
        async with in_background(all_at_once(served.port, [request(call("slow"))] * 50)) as asking:
            await served.upstream.wait_requests("/slow", 50, timeout=5)
            signalled_at = time.monotonic()
            served.process.popen.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            ready = await served.gateway.client.get(f"{served.process.url}/health/ready")
            assert ready.status_code == 503
            tally = await open_loop(served.port, 50, 4.5, lambda _: CONSTANT)
            assert (tally.statuses, tally.lost) == ({200: len(tally.answers)}, {})
            assert all(answer.header("connection") == "close" for answer in tally.answers)
            assert [answer.body for answer in await asking] == [{"data": {"call": {"one": "slow"}}}] * 50
        assert await ended(served, 10) == 0
        assert 5 <= time.monotonic() - signalled_at < 7 + SLACK

    with serving(tmp_path / "served") as served:
        served.run(lambda: scenario(served))
        assert "Traceback" not in served.process.stderr


@case("O-02")
def test_a_request_that_hangs_is_cut_off_at_the_end_of_the_grace_time(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        served.upstream.script("/hangs", Hang())
        async with in_background(all_at_once(served.port, [request(call("hangs"))])):
            await served.upstream.wait_requests("/hangs", timeout=5)
            signalled_at = time.monotonic()
            served.process.popen.send_signal(signal.SIGTERM)
            assert await ended(served, 10 + SLACK) == 0
            assert 2 <= time.monotonic() - signalled_at < 4 + SLACK
        await served.upstream.wait_closed("/hangs", 1 + SLACK)

    with serving(tmp_path / "served", {"server.yaml": "server: { drain_delay_ms: 0, shutdown_grace_ms: 2000 }"}) as served:
        served.run(lambda: scenario(served))


@case("O-02")
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        served.upstream.script("/hangs", Hang())
        async with in_background(all_at_once(served.port, [request(call("hangs"))])):
            await served.upstream.wait_requests("/hangs", timeout=5)
            served.process.popen.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert served.process.popen.poll() is None
            signalled_at = time.monotonic()
            served.process.popen.send_signal(signal.SIGTERM)
            await ended(served, 5 + SLACK)
            assert time.monotonic() - signalled_at < 1 + SLACK

    with serving(tmp_path / "served") as served:
        served.run(lambda: scenario(served))


# -- clients that disconnect


@case("O-03")
@pytest.mark.parametrize(
    "behaviour", [Hang(), HangAfterHeaders(), Drip(0.05, b"[" + b"1," * 10_000)], ids=["hangs", "head", "drips"]
)
def test_the_upstream_s_socket_is_closed_soon_after_the_client_has_left(shared: Served, behaviour: Hang) -> None:
    async def leave() -> None:
        path = f"left-{type(behaviour).__name__}"
        shared.upstream.script(f"/{path}", behaviour)
        async with connection(shared.port) as (_, writer):
            writer.write(post(query_body(call(path)), "x-request-id: the-one-who-left"))
            await shared.upstream.wait_requests(f"/{path}", timeout=5)
            await asyncio.sleep(0.05)
        left_at = time.monotonic()
        await shared.upstream.wait_closed(f"/{path}", 0.25 + SLACK)
        (connected,) = {each.connection for each in shared.upstream.requests if each.path == f"/{path}"}
        assert (connected.closed_at or 0.0) - left_at < 0.25 + SLACK

    shared.run(leave)


@case("O-03")
def test_a_query_is_interrupted_when_its_client_leaves_and_its_connection_is_free(shared: Served) -> None:
    async def leave() -> None:
        before = holdings(shared.pid)
        for _ in range(3):
            async with in_background(all_at_once(shared.port, [request("{ endless { row } }")] * 4)):
                await asyncio.sleep(0.1)
            answer = await shared.gateway.ask("{ row { row } }")
            assert answer.data == {"row": {"row": {"one": 1}}}
            assert answer.seconds < 0.25 + SLACK
        async with asyncio.timeout(2 + SLACK):
            while holdings(shared.pid).threads > before.threads + 4:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)

    shared.run(leave)


@case("O-03")
def test_five_hundred_clients_that_leave_at_any_moment_leave_nothing_behind(shared: Served) -> None:
    async def leave() -> None:
        shared.upstream.script("/crowd", Json("late", delay=0.2))
        await all_at_once(shared.port, [CONSTANT] * 20)
        await asyncio.sleep(0.1)
        before = holdings(shared.pid)

        async def come_and_go(number: int) -> None:
            async with connection(shared.port) as (_, writer):
                content = request(call("crowd") if number % 2 else "{ endless { row } }")
                writer.write(content[: len(content) * (number % 7 + 1) // 7])
                await asyncio.sleep(number % 50 / 100)

        for start in range(0, 500, 50):
            await asyncio.gather(*(come_and_go(number) for number in range(start, start + 50)))
        async with asyncio.timeout(3 + SLACK):
            while holdings(shared.pid).sockets > before.sockets + 5:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.02)
        assert (await shared.gateway.ask(call("crowd"))).data == {"call": {"one": "late"}}

    shared.run(leave)


# -- health


@case("O-07")
def test_readiness_does_not_depend_on_upstreams_nor_on_a_change_that_fails(shared: Served) -> None:
    for _ in range(30):
        assert shared.ask("{ down { one } }").codes
    assert shared.get("/health/ready").status_code == 200
    shared.write({"broken.yaml": "operation: [\n"})
    time.sleep(0.5)
    assert shared.get("/health/ready").status_code == 200
    (shared.folder / "broken.yaml").unlink()


@case("O-07")
def test_liveness_is_told_soon_after_the_event_loop_was_blocked(shared: Served) -> None:
    async def block() -> float:
        async with in_background(all_at_once(shared.port, [request("{ blocking { one } }")])) as blocking:
            await asyncio.sleep(0.2)
            started = time.monotonic()
            response = await shared.gateway.client.get(f"{shared.process.url}/health/live")
            assert response.status_code == 200
            await blocking
            return time.monotonic() - started

    assert shared.run(block) < 3 + SLACK


@case("O-05", "O-07")
def test_what_is_beyond_the_places_is_refused_at_once_and_makes_the_gateway_avoid_more(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        served.upstream.script("/slow", Json("slow", delay=3.0))
        answers = await all_at_once(served.port, [request(call("slow"))] * 150)
        refused = [answer for answer in answers if answer.status == 503]
        assert len(answers) - len(refused) == 20
        assert all(answer.codes == ["REQUEST_CONCURRENCY_LIMITED"] for answer in refused)
        assert all(int(answer.header("retry-after")) >= 1 for answer in refused)
        assert max(answer.seconds for answer in refused) < 0.5 + SLACK
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{served.process.url}/health/ready")).status_code == 503
            assert (await client.get(f"{served.process.url}/health/live")).status_code == 200

    with serving(tmp_path / "served", {"server.yaml": "server: { max_in_flight: 20 }"}) as served:
        served.run(lambda: scenario(served))


@case("U-05")
def test_a_request_whose_time_is_over_before_it_can_begin_is_a_504(shared: Served) -> None:
    """The deadline counts from the arrival of the head; here the body arrives after it."""

    async def scenario() -> bytes:
        head, _, body = post(query_body("{ impatient { one } }")).partition(b"\r\n\r\n")
        async with connection(shared.port) as (reader, writer):
            writer.write(head + b"\r\n\r\n")
            await asyncio.sleep(0.5)
            writer.write(body)
            return await reader.read()

    answer = shared.run(scenario)
    assert status_of(answer) == 504
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert ([error["extensions"]["code"] for error in body["errors"]], "data" in body) == (["GATEWAY_TIMEOUT"], False)
    assert shared.upstream.count("/impatient") == 0


@case("O-06")
def test_who_asks_too_often_is_told_to_wait_and_others_are_not(tmp_path: Path) -> None:
    context = 'context: { tenant: request.headers."x-tenant" }\n'
    limit = "---\nserver: { rate_limits: [ { key: context.tenant, limit: 10/second } ] }\n"

    async def scenario(served: Served) -> None:
        for tenant in ("a", "b"):
            content = request("{ constant { one } }", f"x-tenant: {tenant}")
            answers = await all_at_once(served.port, [content] * 11)
            assert sorted(answer.status for answer in answers) == [200] * 10 + [429]
            (refused,) = [answer for answer in answers if answer.status == 429]
            assert refused.codes == ["REQUEST_RATE_LIMITED"]
            assert int(refused.header("retry-after")) >= 1

    with serving(tmp_path / "served", {"rates.yaml": context + limit}) as served:
        served.run(lambda: scenario(served))


@case("O-02")
def test_an_idle_connection_does_not_delay_the_end(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        async with Client(served.port) as idle, connection(served.port):
            assert (await idle.send(CONSTANT)).status == 200
            signalled_at = time.monotonic()
            served.process.popen.send_signal(signal.SIGTERM)
            assert await ended(served, 10) == 0
            assert time.monotonic() - signalled_at < 1 + SLACK

    with serving(tmp_path / "served", NO_DRAIN) as served:
        served.run(lambda: scenario(served))
