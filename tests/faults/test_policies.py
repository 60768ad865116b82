"""An upstream that always fails, hangs, or is sometimes slow, and the effect on the others.

Rows U-04 (what is sent), U-12, U-13, U-15 and U-19 of the reliability cases, over real sockets. Every test has paths and a source of its own.
"""

import asyncio
import time

import pytest

from tests.faults import Behaviour, CloseWithoutAnswer, Delay, Hang, Hold, Json, Status
from tests.kit.serving import Answer, Stage
from tests.kit.timing import SLACK

SOURCES = {
    "insistent": "retry: { attempts: 3, base_ms: 1 }, breaker: { enabled: false }",
    "guarded": "retry: { attempts: 1 }, breaker: { open_ms: 2000 }",
    "stubborn": "retry: { attempts: 1 }, breaker: { open_ms: 1000 }",
    "abandoned": "retry: { attempts: 1 }, breaker: { open_ms: 1000 }",
    "patient": "retry: { attempts: 1 }, breaker: { open_ms: 60000 }",
    "rude": "retry: { attempts: 1 }, breaker: { open_ms: 60000 }",
    "falling": "retry: { attempts: 1 }, breaker: { open_ms: 60000 }, dedupe: true",
    "tight": "retry: { attempts: 1 }, concurrency: 20, queue: 20, queue_timeout_ms: 1000, breaker: { enabled: false }",
    "calm": "retry: { attempts: 1 }",
    "hedged": "retry: { attempts: 1 }, hedge: { min_samples: 20 }",
    "told": "send_deadline: true, retry: { attempts: 2, base_ms: 1 }, timeout_ms: 2000",
}
CONFIG = {
    "graph.yaml": "sources:\n"
    + "".join(f"  {name}: {{ type: api, base_url: UPSTREAM, {keys} }}\n" for name, keys in SOURCES.items())
    + "".join(
        f"""---
operation: {name}
args: {{ path: ID! }}
deadline_ms: 30000
steps:
  - {{ name: call, type: api, source: {name}, endpoint: "/{{path}}" }}
  - {{ name: other, type: api, source: {name}, endpoint: "/other/{{path}}" }}
"""
        for name in SOURCES
    )
    + """---
operation: rescued
args: { path: ID! }
steps:
  - { name: call, type: api, source: falling, endpoint: "/{path}", fallback: [ { stale_ms: 60000 } ] }
  - { name: constant, type: api, source: falling, endpoint: "/other/{path}", fallback: [ { value: 7 } ] }
---
operation: hanging
args: { path: ID! }
deadline_ms: 2500
steps: [ { name: call, type: api, source: tight, endpoint: "/{path}" } ]
---
operation: cut
args: { path: ID! }
deadline_ms: 2000
steps: [ { name: call, type: api, source: patient, endpoint: "/{path}" } ]
---
operation: chained
args: { path: ID! }
deadline_ms: 1000
steps:
  - { name: first, type: api, source: told, endpoint: "/{path}" }
  - { name: second, type: api, source: told, endpoint: "/{path}", query: { n: 2 }, depends_on: [first] }
""",
}
REJECTED = "SUBGRAPH_CIRCUIT_BREAKER_REJECTED"


async def ask(stage: Stage, operation: str, path: str, field: str = "call") -> Answer:
    return await stage.production.ask(f'{{ {operation}(path: "{path}") {{ {field} }} }}')


async def ask_many(stage: Stage, operation: str, path: str, count: int, field: str = "call") -> list[Answer]:
    return await asyncio.gather(*(ask(stage, operation, path, field) for _ in range(count)))


# -- the retry budget (U-12)


@pytest.mark.case("U-12")
def test_a_source_that_always_fails_gets_a_fifth_more_calls_than_there_are_requests(stage: Stage) -> None:
    stage.upstream.script("/down", Status(503))

    async def scenario() -> list[Answer]:
        return [answer for _ in range(10) for answer in await ask_many(stage, "insistent", "down", 20)]

    answers = stage.run(scenario)
    assert {answer.fault[0] for answer in answers} == {"SUBREQUEST_HTTP_ERROR"}
    assert 200 < stage.upstream.count("/down") <= 240 + 3


# -- the circuit breaker (U-13)


