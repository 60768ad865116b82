"""Load shedding: which requests are rejected under overload, and what readiness reports (cases O-05, O-07, U-05)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

import gateway.process.app
from gateway.blueprint import Priority
from gateway.load.build.build import load
from gateway.operate.serving import serve_folder
from gateway.process.app import create_app
from gateway.process.server import Server
from gateway.serve.admission.admission import LONG_ITERATION, MANY_REJECTIONS, Admission, PriorityShare, PriorityShares
from gateway.serve.connections.connection import GatewayProtocol
from gateway.serve.connections.listener import bind
from resolvers import STEP_TYPES
from tests.faults import Delay, FaultServer, Hang, Json, refused_port
from tests.kit.serving import Gateway, serve_command, serving, until, write_files
from tests.kit.timing import SLACK

CONFIG = """
sources: { core: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, concurrency: 1000 } }
defaults: { api: core }
---
operation: normal
steps: [ { name: step, type: api, endpoint: /hanging, timeout_ms: 20000 } ]
---
operation: urgent
priority: URGENT
steps: [ { name: step, type: api, endpoint: /quick } ]
---
operation: report
priority: REPORT
steps: [ { name: step, type: api, endpoint: /quick } ]
---
operation: impatient
deadline_ms: 200
steps: [ { name: step, type: value, value: 1 } ]
---
server: { SERVER }
"""
NORMAL, URGENT, REPORT = "{ normal { step } }", "{ urgent { step } }", "{ report { step } }"


@pytest.fixture(autouse=True)
def no_load_shedding() -> None:
    """Override the fixture of the same name that switches load shedding off: it is tested here."""


def config_text(upstream: str, server: str = "", *, is_ranked: bool = False) -> str:
    priorities = {"URGENT": "high", "REPORT": "low"} if is_ranked else {"URGENT": "normal", "REPORT": "normal"}
    text = CONFIG.replace("UPSTREAM", upstream).replace("SERVER", server)
    for name, priority in priorities.items():
        text = text.replace(name, priority)
    return text


@asynccontextmanager
async def loaded(folder: Path, server: str, *, is_ranked: bool = False) -> AsyncIterator[tuple[Gateway, FaultServer]]:
    async with FaultServer() as upstream:
        upstream.script("/hanging", Hang())
        upstream.script("/quick", Json("there"))
        files = {"graph.yaml": config_text(upstream.url, server, is_ranked=is_ranked)}
        async with serving(write_files(folder, files)) as gateway:
            yield gateway, upstream


async def post(gateway: Gateway, query: str) -> httpx.Response:
    return await gateway.client.post(f"{gateway.url}/graphql", json={"query": query})


async def fill(gateway: Gateway, upstream: FaultServer, count: int) -> list["asyncio.Task[httpx.Response]"]:
    """Send requests that hang, and wait until all of them are in flight."""
    before = upstream.count("/hanging")
    tasks = [asyncio.create_task(post(gateway, NORMAL)) for _ in range(count)]

    async def is_full() -> bool:
        return upstream.count("/hanging") == before + count

    await until(is_full, 10)
    return tasks


async def leave(tasks: list["asyncio.Task[httpx.Response]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(within())


# -- requests in flight


def test_what_comes_beyond_the_cap_is_refused_at_once_and_a_place_that_is_left_is_taken_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, "max_in_flight: 5") as (gateway, upstream):
            for _ in range(3):
                tasks = await fill(gateway, upstream, 5)
                refused = await post(gateway, URGENT)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["errors"][0]["extensions"] == {"code": "REQUEST_CONCURRENCY_LIMITED"}
                assert refused.json().keys() == {"errors"}
                assert refused.headers["x-request-id"]
                assert refused.elapsed.total_seconds() < 1 + SLACK
                await leave(tasks)

                async def is_free() -> bool:
                    return (await post(gateway, URGENT)).status_code == 200

                await until(is_free, 5)

    run(scenario)


def test_of_requests_that_come_together_no_more_than_the_cap_are_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, "max_in_flight: 5") as (gateway, upstream):
            tasks = [asyncio.create_task(post(gateway, NORMAL)) for _ in range(40)]
            _, waiting = await asyncio.wait(tasks, timeout=2)
            assert len(waiting) == upstream.count("/hanging") == 5
            assert {task.result().status_code for task in tasks if task.done()} == {503}
            await leave(tasks)

    run(scenario)


def test_an_answer_that_needs_nobody_takes_no_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, "max_in_flight: 5") as (gateway, upstream):
            tasks = await fill(gateway, upstream, 4)
            answers = await asyncio.gather(*(post(gateway, "{ impatient { step } }") for _ in range(20)))
            assert {answer.status_code for answer in answers} == {200}
            await leave(tasks)

    run(scenario)


def test_places_are_kept_for_what_matters_and_what_matters_least_is_refused_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, "max_in_flight: 10", is_ranked=True) as (gateway, upstream):
            statuses = []
            tasks = await fill(gateway, upstream, 5)
            statuses.append([(await post(gateway, query)).status_code for query in (REPORT, "{ impatient { step } }", URGENT)])
            tasks += await fill(gateway, upstream, 4)
            statuses.append([(await post(gateway, query)).status_code for query in (REPORT, "{ impatient { step } }", URGENT)])
            assert statuses == [[503, 200, 200], [503, 503, 200]]
            both = "query { report { step } ...F } fragment F on Query { ... { urgent { step } } }"
            assert (await post(gateway, both)).status_code == 200
            await leave(tasks)

    run(scenario)


def shares_of(folder: Path, *, is_ranked: bool) -> PriorityShares:
    text = config_text("http://127.0.0.1:1", "max_in_flight: 1", is_ranked=is_ranked)
    return PriorityShares(load(write_files(folder, {"graph.yaml": text}), STEP_TYPES))


def test_a_priority_always_has_a_place_and_without_priorities_there_is_but_one_share(tmp_path: Path) -> None:
    ranked = shares_of(tmp_path / "ranked", is_ranked=True)
    assert [ranked.of(priority).places for priority in Priority] == [1, 1, 1]
    plain = shares_of(tmp_path / "plain", is_ranked=False)
    assert (plain.is_ranked, plain.largest, ranked.largest) == (False, plain.of(Priority.NORMAL), ranked.of(Priority.HIGH))


# -- the event loop

LOW, MIDDLE, HIGH = PriorityShare(100, -1.0), PriorityShare(100, 0.015), PriorityShare(100, 0.04)


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop with a manual clock: blocking it takes as long as the test says."""

    now = 1000.0

    def time(self) -> float:
        return self.now


