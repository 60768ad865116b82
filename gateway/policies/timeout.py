"""The limit of one attempt: a call is cut at its timeout or at the deadline, whichever comes first."""

import asyncio

from gateway.alarm import Alarm
from gateway.resolver import CallContext

_RESOLUTION = 0.001
"""Seconds that a timer may be early, by the clocks of event loops."""


class Limit(Alarm):
    """The end of an attempt that begins now: after ``timeout`` seconds, or at the deadline of the call, which may move while it runs."""

    def __init__(self, timeout: float, context: CallContext) -> None:
        loop = asyncio.get_running_loop()
        began = context.began_at = loop.time()
        self._context = context
        self._own = began + timeout
        super().__init__(loop, min(context.deadline, self._own))

    def ring(self) -> None:
        """Cancel the task, or wait on: a request with a later deadline may have joined the call meanwhile."""
        loop, time = asyncio.get_running_loop(), min(self._own, self._context.deadline)
        if time - loop.time() > _RESOLUTION:
            self.timer = loop.call_at(time, self.ring)
        else:
            super().ring()


def had_time(context: CallContext, timeout: float, now: float) -> bool:
    """Tell whether an attempt that was cut off says something of its source: it had half of its timeout, or of all the request's time.

    What the deadline cuts soon after it began, because steps before it took too long, says nothing.
    """
    if context.began_at is None:
        return False
    whole = min(timeout, context.deadline - context.request.arrived_at)
    return now - context.began_at >= whole / 2 - _RESOLUTION


def is_cut_by_limit(context: CallContext, timeout: float, now: float) -> bool:
    """Tell whether a cancellation that comes now comes because the attempt has taken all of its time."""
    return context.began_at is not None and now >= min(context.began_at + timeout, context.deadline) - _RESOLUTION


def is_cut_by_deadline(context: CallContext, now: float) -> bool:
    """Tell whether a cancellation that comes now comes because of the deadline, which a request keeps by cancelling what is under way."""
    return now >= context.deadline - _RESOLUTION
