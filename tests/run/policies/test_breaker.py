"""The circuit breaker of a source: what opens it, rejections while it is open, its probe, and results that do not count."""

import asyncio
from typing import Any

import pytest

from gateway.contract import CallContext, RequestContext
from gateway.errors import Code, StepFault
from gateway.run.policies.breaker import BreakerState
from tests.oracle import HANGS, Part, Stage, loop_time_ms
from tests.run.policies import BUSY, DONE, REFUSED, Ask, ask, ending_of, fault_of

REJECTED = Code.SUBGRAPH_CIRCUIT_BREAKER_REJECTED
ONCE = "retry: { attempts: 1 }"


def fault(kind: str = "", code: Code = Code.SUBREQUEST_HTTP_ERROR) -> Part:
    return Part(after=10, raises=StepFault(code, kind=kind))


async def many(call: Ask, count: int) -> None:
    for _ in range(count):
        await ending_of(call(deadline=10_000_000))


def opened_by(parts: list[Part], **config: str) -> bool:
    """Make the calls one after the other; return whether the breaker is open, and assert that it lets no call through then."""
    stage = Stage({"a": [*parts, Part("more")]})

    async def act(call: Ask) -> bool:
        await many(call, len(parts))
        is_open = bool(call.breaker.state is BreakerState.OPEN)
        before = loop_time_ms()
        assert await ending_of(call(deadline=10_000_000)) == (REJECTED if is_open else "more")
        assert not is_open or loop_time_ms() == before, "to refuse takes no time"
        assert len(stage.attempts) == len(parts) + (not is_open)
        return is_open

    config.setdefault("source", ONCE)
    return bool(ask(stage, act, **config))


# -- what opens it


@pytest.mark.parametrize("part", [BUSY, REFUSED, fault("500"), fault("599"), fault("reset"), HANGS])
def test_twenty_calls_of_which_half_fail_open_it(part: Part) -> None:
    assert opened_by([DONE] * 10 + [part] * 10, step="timeout_ms: 100")
    assert not opened_by([DONE] * 11 + [part] * 9, step="timeout_ms: 100")
    assert not opened_by([part] * 19, step="timeout_ms: 100")


@pytest.mark.parametrize(
    "part",
    [
        *(fault(status) for status in ("400", "401", "404", "408", "409", "429", "302")),
        fault(code=Code.SUBREQUEST_MALFORMED_RESPONSE),
        fault(code=Code.DOWNSTREAM_SERVICE_ERROR),
        fault(code=Code.BAD_USER_INPUT),
        fault(code=Code.REQUEST_LIMIT_EXCEEDED),
    ],
)
def test_what_an_upstream_answers_and_what_we_refuse_ourselves_does_not_open_it(part: Part) -> None:
    assert not opened_by([part] * 40)


def test_what_we_refuse_ourselves_does_not_count_as_a_call_either() -> None:
    assert opened_by([fault(code=Code.BAD_USER_INPUT)] * 40 + [BUSY] * 20)
    assert not opened_by([BUSY] * 19 + [fault(code=Code.BAD_USER_INPUT)] * 40)
    assert not opened_by([fault("404")] * 40 + [BUSY] * 20)


def test_failures_that_are_further_apart_than_the_window_do_not_open_it() -> None:
    assert not opened_by([Part(after=600, raises=BUSY.raises)] * 40)
    assert opened_by([Part(after=400, raises=BUSY.raises)] * 20)


@pytest.mark.parametrize(
    ("breaker", "failing", "is_open"),
    [
        ("enabled: false", 100, False),
        ("min_calls: 5", 5, True),
        ("min_calls: 5", 4, False),
        ("window_ms: 100", 40, False),
    ],
)
def test_it_is_as_the_source_says(breaker: str, failing: int, is_open: bool) -> None:
    source = f"{ONCE}, breaker: {{ {breaker} }}"
    if breaker == "enabled: false":
        stage = Stage({"a": BUSY})

        async def act(call: Ask) -> None:
            await many(call, failing)
            assert "breaker" not in call.state

        ask(stage, act, source=source)
        assert len(stage.attempts) == failing
    else:
        assert opened_by([BUSY] * failing, source=source) is is_open


def test_every_attempt_counts_and_a_rejected_one_is_not_repeated() -> None:
    stage = Stage({"a": BUSY})

    async def act(call: Ask) -> Any:
        await many(call, 6)
        return call.breaker.state

    retry = "retry: { attempts: 5, base_ms: 1, budget_min: 100 }, breaker: { min_calls: 7 }"
    assert ask(stage, act, source=retry) is BreakerState.OPEN
    assert len(stage.attempts) == 7


