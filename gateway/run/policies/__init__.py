"""Policies wrap calls: a policy takes a call and returns a call that limits, repeats or rejects the calls of a step.

:data:`ORDER` lists the policies from the inside out:

- *adaptive* concurrency measures the latency of the source and sets the capacity of the bulkhead;
- an *attempt* passes the circuit breaker and takes a place in the bulkhead or waits for one. Only then does its timeout begin, so that time
  in the queue does not count. While the breaker is open no call waits for a place; calls that wait when it opens are rejected. Rejections
  by breaker and bulkhead are not failures of the source and are not retried;
- a *hedge* is a second attempt while the first is slow, with its own place and timeout;
- a *retry* is the outermost: each attempt has its own wait and timeout, and the breaker counts the result of each.
"""

import asyncio
from typing import Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.adaptive import ADAPTIVE
from gateway.run.policies.attempt import ATTEMPT
from gateway.run.policies.breaker import BREAKER
from gateway.run.policies.bulkhead import BULKHEAD
from gateway.run.policies.hedge import HEDGE
from gateway.run.policies.policy import Policy, SourceState, defect_fault
from gateway.run.policies.retry import RETRY
from gateway.settings import SourceKeys

__all__ = ["ORDER", "Policy", "SourceState", "apply", "new_state"]

ORDER: tuple[Policy[Any], ...] = (BULKHEAD, ADAPTIVE, BREAKER, ATTEMPT, HEDGE, RETRY)
"""From the inside out. A policy can use the states of those before it. Bulkhead and breaker have no wrapper of their own: the attempt does
their work. A call without a source has no states: of the policies it has only timeout and retries."""


def new_state(keys: SourceKeys) -> SourceState:
    """Return the initial states of the policies of a source."""
    source: dict[str, Any] = {}
    for policy in ORDER:
        state = policy.state(keys, source)
        if state is not None:
            source[policy.name] = state
    return source


def apply(call: Call, step: Step, source: SourceState | None) -> Call:
    """Wrap a call with all policies; ``source`` is the state of the step's source, if it has one."""
    if not step.calls_out:
        return _counted(call)
    for policy in ORDER:
        call = policy.wrap(call, step, source or {})
    return call


def _counted(call: Call) -> Call:
    """Count the attempts of a call that stays inside the gateway: it never waits and is never retried."""

    async def counted(inputs: Inputs, context: CallContext) -> Reply:
        context.attempts += 1
        try:
            return await call(inputs, context)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise defect_fault(error) from error

    return counted
