"""Call → call: what is put around every call of a step so that it ends in time, asks nobody who is down, and is repeated with measure.

:data:`ORDER` is the whole arrangement, from the inside out:

- *adaptive* concurrency measures how long the source takes, and tells the bulkhead how many places it has;
- an *attempt* is let through by a breaker, then given a place by a bulkhead, or waits for one for a while, and then has a limit, which
  so leaves out the time in the queue. While a source is given up nobody waits for a place at it, and those who do are turned away. What
  breaker and bulkhead refuse is no failure of the source and is not repeated;
- a *hedge* is a second attempt beside a slow one, with a place and a limit of its own;
- a *retry* is around everything, so each attempt waits and is timed anew, and each tells the breaker how it went.
"""

from collections.abc import Callable

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.adaptive import with_adaptive
from gateway.run.policies.attempt import with_attempt
from gateway.run.policies.hedge import with_hedge
from gateway.run.policies.retry import with_retry
from gateway.run.policies.state import SourceState

__all__ = ["ORDER", "Policy", "SourceState", "apply"]

Policy = Callable[[Call, Step, SourceState | None], Call]

ORDER: tuple[Policy, ...] = (
    lambda call, step, state: (
        with_adaptive(call, step.timeout, state.bulkhead, state.adaptive) if state and state.adaptive else call
    ),
    lambda call, step, state: with_attempt(call, step.timeout, state),
    lambda call, step, state: with_hedge(call, state.latencies.of(step, step.hedge)) if state and step.hedge else call,
    lambda call, step, state: with_retry(call, step, state.budget if state else None),
)
"""From the inside out. A call without a source has nothing in common with others: it has a limit, and is repeated."""


def apply(call: Call, step: Step, state: SourceState | None) -> Call:
    """Put every policy around a call; ``state`` is that of the step's source."""
    if not step.calls_out:
        return _counted(call)
    for policy in ORDER:
        call = policy(call, step, state)
    return call


def _counted(call: Call) -> Call:
    """Note an attempt of a call that asks nobody: there is nothing to wait for and nothing to try again."""

    async def counted(inputs: Inputs, context: CallContext) -> Reply:
        context.attempts += 1
        return await call(inputs, context)

    return counted
