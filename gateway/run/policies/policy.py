"""What calls to one source have in common, and what they have come to so far. It lives with the source's connection, across reloads."""

from dataclasses import dataclass
from typing import Self

from gateway.run.policies.adaptive import Adaptive
from gateway.run.policies.breaker import Breaker
from gateway.run.policies.budget import CallBudget
from gateway.run.policies.bulkhead import Bulkhead
from gateway.run.policies.hedge import SourceLatencies
from gateway.settings import SourceKeys


@dataclass(frozen=True, slots=True)
class SourceState:
    """The state of a source's policies; None for those that it has not."""

    bulkhead: Bulkhead
    adaptive: Adaptive | None
    breaker: Breaker | None
    budget: CallBudget
    """Of further attempts."""
    latencies: SourceLatencies

    @classmethod
    def of(cls, keys: SourceKeys) -> Self:
        """Return the state of a source that has not been called yet."""
        adaptive = Adaptive(keys.adaptive, keys.concurrency) if keys.adaptive else None
        bulkhead = Bulkhead(adaptive.limit if adaptive else keys.concurrency, keys.queue, keys.queue_timeout_ms / 1000)
        breaker = Breaker(keys.breaker, bulkhead.turn_away) if keys.breaker.enabled else None
        return cls(bulkhead, adaptive, breaker, CallBudget(keys.retry.budget_percent, keys.retry.budget_min), SourceLatencies())
