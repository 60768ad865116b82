"""The timeout of one attempt: it is cancelled at its timeout or at the deadline, whichever comes first."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.timers import DeadlineTimer

RESOLUTION = 0.001
"""Seconds that a timer may be early, by the clocks of event loops."""
_AT_DEADLINE = "cut at the deadline of the request"

T = TypeVar("T")


class Limit(DeadlineTimer):
    """Ends an attempt that begins now: after ``timeout`` seconds, or at the deadline of the call, which may move while it runs.

    :raises StepFault: the deadline has passed already.
    """

    def __init__(self, timeout: float, context: CallContext) -> None:
        loop = asyncio.get_running_loop()
        began = context.began_at = loop.time()
        if began >= context.deadline:
            raise StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=_AT_DEADLINE)
        self._context = context
        self._own = began + timeout
        super().__init__(loop, min(context.deadline, self._own))

    def fault(self) -> StepFault:
        """Return the fault of an attempt that it has cancelled, or that has timed out by itself."""
        seconds = self._own - (self._context.began_at or 0.0)
        detail = f"no answer within {seconds * 1000:.0f} ms" if self._own <= self._context.deadline else _AT_DEADLINE
        return StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=detail)

    def fire(self) -> None:
        """Cancel the task, or wait longer if a request with a later deadline has joined the call meanwhile."""
        loop, time = asyncio.get_running_loop(), min(self._own, self._context.deadline)
        if time - loop.time() > RESOLUTION:
            self.handle = loop.call_at(time, self.fire)
        else:
            super().fire()


async def until_deadline(waiting: Awaitable[T], context: CallContext) -> T:
    """Await something until the deadline of a call.

    :raises StepFault: the deadline came first.
    """
    timer = DeadlineTimer(asyncio.get_running_loop(), context.deadline)
    try:
        return await waiting
    except asyncio.CancelledError:
        if not timer.is_cause():
            raise
        raise StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=_AT_DEADLINE) from None
    finally:
        timer.cancel()


def had_time(context: CallContext, timeout: float, now: float) -> bool:
    """Tell whether an attempt that was cut off counts against its source: it had half of its timeout, or half of the request's time.

    An attempt that the deadline cuts soon after it began, because earlier steps took long, does not count.
    """
    if context.began_at is None:
        return False
    whole = min(timeout, context.deadline - context.request.arrived_at)
    return now - context.began_at >= whole / 2 - RESOLUTION


def is_cut_by_limit(context: CallContext, timeout: float, now: float) -> bool:
    """Tell whether a cancellation that comes now is due to the timeout of the attempt or the deadline."""
    return context.began_at is not None and now >= min(context.began_at + timeout, context.deadline) - RESOLUTION


def is_cut_by_deadline(context: CallContext, now: float) -> bool:
    """Tell whether a cancellation that comes now is due to the deadline, at which a request cancels what is under way."""
    return now >= context.deadline - RESOLUTION