class BlockedAdmission:
    """Admission in an event loop that the test blocks."""

    def __init__(self) -> None:
        self.admission = Admission()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ManualLoop)
        self._loop = loop

    def block(self, seconds: float) -> None:
        """Let time pass within an iteration."""
        self._loop.now += seconds

    async def long_iteration(self) -> None:
        """Run an iteration that takes too long."""
        self.block(LONG_ITERATION * 1.5)
        await asyncio.sleep(0)

    def rejects(self, *shares: PriorityShare) -> list[bool]:
        """Tell for each share whether a request is rejected now."""
        return [not self.admission.admits(self._loop.now, share) for share in shares]


def run_blocked(scenario: Callable[[BlockedAdmission], Awaitable[None]]) -> None:
    async def within() -> None:
        await scenario(BlockedAdmission())

    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        runner.run(within())


def test_a_burst_is_let_in_and_only_when_turns_stay_long_is_anybody_refused() -> None:
    async def scenario(blocked: BlockedAdmission) -> None:
        assert blocked.rejects(LOW) == [False]
        await blocked.long_iteration()
        assert blocked.rejects(LOW) == [False]
        await blocked.long_iteration()
        assert blocked.rejects(LOW) == [True]

    run_blocked(scenario)


def test_under_pressure_each_priority_has_its_part_of_a_turn_so_that_the_loop_is_never_without_work() -> None:
    async def scenario(blocked: BlockedAdmission) -> None:
        blocked.rejects(LOW)
        for _ in range(3):
            await blocked.long_iteration()
        assert blocked.rejects(LOW, MIDDLE, HIGH) == [True, False, False]
        blocked.block(0.02)
        assert blocked.rejects(LOW, MIDDLE, HIGH) == [True, True, False]
        blocked.block(0.03)
        assert blocked.rejects(LOW, MIDDLE, HIGH) == [True, True, True]
        assert blocked.admission.rejected == {"pressure": 6}
        await blocked.long_iteration()
        assert blocked.rejects(LOW, MIDDLE, HIGH) == [True, False, False]

    run_blocked(scenario)


