"""A time → the running task is cancelled at that time, unless the alarm is put off before: what asyncio.timeout_at() does, for a quarter of the CPU.

Every call has an alarm, and next to none of them rings. A timer of the event loop for each took a twentieth of a small
request's time, so alarms wait in buckets by their times. A bucket has one timer; what is still in it when its time begins gets timers of its own.
"""

import asyncio
import threading
from typing import Any

WIDTH = 0.125
"""Seconds of a bucket."""


class _Buckets(dict[float, "set[DeadlineTimer]"]):
    """The alarms of an event loop by the number of their bucket, a whole one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop

    def begin(self, number: float, alarm: "DeadlineTimer") -> "set[DeadlineTimer]":
        """Return a new bucket for an alarm; one whose time has begun already is of no use, and its alarm has a timer at once."""
        bucket = set["DeadlineTimer"]()
        if number * WIDTH <= self.loop.time():
            alarm.timer = self.loop.call_at(alarm.time, alarm.ring)
        else:
            self[number] = bucket
            self.loop.call_at(number * WIDTH, self.end, number)
        return bucket

    def end(self, number: float) -> None:
        """Give the alarms of a bucket, whose time begins, timers of their own."""
        for alarm in self.pop(number):
            alarm.timer = self.loop.call_at(alarm.time, alarm.ring)


class _Thread(threading.local):
    buckets: _Buckets | None = None


_thread = _Thread()


class DeadlineTimer:
    """Cancels the task that sets it when the clock of the event loop shows ``time``."""

    has_rung = False
    timer: asyncio.TimerHandle | None = None

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

    def ring(self) -> None:
        """Cancel the task."""
        self.has_rung = True
        self._task.cancel()

    def put_off(self) -> None:
        """Let it not ring any more."""
        self._bucket.discard(self)
        if self.timer is not None:
            self.timer.cancel()

    def is_cause(self) -> bool:
        """Tell whether a cancellation that has come is this alarm and nothing else; take it back in that case."""
        return self.has_rung and self._task.uncancel() <= self._cancellations
