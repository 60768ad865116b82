"""The bulkhead of a source: how many calls run, how many wait and for how long, and that every place is freed."""

import asyncio
from typing import Any

import pytest

from gateway.contract import CallContext, RequestContext
from gateway.errors import Code, StepFault
from gateway.run.policies.bulkhead import Bulkhead
from tests.kit import virtual
from tests.oracle import HANGS, Part, Stage
from tests.run.policies import BUSY, DONE, Ask, ask, fault_of


def test_no_more_calls_are_under_way_than_there_are_places_and_the_others_wait_in_order() -> None:
    stage = Stage({"a": Part(after=10)})

    async def act(call: Ask) -> None:
        await asyncio.gather(*(call() for _ in range(7)))

    ask(stage, act, source="concurrency: 3")
    assert [attempt.began for attempt in stage.attempts] == [0, 0, 0, 10, 10, 10, 20]


def test_a_call_that_finds_the_queue_full_is_refused_at_once() -> None:
    stage = Stage({"a": Part(after=100)})

    async def act(call: Ask) -> list[tuple[str, str, float]]:
        running = [asyncio.ensure_future(call()) for _ in range(3)]
        await asyncio.sleep(0.01)
        refused = [await fault_of(call()) for _ in range(2)]
        await asyncio.gather(*running)
        await call()
        return refused

    found = ask(stage, act, source="concurrency: 1, queue: 2, retry: { attempts: 3 }")
    assert found == [(Code.REQUEST_LIMIT_EXCEEDED, "", 10)] * 2
    assert len(stage.attempts) == 4


def test_without_a_queue_a_call_is_refused_unless_there_is_a_place() -> None:
    async def act(call: Ask) -> Any:
        return await asyncio.gather(call(), fault_of(call()))

    _, refused = ask(Stage({"a": Part(after=10)}), act, source="concurrency: 1, queue: 0")
    assert refused == (Code.REQUEST_LIMIT_EXCEEDED, "", 0)


def test_a_wait_for_a_place_ends_at_the_deadline_and_leaves_the_queue() -> None:
    stage = Stage({"a": Part(after=100)})

    async def act(call: Ask) -> list[Any]:
        first = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        late = [await fault_of(call(deadline=50)), await fault_of(call(deadline=70))]
        return [*late, (await call()).value, (await first).value]

    found = ask(stage, act, source="concurrency: 1, queue: 1, retry: { attempts: 1 }")
    assert found == [(Code.GATEWAY_TIMEOUT, "", 50), (Code.GATEWAY_TIMEOUT, "", 70), "a", "a"]
    assert [attempt.began for attempt in stage.attempts] == [0, 100]


@pytest.mark.parametrize("part", [DONE, BUSY, Part(after=10, raises=ZeroDivisionError()), HANGS])
def test_a_place_is_given_back_however_a_call_ends(part: Part) -> None:
    stage = Stage({"a": [part, part, Part("done")]})

    async def act(call: Ask) -> object:
        await asyncio.gather(call(), call(), return_exceptions=True)
        return (await call()).value

    assert ask(stage, act, source="concurrency: 1, retry: { attempts: 1 }", step="timeout_ms: 20") == "done"


def test_places_and_turns_are_given_back_by_calls_that_are_cancelled() -> None:
    stage = Stage({"a": [HANGS, HANGS, Part("done")]})

    async def act(call: Ask) -> object:
        running, waiting, last = (asyncio.ensure_future(call()) for _ in range(3))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0.01)
        running.cancel()
        next_one = asyncio.ensure_future(call())
        await asyncio.sleep(0.01)
        last.cancel()
        await asyncio.wait([running, waiting, last])
        return (await next_one).value

    assert ask(stage, act, source="concurrency: 1, queue: 2", step="timeout_ms: 1000") == "done"
    assert [(attempt.began, attempt.ending) for attempt in stage.attempts] == [
        (0, "cancelled"),
        (20, "cancelled"),
        (30, "given"),
    ]


