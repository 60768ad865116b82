"""The policies of a call (retry, circuit breaker, hedge, adaptive concurrency): their keys, and which of them steps and sources take."""

from functools import cache
from typing import Annotated

from pydantic import Field

from gateway.settings.vocabulary import Count, Keys, Milliseconds, RetryClass, such_as
from gateway.settings.words import flow

Percent = Annotated[int, Field(ge=0, le=100)]


class CallPolicyKeys(Keys):
    """The keys of one policy, and how plans, the blueprint as data and lists of changes show them.

    ``name`` is the key under which the policy is written. A new policy need not override these methods; the older ones do because users rely
    on the names that they return.
    """

    def in_short(self, name: str) -> dict[str, object]:
        """Return the data that a plan shows at a step, and ``stepgraph blueprint`` at a source."""
        return {name: self.model_dump(mode="json")}

    def in_full(self, name: str) -> dict[str, object]:
        """Return the data that ``stepgraph blueprint`` shows at a step."""
        return self.in_short(name)

    def in_words(self, name: str) -> dict[str, str]:
        """Return the texts by which ``stepgraph diff`` compares two configurations."""
        return {name: flow(self.model_dump(mode="json"))}

    def longest(self, seconds: float) -> float:
        """Return the worst-case duration of a call with this policy, given the one without it."""
        return seconds


class RetryKeys(CallPolicyKeys):
    """``retry:`` of a step or source. Only idempotent calls are retried, and only within the deadline."""

    example = "retry: { attempts: 3, errors: [connect, timeout, 503], base_ms: 20 }"

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """The most attempts of a call, the first one included."""
    errors: list[RetryClass] = ["connect", "reset", 502, 503, 504]
    """The errors that are retried: `connect`, `reset`, `timeout`, or an HTTP status."""
    base_ms: Milliseconds = 50
    """The longest wait before the second attempt. It doubles with each further attempt; the actual wait is a random time below it."""
    cap_ms: Milliseconds = 2000
    """The longest wait before any attempt."""
    budget_percent: Percent = 20
    """Only in a source: the most retries per 100 calls of all its steps, over the last 10 seconds."""
    budget_min: Annotated[int, Field(ge=0, le=100_000)] = 3
    """Only in a source: the retries that are allowed in 10 seconds however few calls there are."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return the number of attempts."""
        return {"attempts": self.attempts}

    def in_full(self, name: str) -> dict[str, object]:
        """Return the number of attempts and the errors that are retried."""
        return {"attempts": self.attempts, "retry_errors": sorted(map(str, self.errors))}

    def in_words(self, name: str) -> dict[str, str]:
        """Return the number of attempts and the errors that are retried, if any."""
        errors = ", ".join(sorted(map(str, self.errors))) if self.attempts > 1 else "none"
        return {"attempts": str(self.attempts), "retried errors": errors}

    def longest(self, seconds: float) -> float:
        """Return the seconds of all attempts with the longest waits between them."""
        waits = [min(self.cap_ms, self.base_ms * 2.0**index) for index in range(self.attempts - 1)]
        return self.attempts * seconds + sum(waits) / 1000


class BreakerKeys(CallPolicyKeys):
    """``breaker:`` of a source, a circuit breaker. When too many calls fail, the source is not called for a while and its steps fail at once.

    A failure is a connection that is refused or lost, a timeout, or a status of 500 or more.
    """

    example = "breaker: { error_percent: 30, open_ms: 10000 }"

    enabled: bool = True
    """Whether there is a circuit breaker."""
    window_ms: Annotated[Milliseconds, Field(ge=100)] = 10_000
    """The period over which failures are counted."""
    min_calls: Count = 20
    """The fewest calls in that period before the breaker can open."""
    error_percent: Annotated[int, Field(ge=1, le=100)] = 50
    """The percentage of failed calls at which the breaker opens."""
    open_ms: Milliseconds = 5000
    """The time after which an open breaker lets one call through, to test whether the source has recovered."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return whether it is enabled."""
        return {name: self.enabled}


