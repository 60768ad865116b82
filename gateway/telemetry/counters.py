"""Counters and histograms as plain numbers, which cost a request next to nothing. They are read when metrics are scraped.

Labels come from the configuration and from fixed lists, never from a request, so that a client cannot create series. The number of series
is bounded.
"""

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from gateway.contract.outcome import Failure, Outcome, Skipped, Success
from gateway.run import Results
from gateway.run.joins import LinkResult

REQUEST_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STEP_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5)
LAG_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
LAG_INTERVAL = 0.5
"""Seconds between two measurements of the event loop's lag."""
LAG_WINDOW = 60.0
"""Seconds over which the largest lag is kept."""
MAX_STEP_SERIES = 1300
"""The share of steps in the limit of 2,000 series. When it is used up, further steps are counted together as ``other``."""
OK, SKIPPED, OTHER = "ok", "skipped", "other"


class Histogram:
    """Counts of observations (seconds), each at the first bound that it does not exceed, and their sum. Counts are not cumulative."""

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
    """The durations of a step, and how often it ended with each outcome (``ok``, ``skipped``, or the code of a failure).

    ``served`` counts the values that came from a fallback.
    """

    __slots__ = ("ok", "operation", "outcomes", "seconds", "served", "step")

    def __init__(self, operation: str, step: str) -> None:
        self.operation = operation
        self.step = step
        self.seconds = Histogram(STEP_BOUNDS)
        self.ok = 0
        self.outcomes: dict[str, int] = {}
        self.served = 0


_SERIES_PER_STEP = len(STEP_BOUNDS) + 1 + 5
"""The buckets; their sum and count; ``ok``, ``other``, ``served``."""


class StepMeters:
    """The meters of steps by operation and name. A link has no operation, as it belongs to a type."""

    def __init__(self, max_series: int = MAX_STEP_SERIES) -> None:
        self._meters: dict[tuple[str, str], StepMeter] = {}
        self._other = StepMeter(OTHER, OTHER)
        self._available = max_series - _SERIES_PER_STEP  # `other` has series too

    def __iter__(self) -> Iterator[StepMeter]:
        yield from self._meters.values()
        if self._other.seconds.total or self._other.outcomes:
            yield self._other

    def of(self, operation: str, step: str) -> StepMeter:
        """Return the meter of a step. When the series are used up, it is the meter ``other``, which all further steps share."""
        meter = self._meters.get((operation, step))
        if meter is None:
            if not self._reserve(_SERIES_PER_STEP):
                return self._other
            meter = self._meters[operation, step] = StepMeter(operation, step)
        return meter

    def _reserve(self, series: int) -> bool:
        is_available = self._available >= series
        self._available -= series if is_available else 0
        return is_available

    def count(self, meters: Sequence[StepMeter], results: Results) -> None:
        """Count a run in which every node has its own value (:meth:`Results.is_whole`); ``meters`` are those of the plan's nodes.

        This is the quick way for the common case; :meth:`count_each` counts any run.
        """
        for meter, span in zip(meters, results.spans):  # noqa: B905 - both have an item for each node, and the check takes time
            if span.ended is not None and span.ready is not None:
                histogram, seconds = meter.seconds, span.ended - span.ready
                histogram.counts[bisect_left(STEP_BOUNDS, seconds)] += 1  # `observe` inlined: the call would cost as much again
                histogram.total += seconds
                meter.ok += 1

    def count_each(self, meters: Sequence[StepMeter], results: Results) -> None:
        """Count a run in which a node has failed, was skipped, or has the value of a fallback."""
        for meter, outcome, span in zip(meters, results.outcomes, results.spans, strict=True):
            if outcome is None:
                continue
            if isinstance(outcome, Skipped):
                self._count_unusual(meter, SKIPPED)
                continue
            self._count_outcome(meter, outcome)
            if span.ready is not None and span.ended is not None:
                meter.seconds.observe(span.ended - span.ready)

    def count_constant(self, meters: Sequence[StepMeter]) -> None:
        """Count steps of a constant plan, whose response was sent without a run."""
        for meter in meters:
            meter.ok += 1
            meter.seconds.counts[0] += 1

    def _count_outcome(self, meter: StepMeter, outcome: Outcome) -> None:
        # A link's node counts once, whatever the number of its batches. A value of a fallback counts in `served`, and also as the failure
        # that it replaced.
        link_result = outcome.value if isinstance(outcome, Success) and isinstance(outcome.value, LinkResult) else None
        served = link_result.served if link_result else outcome if isinstance(outcome, Success) else None
        failure = link_result.failure if link_result else outcome
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
        """Count an outcome other than ``ok``. Each gets its series when it first happens, as few of all codes ever do."""
        if kind not in meter.outcomes and not self._reserve(1):
            kind = OTHER
        meter.outcomes[kind] = meter.outcomes.get(kind, 0) + 1


class Counters:
    """All counters of the process. They go on over reloads of the configuration, as counters of Prometheus must not fall."""

    def __init__(self) -> None:
        self.started = 0
        """Requests that have started."""
        self.requests: defaultdict[tuple[str, int], int] = defaultdict(int)
        """Requests that have ended, by outcome and HTTP status."""
        self.request_seconds = Histogram(REQUEST_BOUNDS)
        self.errors: Counter[str] = Counter()
        """The errors in responses, by code."""
        self.rejected: Counter[str] = Counter()
        """Requests that admission has rejected, by reason: too many under way (``in_flight``), or an overloaded event loop (``pressure``)."""
        self.steps = StepMeters()
        self.shared: Counter[str] = Counter()
        """Cache hits and misses, and calls and queries that have joined an equal one: see :data:`SHARED`."""
        self.lag = Histogram(LAG_BOUNDS)
        self._recent_lags: deque[float] = deque(maxlen=round(LAG_WINDOW / LAG_INTERVAL))

    @property
    def open(self) -> int:
        """How many requests are under way."""
        return self.started - sum(self.requests.values())

    @property
    def largest_lag(self) -> float:
        """The largest lag of the last minute."""
        return max(self._recent_lags, default=0.0)

    def count_errors(self, codes: Mapping[str, int]) -> None:
        """Count the errors of a response."""
        for code, count in codes.items():
            self.errors[code] += count

    def observe_lag(self, seconds: float) -> None:
        """Record how late the event loop was."""
        self.lag.observe(seconds)
        self._recent_lags.append(seconds)


SHARED = ("cache_hit", "cache_miss", "call_joined", "query_joined")
"""The keys of :attr:`Counters.shared`, which are also labels of its metric."""


@contextmanager
def measuring_loop_lag(counters: Counters) -> Iterator[None]:
    """Measure twice a second how late the running event loop is: the time between the due time of a timer and its call."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def measure(due: float) -> None:
        counters.observe_lag(max(0.0, loop.time() - due))
        schedule()

    def schedule() -> None:
        due = loop.time() + LAG_INTERVAL
        timers[:] = [loop.call_at(due, measure, due)]

    schedule()
    try:
        yield
    finally:
        timers[0].cancel()
