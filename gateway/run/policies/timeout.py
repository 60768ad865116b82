"""The timeout of one attempt: the attempt is cancelled at its timeout or at the deadline, whichever comes first."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.timers import DeadlineTimer

RESOLUTION = 0.001
"""Seconds by which a timer may fire early, as clocks of event loops have a limited resolution."""
_AT_DEADLINE = "cut at the deadline of the request"

T = TypeVar("T")


class AttemptTimeout(DeadlineTimer):
    """Cancels an attempt that begins now after ``timeout`` seconds, or at the deadline of its call, which may move while it runs.

    :raises StepFault: the deadline has passed already.
    """

    def __init__(self, timeout: float, context: CallContext) -> None:
        loop = asyncio.get_running_loop()
        began = context.began_at = loop.time()
        if began >= context.deadline:
            raise StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=_AT_DEADLINE)
        self._context = context
        self._timeout_at = began + timeout
        super().__init__(loop, min(context.deadline, self._timeout_at))

    def fault(self) -> StepFault:
        """Return the fault of an attempt that this timer has cancelled, or that has raised a TimeoutError itself."""
        seconds = self._timeout_at - (self._context.began_at or 0.0)
        detail = f"no answer within {seconds * 1000:.0f} ms" if self._timeout_at <= self._context.deadline else _AT_DEADLINE
        return StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=detail)

    def fire(self) -> None:
        """Cancel the task; or set the timer again, if a request with a later deadline has joined the call meanwhile."""
        loop, time = asyncio.get_running_loop(), min(self._timeout_at, self._context.deadline)
        if time - loop.time() > RESOLUTION:
            self.handle = loop.call_at(time, self.fire)
        else:
            super().fire()


async def until_deadline(waiting: Awaitable[T], context: CallContext) -> T:
    """Await something, but at most until the deadline of a call.

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


def counts_against_source(context: CallContext, timeout: float, now: float) -> bool:
    """Tell whether an attempt that timed out counts as a failure of its source: it had half of its timeout, or half of the request's time.

    An attempt that reaches the deadline soon after it began, because earlier steps took long, does not count.
    """
    if context.began_at is None:
        return False
    whole = min(timeout, context.deadline - context.request.arrived_at)
    return now - context.began_at >= whole / 2 - RESOLUTION


def is_due_to_timeout(context: CallContext, timeout: float, now: float) -> bool:
    """Tell whether a cancellation that comes now is due to the timeout of the attempt or the deadline."""
    return context.began_at is not None and now >= min(context.began_at + timeout, context.deadline) - RESOLUTION


def is_due_to_deadline(context: CallContext, now: float) -> bool:
    """Tell whether a cancellation that comes now is due to the deadline, at which a request cancels its calls."""
    return now >= context.deadline - RESOLUTION
