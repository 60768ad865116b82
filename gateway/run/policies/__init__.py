"""Call → call: limits, repeats and refuses the calls of a step.

:data:`ORDER` lists the policies from the inside out:

- *adaptive* concurrency measures how long the source takes and sets the capacity of the bulkhead;
- an *attempt* passes the circuit breaker, takes a place of the bulkhead or waits for one, and only then does its timeout begin, so time
  in the queue does not count. While the breaker is open nobody waits for a place, and those who wait are turned away. What breaker and
  bulkhead refuse is not a failure of the source and is not repeated;
- a *hedge* is a second attempt beside a slow one, with its own place and timeout;
- a *retry* is around everything: each attempt waits and is timed anew, and the breaker sees how each ended.
"""

from typing import Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.adaptive import ADAPTIVE
from gateway.run.policies.attempt import ATTEMPT
from gateway.run.policies.breaker import BREAKER
from gateway.run.policies.bulkhead import BULKHEAD
from gateway.run.policies.hedge import HEDGE
from gateway.run.policies.policy import Policy, SourceState
from gateway.run.policies.retry import RETRY
from gateway.settings import SourceKeys

__all__ = ["ORDER", "Policy", "SourceState", "apply", "new_state"]

ORDER: tuple[Policy[Any], ...] = (BULKHEAD, ADAPTIVE, BREAKER, ATTEMPT, HEDGE, RETRY)
"""From the inside out. Each can use the states of those before it. Bulkhead and breaker have no wrapper of their own: the attempt does their
work. A call without a source has no states: it has a timeout and is repeated."""


def new_state(keys: SourceKeys) -> SourceState:
    """Return the states of the policies of a source that has not been called yet."""
    source: dict[str, Any] = {}
    for policy in ORDER:
        state = policy.state(keys, source)
        if state is not None:
            source[policy.name] = state
    return source


def apply(call: Call, step: Step, source: SourceState | None) -> Call:
    """Put every policy around a call; ``source`` is the state of the step's source, if it has one."""
    if not step.calls_out:
        return _counted(call)
    for policy in ORDER:
        call = policy.wrap(call, step, source or {})
    return call


def _counted(call: Call) -> Call:
    """Count the attempts of a call that stays inside the gateway: it never waits and is never repeated."""

    async def counted(inputs: Inputs, context: CallContext) -> Reply:
        context.attempts += 1
        return await call(inputs, context)

    return counted
