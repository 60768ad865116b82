"""Replies that are kept, and calls that are shared: what equal calls of different requests need not do again.

A new generation begins with nothing, as the same source may be another system there.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.timeout import until_deadline
from gateway.run.shared_calls import SharedCalls, call_key

MAX_REPLIES = 10_000
MAX_SIZE = 64_000_000
"""Of all replies together, in bytes of their JSON or characters of their text."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A reply, the time when it was good and the time until which it is fresh (event loop clock)."""

    reply: Reply
    at: float
    fresh_until: float
    size: int


class ReplyCache:
    """Replies by call. When there is no room the one that was used longest ago leaves."""

    def __init__(self, max_replies: int = MAX_REPLIES, max_size: int = MAX_SIZE) -> None:
        self._replies: OrderedDict[Hashable, KeptReply] = OrderedDict()
        self._max_replies = max_replies
        self._max_size = max_size
        self.size = 0

    def __len__(self) -> int:
        return len(self._replies)

    def keep(self, step: Step, inputs: Inputs, reply: Reply, now: float, lifetime: float = 0.0) -> None:
        """Keep the reply of a call, fresh for ``lifetime`` seconds, unless it is larger than all the room there is."""
        call = call_key(step, inputs)
        self._drop(call)
        size = (reply.size or len(repr(reply.value))) + len(call[1])
        if size > self._max_size:
            return
        self._replies[call] = KeptReply(reply, now, now + lifetime, size)
        self.size += size
        while len(self._replies) > self._max_replies or self.size > self._max_size:
            self._drop(next(iter(self._replies)))

    def find(self, step: Step, inputs: Inputs) -> KeptReply | None:
        """Return the last reply of a call, fresh or not."""
        call = call_key(step, inputs)
        kept = self._replies.get(call)
        if kept is not None:
            self._replies.move_to_end(call)
        return kept

    def _drop(self, call: Hashable) -> None:
        dropped = self._replies.pop(call, None)
        self.size -= dropped.size if dropped else 0


@dataclass(frozen=True, slots=True)
class ReplySharing:
    """What the calls of all requests of a generation have in common: replies that are kept, and calls under way."""

    replies: ReplyCache
    calls: SharedCalls
    counts: Counter[str]

    @classmethod
    def new(cls, unwinding: set[asyncio.Future[Any]], counts: Counter[str] | None = None) -> "ReplySharing":
        """Return one with nothing in it; ``unwinding`` takes calls that are cancelled, until they have ended."""
        return cls(ReplyCache(), SharedCalls(unwinding), Counter() if counts is None else counts)


def with_shared(call: Call, step: Step, shared: ReplySharing) -> Call:
    """Let a call keep its reply, take a fresh one instead, or wait for an equal one under way, as far as its step is configured to."""
    if step.lifetime is not None:
        return _kept(_joined(_keeping(call, step, shared.replies), step, shared), step, shared)
    if any(fallback.keeps_replies for fallback in step.fallbacks):
        call = _keeping(call, step, shared.replies)
    return _joined(call, step, shared) if step.is_deduplicated else call


def _kept(call: Call, step: Step, shared: ReplySharing) -> Call:
    """Take a reply that is still fresh."""
    replies, counts = shared.replies, shared.counts

    async def fresh_or_fetched(inputs: Inputs, context: CallContext) -> Reply:
        kept = replies.find(step, inputs)
        if kept is not None and asyncio.get_running_loop().time() < kept.fresh_until:
            counts["cache_hit"] += 1
            return kept.reply
        counts["cache_miss"] += 1
        return await call(inputs, context)

    return fresh_or_fetched


def _keeping(call: Call, step: Step, replies: ReplyCache) -> Call:
    """Keep what a call gives, unless the upstream forbids that."""

    async def kept(inputs: Inputs, context: CallContext) -> Reply:
        reply = await call(inputs, context)
        if not reply.is_private:
            lifetime = reply.max_age if step.lifetime == "http" else step.lifetime
            replies.keep(step, inputs, reply, asyncio.get_running_loop().time(), lifetime or 0.0)
        return reply

    return kept


def _joined(call: Call, step: Step, shared: ReplySharing) -> Call:
    """Wait for an equal call that is under way, each no longer than it has time."""

    async def join(inputs: Inputs, context: CallContext) -> Reply:
        common, reply = shared.calls.call(call, step, inputs, context)
        if common is not context:
            shared.counts["call_joined"] += 1
        return await until_deadline(reply, context)

    return join
