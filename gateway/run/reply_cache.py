"""The cache of replies, and call wrappers that use it: a call takes a fresh reply from the cache, keeps its reply, or joins an equal call.

Each generation has a cache of its own, empty at first: in a new configuration the same source may be another system.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Step
from gateway.cache import Cache, Capacity
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.timeout import until_deadline
from gateway.run.shared_calls import SharedCalls, call_key

MAX_BYTES = 100_000_000
"""The capacity of a cache that shares none."""
BYTES_PER_REPLY, BYTES_PER_BYTE = 1000, 6
"""What a reply takes in memory, measured: in any case, and for each byte of its JSON."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """A reply, the time when it was received and the time until which it is fresh (event loop clock)."""

    reply: Reply
    at: float
    fresh_until: float


class ReplyCache:
    """Replies by call key, in a share of the memory that the caches of a generation may take together."""

    def __init__(self, capacity: Capacity | None = None) -> None:
        self.capacity = capacity or Capacity(MAX_BYTES)
        self._replies: Cache[Hashable, KeptReply] = self.capacity.cache("replies")

    def __len__(self) -> int:
        return len(self._replies)

    def keep(self, step: Step, inputs: Inputs, reply: Reply, now: float, lifetime: float = 0.0) -> None:
        """Keep the reply of a call, fresh for ``lifetime`` seconds, unless it is larger than all caches may be together.

        A reply with lifetime 0 is never fresh, but can be the value of a stale fallback.
        """
        call = call_key(step, inputs)
        size = BYTES_PER_REPLY + BYTES_PER_BYTE * ((reply.size or len(repr(reply.value))) + len(call[1]))
        self._replies.put(call, KeptReply(reply, now, now + lifetime), size)

    def find(self, step: Step, inputs: Inputs) -> KeptReply | None:
        """Return the last reply of a call, fresh or stale."""
        return self._replies.get(call_key(step, inputs))


@dataclass(frozen=True, slots=True)
class ReplySharing:
    """What the requests of a generation share: the cache of replies, the calls under way, and their counters."""

    replies: ReplyCache
    calls: SharedCalls
    counts: Counter[str]

    @classmethod
    def new(
        cls, unwinding: set[asyncio.Future[Any]], counts: Counter[str] | None = None, capacity: Capacity | None = None
    ) -> "ReplySharing":
        """Return an empty one; cancelled calls are in ``unwinding`` until they have ended."""
        return cls(ReplyCache(capacity), SharedCalls(unwinding), Counter() if counts is None else counts)


def with_shared(call: Call, step: Step, shared: ReplySharing) -> Call:
    """Wrap a call with caching and single flight, as its step is configured."""
    if step.lifetime is not None:
        # The cache is asked first. Its misses are always joined: when a popular reply expires, one call renews it.
        return _with_cached_reply(_with_single_flight(_with_kept_reply(call, step, shared.replies), step, shared), step, shared)
    if any(fallback.keeps_replies for fallback in step.fallbacks):
        call = _with_kept_reply(call, step, shared.replies)
    return _with_single_flight(call, step, shared) if step.is_deduplicated else call


def _with_cached_reply(call: Call, step: Step, shared: ReplySharing) -> Call:
    """Wrap a call so that it returns a fresh reply from the cache, if there is one."""
    replies, counts = shared.replies, shared.counts

    async def cached_or_called(inputs: Inputs, context: CallContext) -> Reply:
        kept = replies.find(step, inputs)
        if kept is not None and asyncio.get_running_loop().time() < kept.fresh_until:
            counts["cache_hit"] += 1
            return kept.reply
        counts["cache_miss"] += 1
        return await call(inputs, context)

    return cached_or_called


def _with_kept_reply(call: Call, step: Step, replies: ReplyCache) -> Call:
    """Wrap a call so that its reply is put into the cache, unless the upstream forbids that or reports errors in it."""

    async def called_and_kept(inputs: Inputs, context: CallContext) -> Reply:
        reply = await call(inputs, context)
        if not (reply.is_private or reply.error_paths):
            lifetime = reply.max_age if step.lifetime == "http" else step.lifetime
            replies.keep(step, inputs, reply, asyncio.get_running_loop().time(), lifetime or 0.0)
        return reply

    return called_and_kept


def _with_single_flight(call: Call, step: Step, shared: ReplySharing) -> Call:
    """Wrap a call so that it joins an equal call under way. Each caller waits until its own deadline."""

    async def join(inputs: Inputs, context: CallContext) -> Reply:
        common, reply = shared.calls.call(call, step, inputs, context)
        if common is not context:
            shared.counts["call_joined"] += 1
        return await until_deadline(reply, context)

    return join
