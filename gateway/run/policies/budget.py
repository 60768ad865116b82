"""A budget for retries or hedges: extra calls stay a small part of all calls, also while every call fails or is slow."""

import asyncio

from gateway.run.policies.window import SlidingWindow


class CallBudget:
    """A budget of extra calls: ``percent`` of the calls of the last ``seconds``, but not less than ``minimum`` in that time."""

    def __init__(self, percent: int, minimum: int, seconds: float = 10.0) -> None:
        self.window = SlidingWindow(seconds)
        """All calls; the marked ones are extra calls."""
        self.granted = 0
        self.denied = 0
        self._percent = percent
        self._minimum = minimum

    @property
    def available(self) -> int:
        """How many extra calls may be made now."""
        self.window.advance(asyncio.get_running_loop().time())
        return max(self._minimum, self.window.calls * self._percent // 100) - self.window.marked

    def count(self, now: float) -> None:
        """Count a call."""
        self.window.count(now)

    def take(self) -> bool:
        """Take an extra call from the budget; return False if there is none."""
        if self.available <= 0:
            self.denied += 1
            return False
        self.granted += 1
        self.window.add(asyncio.get_running_loop().time(), 0, 1)
        return True