def test_a_place_is_free_while_a_call_waits_for_its_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    stage = Stage({"a": [BUSY, DONE, DONE]})

    async def act(call: Ask) -> None:
        await asyncio.gather(call(), call())

    ask(stage, act, source="concurrency: 1", step="retry: { attempts: 2, base_ms: 50 }")
    assert [attempt.began for attempt in stage.attempts] == [0, 10, 60]


def test_what_was_waited_is_noted_for_every_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    stage = Stage({"a": [Part(after=40), BUSY, DONE]})
    context = CallContext(RequestContext("r", {}, 0.0), 30.0)

    async def act(call: Ask) -> None:
        first = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        await call(context=context)
        await first

    ask(stage, act, source="concurrency: 1", step="retry: { attempts: 2, base_ms: 20 }")
    assert context.queued == pytest.approx(0.04)
    assert (context.waiting_since, context.attempts) == (None, 2)


def until(deadline: float) -> CallContext:
    return CallContext(RequestContext("r", {}, 0.0), deadline)


def test_a_place_that_comes_free_at_the_deadline_is_not_lost() -> None:
    async def act() -> None:
        bulkhead = Bulkhead(1, 5, max_wait=60)
        assert bulkhead.take()
        asyncio.get_running_loop().call_at(0.05, bulkhead.release)
        ends = await asyncio.gather(*(bulkhead.wait(until(0.05)) for _ in range(3)), return_exceptions=True)
        for _ in range(ends.count(None)):
            bulkhead.release()
        assert bulkhead.take()
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)
        with pytest.raises(StepFault):
            await bulkhead.wait(until(0.06))

    virtual.run(act())


def test_a_place_that_comes_free_in_the_moment_of_a_cancellation_goes_to_the_next() -> None:
    async def act() -> None:
        bulkhead = Bulkhead(1, 5, max_wait=60)
        assert bulkhead.take()
        leaving, staying = (asyncio.ensure_future(bulkhead.wait(until(9.0))) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        bulkhead.release()
        await staying
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)

    virtual.run(act())


def test_a_call_waits_no_longer_than_the_queue_s_own_timeout() -> None:
    stage = Stage({"a": Part(after=1000)})

    async def act(call: Ask) -> list[Any]:
        first = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        refused = await fault_of(call())
        return [refused, await first, call.state["bulkhead"]]

    refused, _, bulkhead = ask(stage, act, source="concurrency: 1, queue_timeout_ms: 300")
    assert refused == (Code.REQUEST_LIMIT_EXCEEDED, "", 300)
    assert (bulkhead.rejected, bulkhead.waiting, bulkhead.in_use) == (1, 0, 0)
    assert len(stage.attempts) == 1


def test_what_the_bulkhead_refuses_is_not_repeated() -> None:
    stage = Stage({"a": Part(after=1000)})

    async def act(call: Ask) -> Any:
        return await asyncio.gather(call(), fault_of(call()))

    ask(stage, act, source="concurrency: 1, queue: 0, retry: { attempts: 3, errors: [timeout, connect, 503] }")
    assert len(stage.attempts) == 1


def test_with_more_places_those_who_wait_go_on_and_with_fewer_nobody_is_cut_off() -> None:
    async def act() -> None:
        bulkhead = Bulkhead(1, 5, max_wait=60)
        assert bulkhead.take()
        waiting = [asyncio.ensure_future(bulkhead.wait(until(9.0))) for _ in range(3)]
        await asyncio.sleep(0)
        bulkhead.resize(3)
        assert (bulkhead.in_use, bulkhead.waiting) == (3, 1)
        bulkhead.resize(1)
        bulkhead.release()
        bulkhead.release()
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 1)
        bulkhead.release()
        await asyncio.gather(*waiting)
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 0)

    virtual.run(act())
