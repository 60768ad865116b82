"""Deadline timers: they cancel a task at their exact time, and cancelled timers leave no handles behind."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from gateway.run.policies import timers
from gateway.run.policies.timers import WIDTH, DeadlineTimer
from tests.kit import virtual


async def wait(seconds: float, ended: Callable[[float, bool], None]) -> None:
    """Wait until a timer cancels the task; return when it fired, and whether it was the cause."""
    loop = asyncio.get_running_loop()
    timer = DeadlineTimer(loop, loop.time() + seconds)
    try:
        await loop.create_future()
    except asyncio.CancelledError:
        ended(loop.time(), timer.is_cause())
    finally:
        timer.cancel()


def pending(loop: asyncio.AbstractEventLoop) -> int:
    """Count the timers of a loop that are not cancelled."""
    return sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seconds", [0.0, 0.001, WIDTH / 2, WIDTH, 1.0, 1.0 + WIDTH / 3, 30.0, 3600.5])
@pytest.mark.parametrize("beginning", [0.0, WIDTH / 3, 7 * WIDTH, 100.01])
def test_a_timer_fires_at_its_very_time_and_takes_the_cancellation_back(seconds: float, beginning: float) -> None:
    fired: list[tuple[float, bool]] = []

    async def play() -> int:
        await asyncio.sleep(beginning)
        await wait(seconds, lambda time, is_cause: fired.append((time, is_cause)))
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert virtual.run(play()) == 0
    ((time, is_cause),) = fired
    assert time == pytest.approx(beginning + seconds, abs=1e-6)
    assert is_cause


def test_timers_of_one_bucket_fire_each_at_its_own_time() -> None:
    fired: list[float] = []

    async def play() -> None:
        tasks = (wait(1 + number / 1000, lambda time, _: fired.append(time)) for number in (9, 3, 7, 100, 200))
        await asyncio.gather(*tasks)

    virtual.run(play())
    assert fired == [pytest.approx(1 + number / 1000, abs=1e-6) for number in (3, 7, 9, 100, 200)]


def test_a_thousand_timers_that_are_cancelled_have_one_handle_and_leave_nothing_behind() -> None:
    async def set_one(held: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        timer = DeadlineTimer(loop, 5.0)
        await held.wait()
        timer.cancel()

    async def play() -> None:
        loop, held = asyncio.get_running_loop(), asyncio.Event()
        before = pending(loop)
        tasks = [asyncio.create_task(set_one(held)) for _ in range(1000)]
        await asyncio.sleep(0)
        assert pending(loop) == before + 1
        buckets = timers._thread.buckets
        assert buckets is not None
        (bucket,) = buckets.values()
        assert len(bucket) == 1000
        held.set()
        await asyncio.gather(*tasks)
        assert not bucket
        await asyncio.sleep(6)
        assert timers._thread.buckets is buckets
        assert not buckets
        assert pending(loop) == before

    virtual.run(play())


def test_a_timer_that_is_cancelled_after_its_bucket_began_does_not_fire() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        timer = DeadlineTimer(loop, 8 * WIDTH + WIDTH / 2)
        await asyncio.sleep(8 * WIDTH + WIDTH / 4)
        timer.cancel()
        await asyncio.sleep(WIDTH)
        assert not timer.has_fired

    virtual.run(play())


def test_a_cancellation_by_somebody_else_is_told_apart_even_when_the_timer_fires_as_well() -> None:
    found: list[bool] = []

    async def hold(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        timer = DeadlineTimer(loop, loop.time() + seconds)
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            found.append(timer.is_cause())
            raise

    async def play() -> None:
        for seconds in (5.0, 1.0):
            loop = asyncio.get_running_loop()
            task = asyncio.create_task(hold(seconds))
            await asyncio.sleep(0)
            loop.call_at(loop.time() + 1.0, task.cancel)
            await asyncio.wait([task])
            assert task.cancelled()

    virtual.run(play())
    assert found == [False, False]


def test_each_loop_and_each_thread_has_timers_of_its_own() -> None:
    fired: list[str] = []

    async def play(name: str) -> None:
        await wait(0.05, lambda _, is_cause: fired.append(name) if is_cause else None)
        await wait(WIDTH + 0.05, lambda _, is_cause: fired.append(name) if is_cause else None)

    def work(run: Callable[[Awaitable[None]], None], name: str) -> None:
        run(play(name))

    threads = [
        threading.Thread(target=work, args=(run, name)) for run, name in ((asyncio.run, "asyncio"), (uvloop.run, "uvloop"))
    ]
    for thread in threads:
        thread.start()
    asyncio.run(play("main"))
    asyncio.run(play("again"))
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert sorted(fired) == sorted(["asyncio", "uvloop", "main", "again"] * 2)
