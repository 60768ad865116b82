"""Hedging: when a second call is made, which reply is used, that the loser is cancelled, and the budget."""

import asyncio
from typing import Any

import pytest

from gateway.contract import CallContext, RequestContext
from gateway.errors import Code
from gateway.run.policies.hedge import StepLatency
from gateway.settings.policies import HedgeKeys
from tests.kit import virtual
from tests.oracle import HANGS, CompiledConfiguration, Part, Stage, loop_time_ms
from tests.run.policies import BUSY, Ask, ask, ending_of

HEDGED = "retry: { attempts: 1 }, breaker: { enabled: false }, hedge: {}"
USUAL = [Part("usual", after=30)] * 10 + [Part("usual", after=10)] * 90
"""Enough calls for the percentile: the slowest of them take 30 ms."""


def after_the_usual(
    *parts: Part, source: str = HEDGED, step: str = "timeout_ms: 1000", calls: int = 1
) -> tuple[list[Any], Stage, Any]:
    """Make the usual calls, then some more; return the results and milliseconds of these, and the latencies of the step."""
    stage = Stage({"a": [*USUAL, *parts]})

    async def act(call: Ask) -> Any:
        for _ in USUAL:
            await call()
        endings = []
        for _ in range(calls):
            began = loop_time_ms()
            endings.append((await ending_of(call()), round(loop_time_ms() - began, 6)))
        (known,) = call.state["hedge"].by_step.values() or [None]
        return endings, known

    endings, known = ask(stage, act, source=source, step=step)
    del stage.attempts[: len(USUAL)]
    return endings, stage, known


def test_a_call_that_takes_longer_than_95_of_100_is_made_once_more_and_the_first_answer_counts() -> None:
    endings, stage, known = after_the_usual(HANGS, Part("second", after=10))
    assert endings == [("second", 40)]
    assert [(attempt.began - stage.attempts[0].began, attempt.ending) for attempt in stage.attempts] == [
        (0, "cancelled"),
        (30, "given"),
    ]
    assert stage.attempts[0].ended == stage.attempts[1].ended, "the loser is cancelled at once"
    assert (known.budget.granted, known.hedge_delay) == (1, 0.03)


def test_when_the_first_call_answers_first_the_second_is_cancelled() -> None:
    endings, stage, _ = after_the_usual(Part("first", after=60), HANGS)
    assert endings == [("first", 60)]
    assert [attempt.ending for attempt in stage.attempts] == ["given", "cancelled"]


def test_a_call_of_usual_length_is_made_once() -> None:
    endings, stage, _ = after_the_usual(Part("first", after=29))
    assert (endings, len(stage.attempts)) == ([("first", 29)], 1)


def test_the_first_good_answer_counts_not_the_first() -> None:
    endings, _, _ = after_the_usual(Part("first", after=200), BUSY)
    assert endings == [("first", 200)]
    endings, _, _ = after_the_usual(Part(after=50, raises=BUSY.raises), Part("second", after=100))
    assert endings == [("second", 130)]


def test_when_both_fail_it_is_as_if_there_had_been_one() -> None:
    endings, stage, _ = after_the_usual(Part(after=100, raises=BUSY.raises), BUSY)
    assert (endings, len(stage.attempts)) == ([(Code.SUBREQUEST_HTTP_ERROR, 100)], 2)


def test_a_call_that_fails_before_it_is_slow_is_not_made_twice() -> None:
    endings, stage, _ = after_the_usual(BUSY, Part("second"))
    assert (endings, len(stage.attempts)) == ([(Code.SUBREQUEST_HTTP_ERROR, 10)], 1)


def test_there_are_no_more_second_calls_than_five_of_a_hundred() -> None:
    _, stage, known = after_the_usual(
        Part("slow", after=500), calls=40, source=HEDGED.replace("hedge: {}", "hedge: { max_percent: 5 }")
    )
    assert len(stage.attempts) - 40 == known.budget.granted <= 0.05 * 140