def test_it_is_that_of_the_source_whichever_step_calls() -> None:
    assert opened_by([BUSY] * 20, step="part: a, input: anything")


# -- clients and deadlines


def test_calls_that_clients_leave_do_not_count() -> None:
    stage = Stage({"a": HANGS})

    async def act(call: Ask) -> Any:
        for _ in range(40):
            task = asyncio.ensure_future(call(deadline=1_000_000))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return call.breaker

    breaker = ask(stage, act, source=ONCE, step="timeout_ms: 60000")
    assert (breaker.state, breaker.window.calls) == (BreakerState.CLOSED, 0)


@pytest.mark.parametrize(
    ("timeout", "arrived", "began", "deadline", "counts"),
    [
        (5000, 0, 0, 1000, True),  # it had all of the request's time
        (5000, 0, 600, 1000, False),  # earlier steps took more than half of the request's time
        (5000, 0, 400, 1000, True),
        (600, 0, 600, 1000, True),  # it had more than half of its own timeout
        (1000, 0, 600, 1000, False),
    ],
)
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_call_that_the_deadline_cuts_counts_when_it_had_half_of_its_time(
    timeout: int, arrived: float, began: float, deadline: float, counts: bool, is_cancelled: bool
) -> None:
    """At the deadline a request cancels its calls; the timer of the call fires at the same moment."""
    stage = Stage({"a": HANGS})

    async def act(call: Ask) -> Any:
        await asyncio.sleep(began / 1000)
        context = CallContext(RequestContext("r", {}, arrived), deadline / 1000)
        task = asyncio.ensure_future(call(context=context))
        if is_cancelled:
            asyncio.get_running_loop().call_at(deadline / 1000, task.cancel)
        await asyncio.gather(task, return_exceptions=True)
        assert loop_time_ms() == deadline
        return call.breaker.window.marked

    assert bool(ask(stage, act, source=ONCE, step=f"timeout_ms: {timeout}")) is counts


def test_the_time_in_the_queue_is_not_the_source_s() -> None:
    stage = Stage({"a": [Part(after=900), HANGS]})

    async def act(call: Ask) -> Any:
        await asyncio.gather(ending_of(call()), ending_of(call(deadline=1000)))
        return call.breaker.window

    window = ask(stage, act, source=f"concurrency: 1, {ONCE}", step="timeout_ms: 1000")
    assert (window.calls, window.marked) == (1, 0)


def test_a_further_attempt_that_never_got_its_place_is_not_taken_for_the_one_before_it() -> None:
    stage = Stage({"a": [Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="404")), HANGS]})

    async def act(call: Ask) -> Any:
        waiting = asyncio.ensure_future(ending_of(call(deadline=1000)))
        asyncio.get_running_loop().call_at(0.9995, waiting.cancel)  # as a request does at its deadline
        await asyncio.sleep(0.005)
        leaving = asyncio.ensure_future(call())
        await asyncio.gather(waiting, return_exceptions=True)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        return call.breaker.window

    retry = "retry: { attempts: 2, base_ms: 1, errors: [404] }, concurrency: 1"
    window = ask(stage, act, source=retry, step="timeout_ms: 60000")
    assert (window.calls, window.marked) == (1, 0)


# -- open


def test_while_it_is_open_nobody_is_called_and_after_that_exactly_one_call_tries() -> None:
    stage = Stage({"a": [BUSY] * 20 + [Part("back", after=100)]})

    async def act(call: Ask) -> list[Any]:
        await many(call, 20)
        opened = loop_time_ms()
        endings = []
        for wait in (0, 4.9, 0.09):
            await asyncio.sleep(wait)
            endings.append(await ending_of(call()))
        assert len(stage.attempts) == 20
        await asyncio.sleep(0.02)
        endings.append(await asyncio.gather(*(ending_of(call()) for _ in range(50))))
        assert len(stage.attempts) == 21
        assert loop_time_ms() == opened + 5010 + 100
        endings.append(await ending_of(call()))
        assert (call.breaker.opened, call.breaker.rejected) == (1, 3 + 49)
        return endings

    found = ask(stage, act, source=ONCE)
    assert found == [REJECTED] * 3 + [["back"] + [REJECTED] * 49, "back"]


def test_when_the_call_that_tries_fails_it_stays_open_for_as_long_again() -> None:
    stage = Stage({"a": [BUSY] * 20 + [REFUSED, HANGS, Part("back")]})

    async def act(call: Ask) -> list[Any]:
        await many(call, 20)
        endings = []
        for wait in (5.001, 4.98, 0.02, 4.8, 0.21, 5.001):
            await asyncio.sleep(wait)
            endings.append((await ending_of(call()), call.breaker.state))
        return endings

    found = ask(stage, act, source=ONCE, step="timeout_ms: 500")
    assert found == [
        (Code.SUBREQUEST_HTTP_ERROR, BreakerState.OPEN),
        (REJECTED, BreakerState.OPEN),
        (Code.GATEWAY_TIMEOUT, BreakerState.OPEN),
        (REJECTED, BreakerState.OPEN),
        ("back", BreakerState.CLOSED),
        ("back", BreakerState.CLOSED),
    ]


