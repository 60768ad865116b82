"""Sources that fail for long or hang, behind a gateway process: what the policies stop, and what other clients notice (rows U-12 to U-19)."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults import Delay, Hang, Json, Status
from tests.faults.crowd import Tally, all_at_once, closed_loop, open_loop, request
from tests.faults.probes import connections_to
from tests.faults.served import Served, in_background
from tests.kit.timing import SLACK

case = pytest.mark.case
OPEN = 1.0
"""Seconds of the configuration's ``open_ms: 1000``."""
SLOW = 0.3
BULKHEAD, QUEUE = 100, 100

GUARDED = {
    "graph.yaml": """
sources:
  failing: { type: api, base_url: UPSTREAM, retry: { attempts: 3, base_ms: 1, cap_ms: 2 }, breaker: { enabled: false } }
  fragile: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, breaker: { open_ms: 1000 } }
  other: { type: api, base_url: UPSTREAM, retry: { attempts: 1 } }
  hedged: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, hedge: { max_percent: 5 } }
---
operation: retried
steps: [ { name: call, type: api, source: failing, endpoint: /down } ]
---
operation: broken
args: { path: ID! }
steps: [ { name: call, type: api, source: fragile, endpoint: "/{path}", timeout_ms: 5000 } ]
---
operation: beside
args: { path: ID! }
steps: [ { name: call, type: api, source: other, endpoint: "/{path}" } ]
---
operation: twice
args: { path: ID! }
steps:
  - { name: call, type: api, source: hedged, endpoint: "/{path}", timeout_ms: 5000 }
  - { name: post, type: api, method: POST, source: hedged, endpoint: "/{path}", timeout_ms: 5000 }
"""
}
HANGING = {
    "graph.yaml": """
sources:
  a: { type: api, base_url: UPSTREAM, timeout_ms: 3000, retry: { attempts: 1 } }
  b: { type: api, base_url: UPSTREAM, retry: { attempts: 1 } }
---
operation: hangs
args: { id: ID! }
steps:
  - { name: call, type: api, source: a, endpoint: "/hangs/{id}" }
  - { name: long, type: api, source: a, endpoint: "/hangs/{id}", timeout_ms: 20000 }
---
operation: sound
steps: [ { name: call, type: api, source: b, endpoint: /sound } ]
"""
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("guarded"), GUARDED) as opened:
        yield opened


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("hanging"), HANGING) as opened:
        opened.upstream.script("/sound", Json("sound"))
        yield opened


# -- the retry budget


@case("U-12")
def test_retries_of_a_source_that_is_down_are_a_fifth_of_its_calls_at_the_most(guarded: Served) -> None:
    guarded.upstream.script("/down", Status(503))
    tally = guarded.run(lambda: closed_loop(guarded.port, 10, 1_000, lambda _: request("{ retried { call } }")))
    assert tally.statuses == {200: 1_000}
    assert 1_000 < guarded.upstream.count("/down") <= 1_203


# -- the circuit breaker


def broken(path: str) -> str:
    return f'{{ broken(path: "{path}") {{ call }} }}'


async def fail(guarded: Served, count: int = 20) -> None:
    """Let a source fail until its circuit breaker opens."""
    guarded.upstream.script("/failing", Status(500))
    for number in range(count):
        answer = await guarded.gateway.ask(broken("failing"))
        assert answer.codes == ["SUBREQUEST_HTTP_ERROR"], number


@case("U-13")
def test_a_source_that_fails_is_given_up_tried_once_after_a_while_and_taken_again(guarded: Served) -> None:
    async def scenario() -> None:
        await fail(guarded)
        guarded.upstream.script("/sound", Json("sound"))
        for path in ("failing", "sound"):  # the breaker is that of the source, not of the URL
            calls = guarded.upstream.count(f"/{path}")
            answer = await guarded.gateway.ask(broken(path))
            assert answer.fault == ("SUBGRAPH_CIRCUIT_BREAKER_REJECTED", "call", ["broken", "call"])
            assert answer.seconds < 0.005 + SLACK
            assert guarded.upstream.count(f"/{path}") == calls
        assert (await guarded.gateway.ask('{ beside(path: "sound") { call } }')).data == {"beside": {"call": "sound"}}
        for outcome in (Delay(0.2, Status(500)), Delay(0.2, Json("back"))):
            await asyncio.sleep(OPEN + 0.05)
            guarded.upstream.script("/probed", outcome)
            calls = guarded.upstream.count("/probed")
            answers = await all_at_once(guarded.port, [request(broken("probed"))] * 20)
            assert guarded.upstream.count("/probed") == calls + 1
            assert sum(answer.codes == ["SUBGRAPH_CIRCUIT_BREAKER_REJECTED"] for answer in answers) == 19
        assert (await guarded.gateway.ask(broken("sound"))).data == {"broken": {"call": "sound"}}

    guarded.run(scenario)


