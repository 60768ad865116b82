"""Places for calls to one source: as many as it has are under way, a few more wait in turn, further ones are refused at once."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from gateway.contract import CallContext
from gateway.errors import Code, StepFault


class Bulkhead:
    """``capacity`` places; ``queue`` callers may wait for one, each for ``patience`` seconds at the most.

    A place that comes free is given to the first in the queue at that moment, so the queue is never longer than it says.
    """

    def __init__(self, capacity: int, queue: int, patience: float) -> None:
        self.capacity = capacity
        self.in_use = 0
        self.rejected = 0
        """How many callers were refused: the queue was full, or their patience was at its end."""
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
        """Take the next place that comes free; the context notes the wait.

        :raises StepFault: the queue is full, no place came free in time, or all who waited were turned away.
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
                self.release()  # it was given a place that it does not want any more
            raise
        finally:
            timer.cancel()
            context.end_wait(loop.time())
        if self._turned_away is not None and times != self._times_turned_away:  # its turn had come in that very moment
            self.release()
            raise self._turned_away()

    def release(self) -> None:
        """Give a place back."""
        self.in_use -= 1
        self._hand_over()

    def resize(self, capacity: int) -> None:
        """Have more places or fewer from now on; calls that are under way keep theirs."""
        self.capacity = capacity
        self._hand_over()

    def turn_away(self, fault: Callable[[], StepFault]) -> None:
        """Have everybody who waits fail, each with a fault of its own."""
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
        with suppress(ValueError):  # it has had its turn just now
            self._waiting.remove(turn)

    def _refusal(self, detail: str) -> StepFault:
        self.rejected += 1
        return StepFault(Code.REQUEST_LIMIT_EXCEEDED, detail=detail)