def test_one_short_turn_ends_the_pressure() -> None:
    async def scenario(blocked: BlockedAdmission) -> None:
        blocked.rejects(LOW)
        for _ in range(3):
            await blocked.long_iteration()
        assert blocked.rejects(LOW) == [True]
        await asyncio.sleep(0)
        assert blocked.rejects(LOW) == [False]

    run_blocked(scenario)


def test_a_loop_that_keeps_up_is_looked_at_now_and_then_alone() -> None:
    async def scenario(blocked: BlockedAdmission) -> None:
        looks = 0
        for _ in range(1000):
            blocked.rejects(LOW)
            looks += blocked.admission._lag.is_measuring
            await asyncio.sleep(0)
            blocked.block(0.0001)
        assert 20 < looks < 100

    run_blocked(scenario)


# -- deadlines


async def slow_body(url: str, query: str, seconds: float) -> tuple[int, Any]:
    """Send the body of a request some seconds after its head; return status and answer."""
    address = urlsplit(url)
    body = json.dumps({"query": query}).encode()
    head = "POST /graphql HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n"
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body))
    await asyncio.sleep(seconds)
    writer.write(body)
    head_back, _, content = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head_back.split()[1]), json.loads(content)


def test_a_request_whose_time_is_over_before_it_begins_is_told_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, "") as (gateway, _):
            status, answer = await slow_body(gateway.url, "{ impatient { step } }", 0.4)
            assert (status, answer["errors"][0]["extensions"]["code"], answer.keys()) == (504, "GATEWAY_TIMEOUT", {"errors"})
            assert (await slow_body(gateway.url, "{ urgent { step } }", 0.4))[0] == 200

    run(scenario)


def test_no_request_takes_longer_than_any_may(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, "request_timeout_ms: 300") as (gateway, _):
            answer = await gateway.ask("{ normal { step } urgent { step } }")
            assert answer.data == {"normal": {"step": None}, "urgent": {"step": "there"}}
            assert answer.codes == ["GATEWAY_TIMEOUT"]
            assert answer.seconds < 3 + SLACK

    run(scenario)


# -- health


async def health(gateway: Gateway, path: str = "/health/ready") -> tuple[int, str]:
    answer = await gateway.client.get(gateway.url + path)
    return answer.status_code, answer.json()["status"]


@pytest.mark.parametrize("prefix", ["/health", ""])
def test_it_is_ready_whatever_its_upstreams_and_its_next_configuration_are(tmp_path: Path, prefix: str) -> None:
    async def scenario() -> None:
        folder = write_files(tmp_path, {"graph.yaml": config_text(f"http://127.0.0.1:{refused_port()}")})
        async with serving(folder) as gateway:
            assert (await gateway.ask(URGENT)).codes == ["SUBREQUEST_HTTP_ERROR"]
            (folder / "graph.yaml").write_text("operation: [", "utf-8")
            await asyncio.sleep(0.6)
            assert await health(gateway, f"{prefix}/ready") == (200, "ready")
            assert await health(gateway, f"{prefix}/live") == (200, "live")

    run(scenario)