@case("U-13")
def test_what_is_the_client_s_own_does_not_count_against_a_source(guarded: Served) -> None:
    """Responses with a client error, and calls that were cancelled because the client disconnected."""

    async def scenario() -> None:
        guarded.upstream.script("/refusing", Status(404))
        guarded.upstream.script("/endless", Hang())
        guarded.upstream.script("/sound", Json("sound"))
        await asyncio.sleep(OPEN + 0.05)  # until a breaker that other tests opened admits calls again
        await guarded.gateway.ask(broken("sound"))
        for _ in range(30):
            assert (await guarded.gateway.ask(broken("refusing"))).codes == ["SUBREQUEST_HTTP_ERROR"]
        async with in_background(all_at_once(guarded.port, [request(broken("endless"))] * 30)):
            await guarded.upstream.wait_requests("/endless", 30, timeout=10)
        await guarded.upstream.wait_closed("/endless", 1 + SLACK)
        assert (await guarded.gateway.ask(broken("sound"))).data == {"broken": {"call": "sound"}}

    guarded.run(scenario)


# -- the bulkhead


async def lasting_connections(port: int) -> int:
    """Count the connections to a port that are open for longer than a turn of the event loop.

    When many calls time out in one turn, the next ones begin in it, and the old connections are closed in the next turn.
    """
    counts = []
    for _ in range(3):
        counts.append(connections_to(port))
        await asyncio.sleep(0.01)
    return min(counts)


@case("U-15")
def test_a_hanging_source_takes_its_places_and_queue_and_no_more(hanging: Served) -> None:
    hanging.upstream.script("/hangs/1", Hang())

    async def scenario() -> None:
        most = 0
        async with in_background(all_at_once(hanging.port, [request("{ hangs(id: 1) { call } }")] * 300)) as asking:
            await hanging.upstream.wait_requests("/hangs/1", BULKHEAD, timeout=5)
            assert (await hanging.gateway.ask("{ sound { call } }")).data == {"sound": {"call": "sound"}}
            while not asking.done():
                most = max(most, await lasting_connections(int(hanging.upstream.url.rpartition(":")[2])))
            answers = await asking
        assert BULKHEAD <= most <= BULKHEAD + 1  # one to the other source
        refused = [answer for answer in answers if answer.codes == ["REQUEST_LIMIT_EXCEEDED"]]
        assert all(answer.codes in (["REQUEST_LIMIT_EXCEEDED"], ["GATEWAY_TIMEOUT"]) for answer in answers)
        quick = [answer for answer in refused if answer.seconds < min(0.05 + SLACK, 1.9)]  # those in the queue wait for two
        assert len(quick) == 300 - BULKHEAD - QUEUE

    hanging.run(scenario)


@pytest.mark.load
@case("U-15", "O-10")
def test_beside_a_hanging_source_the_others_are_as_quick_as_before(hanging: Served) -> None:
    hanging.upstream.script("/hangs/2", Hang())
    sound = request("{ sound { call } }")

    async def scenario() -> tuple[float, float]:
        await closed_loop(hanging.port, 4, 500, lambda _: sound)
        before = await open_loop(hanging.port, 50, 10, lambda _: sound)

        async def hang() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(1_000):
                    group.create_task(all_at_once(hanging.port, [request("{ hangs(id: 2) { long } }")]))
                    await asyncio.sleep(0.002)  # that many clients that connect in one moment would be a load of another kind

        async with in_background(hang()):
            during: Tally = await open_loop(hanging.port, 50, 10, lambda _: sound)
        assert during.statuses == {200: 500}
        return before.percentile(0.99), during.percentile(0.99)

    before, during = hanging.run(scenario)
    assert during < 2 * before + 0.005 + SLACK / 20


# -- hedges


@case("U-19")
def test_a_slow_read_is_made_once_more_beside_it_and_the_first_answer_counts(guarded: Served) -> None:
    async def scenario() -> None:
        every_tenth = [*[Json("quick")] * 9, Json("quick", delay=SLOW)]  # so that 95 of 100 are fast
        guarded.upstream.script("/hedged", *every_tenth * 10)
        query = '{ twice(path: "hedged") { call } }'
        await closed_loop(guarded.port, 5, 100, lambda _: request(query))
        calls = guarded.upstream.count("/hedged")
        assert calls <= 105
        guarded.upstream.script("/hedged", Hang(), Json("second"))
        answer = await guarded.gateway.ask(query)
        assert answer.data == {"twice": {"call": "second"}}
        assert SLOW <= answer.seconds < 2 * SLOW + SLACK
        assert guarded.upstream.count("/hedged") == calls + 2
        guarded.upstream.script("/posted", Json("posted", delay=0.5))
        await guarded.gateway.ask('{ twice(path: "posted") { post } }')
        assert guarded.upstream.count("/posted") == 1

    guarded.run(scenario)
