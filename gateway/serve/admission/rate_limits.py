"""Limit how many requests each client may send: counted in the memory of this process, or in a Redis for all processes together."""

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
"""How many clients are counted in memory; the least recently seen one is evicted first."""
CLOSE_SECONDS = 1.0
"""Seconds that the stores may take to close their connections."""
MAX_TIMESTAMPS = 500_000
"""How many timestamps of requests are kept for moving windows, of all clients together."""


class RateLimitStore(Protocol):
    """Counts the requests of several processes."""

    async def hit(self, rule: RateLimit, key: str, count: int) -> float | None:
        """Count requests; return 0 if they are allowed, the seconds to wait if they are too many, None if the store does not answer."""

    async def aclose(self) -> None:
        """Close the connections."""


class RateLimiter:
    """Counts requests by client. It lives as long as the process, so that a reload of the configuration resets no count."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.refused = 0
        """How many requests were refused."""
        self.uncounted = 0
        """How many were admitted uncounted, because the store did not answer."""
        self._windows = ClientWindows(now)
        self._stores: dict[str, RateLimitStore] = {}

    def hit(self, limits: RateLimits, key_scope: Mapping[str, object], count: int) -> None:
        """Count so many requests in memory. ``key_scope`` holds the values that the key of a rule may read, by name.

        :raises RequestError: 429, the client has sent too many.
        """
        for rule in limits.rules:
            wait = self._windows.hit(rule, _client_digest(rule, key_scope), count)
            if wait:
                raise self._rejection(wait)

    async def hit_store(self, limits: RateLimits, key_scope: Mapping[str, object], count: int) -> None:
        """Count so many requests in a store, as :meth:`hit` does in memory. While the store does not answer, every request is admitted.

        :raises RequestError: 429, the client has sent too many.
        """
        assert limits.store is not None
        store = self._stores.get(limits.store) or await self._open(limits.store)
        for rule in limits.rules:
            wait = await store.hit(rule, _client_digest(rule, key_scope), count)
            self.uncounted += wait is None
            if wait:
                raise self._rejection(wait)

    async def _open(self, url: str) -> RateLimitStore:
        # Imported on first use: its libraries take a tenth of a second to import, and most configurations have no store.
        module = await asyncio.to_thread(importlib.import_module, "gateway.serve.admission.redis_store")
        store: RateLimitStore = module.RedisStore(url)
        # Another request may have opened the same store during the import; the first one stays.
        return self._stores.setdefault(url, store)

    async def aclose(self) -> None:
        """Close the stores. One that does not answer is given up after a second."""
        closing = [asyncio.ensure_future(store.aclose()) for store in self._stores.values()]
        if closing:
            _, hanging = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
            for store in hanging:
                store.cancel()

    def _rejection(self, seconds: float) -> RequestError:
        self.refused += 1
        message = "Too many requests; try again later."
        return RequestError(Code.REQUEST_RATE_LIMITED, 429, {"message": message}, retry_after=max(1, math.ceil(seconds)))


def _client_digest(rule: RateLimit, key_scope: Mapping[str, object]) -> str:
    """Return a hash that identifies a client under a rule. It has a fixed size whatever the client sends, and does not reveal the key's value."""
    try:
        value = rule.key.search(key_scope)
    except ExpressionError:
        value = None
    text = value if isinstance(value, str) else json.dumps(value)
    identity = f"{rule.key.text}\0{rule.amount}/{rule.seconds}\0{text}"
    return blake2b(identity.encode(errors="surrogatepass"), digest_size=16).hexdigest()


@dataclass(slots=True)
class _Window:
    """The requests of one client: their timestamps in a moving window, or their number in a fixed window until it ends."""

    timestamps: list[float] = field(default_factory=list)
    number: int = 0
    ends_at: float = 0.0


class ClientWindows:
    """The windows of all clients, in bounded memory.

    The in-memory store of ``limits``, the library that counts in Redis, is not used: it runs a thread every ten milliseconds, takes a fifth of a
    CPU at 1,000 requests a second from 10,000 clients, and evicts no client (limits 5.8).
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._windows: OrderedDict[str, _Window] = OrderedDict()
        self._timestamps = 0

    def __len__(self) -> int:
        """Return how many clients are counted."""
        return len(self._windows)

    def hit(self, rule: RateLimit, key: str, count: int) -> float:
        """Count requests if the rule allows them, and return 0; otherwise return the seconds until it may."""
        window, now = self._open_window(key), self._now()
        return self._hit_moving(window, rule, count, now) if rule.is_moving else _hit_fixed(window, rule, count, now)

    def _hit_moving(self, window: _Window, rule: RateLimit, count: int, now: float) -> float:
        timestamps = window.timestamps
        expired = bisect_right(timestamps, now - rule.seconds)
        if expired:
            del timestamps[:expired]
            self._timestamps -= expired
        if len(timestamps) + count > rule.amount:
            return (timestamps[0] if timestamps else now) + rule.seconds - now
        timestamps.extend([now] * count)
        self._timestamps += count
        return 0.0

    def _open_window(self, key: str) -> _Window:
        window = self._windows.get(key)
        if window is not None:
            self._windows.move_to_end(key)
            return window
        while self._windows and (len(self._windows) >= MAX_KEYS or self._timestamps > MAX_TIMESTAMPS):
            self._timestamps -= len(self._windows.popitem(last=False)[1].timestamps)
        window = self._windows[key] = _Window()
        return window


def _hit_fixed(window: _Window, rule: RateLimit, count: int, now: float) -> float:
    if now >= window.ends_at:
        window.number, window.ends_at = 0, now + rule.seconds
    window.number += count
    return window.ends_at - now if window.number > rule.amount else 0.0
