"""Counts over a sliding window. The window has ten buckets, so that an event costs no memory and little time."""

_BUCKETS = 10


class SlidingWindow:
    """The number of calls over the last ``seconds``, and how many of them are marked.

    Older calls are dropped a tenth of the window at a time. Times are those of the event loop's clock. Totals only grow: the count of the
    window is the total now minus the total when the oldest bucket began, so that dropping a bucket subtracts nothing.
    """

    __slots__ = ("_calls", "_ends_at", "_index", "_marked", "_starts", "_width")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self.clear()

    def clear(self) -> None:
        """Drop all calls."""
        self._calls = self._marked = 0
        """Totals since the window was cleared."""
        self._starts = [(0, 0)] * _BUCKETS
        """The totals when each bucket began; the bucket after the current one is the oldest."""
        self._index = 0
        self._ends_at = 0.0

    @property
    def calls(self) -> int:
        """How many calls are in the window, as of the last event."""
        return self._calls - self._starts[(self._index + 1) % _BUCKETS][0]

    @property
    def marked(self) -> int:
        """How many of them are marked."""
        return self._marked - self._starts[(self._index + 1) % _BUCKETS][1]

    def count(self, now: float) -> None:
        """Add a call that is not marked."""
        if now >= self._ends_at:
            self.advance(now)
        self._calls += 1

    def add(self, now: float, calls: int, marked: int) -> None:
        """Add calls and marks."""
        self.advance(now)
        self._calls += calls
        self._marked += marked

    def advance(self, now: float) -> None:
        """Drop the buckets that have left the window."""
        if now < self._ends_at:
            return
        passed = int((now - self._ends_at) / self._width) + 1
        for _ in range(min(passed, _BUCKETS)):
            self._index = (self._index + 1) % _BUCKETS
            self._starts[self._index] = self._calls, self._marked
        self._ends_at += passed * self._width
