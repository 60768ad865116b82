"""Hedging: while a call is slow a second one is made, and the first successful reply is used (Dean and Barroso, The Tail at Scale)."""

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

_MAX_SAMPLES = 100
"""How many latencies of a step are kept: those of its last calls."""
_PERCENTILE = 0.95
_MINUTE = 60.0
_MAX_STEPS = 1000


class StepLatency:
    """The latencies of the last calls of a step, and the budget for its hedges."""

    def __init__(self, keys: HedgeKeys) -> None:
        self.budget = CallBudget(keys.max_percent, 0, _MINUTE)
        self._min_samples = keys.min_samples
        self._seconds: list[float] = []
        self._next = 0
        self._percentile = 0.0

    @property
    def hedge_delay(self) -> float | None:
        """The seconds after which a call counts as slow: the 95th percentile of the latencies. None while there are too few of them."""
        return self._percentile if len(self._seconds) >= self._min_samples else None

    def add(self, began: float, ended: float) -> None:
        """Add a call. The percentile is computed once in ten calls, as that sorts all latencies."""
        self.budget.count(ended)
        seconds = ended - began
        if len(self._seconds) < _MAX_SAMPLES:
            self._seconds.append(seconds)
        else:
            self._seconds[self._next] = seconds
        self._next = (self._next + 1) % _MAX_SAMPLES
        if self._next % 10 == 0:
            self._percentile = sorted(self._seconds)[int(_PERCENTILE * len(self._seconds))]


class SourceLatencies:
    """The latencies of the steps of a source, by the fingerprints of the steps."""

    def __init__(self) -> None:
        self.by_step: OrderedDict[str, StepLatency] = OrderedDict()

    @property
    def hedges(self) -> int:
        """How many hedges have been made."""
        return sum(latency.budget.granted for latency in self.by_step.values())

    def of(self, step: Step, keys: HedgeKeys) -> StepLatency:
        """Return the latencies of a step. Beyond ``_MAX_STEPS`` steps the oldest are dropped."""
        latency = self.by_step.setdefault(step.fingerprint, StepLatency(keys))
        if len(self.by_step) > _MAX_STEPS:
            self.by_step.popitem(last=False)
        return latency


def with_hedge(call: Call, step: Step, source: SourceState) -> Call:
    """Wrap a call so that a second one is made while it is slow, if the budget allows it. The loser is cancelled."""
    keys, latencies = step.policies.get(HEDGE.name), HEDGE.of(source)
    if not isinstance(keys, HedgeKeys) or not keys.enabled or latencies is None:
        return call
    latency = latencies.of(step, keys)

    async def hedged(inputs: Inputs, context: CallContext) -> Reply:
        loop = asyncio.get_running_loop()
        began = loop.time()
        delay = latency.hedge_delay
        if delay is None or began + delay >= context.deadline:
            reply = await call(inputs, context)
        else:
            reply = await _race(call, inputs, context, latency)
        latency.add(began, loop.time())
        return reply

    return hedged


async def _race(call: Call, inputs: Inputs, context: CallContext, latency: StepLatency) -> Reply:
    """Return the first successful reply; if both calls fail, raise the fault of the first call."""
    first = asyncio.create_task(_await_call(call, inputs, context))
    calls = {first}
    try:
        await asyncio.wait(calls, timeout=latency.hedge_delay)
        if first.done() or not latency.budget.take():
            return await first
        context.events += (("hedges", asyncio.get_running_loop().time()),)
        # A copy, as each attempt sets `began_at` and its waits in its context.
        calls.add(asyncio.create_task(_await_call(call, inputs, copy(context))))
        return await _first_success(first, calls)
    finally:
        await _cancel(calls)


async def _await_call(call: Call, inputs: Inputs, context: CallContext) -> Reply:
    """Await a call: a task needs a coroutine, and a call may return any awaitable."""
    return await call(inputs, context)


async def _first_success(first: "asyncio.Task[Reply]", calls: "set[asyncio.Task[Reply]]") -> Reply:
    running = set(calls)
    while running:
        ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for call in ended:
            # Any other exception is a defect: `result` raises it, without a wait for the second call.
            if not isinstance(call.exception(), StepFault):
                return call.result()
    return first.result()


async def _cancel(calls: "set[asyncio.Task[Reply]]") -> None:
    """Cancel the calls that still run and wait until all have ended. How the losers have ended does not matter."""
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


def _new_latencies(_keys: SourceKeys, _source: SourceState) -> SourceLatencies:
    return SourceLatencies()


HEDGE: Policy[SourceLatencies] = Policy(
    "hedge", with_hedge, _new_latencies, (Series(EXTRA_CALLS, lambda latencies: latencies.hedges, "hedge"),)
)
