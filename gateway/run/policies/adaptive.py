"""How long calls take → how many of them are let through: a limit that follows a gradient (Netflix concurrency-limits; Envoy's filter).

An upstream that has room answers as quickly with many calls as with few. One that has not lets them queue, and each takes longer. So how
long calls take alone, divided by how long they take now, says by which part there are too many of them.
"""

import asyncio
import math

from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.bulkhead import Bulkhead
from gateway.run.policies.timeout import is_cut_by_limit
from gateway.settings import AdaptiveKeys

_SAMPLES = 20
"""Calls from which one step of the limit is drawn."""
_TOLERANCE = 1.25
"""By how much calls may be slower than when there are few of them before there are fewer."""
_SMALLEST = 0.5
"""The most that one step takes away."""
_LEARN_EVERY = 30.0
"""Seconds after which it is measured anew how long calls take when there are few of them."""


class Adaptive:
    """A limit between the source's ``min`` and its ``concurrency``.

    It begins at ``min``, to learn how long calls take when there are few of them. Every half minute it is halved for a moment to learn that
    anew: a source that has become slower for another reason than our calls would otherwise be called less and less.
    """

    def __init__(self, keys: AdaptiveKeys, most: int) -> None:
        self._least = min(keys.min, most)
        self._most = most
        self._exact = float(self._least)
        self._before = float(most)
        """The limit to go on from when something has been learnt."""
        self.alone: float | None = None
        """Seconds that calls take when there are few of them, on average; None while that is being learnt."""
        self._learnt_at = 0.0
        self._since = 0.0
        self._count = self._crowd = 0
        self._seconds = 0.0

    @property
    def limit(self) -> int:
        """How many calls may be under way."""
        return int(self._exact)

    def note(self, began: float, ended: float, in_use: int) -> None:
        """Take note of a call: when it began and ended (event loop clock), and how many there were when it began."""
        if began < self._since:
            return
        self._count += 1
        self._seconds += ended - began
        self._crowd = max(self._crowd, in_use)
        if self._count >= _SAMPLES:
            self._step(self._seconds / self._count, ended)

    def _step(self, average: float, now: float) -> None:
        if self.alone is None:
            self.alone, self._learnt_at = average, now
            self._exact = self._before
        elif now - self._learnt_at >= _LEARN_EVERY:
            self.alone, self._before = None, self._exact
            self._exact = max(self._exact / 2, float(self._least))
        else:
            self._follow(self.alone, average)
        self._restart(now)

    def _follow(self, alone: float, average: float) -> None:
        """Go along the gradient, with some headroom: a limit that is never tried cannot grow."""
        gradient = max(_SMALLEST, min(1.0, _TOLERANCE * alone / average)) if average else 1.0
        wanted = self._exact * gradient + math.sqrt(self._exact)
        if wanted > self._exact and self._crowd < self.limit / 2:
            return  # the limit was not what held calls back
        self._exact = min(float(self._most), max(float(self._least), wanted))

    def _restart(self, now: float) -> None:
        """Begin the next sample. Calls that began before it say something of the limit that was."""
        self._since = now
        self._count = self._crowd = 0
        self._seconds = 0.0


def with_adaptive(call: Call, timeout: float, bulkhead: Bulkhead, adaptive: Adaptive) -> Call:
    """Have a bulkhead as many places as the time that attempts take tells; ``timeout`` is theirs."""

    async def measured(inputs: Inputs, context: CallContext) -> Reply:
        loop, in_use = asyncio.get_running_loop(), bulkhead.in_use
        try:
            reply = await call(inputs, context)
        except (asyncio.CancelledError, TimeoutError):  # one that fails in another way may be quick because of that
            if is_cut_by_limit(context, timeout, loop.time()):
                adaptive.note(context.began_at or 0.0, loop.time(), in_use)
            raise
        else:
            adaptive.note(context.began_at or 0.0, loop.time(), in_use)
            return reply
        finally:
            bulkhead.resize(adaptive.limit)

    return measured
