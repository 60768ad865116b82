"""Hedges: a slow call is made a second time beside the first, and the first good reply counts (Dean and Barroso, The Tail at Scale)."""

import asyncio
from collections import OrderedDict
from copy import copy

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.errors import StepFault
from gateway.run.policies.budget import CallBudget
from gateway.run.policies.policy import EXTRA_CALLS, Policy, Series, SourceState
from gateway.settings import SourceKeys
from gateway.settings.policies import HedgeKeys

_KEPT = 100
"""The last calls of a step whose times are kept."""
_PERCENTILE = 0.95
_MINUTE = 60.0
_MAX_STEPS = 1000


class StepLatency:
    """How long the last calls of a step took, and the budget for its hedges."""

    def __init__(self, keys: HedgeKeys) -> None:
        self.budget = CallBudget(keys.max_percent, 0, _MINUTE)
        self._min_samples = keys.min_samples
        self._seconds: list[float] = []
        self._next = 0
        self._slow = 0.0

    @property
    def slow(self) -> float | None:
        """The seconds after which a call is slow: 95 of 100 took less. None while too little is known."""
        return self._slow if len(self._seconds) >= self._min_samples else None

    def add(self, began: float, ended: float) -> None:
        """Add a call. The percentile is computed with every tenth."""
        self.budget.count(ended)
        seconds = ended - began
        if len(self._seconds) < _KEPT:
            self._seconds.append(seconds)
        else:
            self._seconds[self._next] = seconds
        self._next = (self._next + 1) % _KEPT
        if self._next % 10 == 0:
            self._slow = sorted(self._seconds)[int(_PERCENTILE * len(self._seconds))]


class SourceLatencies:
    """The latencies of the steps of a source, by the fingerprints of the steps."""

    def __init__(self) -> None:
        self.by_step: OrderedDict[str, StepLatency] = OrderedDict()

    @property
    def hedges(self) -> int:
        """How many hedges there have been."""
        return sum(latency.budget.granted for latency in self.by_step.values())

    def of(self, step: Step, keys: HedgeKeys) -> StepLatency:
        """Return the latencies of a step; when there are very many steps the oldest are dropped."""
        found = self.by_step.setdefault(step.fingerprint, StepLatency(keys))
        if len(self.by_step) > _MAX_STEPS:
            self.by_step.popitem(last=False)
        return found


def with_hedge(call: Call, step: Step, source: SourceState) -> Call:
    """Make a second call beside one that is slow, where the budget allows it. The loser is cancelled."""
    keys, latencies = step.policies.get(HEDGE.name), HEDGE.of(source)
    if not isinstance(keys, HedgeKeys) or not keys.enabled or latencies is None:
        return call
    latency = latencies.of(step, keys)

    async def hedged(inputs: Inputs, context: CallContext) -> Reply:
        loop = asyncio.get_running_loop()
        began = loop.time()
        slow = latency.slow
        if slow is None or began + slow >= context.deadline:
            reply = await call(inputs, context)
        else:
            reply = await _race(call, inputs, context, latency)
        latency.add(began, loop.time())
        return reply

    return hedged


async def _race(call: Call, inputs: Inputs, context: CallContext, latency: StepLatency) -> Reply:
    """Return the first good reply; when both calls fail, the first call's fault stands."""
    first = asyncio.create_task(_of(call, inputs, context))
    calls = {first}
    try:
        await asyncio.wait(calls, timeout=latency.slow)
        if first.done() or not latency.budget.take():
            return await first
        context.events += (("hedges", asyncio.get_running_loop().time()),)
        calls.add(asyncio.create_task(_of(call, inputs, copy(context))))
        return await _first_good(first, calls)
    finally:
        await _cancel(calls)


async def _of(call: Call, inputs: Inputs, context: CallContext) -> Reply:
    return await call(inputs, context)


async def _first_good(first: "asyncio.Task[Reply]", calls: "set[asyncio.Task[Reply]]") -> Reply:
    running = set(calls)
    while running:
        ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for call in ended:
            if not isinstance(call.exception(), StepFault):
                return call.result()
    return first.result()


async def _cancel(calls: "set[asyncio.Task[Reply]]") -> None:
    """Cancel the calls that are under way and wait until all have ended; how the losers ended does not matter."""
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def _latencies(_keys: SourceKeys, _source: SourceState) -> SourceLatencies:
    return SourceLatencies()


HEDGE: Policy[SourceLatencies] = Policy(
    "hedge", with_hedge, _latencies, (Series(EXTRA_CALLS, lambda latencies: latencies.hedges, "hedge"),)
)
