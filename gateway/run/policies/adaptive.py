"""Adaptive concurrency: a limit on concurrent calls that follows their latency (gradient of Netflix concurrency-limits, Envoy's filter).

An upstream with spare capacity is as fast with many calls as with few. An upstream without it queues them, and each takes longer. So the
base latency (that of calls when there are few) divided by the current latency is the share of the calls that the upstream can handle.
"""

import asyncio
import math

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.bulkhead import BULKHEAD
from gateway.run.policies.policy import Policy, SourceState
from gateway.run.policies.timeout import is_due_to_timeout
from gateway.settings import SourceKeys
from gateway.settings.policies import AdaptiveKeys

_SAMPLES = 20
"""Calls after which the limit is adjusted."""
_TOLERANCE = 1.25
"""The factor by which the latency may exceed the base latency before the limit falls."""
_MIN_GRADIENT = 0.5
"""The limit falls at most by this factor at once."""
_MEASURE_INTERVAL = 30.0
"""Seconds between measurements of the base latency."""


class Adaptive:
    """A limit between the source's ``min`` and its ``concurrency``.

    It begins at ``min`` to measure the base latency. Every half minute it is halved for one sample to measure it again: otherwise the
    limit would keep falling for a source that has become slower for a reason other than our calls.
    """

    def __init__(self, keys: AdaptiveKeys, maximum: int) -> None:
        self._min = min(keys.min, maximum)
        self._max = maximum
        self._exact_limit = float(self._min)
        self._previous_limit = float(maximum)
        """The limit to return to after the base latency has been measured."""
        self.base_latency: float | None = None
        """Average seconds of a call when there are few calls; None while it is being measured."""
        self._measured_at = 0.0
        self._sample_start = 0.0
        self._count = self._max_in_use = 0
        self._total_seconds = 0.0

    @property
    def limit(self) -> int:
        """How many calls may be under way at once."""
        return int(self._exact_limit)

    def record(self, began: float, ended: float, in_use: int) -> None:
        """Add a call to the sample: when it began and ended (event loop clock), and how many calls were under way when it began."""
        if began < self._sample_start:
            return
        self._count += 1
        self._total_seconds += ended - began
        self._max_in_use = max(self._max_in_use, in_use)
        if self._count >= _SAMPLES:
            self._finish_sample(self._total_seconds / self._count, ended)

    def _finish_sample(self, average: float, now: float) -> None:
        if self.base_latency is None:
            self.base_latency, self._measured_at = average, now
            self._exact_limit = self._previous_limit
        elif now - self._measured_at >= _MEASURE_INTERVAL:
            self.base_latency, self._previous_limit = None, self._exact_limit
            self._exact_limit = max(self._exact_limit / 2, float(self._min))
        else:
            self._adjust(self.base_latency, average)
        self._start_sample(now)

    def _adjust(self, base_latency: float, average: float) -> None:
        """Follow the gradient, with some headroom: a limit that is never reached cannot grow."""
        gradient = max(_MIN_GRADIENT, min(1.0, _TOLERANCE * base_latency / average)) if average else 1.0
        target = self._exact_limit * gradient + math.sqrt(self._exact_limit)
        if target > self._exact_limit and self._max_in_use < self.limit / 2:
            return  # the low latency proves nothing: there were too few calls to use the limit
        self._exact_limit = min(float(self._max), max(float(self._min), target))

    def _start_sample(self, now: float) -> None:
        """Begin the next sample. It leaves out calls that began before it, under the old limit."""
        self._sample_start = now
        self._count = self._max_in_use = 0
        self._total_seconds = 0.0


def with_adaptive(call: Call, step: Step, source: SourceState) -> Call:
    """Measure attempts, and set the capacity of the source's bulkhead accordingly."""
    adaptive, bulkhead, timeout = ADAPTIVE.of(source), BULKHEAD.of(source), step.timeout
    if adaptive is None or bulkhead is None:
        return call

    async def measured(inputs: Inputs, context: CallContext) -> Reply:
        loop, in_use = asyncio.get_running_loop(), bulkhead.in_use
        try:
            reply = await call(inputs, context)
        except (asyncio.CancelledError, TimeoutError):
            # Only timeouts count among failures. Others, such as a refused connection, may be quick although the source is overloaded.
            if is_due_to_timeout(context, timeout, loop.time()):
                adaptive.record(context.began_at or 0.0, loop.time(), in_use)
            raise
        else:
            adaptive.record(context.began_at or 0.0, loop.time(), in_use)
            return reply
        finally:
            bulkhead.resize(adaptive.limit)

    return measured


def _new_adaptive(keys: SourceKeys, source: SourceState) -> Adaptive | None:
    bulkhead = BULKHEAD.of(source)
    if keys.adaptive is None or bulkhead is None:
        return None
    adaptive = Adaptive(keys.adaptive, keys.concurrency)
    bulkhead.resize(adaptive.limit)
    return adaptive


ADAPTIVE: Policy[Adaptive] = Policy("adaptive", with_adaptive, _new_adaptive)
