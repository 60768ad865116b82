"""An event loop whose clock jumps: coroutine in, its result out, exact latencies, and nothing sleeps.

When nothing is ready and a timer is pending, the clock moves to that timer at once. `loop.time()` starts at 0, so a
time read inside is also the time that has passed. No sockets: a reply from outside would come "after" every timeout.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Ready = list[tuple[selectors.SelectorKey, int]]

# Real seconds that work in another thread (aiosqlite) gets before the clock may overtake it: ten short waits instead of
# one long one, as a machine that stands still for a moment uses up one of them and not all.
SLICE = 0.01
SLICES = 10
# Real seconds after which a loop that has no timer left, and so can only be woken by a thread, is taken for dead.
PATIENCE = 10.0


class _JumpingSelector(selectors.SelectSelector):
    """Counts as slept what the loop asks it to sleep; only a thread's wake-up is waited for in earnest."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.now = 0.0
        self._slices = slices

    def select(self, timeout: float | None = None) -> Ready:
        if timeout is None:
            if ready := super().select(PATIENCE):
                return ready
            raise RuntimeError("the loop waits for ever: no timer is pending, and no other thread has anything to tell")
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
        """Return the virtual seconds since the loop began, to the nanosecond: sums of floats would not be exact."""
        return round(self._clock.now, 9)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the signature since 3.12
        """Wait for the threads of the executor, without the time limit over which the clock would jump."""
        await super().shutdown_default_executor()


def run(coroutine: Coroutine[Any, Any, T], *, threads: bool = False) -> T:
    """Run `coroutine` to its end on virtual time. `threads`: it also waits for work in other threads (SQLite)."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(SLICES if threads else 0)) as runner:
        return runner.run(coroutine)
