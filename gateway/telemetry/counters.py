"""What happens → plain numbers: counters and histograms that cost a request next to nothing, and are read when somebody asks for metrics.

Labels come from the configuration and from fixed lists, never from a request, and there is room for a bounded number of them.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from gateway.contract.outcome import Failure, Outcome, Skipped, Success
from gateway.run import Results
from gateway.run.joins import Joined

REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STEP_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5)
LAG_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LAG_INTERVAL = 0.5
"""Seconds between two looks at how late the event loop is."""
LAG_WINDOW = 60.0
MAX_STEP_SERIES = 1300
"""Of the 2,000 series that there are at the most; steps that come when they are used up are counted together."""
OK, SKIPPED, OTHER = "ok", "skipped", "other"


class Histogram:
    """How many observations (seconds) there were, each counted at the first bound that it does not exceed, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count an observation."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class StepMeter:
    """How a step has run: how long, and how often it ended how (``ok``, ``skipped``, or the code of a failure).

    ``served`` counts the values that a fallback gave instead.
    """

    __slots__ = ("ok", "operation", "outcomes", "seconds", "served", "step")

    def __init__(self, operation: str, step: str) -> None:
        self.operation = operation
        self.step = step
        self.seconds = Histogram(STEP_BOUNDS)
        self.ok = 0
        self.outcomes: dict[str, int] = {}
        self.served = 0


_SERIES_OF_A_STEP = len(STEP_BOUNDS) + 1 + 5
"""Its buckets; their sum and count; ``ok``, ``other``, ``served``."""


class StepMeters:
    """The meters of steps by operation and name. A link has no operation, as it belongs to a type."""

    def __init__(self, max_series: int = MAX_STEP_SERIES) -> None:
        self._meters: dict[tuple[str, str], StepMeter] = {}
        self._other = StepMeter(OTHER, OTHER)
        self._room = max_series - _SERIES_OF_A_STEP

    def __iter__(self) -> Iterator[StepMeter]:
        yield from self._meters.values()
        if self._other.seconds.total or self._other.outcomes:
            yield self._other

    def of(self, operation: str, step: str) -> StepMeter:
        """Return the meter of a step; where there is no room for another one, that which all others share."""
        meter = self._meters.get((operation, step))
        if meter is None:
            if not self._takes(_SERIES_OF_A_STEP):
                return self._other
            meter = self._meters[operation, step] = StepMeter(operation, step)
        return meter

    def _takes(self, series: int) -> bool:
        has_room = self._room >= series
        self._room -= series if has_room else 0
        return has_room

    def count(self, meters: Sequence[StepMeter], results: Results) -> None:
        """Count how a run ended whose nodes have all given their own values; ``meters`` are those of the plan's nodes."""
        for meter, span in zip(meters, results.spans):  # noqa: B905 - a node each, and a check takes its time
            if span.ended is not None and span.ready is not None:
                histogram, seconds = meter.seconds, span.ended - span.ready
                histogram.counts[bisect_left(STEP_BOUNDS, seconds)] += 1  # as `observe` does, which would cost as much again
                histogram.total += seconds
                meter.ok += 1

    def count_each(self, meters: Sequence[StepMeter], results: Results) -> None:
        """Count how a run ended in which a node has failed, was skipped, or has another value than its own."""
        for meter, outcome, span in zip(meters, results.outcomes, results.spans, strict=True):
            if outcome is None:
                continue
            if isinstance(outcome, Skipped):
                self._count_unusual(meter, SKIPPED)
                continue
            self._count_outcome(meter, outcome)
            if span.ready is not None and span.ended is not None:
                meter.seconds.observe(span.ended - span.ready)

    def count_known(self, meters: Sequence[StepMeter]) -> None:
        """Count steps whose values are always the same and were known already."""
        for meter in meters:
            meter.ok += 1
            meter.seconds.counts[0] += 1

    def _count_outcome(self, meter: StepMeter, outcome: Outcome) -> None:
        found = outcome.value if isinstance(outcome, Success) and isinstance(outcome.value, Joined) else None
        served = found.served if found else outcome if isinstance(outcome, Success) else None
        failure = found.failure if found else outcome
        if served is not None and served.instead_of is not None:
            meter.served += 1
            failure = failure if isinstance(failure, Failure) else served.instead_of
        if isinstance(failure, Failure):
            self._count_unusual(meter, str(failure.code))
        elif isinstance(failure, Skipped):
            self._count_unusual(meter, SKIPPED)
        else:
            meter.ok += 1

    def _count_unusual(self, meter: StepMeter, kind: str) -> None:
        if kind not in meter.outcomes and not self._takes(1):
            kind = OTHER
        meter.outcomes[kind] = meter.outcomes.get(kind, 0) + 1


class Counters:
    """Everything that is counted, for as long as the process lives: configurations come and go."""

    def __init__(self) -> None:
        self.begun = 0
        """Requests that have begun."""
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        """Requests that have ended, by outcome and HTTP status."""
        self.request_seconds = Histogram(REQUEST_BOUNDS)
        self.errors: Counter[str] = Counter()
        """The errors of answers, by code."""
        self.rejected: Counter[str] = Counter()
        """Requests that were not let in, by why: all places were taken (``in_flight``), or the event loop could not keep up (``pressure``)."""
        self.steps = StepMeters()
        self.shared: Counter[str] = Counter()
        """What equal calls and queries had in common: see :data:`SHARED`."""
        self.lag = Histogram(LAG_BOUNDS)
        self._lately: deque[float] = deque(maxlen=round(LAG_WINDOW / LAG_INTERVAL))

    @property
    def open(self) -> int:
        """How many requests are under way."""
        return self.begun - sum(self.requests.values())

    @property
    def largest_lag(self) -> float:
        """The largest lag of the last minute."""
        return max(self._lately, default=0.0)

    def count_errors(self, codes: Mapping[str, int]) -> None:
        """Count the errors of an answer."""
        for code, count in codes.items():
            self.errors[code] += count

    def observe_lag(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self.lag.observe(seconds)
        self._lately.append(seconds)


SHARED = ("cache_hit", "cache_miss", "call_joined", "query_joined")


@contextmanager
def watching_the_loop(counters: Counters) -> Iterator[None]:
    """Look again and again at how late the running event loop is: one timer, twice a second."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def look(due: float) -> None:
        counters.observe_lag(max(0.0, loop.time() - due))
        wait()

    def wait() -> None:
        due = loop.time() + LAG_INTERVAL
        timers[:] = [loop.call_at(due, look, due)]

    wait()
    try:
        yield
    finally:
        timers[0].cancel()
