"""A budget for retries or hedges: extra calls stay a small part of all calls, also while everything fails or is slow."""

import asyncio

from gateway.run.policies.window import SlidingWindow


class CallBudget:
    """Extra calls: ``percent`` of the calls of the last ``seconds``, and at least ``least`` in that time."""

    def __init__(self, percent: int, least: int, seconds: float = 10.0) -> None:
        self.window = SlidingWindow(seconds)
        """All calls; those that are marked are extra."""
        self.granted = 0
        self.denied = 0
        self._percent = percent
        self._least = least

    @property
    def left(self) -> int:
        """How many extra calls there may be now."""
        self.window.advance(asyncio.get_running_loop().time())
        return max(self._least, self.window.calls * self._percent // 100) - self.window.marked

    def count(self, now: float) -> None:
        """Count a call."""
        self.window.count(now)

    def take(self) -> bool:
        """Take an extra call, if there is one left."""
        if self.left <= 0:
            self.denied += 1
            return False
        self.granted += 1
        self.window.add(asyncio.get_running_loop().time(), 0, 1)
        return True
