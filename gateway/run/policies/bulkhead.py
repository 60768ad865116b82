"""The bulkhead of a source: a limit on calls under way; a few more wait in a queue, further ones are refused at once."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.policy import REFUSED, Policy, Series, SourceMetric, SourceState
from gateway.settings import SourceKeys


class Bulkhead:
    """``capacity`` places; ``queue`` callers may wait for one, each for ``patience`` seconds at the most.

    A free place goes to the first in the queue at once, so there are never more waiters than ``queue``.
    """

    def __init__(self, capacity: int, queue: int, patience: float) -> None:
        self.capacity = capacity
        self.in_use = 0
        self.rejected = 0
        """How many callers were refused: the queue was full, or they had waited for too long."""
        self._queue = queue
        self._patience = patience
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turned_away: Callable[[], StepFault] | None = None
        self._times_turned_away = 0

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

        :raises StepFault: the queue is full, no place came free in time, or all waiters were turned away.
        """
        if len(self._waiting) >= self._queue:
            raise self._refusal("the queue of the source is full")
        loop = asyncio.get_running_loop()
        now, times = loop.time(), self._times_turned_away
        context.begin_wait(now)
        turn = loop.create_future()
        self._waiting.append(turn)
        timer = loop.call_at(min(now + self._patience, context.deadline), self._give_up, turn, context.deadline)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(turn)
            elif turn.exception() is None:
                self.release()  # it was given a place and cancelled in the same turn of the loop
            raise
        finally:
            timer.cancel()
            context.end_wait(loop.time())
        if (
            self._turned_away is not None and times != self._times_turned_away
        ):  # it was given a place in the same turn of the loop
            self.release()
            raise self._turned_away()

    def release(self) -> None:
        """Give a place back."""
        self.in_use -= 1
        self._hand_over()

    def resize(self, capacity: int) -> None:
        """Change the number of places; calls that are under way keep theirs."""
        self.capacity = capacity
        self._hand_over()

    def turn_away(self, fault: Callable[[], StepFault]) -> None:
        """Make all waiters fail, each with a fault of its own."""
        self._turned_away = fault
        self._times_turned_away += 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(fault())

    def _hand_over(self) -> None:
        while self._waiting and self.in_use < self.capacity:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_use += 1
                turn.set_result(None)

    def _give_up(self, turn: "asyncio.Future[None]", deadline: float) -> None:
        if turn.done():
            return
        self._forget(turn)
        if turn.get_loop().time() >= deadline:
            turn.set_exception(StepFault(Code.GATEWAY_TIMEOUT, detail="no free place before the deadline"))
        else:
            turn.set_exception(self._refusal(f"no free place within {self._patience * 1000:.0f} ms"))

    def _forget(self, turn: "asyncio.Future[None]") -> None:
        with suppress(ValueError):  # it has just been given a place
            self._waiting.remove(turn)

    def _refusal(self, detail: str) -> StepFault:
        self.rejected += 1
        return StepFault(Code.REQUEST_LIMIT_EXCEEDED, detail=detail)


def _bulkhead(keys: SourceKeys, _source: SourceState) -> Bulkhead:
    return Bulkhead(keys.concurrency, keys.queue, keys.queue_timeout_ms / 1000)


_CALLS = SourceMetric(
    "stepgraph_source_calls", "Calls under way and waiting, and places for those under way.", "kind", is_gauge=True
)

BULKHEAD: Policy[Bulkhead] = Policy(
    "bulkhead",
    state=_bulkhead,
    series=(
        Series(_CALLS, lambda bulkhead: bulkhead.in_use, "under_way"),
        Series(_CALLS, lambda bulkhead: bulkhead.waiting, "waiting"),
        Series(_CALLS, lambda bulkhead: bulkhead.capacity, "places"),
        Series(REFUSED, lambda bulkhead: bulkhead.rejected, "bulkhead"),
    ),
)
