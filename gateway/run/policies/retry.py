"""Further attempts: a failed call that may be repeated is, with measure. The waits between attempts, and what bounds their number."""

import asyncio
import random
from dataclasses import replace

from gateway.blueprint import Step
from gateway.blueprint.step import Retry
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.errors import StepFault
from gateway.run.policies.budget import CallBudget


def with_retry(call: Call, step: Step, budget: CallBudget | None) -> Call:
    """Repeat a failed idempotent call with full jitter, as often as the step and the budget of its source allow and the deadline leaves room for.

    Waits are drawn between 0 and a limit that doubles (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/); a
    ``Retry-After`` is a lower bound, and when it does not fit into the deadline there is no further attempt.
    """
    retry = step.retry if step.is_idempotent else replace(step.retry, attempts=1)

    async def retried(inputs: Inputs, context: CallContext) -> Reply:
        while True:
            context.attempts += 1
            try:
                reply = await call(inputs, context)
            except StepFault as fault:
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
            context.retried_at += (asyncio.get_running_loop().time(),)

    return retried


def _wait(retry: Retry, context: CallContext, fault: StepFault) -> float | None:
    """Return the seconds to wait before the next attempt; None when there is none."""
    if context.attempts >= retry.attempts or fault.kind not in retry.errors:
        return None
    drawn = random.uniform(0, min(retry.cap, retry.base * 2 ** (context.attempts - 1)))
    wait = max(drawn, fault.retry_after or 0.0)
    return wait if asyncio.get_running_loop().time() + wait < context.deadline else None
