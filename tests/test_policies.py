"""What is put around a call: its timeout, its place at the source, its retries; all inside the deadline (virtual time)."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from gateway.errors import Code, StepFault
from gateway.policies import ORDER, Bulkhead, with_bulkhead, with_retry, with_timeout
from gateway.resolver import CallContext, Reply, RequestContext
from tests import virtual
from tests.oracle import HANGS, Part, Stage, Theatre, now_ms, settle

REFUSED = Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect"))
BUSY = Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", status=503))
DONE = Part(gives="done", after=10)

Ask = Callable[..., Awaitable[Reply]]


def ask(stage: Stage, act: Callable[[Ask], Awaitable[Any]], *, step: str = "", source: str = "") -> Any:
    """Let `act` make calls of one step (deadlines in milliseconds) and return what it returns; nothing may be left running."""
    config = f"""
    sources: {{ stage: {{ type: act, {source} }} }}
    defaults: {{ act: stage }}
---
    {{ operation: o, steps: [{{ name: a, type: act, {step} }}] }}
    """

    async def play() -> Any:
        theatre = Theatre.open(config, stage)
        ((_, call),) = theatre.calls.items()

        def make(deadline: float = 30_000, context: CallContext | None = None) -> Awaitable[Reply]:
            made = context or CallContext(RequestContext("r", {}, 0.0), deadline / 1000)
            return call({}, made)

        result = await act(make)
        await settle()
        return result

    return virtual.run(play())


async def fault_of(call: Awaitable[Reply]) -> tuple[str, str, float]:
    """Return the code and the kind of the fault of a call, and when it came."""
    with pytest.raises(StepFault) as caught:
        await call
    return caught.value.code, caught.value.kind, now_ms()


def once(stage: Stage, deadline: float = 30_000, **config: str) -> tuple[Any, CallContext]:
    """Make one call; return its value, or the code of its fault, and its context."""
    context = CallContext(RequestContext("r", {}, 0.0), deadline / 1000)

    async def act(call: Ask) -> object:
        try:
            return (await call(context=context)).value
        except StepFault as fault:
            return fault.code

    return ask(stage, act, **config), context


def test_a_retry_is_around_the_wait_for_a_place_and_that_around_the_timeout() -> None:
    assert list(ORDER) == [with_timeout, with_bulkhead, with_retry]


# -- retry


@pytest.mark.parametrize(
    ("parts", "config", "attempts", "result"),
    [
        ([DONE], "attempts: 3", 1, "done"),
        ([BUSY, DONE], "attempts: 3", 2, "done"),
        ([BUSY, BUSY, DONE], "attempts: 3", 3, "done"),
        ([BUSY, BUSY, BUSY, DONE], "attempts: 3", 3, Code.SUBREQUEST_HTTP_ERROR),
        ([BUSY, DONE], "attempts: 1", 1, Code.SUBREQUEST_HTTP_ERROR),
        ([BUSY, DONE], "", 2, "done"),
        ([REFUSED, BUSY, DONE], "attempts: 3", 3, "done"),
        ([BUSY, DONE], "attempts: 3, errors: [connect]", 1, Code.SUBREQUEST_HTTP_ERROR),
        ([REFUSED, DONE], "attempts: 3, errors: [502, 503]", 1, Code.SUBREQUEST_HTTP_ERROR),
        ([REFUSED, DONE], "attempts: 3, errors: []", 1, Code.SUBREQUEST_HTTP_ERROR),
        ([HANGS, DONE], "attempts: 3", 1, Code.GATEWAY_TIMEOUT),
        ([HANGS, DONE], "attempts: 3, errors: [timeout]", 2, "done"),
        ([Part(raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="404")), DONE], "attempts: 3", 1, Code.SUBREQUEST_HTTP_ERROR),
        (
            [Part(raises=StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE)), DONE],
            "attempts: 3",
            1,
            Code.SUBREQUEST_MALFORMED_RESPONSE,
        ),
        ([Part(raises=StepFault(Code.BAD_USER_INPUT)), DONE], "attempts: 3", 1, Code.BAD_USER_INPUT),
    ],
)
def test_a_call_is_repeated_as_often_as_the_step_allows_and_for_the_faults_that_it_names(
    parts: list[Part], config: str, attempts: int, result: object
) -> None:
    stage = Stage({"a": parts})
    found, context = once(stage, step=f"timeout_ms: 100, retry: {{ {config} }}")
    assert (found, len(stage.attempts), context.attempts) == (result, attempts, attempts)
    assert len(context.faults) == attempts - (result == "done")


def test_a_call_that_is_not_idempotent_is_never_repeated() -> None:
    stage = Stage({"a": [BUSY, DONE]})
    assert once(stage, step="idempotent: false, retry: { attempts: 5 }")[0] == Code.SUBREQUEST_HTTP_ERROR
    assert len(stage.attempts) == 1


def test_a_steps_own_retry_goes_before_its_sources() -> None:
    stage = Stage({"a": BUSY})
    once(stage, source="retry: { attempts: 4, base_ms: 1 }")
    once(stage, source="retry: { attempts: 4, base_ms: 1 }", step="retry: { attempts: 2, base_ms: 1 }")
    assert len(stage.attempts) == 4 + 2


def test_an_exception_that_is_no_fault_is_not_repeated() -> None:
    stage = Stage({"a": [Part(raises=ZeroDivisionError()), DONE]})

    async def act(call: Ask) -> None:
        with pytest.raises(ZeroDivisionError):
            await call()

    ask(stage, act, step="retry: { attempts: 3 }")
    assert len(stage.attempts) == 1


def waits(stage: Stage) -> list[float]:
    """Return the milliseconds between the attempts."""
    return [round(after.began - (before.ended or 0), 6) for before, after in pairwise(stage.attempts)]


def test_waits_are_drawn_below_a_limit_that_doubles_up_to_the_cap() -> None:
    found: list[list[float]] = []
    for _ in range(300):
        stage = Stage({"a": BUSY})
        once(stage, step="retry: { attempts: 5, base_ms: 40, cap_ms: 100 }")
        found.append(waits(stage))
    for drawn, limit in zip(zip(*found, strict=True), (40, 80, 100, 100), strict=True):
        assert all(0 <= wait <= limit for wait in drawn)
        # Full jitter is spread over all of the range: of 300 draws, one in either tenth fails to come once in 5 * 10**13 times.
        assert min(drawn) < limit / 10
        assert max(drawn) > limit * 9 / 10


@pytest.mark.parametrize(
    ("retry_after", "deadline", "attempts"), [(2.0, 30_000, 2), (2.0, 2011, 2), (2.0, 2010, 1), (60.0, 30_000, 1)]
)
def test_a_retry_after_is_waited_for_when_it_fits_into_the_deadline(retry_after: float, deadline: float, attempts: int) -> None:
    busy = Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", retry_after=retry_after))
    stage = Stage({"a": [busy, Part("done")]})
    result, _ = once(stage, deadline, step="retry: { attempts: 3, base_ms: 50 }")
    assert len(stage.attempts) == attempts
    assert result == ("done" if attempts == 2 else Code.SUBREQUEST_HTTP_ERROR)
    if attempts == 2:
        assert waits(stage) == [2000]


def test_a_retry_after_that_is_shorter_than_the_drawn_wait_does_not_shorten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    stage = Stage({"a": [Part(raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", retry_after=0.01)), DONE]})
    once(stage, step="retry: { attempts: 2, base_ms: 50 }")
    assert waits(stage) == [50]


def test_there_is_no_attempt_that_would_begin_at_the_deadline_or_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    for deadline, attempts in ((59, 1), (60, 1), (61, 2)):
        stage = Stage({"a": [BUSY, Part("done")]})
        once(stage, deadline, step="retry: { attempts: 3, base_ms: 50 }")
        assert len(stage.attempts) == attempts, deadline


def test_a_wait_between_attempts_can_be_cancelled() -> None:
    stage = Stage({"a": Part(raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", retry_after=5))})

    async def act(call: Ask) -> float:
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return now_ms()

    assert ask(stage, act, step="retry: { attempts: 3 }") == 500
    assert len(stage.attempts) == 1


# -- timeout


@pytest.mark.parametrize(("timeout", "deadline", "ended"), [(100, 30_000, 100), (100, 60, 60), (500, 300, 300), (100, 100, 100)])
def test_an_attempt_is_cut_at_its_timeout_or_the_deadline_whichever_comes_first(
    timeout: int, deadline: float, ended: float
) -> None:
    stage = Stage({"a": HANGS})
    assert once(stage, deadline, step=f"timeout_ms: {timeout}, retry: {{ attempts: 1 }}")[0] == Code.GATEWAY_TIMEOUT
    assert stage.times("a") == [(0, ended, "cancelled")]


def test_each_attempt_has_the_timeout_anew_and_the_last_only_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    stage = Stage({"a": HANGS})
    once(stage, 250, step="timeout_ms: 100, retry: { attempts: 5, errors: [timeout], base_ms: 10, cap_ms: 10 }")
    assert [(began, ended) for began, ended, _ in stage.times("a")] == [(0, 100), (110, 210), (220, 250)]


def test_the_time_in_the_queue_does_not_count_as_the_attempts_own() -> None:
    stage = Stage({"a": [Part(after=90), Part("done", after=90)]})

    async def act(call: Ask) -> Any:
        return await asyncio.gather(call(), call())

    assert [reply.value for reply in ask(stage, act, source="concurrency: 1", step="timeout_ms: 100")] == ["a", "done"]
    assert [attempt.began for attempt in stage.attempts] == [0, 90]


def test_a_call_that_a_cancellation_ends_is_not_taken_for_a_timeout() -> None:
    stage = Stage({"a": HANGS})

    async def act(call: Ask) -> None:
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ask(stage, act, step="timeout_ms: 100, retry: { attempts: 3, errors: [timeout] }")
    assert stage.times("a") == [(0, 50, "cancelled")]


def test_a_timeout_error_of_the_call_itself_is_a_timeout_too() -> None:
    assert once(Stage({"a": Part(raises=TimeoutError())}))[0] == Code.GATEWAY_TIMEOUT


# -- bulkhead


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
    assert [(attempt.began, attempt.ending) for attempt in stage.attempts] == [(0, "cancelled"), (20, "cancelled"), (30, "given")]


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
        bulkhead = Bulkhead(1, 5)
        await bulkhead.acquire(until(9.0))
        loop = asyncio.get_running_loop()
        loop.call_at(0.05, bulkhead.release)
        waiting = asyncio.gather(*(bulkhead.acquire(until(0.05)) for _ in range(3)), return_exceptions=True)
        ends = await waiting
        for _ in range(ends.count(None)):
            bulkhead.release()
        await bulkhead.acquire(until(0.06))
        with pytest.raises(StepFault):
            await bulkhead.acquire(until(0.06))

    virtual.run(act())