class HedgeKeys(CallPolicyKeys):
    """``hedge:`` of a step or source: when a call takes longer than 95 of 100, a second one is sent, and the first successful reply is used.

    Only for steps that read: GET and HEAD, SELECT, GraphQL queries.
    """

    example = "hedge: { max_percent: 5, min_samples: 50 }"

    enabled: bool = True
    """Whether calls are hedged. `false` turns it off at a step whose source has hedging."""
    max_percent: Annotated[int, Field(ge=1, le=100)] = 5
    """The most second calls per 100 calls of the step, over the last minute."""
    min_samples: Annotated[int, Field(ge=10, le=100)] = 50
    """The replies of the step that must have been timed before its first second call."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return nothing: only ``stepgraph blueprint`` shows it, at steps."""
        return {}

    def in_full(self, name: str) -> dict[str, object]:
        """Return whether calls are hedged."""
        return {"hedged": self.enabled}

    def in_words(self, name: str) -> dict[str, str]:
        """Return whether calls are hedged."""
        return {name: "yes" if self.enabled else "no"}


class AdaptiveKeys(CallPolicyKeys):
    """``adaptive:`` of a source, adaptive concurrency: the limit of calls in flight follows their latency.

    While calls take no longer than when few are in flight, the limit rises, up to `concurrency`; when they take longer, it falls.
    """

    example = "adaptive: { min: 10 }"

    min: Count = 5
    """The lowest limit. It is also the first one, to measure the latency while few calls are in flight."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return nothing: the blueprint as data does not have it."""
        return {}


class _Guarded(Keys):
    @property
    def policies(self) -> dict[str, CallPolicyKeys]:
        """The policies that are written, by name."""
        given = vars(self)
        return {name: keys for name in _policy_names(type(self)) if isinstance(keys := given[name], CallPolicyKeys)}


@cache
def _policy_names(model: type[_Guarded]) -> tuple[str, ...]:
    """Return the fields that a model has from the class of its policies.

    To look through all fields of each step made the loading of 5,000 operations a fifth slower.
    """
    policies = next(base for base in reversed(model.__mro__) if issubclass(base, _Guarded) and base is not _Guarded)
    return tuple(policies.model_fields)


class StepPolicyKeys(_Guarded):
    """The policies that a step may have. Of several that make calls longer, those of one attempt must come before ``retry``, which repeats it."""

    retry: Annotated[RetryKeys | None, such_as({"attempts": 3})] = None
    """When and how a failed attempt is retried; left out: as the source has it."""
    hedge: Annotated[HedgeKeys | None, such_as({"max_percent": 5})] = None
    """Whether a second call is sent when the first is slow; left out: as the source has it."""


class SourcePolicyKeys(_Guarded):
    """The policies that a source may have: for all calls to it, or as the default of steps without their own."""

    retry: Annotated[RetryKeys, such_as({"attempts": 3})] = RetryKeys()
    """When and how a failed attempt is retried, for steps without their own `retry`."""
    concurrency: Count = 100
    """The most calls in flight; further calls wait in a queue."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 100
    """The most calls in the queue; further calls fail at once with `REQUEST_LIMIT_EXCEEDED`."""
    queue_timeout_ms: Milliseconds = 2000
    """The longest time in the queue; then the call fails with `REQUEST_LIMIT_EXCEEDED`."""
    adaptive: Annotated[AdaptiveKeys | None, such_as({"min": 10})] = None
    """Whether the limit of calls in flight is lowered below `concurrency` while the source is slow; left out: it is always `concurrency`."""
    breaker: Annotated[BreakerKeys, such_as({"error_percent": 30})] = BreakerKeys()
    """When the source is not called for a while because too many calls fail."""
    hedge: Annotated[HedgeKeys | None, such_as({"max_percent": 5})] = None
    """Whether a second call is sent when the first is slow, for steps without their own `hedge`; left out: no."""
