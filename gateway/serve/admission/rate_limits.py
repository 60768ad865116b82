"""A request → whether its client may send it now, by what it has sent lately: counted in memory, or in a Redis by all processes together."""

import asyncio
import importlib
import json
import math
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from gateway.blueprint import RateLimits
from gateway.blueprint.blueprint import RateLimit
from gateway.errors import Code, RequestError
from gateway.language.expression import ExpressionError

MAX_KEYS = 20_000
"""How many clients are counted in memory; the one that was not seen for longest is forgotten first."""
MAX_STAMPS = 500_000
"""How many requests of all clients are remembered for moving windows."""


class RateLimitStore(Protocol):
    """Where processes count together."""

    async def hit(self, rule: RateLimit, key: str, count: int) -> float | None:
        """Count requests; return the seconds to wait if they are too many, 0 if not, None where nobody knows."""

    async def aclose(self) -> None:
        """Close the connections."""


class RateLimiter:
    """What this process has counted, whatever becomes of the configuration meanwhile."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.refused = 0
        """How many requests were refused."""
        self.uncounted = 0
        """How many were let in because their store did not answer."""
        self._windows = ClientWindows(now)
        self._stores: dict[str, RateLimitStore] = {}

    def hit(self, limits: RateLimits, asking: Mapping[str, object], count: int) -> None:
        """Count so many requests in memory. ``asking`` has the names that keys may read.

        :raises RequestError: with 429, for one client has sent too many.
        """
        for rule in limits.rules:
            wait = self._windows.hit(rule, _digest(rule, asking), count)
            if wait:
                raise self._refusal(wait)

    async def hit_store(self, limits: RateLimits, asking: Mapping[str, object], count: int) -> None:
        """Count so many requests in a store, as :meth:`hit` does in memory; while it does not answer nobody is refused.

        :raises RequestError: with 429, for one client has sent too many.
        """
        assert limits.store is not None
        store = self._stores.get(limits.store) or await self._open(limits.store)
        for rule in limits.rules:
            wait = await store.hit(rule, _digest(rule, asking), count)
            self.uncounted += wait is None
            if wait:
                raise self._refusal(wait)

    async def _open(self, url: str) -> RateLimitStore:
        # Its libraries take a tenth of a second to import, which whoever has no store need not wait for.
        module = await asyncio.to_thread(importlib.import_module, "gateway.serve.admission.redis_store")
        store: RateLimitStore = module.RedisStore(url)
        return self._stores.setdefault(url, store)

    async def aclose(self) -> None:
        """Close the stores."""
        for store in self._stores.values():
            await store.aclose()

    def _refusal(self, seconds: float) -> RequestError:
        self.refused += 1
        message = "Too many requests; try again later."
        return RequestError(Code.REQUEST_RATE_LIMITED, 429, {"message": message}, retry_after=max(1, math.ceil(seconds)))


def _digest(rule: RateLimit, asking: Mapping[str, object]) -> str:
    """Return what a client is known by: of one size, whatever it sends, and nothing that anybody could read."""
    try:
        value = rule.key.search(asking)
    except ExpressionError:
        value = None
    text = value if isinstance(value, str) else json.dumps(value)
    said = f"{rule.key.text}\0{rule.amount}/{rule.seconds}\0{text}"
    return blake2b(said.encode(errors="surrogatepass"), digest_size=16).hexdigest()


@dataclass(slots=True)
class _Window:
    """The requests of one client: the times of those in a moving window, or their number until a fixed one ends."""

    stamps: list[float] = field(default_factory=list)
    number: int = 0
    ends: float = 0.0


class ClientWindows:
    """The windows of all clients, in a bounded part of this process's memory.

    Those of the library that counts in Redis take a thread for every ten milliseconds and a fifth of a processor for 1,000 requests a second
    of 10,000 clients, and forget none (limits 5.8).
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._stamps = 0

    def __len__(self) -> int:
        """Return how many clients are counted."""
        return len(self._windows)

    def hit(self, rule: RateLimit, key: str, count: int) -> float:
        """Count requests if there is room for them; return 0, or else the seconds until there may be."""
        window, now = self._window(key), self._now()
        return self._hit_moving(window, rule, count, now) if rule.is_moving else _hit_fixed(window, rule, count, now)

    def _hit_moving(self, window: _Window, rule: RateLimit, count: int, now: float) -> float:
        stamps = window.stamps
        over = bisect_right(stamps, now - rule.seconds)
        if over:
            del stamps[:over]
            self._stamps -= over
        if len(stamps) + count > rule.amount:
            return (stamps[0] if stamps else now) + rule.seconds - now
        stamps.extend([now] * count)
        self._stamps += count
        return 0.0

    def _window(self, key: str) -> _Window:
        window = self._windows.get(key)
        if window is not None:
            self._windows.move_to_end(key)
            return window
        while self._windows and (len(self._windows) >= MAX_KEYS or self._stamps > MAX_STAMPS):
            self._stamps -= len(self._windows.popitem(last=False)[1].stamps)
        window = self._windows[key] = _Window()
        return window


def _hit_fixed(window: _Window, rule: RateLimit, count: int, now: float) -> float:
    if now >= window.ends:
        window.number, window.ends = 0, now + rule.seconds
    window.number += count
    return window.ends - now if window.number > rule.amount else 0.0