def test_after_many_refusals_it_says_for_a_while_that_it_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.serve.admission.admission.NOT_READY_SECONDS", 1.0)

    async def scenario() -> None:
        async with loaded(tmp_path, "max_in_flight: 1") as (gateway, upstream):
            tasks = await fill(gateway, upstream, 1)
            for _ in range(MANY_REJECTIONS):
                assert (await post(gateway, URGENT)).status_code == 503
            assert await health(gateway) == (200, "ready")
            assert (await post(gateway, URGENT)).status_code == 503
            assert await health(gateway) == (503, "overloaded")
            assert await health(gateway, "/health/live") == (200, "live")
            await asyncio.sleep(1.1)
            assert await health(gateway) == (200, "ready")
            await leave(tasks)

    run(scenario)


class EmbeddedServer(Server):
    """A server inside the test process, which must not exit."""

    def exit_after(self, seconds: float) -> None:
        pass


def test_while_the_configuration_is_loaded_the_port_answers_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_load = asyncio.Event()

    @asynccontextmanager
    async def slowly(*arguments: Any, **keywords: Any) -> AsyncIterator[Any]:
        await may_load.wait()
        async with serve_folder(*arguments, **keywords) as served:
            yield served

    monkeypatch.setattr(gateway.process.app, "serve_folder", slowly)
    text = config_text("http://127.0.0.1:1", "drain_delay_ms: 0")

    async def scenario() -> None:
        app = create_app(write_files(tmp_path, {"graph.yaml": text}))
        config = uvicorn.Config(app, http=GatewayProtocol, ws="none", log_config=None, access_log=False, proxy_headers=False)
        server = EmbeddedServer(config, app.edge, is_development=False)
        bound = bind("127.0.0.1", 0)
        running = asyncio.create_task(server._serve([bound]))
        async with httpx.AsyncClient(trust_env=False) as client:
            started = Gateway(f"http://127.0.0.1:{bound.getsockname()[1]}", client)
            assert await health(started) == (503, "loading")
            assert (await post(started, NORMAL)).status_code == 503
            assert await health(started, "/health/live") == (200, "live")
            may_load.set()

            async def is_ready() -> bool:
                return await health(started) == (200, "ready")

            await until(is_ready, 10)
            app.edge.is_draining = True
            assert await health(started) == (503, "draining")
        await running

    run(scenario)


def test_a_loop_that_was_held_for_two_seconds_answers_its_health_check_then(tmp_path: Path) -> None:
    blocking = 'operation: block\nsteps: [ { name: step, type: python, call: "tests.serve.test_admission:block" } ]\n'
    folder = write_files(tmp_path / "config", {"graph.yaml": blocking})

    async def scenario(url: str) -> float:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            asking = asyncio.create_task(client.post(f"{url}/graphql", json={"query": "{ block { step } }"}))
            await asyncio.sleep(0.3)
            answer = await client.get(f"{url}/health/live")
            assert answer.status_code == (await asking).status_code == 200
            return answer.elapsed.total_seconds()

    with serve_command(tmp_path, folder) as process:
        assert 1 < asyncio.run(scenario(process.url)) < 3


async def block() -> int:
    """Block the event loop for two seconds."""
    time.sleep(2)  # noqa: ASYNC251 - blocking is the point
    return 1


def test_slow_answers_are_no_overload(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FaultServer() as upstream:
            upstream.script("/hanging", Delay(0.3, Json(1)))
            text = config_text(upstream.url)
            async with serving(write_files(tmp_path, {"graph.yaml": text})) as started:
                answers = await asyncio.gather(*(post(started, NORMAL) for _ in range(200)))
                assert {answer.status_code for answer in answers} == {200}

    run(scenario)