@pytest.mark.parametrize(
    ("source", "step"),
    [
        (HEDGED.replace("hedge: {}", "hedge: { enabled: false }"), ""),
        (HEDGED.replace(", hedge: {}", ""), ""),
        (HEDGED, "hedge: { enabled: false }"),
        (HEDGED, "idempotent: false"),
    ],
)
def test_there_are_second_calls_only_where_the_configuration_wants_them_and_of_what_only_reads(source: str, step: str) -> None:
    _, stage, known = after_the_usual(HANGS, source=source, step=f"timeout_ms: 1000, {step}")
    assert (len(stage.attempts), known) == (1, None)


def test_there_are_none_before_enough_is_known_or_when_the_deadline_comes_first() -> None:
    stage = Stage({"a": [Part(after=10)] * 49 + [Part(after=100), HANGS]})

    async def act(call: Ask) -> None:
        for _ in range(50):
            await call()
        assert len(stage.attempts) == 50
        await ending_of(call(deadline=loop_time_ms() + 10))

    ask(stage, act, source=HEDGED)
    assert len(stage.attempts) == 51


def test_a_client_that_leaves_cancels_both_calls() -> None:
    stage = Stage({"a": [*USUAL, HANGS]})

    async def act(call: Ask) -> None:
        for _ in USUAL:
            await call()
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert call.state["bulkhead"].in_use == 0

    ask(stage, act, source=HEDGED)
    assert [attempt.ending for attempt in stage.attempts[-2:]] == ["cancelled", "cancelled"]


def test_a_second_call_has_a_place_and_a_limit_of_its_own() -> None:
    stage = Stage({"a": [*USUAL, HANGS]})

    async def act(call: Ask) -> Any:
        for _ in USUAL:
            await call()
        began = loop_time_ms()
        task = asyncio.ensure_future(ending_of(call()))
        await asyncio.sleep(0.05)
        assert call.state["bulkhead"].in_use == 2
        return await task, loop_time_ms() - began

    assert ask(stage, act, source=HEDGED, step="timeout_ms: 100") == (Code.GATEWAY_TIMEOUT, pytest.approx(130))


def test_it_is_told_that_there_was_a_second_call() -> None:
    stage = Stage({"a": [*USUAL, HANGS, Part("second")]})
    context = CallContext(RequestContext("r", {}, 0.0), 1e6)

    async def act(call: Ask) -> None:
        for _ in USUAL:
            await call()
        await call(context=context)

    ask(stage, act, source=HEDGED)
    assert (context.attempts, [name for name, _ in context.events]) == (1, ["hedges"])


def test_a_trace_tells_when_a_second_call_was_made() -> None:
    config = f"""
    sources: {{ stage: {{ type: act, {HEDGED} }} }}
    defaults: {{ act: stage }}
---
    {{ operation: o, steps: [{{ name: a, type: act }}] }}
    """

    async def play() -> Any:
        compiled = CompiledConfiguration.open(config, Stage({"a": [*USUAL, HANGS, Part("second", after=5)]}))
        for _ in USUAL:
            usual = await compiled.answer("{ o { a } }")
            assert "hedges_ms" not in usual.body["trace"]["nodes"][0]
        assert compiled.states["stage"]["hedge"].hedges == 0
        slow = await compiled.answer("{ o { a } }")
        assert compiled.states["stage"]["hedge"].hedges == 1
        return slow.body["trace"]["nodes"][0]

    node = virtual.run(play())
    assert (node["hedges_ms"], node["attempts"], node["duration_ms"]) == ([30], 1, 35)


def test_how_long_a_step_takes_follows_its_last_hundred_calls() -> None:
    latency = StepLatency(HedgeKeys(min_samples=10))
    for _ in range(9):
        latency.add(0.0, 1.0)
    known = [latency.hedge_delay]
    latency.add(0.0, 1.0)
    known.append(latency.hedge_delay)
    for number in range(100):
        latency.add(0.0, (number + 1) / 1000)
    assert [*known, latency.hedge_delay] == [None, 1.0, 0.096]
