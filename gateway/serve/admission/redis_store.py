"""Count requests in a Redis. The only module that uses the library ``limits``, which ``stepgraph[redis]`` installs."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from gateway.blueprint.blueprint import RateLimit

log = logging.getLogger("stepgraph.rates")

TIMEOUT = 0.1
"""Seconds that a request waits for Redis; then it is admitted."""
PAUSE = 1.0
"""Seconds in which a Redis that has failed is not asked again, so that requests do not wait ``TIMEOUT`` each."""


class RedisStore:
    """The counters in one Redis."""

    def __init__(self, url: str) -> None:
        self._storage = RedisStorage(f"async+{url}", implementation="redispy", key_prefix="stepgraph")
        self._moving, self._fixed = MovingWindowRateLimiter(self._storage), FixedWindowRateLimiter(self._storage)
        library_errors = self._storage.base_exceptions
        self._failures: tuple[type[Exception], ...] = (
            OSError,
            TimeoutError,
            *(library_errors if isinstance(library_errors, tuple) else (library_errors,)),
        )
        self._retry_at = 0.0

    async def hit(self, rule: RateLimit, key: str, count: int) -> float | None:
        """Count requests; return 0 if they are allowed, the seconds to wait if they are too many, None if Redis does not answer."""
        if time.monotonic() < self._retry_at:
            return None
        limiter: Any = self._moving if rule.is_moving else self._fixed
        item = RateLimitItemPerSecond(rule.amount, rule.seconds)
        try:
            async with asyncio.timeout(TIMEOUT):
                if await limiter.hit(item, key, cost=count):
                    return 0.0
                stats = await limiter.get_window_stats(item, key)
                return max(1.0, float(stats.reset_time) - time.time())
        except self._failures as error:
            self._pause(error)
            return None

    def _pause(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._retry_at:  # requests that waited at the same time fail together: one warning is enough
            log.warning("Redis does not count requests; they are let in", extra={"reason": type(error).__name__})
        self._retry_at = now + PAUSE

    async def aclose(self) -> None:
        """Close the connections."""
        with suppress(OSError):
            await self._storage.bridge.storage.aclose()  # type: ignore[attr-defined] # the bridge to redis-py has it
