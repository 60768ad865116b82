"""Wrap a call so that each attempt passes the circuit breaker of its source, takes a place in its bulkhead, and has a timeout."""

import asyncio

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.breaker import BREAKER
from gateway.run.policies.bulkhead import BULKHEAD, Bulkhead
from gateway.run.policies.policy import Policy, SourceState, defect_fault
from gateway.run.policies.timeout import AttemptTimeout

_UNLIMITED = 1_000_000_000
"""Places for calls without a source, whose number has no limit of its own."""


def with_attempt(call: Call, step: Step, source: SourceState) -> Call:
    """Guard each attempt of a call by breaker, bulkhead and timeout.

    The three are one coroutine instead of three nested ones, because every call of every request passes here and each coroutine costs time.
    """
    timeout, breaker = step.timeout, BREAKER.of(source)
    bulkhead = BULKHEAD.of(source) or Bulkhead(_UNLIMITED, 0, 0.0)

    async def attempt(inputs: Inputs, context: CallContext) -> Reply:
        epoch = breaker.admit() if breaker is not None else 0
        context.began_at = None
        try:
            if not bulkhead.take():
                await bulkhead.wait(context)
            try:
                limit = AttemptTimeout(timeout, context)
                try:
                    reply = await call(inputs, context)
                except BaseException as error:
                    ended = _end_of(error, limit)
                    if ended is error:
                        raise
                    raise ended from None
                finally:
                    limit.cancel()
            finally:
                bulkhead.release()
        except BaseException as error:
            if breaker is not None:
                breaker.record_end(epoch, error, context, timeout)
            raise
        if breaker is not None:
            breaker.record_success(epoch, context.began_at or 0.0)
        return reply

    return attempt


def _end_of(error: BaseException, limit: AttemptTimeout) -> BaseException:
    """Return what an attempt raises that has ended with ``error``: a cancellation from outside (the client has left) as it is, else a fault."""
    if isinstance(error, asyncio.CancelledError):
        if limit.is_cause():
            return limit.fault()
        return error if limit.is_task_cancelled else defect_fault(error)
    if isinstance(error, TimeoutError):
        return limit.fault()
    return error if isinstance(error, Exception) else defect_fault(error)


ATTEMPT: Policy[None] = Policy("attempt", with_attempt)
