"""Adaptive concurrency: a limit on calls under way that follows their latency (gradient of Netflix concurrency-limits, Envoy's filter).

An upstream with spare capacity is as fast with many calls as with few. One without queues them, and each takes longer. So the latency of
calls when there are few of them, divided by their latency now, says which part of them the upstream can handle.
"""

import asyncio
import math

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.bulkhead import BULKHEAD
from gateway.run.policies.policy import Policy, SourceState
from gateway.run.policies.timeout import is_cut_by_limit
from gateway.settings import SourceKeys
from gateway.settings.policies import AdaptiveKeys

_SAMPLES = 20
"""Calls after which the limit changes."""
_TOLERANCE = 1.25
"""How many times as long as with few calls they may take before the limit falls."""
_SMALLEST = 0.5
"""The smallest factor of one change of the limit."""
_LEARN_EVERY = 30.0
"""Seconds between measurements of the latency with few calls."""


class Adaptive:
    """A limit between the source's ``min`` and its ``concurrency``.

    It begins at ``min`` to learn the latency with few calls. Every half minute it is halved for one sample to measure that again:
    otherwise the limit would keep falling for a source that has become slower for a reason other than our calls.
    """

    def __init__(self, keys: AdaptiveKeys, most: int) -> None:
        self._least = min(keys.min, most)
        self._most = most
        self._exact = float(self._least)
        self._before = float(most)
        """The limit to return to after the latency with few calls has been measured."""
        self.alone: float | None = None
        """Average seconds of a call when there are few of them; None while that is being measured."""
        self._learnt_at = 0.0
        self._since = 0.0
        self._count = self._crowd = 0
        self._seconds = 0.0

    @property
    def limit(self) -> int:
        """How many calls may be under way."""
        return int(self._exact)

    def note(self, began: float, ended: float, in_use: int) -> None:
        """Add a call: when it began and ended (event loop clock), and how many were under way when it began."""
        if began < self._since:
            return
        self._count += 1
        self._seconds += ended - began
        self._crowd = max(self._crowd, in_use)
        if self._count >= _SAMPLES:
            self._step(self._seconds / self._count, ended)

    def _step(self, average: float, now: float) -> None:
        if self.alone is None:
            self.alone, self._learnt_at = average, now
            self._exact = self._before
        elif now - self._learnt_at >= _LEARN_EVERY:
            self.alone, self._before = None, self._exact
            self._exact = max(self._exact / 2, float(self._least))
        else:
            self._follow(self.alone, average)
        self._restart(now)

    def _follow(self, alone: float, average: float) -> None:
        """Follow the gradient, with some headroom: a limit that is never reached cannot grow."""
        gradient = max(_SMALLEST, min(1.0, _TOLERANCE * alone / average)) if average else 1.0
        wanted = self._exact * gradient + math.sqrt(self._exact)
        if wanted > self._exact and self._crowd < self.limit / 2:
            return  # there were too few calls to reach the limit
        self._exact = min(float(self._most), max(float(self._least), wanted))

    def _restart(self, now: float) -> None:
        """Begin the next sample. It leaves out calls that began before, under the old limit."""
        self._since = now
        self._count = self._crowd = 0
        self._seconds = 0.0


def with_adaptive(call: Call, step: Step, source: SourceState) -> Call:
    """Measure attempts, and set the capacity of the source's bulkhead accordingly."""
    adaptive, bulkhead, timeout = ADAPTIVE.of(source), BULKHEAD.of(source), step.timeout
    if adaptive is None or bulkhead is None:
        return call

    async def measured(inputs: Inputs, context: CallContext) -> Reply:
        loop, in_use = asyncio.get_running_loop(), bulkhead.in_use
        try:
            reply = await call(inputs, context)
        except (asyncio.CancelledError, TimeoutError):  # another failure may be quick because it is one
            if is_cut_by_limit(context, timeout, loop.time()):
                adaptive.note(context.began_at or 0.0, loop.time(), in_use)
            raise
        else:
            adaptive.note(context.began_at or 0.0, loop.time(), in_use)
            return reply
        finally:
            bulkhead.resize(adaptive.limit)

    return measured


def _adaptive(keys: SourceKeys, source: SourceState) -> Adaptive | None:
    bulkhead = BULKHEAD.of(source)
    if keys.adaptive is None or bulkhead is None:
        return None
    adaptive = Adaptive(keys.adaptive, keys.concurrency)
    bulkhead.resize(adaptive.limit)
    return adaptive


ADAPTIVE: Policy[Adaptive] = Policy("adaptive", with_adaptive, _adaptive)
