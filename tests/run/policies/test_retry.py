"""Retries: for which faults, after which waits, how many, and never beyond the deadline or the budget of the source."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from gateway.errors import Code, StepFault
from tests.oracle import HANGS, Part, Stage, loop_time_ms
from tests.run.policies import BUSY, DONE, REFUSED, Ask, ask, ending_of, once


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
        once(stage, step="retry: { attempts: 5, base_ms: 40, cap_ms: 100 }", source="retry: { budget_min: 4 }")
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
        return loop_time_ms()

    assert ask(stage, act, step="retry: { attempts: 3 }") == 500
    assert len(stage.attempts) == 1


# -- the budget of a source


@pytest.mark.parametrize(("calls", "most"), [(1000, 1200), (100, 120), (10, 13), (2, 5), (1, 3)])
def test_when_everything_fails_further_attempts_are_a_fifth_of_the_calls_and_three(calls: int, most: int) -> None:
    stage = Stage({"a": BUSY})

    async def act(call: Ask) -> None:
        for _ in range(calls // 50 or 1):
            await asyncio.gather(*(ending_of(call()) for _ in range(min(calls, 50))))

    ask(stage, act, source="retry: { attempts: 3, base_ms: 1 }, breaker: { enabled: false }")
    assert calls < len(stage.attempts) <= most


def test_the_budget_comes_back_as_time_goes_by() -> None:
    stage = Stage({"a": BUSY})

    async def act(call: Ask) -> list[int]:
        made = []
        for _ in range(3):
            before = len(stage.attempts)
            await asyncio.gather(*(ending_of(call(deadline=100_000)) for _ in range(5)))
            made.append(len(stage.attempts) - before)
            await asyncio.sleep(11)
        return made

    assert ask(stage, act, source="retry: { attempts: 5, base_ms: 1 }, breaker: { enabled: false }") == [8, 8, 8]


@pytest.mark.parametrize(("budget", "attempts"), [("budget_percent: 0, budget_min: 0", 20), ("budget_percent: 100", 40)])
def test_the_budget_is_as_the_source_says(budget: str, attempts: int) -> None:
    stage = Stage({"a": BUSY})

    async def act(call: Ask) -> Any:
        await asyncio.gather(*(ending_of(call()) for _ in range(20)))
        return call.state["retry"]

    found = ask(stage, act, source=f"retry: {{ attempts: 2, base_ms: 1, {budget} }}, breaker: {{ enabled: false }}")
    assert len(stage.attempts) == attempts
    assert (found.granted, found.denied) == (attempts - 20, 40 - attempts)


def test_calls_that_nobody_was_asked_in_are_good_for_no_further_attempts() -> None:
    stage = Stage({"a": [*[Part(raises=StepFault(Code.BAD_USER_INPUT))] * 100, BUSY]})

    async def act(call: Ask) -> Any:
        for _ in range(100):
            await ending_of(call())
        await asyncio.gather(*(ending_of(call()) for _ in range(10)))
        assert call.state["retry"].available == 0
        return call.state["retry"]

    budget = ask(stage, act, source="retry: { attempts: 3, base_ms: 1 }, breaker: { enabled: false }")
    assert len(stage.attempts) == 100 + 10 + 3
    assert (budget.window.calls, budget.window.marked) == (10, 3)


def test_a_further_attempt_that_does_not_fit_into_the_deadline_takes_nothing_of_the_budget() -> None:
    stage = Stage({"a": Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", retry_after=60))})

    async def act(call: Ask) -> Any:
        await ending_of(call())
        return call.state["retry"].available

    assert ask(stage, act, source="retry: { attempts: 3 }") == 3
    assert len(stage.attempts) == 1
