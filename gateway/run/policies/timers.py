"""Timers that cancel the running task at a deadline: what asyncio.timeout_at() does, for a quarter of the CPU.

Every call has a timer, and hardly any of them fires. A timer of the event loop for each took a twentieth of a small request's time, so
they are kept in buckets by time. A bucket has one handle of the event loop; timers that are left when its time begins get their own.
"""

import asyncio
import threading
from typing import Any

WIDTH = 0.125
"""Seconds of a bucket."""


class _Buckets(dict[float, "set[DeadlineTimer]"]):
    """The timers of an event loop by the number of their bucket, which is whole."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop

    def begin(self, number: float, first: "DeadlineTimer") -> "set[DeadlineTimer]":
        """Return a new bucket for a timer; if the time of the bucket has begun already the timer gets its handle at once."""
        bucket = set["DeadlineTimer"]()
        if number * WIDTH <= self.loop.time():
            first.handle = self.loop.call_at(first.time, first.fire)
        else:
            self[number] = bucket
            self.loop.call_at(number * WIDTH, self.end, number)
        return bucket

    def end(self, number: float) -> None:
        """Give each timer of a bucket, whose time begins, a handle of its own."""
        for timer in self.pop(number):
            timer.handle = self.loop.call_at(timer.time, timer.fire)


class _Thread(threading.local):
    buckets: _Buckets | None = None


_thread = _Thread()


class DeadlineTimer:
    """Cancels the task that sets it when the clock of the event loop shows ``time``."""

    has_fired = False
    handle: asyncio.TimerHandle | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, time: float) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self.time = time
        self._task: asyncio.Task[Any] = task
        self._cancellations = task.cancelling()
        buckets = _thread.buckets
        if buckets is None or buckets.loop is not loop:
            buckets = _thread.buckets = _Buckets(loop)
        number = time // WIDTH
        bucket = buckets.get(number)
        if bucket is None:
            bucket = buckets.begin(number, self)
        bucket.add(self)
        self._bucket = bucket

    def fire(self) -> None:
        """Cancel the task."""
        self.has_fired = True
        self._task.cancel()

    def cancel(self) -> None:
        """Leave the task alone from now on."""
        self._bucket.discard(self)
        if self.handle is not None:
            self.handle.cancel()

    def is_cause(self) -> bool:
        """Tell whether a cancellation that has come is due to this timer alone; take it back in that case."""
        return self.has_fired and self._task.uncancel() <= self._cancellations
