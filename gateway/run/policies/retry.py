"""Retries: a failed call is made again after a random wait, within its deadline and the retry budget of its source."""

import asyncio
import random
from dataclasses import dataclass
from functools import lru_cache

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.errors import StepFault
from gateway.run.policies.budget import CallBudget
from gateway.run.policies.policy import EXTRA_CALLS, REFUSED, Policy, Series, SourceMetric, SourceState
from gateway.settings import SourceKeys


@dataclass(frozen=True, slots=True)
class Retry:
    """The limit of attempts, the kinds of fault after which a call is retried, and the bounds of the waits in seconds."""

    attempts: int
    errors: frozenset[str]
    base: float
    cap: float


@lru_cache(maxsize=64)
def _retry(attempts: int, errors: tuple[str | int, ...], base_ms: int, cap_ms: int) -> Retry:
    """Return one object for all steps with the same keys: most steps have the defaults."""
    return Retry(attempts, frozenset(map(str, errors)), base_ms / 1000, cap_ms / 1000)


def with_retry(call: Call, step: Step, source: SourceState) -> Call:
    """Repeat a failed call with full jitter, as often as the step, the budget of its source and the deadline allow.

    Waits are drawn between 0 and a limit that doubles (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/); a
    ``Retry-After`` is a lower bound, and when it does not fit into the deadline there is no further attempt.
    """
    keys, budget = step.retry, RETRY.of(source)
    retry = _retry(keys.attempts, tuple(keys.errors), keys.base_ms, keys.cap_ms)

    async def retried(inputs: Inputs, context: CallContext) -> Reply:
        while True:
            context.attempts += 1
            try:
                reply = await call(inputs, context)
            except StepFault as fault:
                # The budget is a share of the calls that reach the source: rejected calls must not earn retries.
                if budget is not None and context.attempts == 1 and not fault.is_refusal:
                    budget.count(asyncio.get_running_loop().time())
                context.faults += (f"{fault.code} {fault.detail}",)
                wait = _wait(retry, context, fault)
                if wait is None or (budget is not None and not budget.take()):
                    raise
            else:
                if budget is not None and context.attempts == 1:
                    budget.count(context.began_at or 0.0)
                return reply
            await asyncio.sleep(wait)
            context.events += (("retries", asyncio.get_running_loop().time()),)

    return retried


def _wait(retry: Retry, context: CallContext, fault: StepFault) -> float | None:
    """Return the seconds to wait before the next attempt; None if there is no further attempt."""
    if context.attempts >= retry.attempts or fault.kind not in retry.errors:
        return None
    drawn = random.uniform(0, min(retry.cap, retry.base * 2 ** (context.attempts - 1)))
    wait = max(drawn, fault.retry_after or 0.0)
    return wait if asyncio.get_running_loop().time() + wait < context.deadline else None


def _new_budget(keys: SourceKeys, _source: SourceState) -> CallBudget:
    return CallBudget(keys.retry.budget_percent, keys.retry.budget_min)


_AVAILABLE = SourceMetric("stepgraph_source_retry_budget", "Retries that the budget allows now.", is_gauge=True)

RETRY: Policy[CallBudget] = Policy(
    "retry",
    with_retry,
    _new_budget,
    (
        Series(REFUSED, lambda budget: budget.denied, "retry_budget"),
        Series(EXTRA_CALLS, lambda budget: budget.granted, "retry"),
        Series(_AVAILABLE, lambda budget: budget.available),
    ),
)
