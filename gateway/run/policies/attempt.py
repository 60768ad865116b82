"""Call → one attempt of it: passes the circuit breaker of its source, takes a place of its bulkhead, and has a timeout."""

import asyncio

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.breaker import BREAKER
from gateway.run.policies.bulkhead import BULKHEAD, Bulkhead
from gateway.run.policies.policy import Policy, SourceState
from gateway.run.policies.timeout import Limit

_UNLIMITED = 1_000_000_000
"""Places for calls without a source, of which there may be as many as there are requests."""


def with_attempt(call: Call, step: Step, source: SourceState) -> Call:
    """Guard each attempt of a call by breaker, bulkhead and timeout.

    The three are one coroutine, and not three around each other, because every call of every request comes this way.
    """
    timeout, breaker = step.timeout, BREAKER.of(source)
    bulkhead = BULKHEAD.of(source) or Bulkhead(_UNLIMITED, 0, 0.0)

    async def attempt(inputs: Inputs, context: CallContext) -> Reply:
        known_by = breaker.admit() if breaker is not None else 0
        context.began_at = None
        try:
            if not bulkhead.take():
                await bulkhead.wait(context)
            try:
                limit = Limit(timeout, context)
                try:
                    reply = await call(inputs, context)
                except (asyncio.CancelledError, TimeoutError) as error:
                    if isinstance(error, asyncio.CancelledError) and not limit.is_cause():
                        raise
                    raise limit.fault() from None
                finally:
                    limit.cancel()
            finally:
                bulkhead.release()
        except BaseException as error:
            if breaker is not None:
                breaker.note_end(known_by, error, context, timeout)
            raise
        if breaker is not None:
            breaker.note_success(known_by, context.began_at or 0.0)
        return reply

    return attempt


ATTEMPT: Policy[None] = Policy("attempt", with_attempt)
