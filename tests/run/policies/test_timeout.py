"""The timeout of one attempt: its own or the deadline, whichever comes first."""

import asyncio
from typing import Any

import pytest

from gateway.errors import Code
from tests.oracle import HANGS, Part, Stage
from tests.run.policies import Ask, ask, once


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