@pytest.mark.parametrize("part", [fault("404"), fault(code=Code.SUBREQUEST_MALFORMED_RESPONSE)])
def test_any_answer_to_the_call_that_tries_closes_it(part: Part) -> None:
    stage = Stage({"a": [BUSY] * 20 + [part, Part("back")]})

    async def act(call: Ask) -> object:
        await many(call, 20)
        await asyncio.sleep(5.001)
        await ending_of(call())
        return await ending_of(call())

    assert ask(stage, act, source=ONCE) == "back"


@pytest.mark.parametrize("part", [fault(code=Code.BAD_USER_INPUT), Part(after=10, raises=ZeroDivisionError())])
def test_a_call_that_tries_and_asks_nobody_leaves_its_place_to_the_next(part: Part) -> None:
    stage = Stage({"a": [BUSY] * 20 + [part, Part("back")]})

    async def act(call: Ask) -> object:
        await many(call, 20)
        await asyncio.sleep(5.001)
        await asyncio.gather(call(), return_exceptions=True)
        assert call.breaker.state is BreakerState.OPEN
        return await ending_of(call())

    assert ask(stage, act, source=ONCE) == "back"


def test_a_call_that_tries_and_is_cancelled_leaves_its_place_to_the_next() -> None:
    stage = Stage({"a": [BUSY] * 20 + [HANGS, Part("back")]})

    async def act(call: Ask) -> list[Any]:
        await many(call, 20)
        await asyncio.sleep(5.001)
        trying = asyncio.ensure_future(call())
        await asyncio.sleep(0.01)
        assert call.breaker.state is BreakerState.HALF_OPEN
        meanwhile = await ending_of(call())
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
        return [meanwhile, await ending_of(call())]

    assert ask(stage, act, source=ONCE) == [REJECTED, "back"]


def test_how_calls_end_that_began_before_it_opened_changes_nothing_any_more() -> None:
    late = [Part("late", after=7000), Part(after=7000, raises=BUSY.raises)]
    stage = Stage({"a": [*late, *[BUSY] * 20, Part("trying", after=5000), Part("more", after=10)]})

    async def act(call: Ask) -> list[Any]:
        before = [asyncio.ensure_future(ending_of(call())) for _ in late]
        await asyncio.sleep(0)
        await many(call, 20)
        await asyncio.sleep(5.001)
        trying = asyncio.ensure_future(ending_of(call()))
        ends = await asyncio.gather(*before)
        assert call.breaker.state is BreakerState.HALF_OPEN
        return [*ends, await ending_of(call()), await trying, await ending_of(call()), call.breaker.window.calls]

    found = ask(stage, act, source=ONCE, step="timeout_ms: 60000")
    assert found == ["late", Code.SUBREQUEST_HTTP_ERROR, REJECTED, "trying", "more", 1]


def test_who_waits_for_a_place_when_it_opens_is_turned_away_at_once() -> None:
    stage = Stage({"a": [*[BUSY] * 19, Part(after=100, raises=BUSY.raises), HANGS, Part("back")]})

    async def act(call: Ask) -> list[Any]:
        await many(call, 19)
        running = [asyncio.ensure_future(ending_of(call())) for _ in range(2)]
        await asyncio.sleep(0)
        began = loop_time_ms()
        found = await asyncio.gather(*(fault_of(call()) for _ in range(5)))
        running[1].cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert call.state["bulkhead"].in_use == call.state["bulkhead"].waiting == 0
        return [(code, at - began) for code, _, at in found]

    found = ask(stage, act, source=f"concurrency: 2, queue: 5, {ONCE}", step="timeout_ms: 60000")
    assert found == [(REJECTED, 100)] * 5


def test_once_it_has_closed_it_opens_only_for_new_failures() -> None:
    stage = Stage({"a": [*[BUSY] * 20, DONE, *[BUSY] * 18, DONE, *[BUSY] * 2]})

    async def act(call: Ask) -> list[BreakerState]:
        await many(call, 20)
        await asyncio.sleep(5.001)
        states = []
        for count in (1, 18, 1, 1):
            await many(call, count)
            states.append(call.breaker.state)
        return states

    assert ask(stage, act, source=ONCE) == [BreakerState.CLOSED] * 3 + [BreakerState.OPEN]
