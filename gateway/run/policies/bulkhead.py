"""The bulkhead of a source: a limit on concurrent calls. Further calls wait in a bounded queue; calls that find it full are rejected."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.policy import REFUSED, Policy, Series, SourceMetric, SourceState
from gateway.settings import SourceKeys


class Bulkhead:
    """``capacity`` places, one for each concurrent call. Up to ``queue`` callers may wait for one, each for at most ``max_wait`` seconds.

    A place that becomes free goes to the first in the queue at once. So a new caller never overtakes the queue: while somebody waits, no
    place is free.
    """

    def __init__(self, capacity: int, queue: int, max_wait: float) -> None:
        self.capacity = capacity
        self.in_use = 0
        self.rejected = 0
        """How many callers were rejected because the queue was full or they had waited for too long."""
        self._queue = queue
        self._max_wait = max_wait
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._rejection_fault: Callable[[], StepFault] | None = None
        self._rejection_count = 0

    @property
    def waiting(self) -> int:
        """How many callers wait for a place."""
        return len(self._waiting)

    def take(self) -> bool:
        """Take a place if one is free."""
        if self.in_use < self.capacity:
            self.in_use += 1
            return True
        return False

    async def wait(self, context: CallContext) -> None:
        """Wait for a place and take it; the context records the wait.

        :raises StepFault: the queue is full, no place has become free in time, or the circuit breaker has opened meanwhile.
        """
        if len(self._waiting) >= self._queue:
            raise self._refusal("the queue of the source is full")
        loop = asyncio.get_running_loop()
        now, count = loop.time(), self._rejection_count
        context.begin_wait(now)
        waiter = loop.create_future()
        self._waiting.append(waiter)
        timer = loop.call_at(min(now + self._max_wait, context.deadline), self._time_out, waiter, context.deadline)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._remove(waiter)
            elif waiter.exception() is None:
                self.release()  # it got a place and was cancelled in the same iteration of the event loop
            raise
        finally:
            timer.cancel()
            context.end_wait(loop.time())
        # The breaker may open after this waiter has got its place and before it runs again, in the same iteration of the event loop.
        if self._rejection_fault is not None and count != self._rejection_count:
            self.release()
            raise self._rejection_fault()

    def release(self) -> None:
        """Free a place."""
        self.in_use -= 1
        self._hand_over()

    def resize(self, capacity: int) -> None:
        """Change the number of places; running calls keep theirs, also beyond the new number."""
        self.capacity = capacity
        self._hand_over()

    def reject_waiters(self, fault: Callable[[], StepFault]) -> None:
        """Make all waiters fail, each with a fault of its own from ``fault``."""
        self._rejection_fault = fault
        self._rejection_count += 1
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(fault())

    def _hand_over(self) -> None:
        while self._waiting and self.in_use < self.capacity:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_use += 1
                waiter.set_result(None)

    def _time_out(self, waiter: "asyncio.Future[None]", deadline: float) -> None:
        if waiter.done():
            return
        self._remove(waiter)
        if waiter.get_loop().time() >= deadline:
            waiter.set_exception(StepFault(Code.GATEWAY_TIMEOUT, detail="no free place before the deadline"))
        else:
            waiter.set_exception(self._refusal(f"no free place within {self._max_wait * 1000:.0f} ms"))

    def _remove(self, waiter: "asyncio.Future[None]") -> None:
        with suppress(ValueError):  # it has just got a place, and so has left the queue
            self._waiting.remove(waiter)

    def _refusal(self, detail: str) -> StepFault:
        self.rejected += 1
        return StepFault(Code.REQUEST_LIMIT_EXCEEDED, detail=detail)


def _new_bulkhead(keys: SourceKeys, _source: SourceState) -> Bulkhead:
    return Bulkhead(keys.concurrency, keys.queue, keys.queue_timeout_ms / 1000)


_CALLS = SourceMetric(
    "stepgraph_source_calls", "Calls under way and waiting, and places for those under way.", "kind", is_gauge=True
)

BULKHEAD: Policy[Bulkhead] = Policy(
    "bulkhead",
    state=_new_bulkhead,
    series=(
        Series(_CALLS, lambda bulkhead: bulkhead.in_use, "under_way"),
        Series(_CALLS, lambda bulkhead: bulkhead.waiting, "waiting"),
        Series(_CALLS, lambda bulkhead: bulkhead.capacity, "places"),
        Series(REFUSED, lambda bulkhead: bulkhead.rejected, "bulkhead"),
    ),
)
