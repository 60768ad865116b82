"""Timers that cancel the running task at a deadline: what asyncio.timeout_at() does, for a quarter of the CPU.

Every call has a timer, and hardly any of them fires. One event loop timer for each took a twentieth of a small request's time, so timers
are kept in buckets by time. A bucket has one handle of the event loop. Timers that have not been cancelled when the time span of their
bucket begins get a handle of their own, so that they fire at their exact time.
"""

import asyncio
import threading
from typing import Any

WIDTH = 0.125
"""The time span of a bucket, in seconds."""


class _Buckets(dict[float, "set[DeadlineTimer]"]):
    """The timers of an event loop by the number of their bucket: their time divided by ``WIDTH``, rounded down."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop

    def new_bucket(self, number: float, first: "DeadlineTimer") -> "set[DeadlineTimer]":
        """Return a new bucket for a timer; if the time span of the bucket has begun already, give the timer its handle at once."""
        bucket = set["DeadlineTimer"]()
        if number * WIDTH <= self.loop.time():
            first.handle = self.loop.call_at(first.time, first.fire)
        else:
            self[number] = bucket
            self.loop.call_at(number * WIDTH, self.expire, number)
        return bucket

    def expire(self, number: float) -> None:
        """Replace a bucket whose time span begins: give each of its timers a handle of its own."""
        for timer in self.pop(number):
            timer.handle = self.loop.call_at(timer.time, timer.fire)


# At most one event loop runs in a thread at a time.
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
        # As in `asyncio.timeout`: by the number of earlier cancellations `is_cause` recognises one that came from elsewhere.
        self._cancellations = task.cancelling()
        buckets = _thread.buckets
        if buckets is None or buckets.loop is not loop:
            buckets = _thread.buckets = _Buckets(loop)
        number = time // WIDTH
        bucket = buckets.get(number)
        if bucket is None:
            bucket = buckets.new_bucket(number, self)
        bucket.add(self)
        self._bucket = bucket

    def fire(self) -> None:
        """Cancel the task."""
        self.has_fired = True
        self._task.cancel()

    def cancel(self) -> None:
        """Stop the timer."""
        self._bucket.discard(self)
        if self.handle is not None:
            self.handle.cancel()

    @property
    def is_task_cancelled(self) -> bool:
        """Whether the task is being cancelled since the timer was set. If not, a CancelledError comes from what the task awaits."""
        return self._task.cancelling() > self._cancellations

    def is_cause(self) -> bool:
        """Tell whether the task was cancelled by this timer alone. If this timer has fired, its own cancellation is undone."""
        return self.has_fired and self._task.uncancel() <= self._cancellations