async def open_breaker(stage: Stage, source: str, path: str) -> None:
    """Let twenty calls fail, which opens the circuit breaker."""
    stage.upstream.script(f"/{path}", Status(503))
    answers = await ask_many(stage, source, path, 20)
    assert {answer.fault[0] for answer in answers} == {"SUBREQUEST_HTTP_ERROR"}


@pytest.mark.case("U-13")
def test_a_source_that_fails_is_not_called_whatever_the_path_until_one_call_has_succeeded(stage: Stage) -> None:
    async def scenario() -> None:
        await open_breaker(stage, "guarded", "failing")
        before = len(stage.upstream.requests)
        rejected = [*await ask_many(stage, "guarded", "failing", 10), *await ask_many(stage, "guarded", "elsewhere", 10, "other")]
        assert {answer.fault[0] for answer in rejected} == {REJECTED}
        assert "http" not in rejected[0].error["extensions"]
        assert "not called" in rejected[0].error["message"]
        assert len(stage.upstream.requests) == before
        assert (await ask(stage, "calm", "quick")).data == {"calm": {"call": "quick"}}, "another source goes on"
        await asyncio.sleep(2.05)
        held = Hold(Json("back"))
        stage.upstream.script("/failing", held, Json("back"))
        trying = asyncio.create_task(ask(stage, "guarded", "failing"))
        await stage.upstream.wait_requests("/failing", 21, 20)
        assert {answer.fault[0] for answer in await ask_many(stage, "guarded", "failing", 30)} == {REJECTED}
        assert stage.upstream.count("/failing") == 21, "one call tries"
        held.gate.set()
        assert (await trying).data == {"guarded": {"call": "back"}}
        assert [answer.codes for answer in await ask_many(stage, "guarded", "failing", 30)] == [[]] * 30

    stage.run(scenario)


def test_a_call_that_tries_and_fails_leaves_the_source_given_up(stage: Stage) -> None:
    async def scenario() -> None:
        await open_breaker(stage, "stubborn", "failing-still")
        await asyncio.sleep(1.05)
        codes = [(await ask(stage, "stubborn", "failing-still")).fault[0] for _ in range(3)]
        assert codes == ["SUBREQUEST_HTTP_ERROR", REJECTED, REJECTED]
        assert stage.upstream.count("/failing-still") == 21

    stage.run(scenario)


@pytest.mark.case("U-13")
def test_a_call_that_tries_and_whose_client_leaves_frees_the_place_for_the_next(stage: Stage) -> None:
    async def scenario() -> None:
        await open_breaker(stage, "abandoned", "left")
        stage.upstream.script("/left", Hang())
        await asyncio.sleep(1.05)
        leaving = asyncio.create_task(ask(stage, "abandoned", "left"))
        await stage.upstream.wait_requests("/left", 21, 20)
        leaving.cancel()
        await stage.upstream.wait_closed(stage.upstream.requests[-1].connection, 20)
        stage.upstream.script("/left", Json("back"))
        await asyncio.sleep(0.05)
        assert (await ask(stage, "abandoned", "left")).data == {"abandoned": {"call": "back"}}

    stage.run(scenario)


@pytest.mark.parametrize("status", [400, 404, 429])
def test_statuses_that_blame_the_call_never_open_it(stage: Stage, status: int) -> None:
    async def scenario() -> None:
        stage.upstream.script(f"/blames-{status}", Status(status))
        for _ in range(2):
            answers = await ask_many(stage, "calm", f"blames-{status}", 30)
            assert {answer.fault[0] for answer in answers} == {"SUBREQUEST_HTTP_ERROR"}

    stage.run(scenario)


