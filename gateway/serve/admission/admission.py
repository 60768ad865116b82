"""Admit or reject incoming requests: a limit of requests in flight, and load shedding while the event loop is overloaded.

A limit alone does not protect an event loop: the loop works on everything that it has read, so all requests get slow together. Therefore
the latency of the loop is measured, in the manner of CoDel (Nichols and Jacobson, 2012): a short burst is allowed, but a standing queue is
shed until it is gone. A rejection costs a small part of an answer, so most of the time still goes into answers.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from gateway.blueprint import Blueprint, Priority

LONG_ITERATION = 0.040
"""Seconds. Two iterations of the event loop in a row that take longer mean overload."""
SHORT_ITERATION = 0.008
"""Seconds. An iteration that takes no longer shows that the queue is empty, and ends the overload."""
SLICES = {Priority.LOW: -1.0, Priority.NORMAL: 0.010, Priority.HIGH: 0.030}
"""Seconds from the start of an iteration in which new requests of a priority are still admitted under overload. Those of low priority never
are, as no age of an iteration is negative."""
MEASURE_INTERVAL = 0.002
"""Seconds between two measurements while the event loop keeps up, so that measuring costs next to nothing."""
REJECTION_REASONS = ("in_flight", "pressure")
"""Why a request is rejected: all places are taken, or the event loop is overloaded."""
MANY_REJECTIONS = 100
"""More rejections than this within ``REJECTION_WINDOW`` seconds make the readiness check fail for ``NOT_READY_SECONDS`` seconds."""
REJECTION_WINDOW = 5.0
NOT_READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class PriorityShare:
    """The limits of one priority: how many requests may be in flight, and the slice of an iteration under overload (seconds)."""

    places: int
    slice: float


class PriorityShares:
    """The shares of all priorities in a configuration. Where all operations have the same priority, its share has all places."""

    def __init__(self, blueprint: Blueprint) -> None:
        all_places = blueprint.server.max_in_flight
        priorities = {operation.priority for operation in blueprint.operations.values()} | {Priority.NORMAL}
        self.is_ranked = len(priorities) > 1
        """Whether operations differ in priority, so that the document must be read before a request is admitted."""
        # Rounded up, so that every priority has a place even where there is only one.
        places = {Priority.LOW: -(-all_places // 2), Priority.NORMAL: all_places, Priority.HIGH: all_places}
        if Priority.HIGH in priorities:
            places[Priority.NORMAL] = -(-all_places * 9 // 10)
        self._by_priority = {priority: PriorityShare(places[priority], SLICES[priority]) for priority in Priority}
        self.largest = self._by_priority[max(priorities)]
        """The largest share. A request that is rejected by this one is rejected whatever its priority is."""

    def of(self, priority: Priority) -> PriorityShare:
        """Return the share of a priority."""
        return self._by_priority[priority]


class Admission:
    """Counts the requests in flight in this process, and rejects those for which there is no place or no time."""

    def __init__(self, rejected: Counter[str] | None = None) -> None:
        self.in_flight = 0
        """How many requests wait for I/O. A request that is answered at once takes no place."""
        self.rejected = Counter() if rejected is None else rejected
        """Rejected requests by reason (``REASONS``)."""
        self._lag = LoopLag()
        self._rejected_at: deque[float] = deque(maxlen=MANY_REJECTIONS + 1)
        self._not_ready_until = 0.0

    def admits(self, arrived_at: float, share: PriorityShare) -> bool:
        """Tell whether a request that arrived at a time (event loop clock) is admitted; count it when it is rejected."""
        if self.in_flight >= share.places:
            return self._reject("in_flight")
        lag = self._lag
        if lag.is_measuring:
            # Not everything is rejected: the start of each iteration goes to new requests, so that the loop is never without work.
            if lag.is_overloaded and lag.iteration_age() > share.slice:
                return self._reject("pressure")
        elif arrived_at >= lag.measure_at:
            lag.start()
        return True

    def acquire(self, share: PriorityShare) -> bool:
        """Take a place if one is free; the caller must give it back with :meth:`release`."""
        if self.in_flight >= share.places:
            return self._reject("in_flight")
        self.in_flight += 1
        return True

    def release(self) -> None:
        """Give a place back."""
        self.in_flight -= 1

    @property
    def is_overloaded(self) -> bool:
        """Whether so many requests were rejected lately that a load balancer should send new ones elsewhere."""
        return asyncio.get_running_loop().time() < self._not_ready_until

    def _reject(self, reason: str) -> bool:
        self.rejected[reason] += 1
        now = asyncio.get_running_loop().time()
        self._rejected_at.append(now)
        if len(self._rejected_at) > MANY_REJECTIONS and now - self._rejected_at[0] <= REJECTION_WINDOW:
            self._not_ready_until = now + NOT_READY_SECONDS
        return False


class LoopLag:
    """Measures how long iterations of the event loop take: the time until a callback that is scheduled with ``call_soon`` runs.

    While iterations are short, one is measured now and then, when a request arrives. After a long one every iteration is measured, until one
    is short again. (The loop does not sleep while a callback is scheduled, so an idle loop has a short iteration at once.)
    """

    def __init__(self) -> None:
        self.measure_at = 0.0
        """When the next measurement is due (event loop clock)."""
        self.is_measuring = False
        self.is_overloaded = False
        self._started_at = 0.0
        self._was_long = False
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Start to measure an iteration."""
        self.is_measuring = True
        self._loop = asyncio.get_running_loop()
        self._schedule()

    def iteration_age(self) -> float:
        """Return the seconds since the start of the iteration that is being measured."""
        return self._loop.time() - self._started_at

    def _schedule(self) -> None:
        self._started_at = self._loop.time()
        self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        now = self._loop.time()
        seconds = now - self._started_at
        is_long = seconds > LONG_ITERATION
        # Two thresholds: overload begins with two long iterations and lasts until a short one, so that it does not flap in between.
        self.is_overloaded = seconds > SHORT_ITERATION and (self.is_overloaded or (is_long and self._was_long))
        self._was_long = is_long
        self.is_measuring = seconds > SHORT_ITERATION
        if self.is_measuring:
            self._schedule()
        else:
            self.measure_at = now + MEASURE_INTERVAL
