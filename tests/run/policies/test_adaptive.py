"""Adaptive concurrency: the limit approaches the capacity of an upstream, and follows it when it changes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.contract import Call, CallContext, Inputs, Reply, RequestContext
from gateway.errors import StepFault
from gateway.run.policies import SourceState, new_state
from gateway.run.policies.adaptive import Adaptive, with_adaptive
from gateway.run.policies.attempt import with_attempt
from gateway.settings import SourceKeys
from gateway.settings.policies import AdaptiveKeys
from tests.kit import virtual
from tests.oracle import blueprint_of

STEP = blueprint_of("{ operation: o, steps: [{ name: a, type: act, timeout_ms: 60000 }] }").operations["o"].steps["a"]


@dataclass(slots=True)
class Upstream:
    """Answers after ``seconds`` while it has at most ``room`` calls; with more, each takes longer in proportion."""

    room: int
    seconds: float = 0.2
    under_way: int = 0
    most: int = 0

    async def call(self, _inputs: Inputs, _context: CallContext) -> Reply:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.seconds * max(1.0, self.under_way / self.room))
        self.under_way -= 1
        return Reply(None)


def guarded(call: Call, state: SourceState) -> Call:
    """Return a call with a bulkhead whose capacity follows the latency."""
    return with_attempt(with_adaptive(call, STEP, state), STEP, state)


def under_load(
    upstream: Upstream, clients: int, seconds: float, keys: str = "", then: Callable[[], None] = lambda: None
) -> list[int]:
    """Let clients make calls for some seconds; return the limit at every tenth of that time. ``then`` is called after half of it."""
    adaptive: dict[str, Any] = {"min": 5}
    source = SourceKeys.model_validate(
        {"type": "act", "concurrency": 200, "queue": 1000, "queue_timeout_ms": 3_600_000, "adaptive": adaptive}
    )

    async def play() -> list[int]:
        state = new_state(source)
        call = guarded(upstream.call, state)
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(_client(call, seconds)) for _ in range(clients)]
        loop.call_at(seconds / 2, then)
        limits = []
        for tenth in range(1, 11):
            await asyncio.sleep(seconds * tenth / 10 - loop.time())
            limits.append(state["bulkhead"].capacity)
        await asyncio.gather(*tasks)
        assert (state["bulkhead"].in_use, state["bulkhead"].waiting) == (0, 0)
        return limits

    return virtual.run(play())


async def _client(call: Call, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < seconds:
        await call({}, CallContext(RequestContext("r", {}, loop.time()), 1e9))


@pytest.mark.parametrize("room", [10, 40])
def test_the_limit_comes_to_little_more_than_what_the_upstream_can_do_at_once(room: int) -> None:
    limits = under_load(Upstream(room), clients=150, seconds=40)
    assert all(room <= limit <= 2 * room + 5 for limit in limits[3:]), limits


def test_an_upstream_with_room_for_all_gets_all() -> None:
    assert under_load(Upstream(1000), clients=250, seconds=20)[-1] == 200


def test_the_limit_follows_when_the_upstream_can_do_more_or_less() -> None:
    upstream = Upstream(20)
    limits = under_load(upstream, 150, 160, then=lambda: setattr(upstream, "room", 60))
    assert 20 <= limits[4] <= 45, limits
    assert 60 <= limits[-1] <= 125, limits


def test_an_upstream_that_has_become_slower_is_not_called_less_and_less() -> None:
    upstream = Upstream(40)
    limits = under_load(upstream, 150, 160, then=lambda: setattr(upstream, "seconds", 0.8))
    assert limits[-1] >= 40, limits


def test_the_limit_does_not_grow_while_it_is_not_what_holds_calls_back() -> None:
    adaptive = Adaptive(AdaptiveKeys(min=5), 200)

    def twenty(began: float, seconds: float, in_use: int) -> int:
        for _ in range(20):
            adaptive.record(began, began + seconds, in_use)
        return adaptive.limit

    assert adaptive.limit == 5
    assert twenty(0.0, 0.1, 5) == 200, "it has learnt how long calls take"
    slow = twenty(1.0, 1.0, 200)
    assert 100 < slow < 120, "no more than half is taken away at once"
    assert twenty(3.0, 0.1, 20) == slow
    assert twenty(4.0, 0.1, slow) > slow


@pytest.mark.parametrize("error", [StepFault, ZeroDivisionError, asyncio.CancelledError])
def test_calls_that_fail_give_their_places_back_and_say_nothing_of_the_time_that_calls_take(error: type[BaseException]) -> None:
    async def fail(_inputs: Inputs, _context: CallContext) -> Reply:
        raise error("DOWNSTREAM_SERVICE_ERROR")

    async def play() -> None:
        state = new_state(SourceKeys.model_validate({"type": "act", "adaptive": {}}))
        call = guarded(fail, state)
        for _ in range(100):
            # A CancelledError of the call itself, which nobody has cancelled, is a fault like any other.
            with pytest.raises(StepFault if error is asyncio.CancelledError else error):
                await call({}, CallContext(RequestContext("r", {}, 0.0), 1e9))
        assert (state["bulkhead"].in_use, state["bulkhead"].capacity) == (0, 5)
        assert state["adaptive"].base_latency is None

    virtual.run(play())