def test_clients_that_leave_never_open_it(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/slow", Hang())
        await ask_many(stage, "calm", "quick", 5)
        leaving = [asyncio.create_task(ask(stage, "calm", "slow")) for _ in range(30)]
        await stage.upstream.wait_requests("/slow", 30, 20)
        for task in leaving:
            task.cancel()
        await stage.upstream.wait_closed("/slow", 20)
        assert (await ask(stage, "calm", "quick")).codes == []

    stage.run(scenario)


@pytest.mark.parametrize(
    ("operation", "behaviour", "code"),
    [("cut", Hang(), "GATEWAY_TIMEOUT"), ("rude", CloseWithoutAnswer(), "SUBREQUEST_HTTP_ERROR")],
)
def test_a_source_that_hangs_until_the_deadline_or_closes_is_given_up_as_well(
    stage: Stage, operation: str, behaviour: Behaviour, code: str
) -> None:
    path = type(behaviour).__name__

    async def scenario() -> None:
        stage.upstream.script(f"/{path}", behaviour)
        assert {answer.fault[0] for answer in await ask_many(stage, operation, path, 20)} == {code}
        assert (await ask(stage, operation, path)).fault[0] == REJECTED

    stage.run(scenario)


def test_fallbacks_and_last_good_values_stand_in_for_a_source_that_is_given_up(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/kept", Json("kept"), Status(500))
        stage.upstream.script("/other/kept", Json("other"), Status(500))
        await stage.production.ask('{ rescued(path: "kept") { call constant } }')
        for _ in range(25):
            await ask(stage, "falling", "kept", "call other")
        before = len(stage.upstream.requests)
        answer = await stage.production.ask('{ rescued(path: "kept") { call constant } }')
        assert (answer.data, answer.codes) == ({"rescued": {"call": "kept", "constant": 7}}, [])
        assert answer.degraded == [("call", "stale", REJECTED), ("constant", "value", REJECTED)]
        assert len(stage.upstream.requests) == before

    stage.run(scenario)


# -- the bulkhead (U-15)


@pytest.mark.case("U-15")
def test_an_upstream_that_hangs_takes_its_places_and_nothing_else(stage: Stage) -> None:
    stage.upstream.script("/hangs", Hang())

    async def beside() -> list[float]:
        seconds = []
        for _ in range(20):
            answer = await ask(stage, "calm", "quick")
            assert answer.codes == []
            seconds.append(answer.seconds)
            await asyncio.sleep(0.02)
        return seconds

    async def scenario() -> tuple[list[Answer], list[float]]:
        hanging = [asyncio.create_task(ask(stage, "hanging", "hangs")) for _ in range(60)]
        seconds = await beside()
        assert sum(request.connection.closed_at is None for request in stage.upstream.requests if request.path == "/hangs") <= 20
        return await asyncio.gather(*hanging), seconds

    answers, seconds = stage.run(scenario)
    refused = [answer.seconds for answer in answers if answer.fault[0] == "REQUEST_LIMIT_EXCEEDED"]
    assert len(refused) >= 20, "there was no room for them in the queue"
    assert sorted(refused)[5] < 0.05 + SLACK
    assert {answer.fault[0] for answer in answers} == {"REQUEST_LIMIT_EXCEEDED", "GATEWAY_TIMEOUT"}
    assert sorted(seconds)[len(seconds) // 2] < 0.1 + SLACK
    stage.run(lambda: stage.upstream.wait_closed("/hangs", 0.1 + SLACK))


# -- hedges, case U-19


@pytest.mark.case("U-19")
def test_a_call_that_is_slow_for_once_is_made_once_more_and_the_loser_s_socket_is_closed(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/usual", Json("usual"))
        for _ in range(6):
            await ask_many(stage, "hedged", "usual", 10)
        slow = Delay(20, Json("slow"))
        before = stage.upstream.count("/usual")
        stage.upstream.script("/usual", slow, Json("second"))
        began = time.perf_counter()
        answer = await ask(stage, "hedged", "usual")
        assert answer.data == {"hedged": {"call": "second"}}
        assert time.perf_counter() - began < 5
        assert stage.upstream.count("/usual") == before + 2
        loser = next(request for request in reversed(stage.upstream.requests[:-1]) if request.path == "/usual")
        await stage.upstream.wait_closed(loser.connection, 0.1 + SLACK)

    stage.run(scenario)


# -- the remaining time (U-04)


@pytest.mark.case("U-04")
def test_an_upstream_is_told_for_how_long_its_answer_is_waited_for_where_the_source_says_so(stage: Stage) -> None:
    async def scenario() -> None:
        stage.upstream.script("/told", Json(1, delay=0.3), Status(503), Json(2))
        assert (await ask(stage, "chained", "told", "first second")).codes == []
        await ask(stage, "told", "told")
        await ask(stage, "calm", "told")

    stage.run(scenario)
    headers = [
        dict(request.headers).get("x-request-deadline-ms") for request in stage.upstream.requests if request.path == "/told"
    ]
    first, second, again, own, untold = headers
    assert untold is None
    assert 300 < int(first or 0) <= 1000
    assert 0 < int(again or 0) <= int(second or 0) <= int(first or 0) - 300
    assert 1000 < int(own or 0) <= 2000
