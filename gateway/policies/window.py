"""Events → how many there were lately: a ring of counters in coarse buckets, so that an event costs no memory and about a quarter of a µs."""

_BUCKETS = 10


class Window:
    """How many calls there were over the last ``seconds``, and how many of them were marked.

    What is older than that leaves by tenths of it. Times are those of the event loop's clock.
    """

    __slots__ = ("_calls", "_ends_at", "_index", "_marked", "_width", "calls", "marked")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / _BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.calls = self.marked = 0
        self._calls = [0] * _BUCKETS
        self._marked = [0] * _BUCKETS
        self._index = 0
        self._ends_at = 0.0

    def add(self, now: float, calls: int = 1, marked: int = 0) -> None:
        """Count calls, or marks."""
        if now >= self._ends_at:
            self.advance(now)
        self._calls[self._index] += calls
        self.calls += calls
        if marked:
            self._marked[self._index] += marked
            self.marked += marked

    def advance(self, now: float) -> None:
        """Let go of what is too old by now; ``calls`` and ``marked`` are those of the window only after that."""
        if now < self._ends_at:
            return
        passed = int((now - self._ends_at) / self._width) + 1
        for _ in range(min(passed, _BUCKETS)):
            self._index = (self._index + 1) % _BUCKETS
            self.calls -= self._calls[self._index]
            self.marked -= self._marked[self._index]
            self._calls[self._index] = self._marked[self._index] = 0
        self._ends_at += passed * self._width
