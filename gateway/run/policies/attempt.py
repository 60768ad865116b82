"""Call → one attempt of it: let through by the breaker of its source, given a place there, and cut at its limit."""

import asyncio

from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.bulkhead import Bulkhead
from gateway.run.policies.state import SourceState
from gateway.run.policies.timeout import Limit

_ROOM = 1_000_000_000
"""Places for calls without a source, of which there may be as many as there are requests."""


def with_attempt(call: Call, timeout: float, state: SourceState | None) -> Call:
    """Guard each attempt of a call, which may take ``timeout`` seconds.

    The three guards are one coroutine, and not three around each other, because every call of every request comes this way.
    """
    breaker = state.breaker if state else None
    bulkhead = state.bulkhead if state else Bulkhead(_ROOM, 0, 0.0)

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
