"""Run a coroutine on virtual time: an event loop whose clock jumps, so that latencies are exact and nothing sleeps.

When nothing is ready and a timer is pending, the clock moves to that timer at once. `loop.time()` starts at 0, so its value is also the time
elapsed. Sockets cannot be used: a reply from outside would arrive after every timeout.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Ready = list[tuple[selectors.SelectorKey, int]]

# Real seconds to wait for work in another thread (aiosqlite) before the clock jumps. Ten short waits instead of one long wait:
# a machine that pauses for a moment uses up one of them and not all.
SLICE = 0.01
SLICES = 10
# Real seconds after which a loop without a timer, which only a thread can wake, counts as deadlocked.
DEADLOCK_SECONDS = 10.0


class _JumpingSelector(selectors.SelectSelector):
    """Adds the timeout of each select to the clock instead of sleeping. It really waits only for wake-ups by other threads."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.now = 0.0
        self._slices = slices

    def select(self, timeout: float | None = None) -> Ready:
        if timeout is None:
            if ready := super().select(DEADLOCK_SECONDS):
                return ready
            raise RuntimeError("the event loop is deadlocked: no timer is pending, and no other thread wakes it")
        ready = super().select(0)
        for _ in range(self._slices if timeout > 0 else 0):
            ready = ready or super().select(SLICE)
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A selector event loop on virtual time."""

    def __init__(self, slices: int = 0) -> None:
        self._clock = _JumpingSelector(slices)
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual seconds since the start, rounded to nanoseconds: sums of floats would not be exact."""
        return round(self._clock.now, 9)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the signature since 3.12
        """Wait for the threads of the executor without a timeout, as the clock would jump past it."""
        await super().shutdown_default_executor()


def run(coroutine: Coroutine[Any, Any, T], *, threads: bool = False) -> T:
    """Run `coroutine` on virtual time and return its result. With `threads`, also wait for work in other threads (SQLite)."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(SLICES if threads else 0)) as runner:
        return runner.run(coroutine)
