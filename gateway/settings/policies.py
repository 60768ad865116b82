"""The policies of a call (retry, circuit breaker, hedge, adaptive concurrency): their keys, and which of them steps and sources take."""

from functools import cache
from typing import Annotated

from pydantic import Field

from gateway.settings.vocabulary import Count, Keys, Milliseconds, RetryClass, such_as
from gateway.settings.words import flow

Percent = Annotated[int, Field(ge=0, le=100)]


class CallPolicyKeys(Keys):
    """The keys of one policy, with what plans, the blueprint's view and lists of changes say of it.

    Each method is given the key that the policy stands under. What they return here suits a new policy; the older ones have names that
    users rely on.
    """

    def in_short(self, name: str) -> dict[str, object]:
        """Return what a plan says of it at a step, and the view at a source."""
        return {name: self.model_dump(mode="json")}

    def in_full(self, name: str) -> dict[str, object]:
        """Return what the view says of it at a step."""
        return self.in_short(name)

    def in_words(self, name: str) -> dict[str, str]:
        """Return what two configurations are compared by."""
        return {name: flow(self.model_dump(mode="json"))}

    def longest(self, seconds: float) -> float:
        """Return the longest that a call takes with this policy, given how long it takes without."""
        return seconds


class RetryKeys(CallPolicyKeys):
    """``retry:`` of a step or source. Idempotent calls only; all attempts and waits lie inside the deadline."""

    example = "retry: { attempts: 3, errors: [connect, timeout, 503], base_ms: 20 }"

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a call is made at the most, the first time included."""
    errors: list[RetryClass] = ["connect", "reset", 502, 503, 504]
    """What is tried again: `connect`, `reset`, `timeout`, or an HTTP status."""
    base_ms: Milliseconds = 50
    """The longest wait before the second attempt; it doubles with each further one. Waits are drawn at random below it."""
    cap_ms: Milliseconds = 2000
    """The longest wait before any attempt."""
    budget_percent: Percent = 20
    """Of a source: how many further attempts there may be for a hundred calls of all its steps, over the last 10 seconds."""
    budget_min: Annotated[int, Field(ge=0, le=100_000)] = 3
    """Of a source: how many further attempts there may be in 10 seconds however few calls there are."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return how often a call is made."""
        return {"attempts": self.attempts}

    def in_full(self, name: str) -> dict[str, object]:
        """Return how often a call is made, and after which errors."""
        return {"attempts": self.attempts, "retry_errors": sorted(map(str, self.errors))}

    def in_words(self, name: str) -> dict[str, str]:
        """Return how often a call is made, and after which errors, if ever."""
        errors = ", ".join(sorted(map(str, self.errors))) if self.attempts > 1 else "none"
        return {"attempts": str(self.attempts), "retried errors": errors}

    def longest(self, seconds: float) -> float:
        """Return the seconds of all attempts and of the waits between them."""
        waits = [min(self.cap_ms, self.base_ms * 2.0**index) for index in range(self.attempts - 1)]
        return self.attempts * seconds + sum(waits) / 1000


class BreakerKeys(CallPolicyKeys):
    """``breaker:`` of a source. While too many of its calls fail it is not called, and steps fail at once.

    What counts as a failure is a connection that is refused or lost, a timeout, and a status of 500 or more.
    """

    example = "breaker: { error_percent: 30, open_ms: 10000 }"

    enabled: bool = True
    """Whether there is a circuit breaker."""
    window_ms: Annotated[Milliseconds, Field(ge=100)] = 10_000
    """Over which time failures are counted."""
    min_calls: Count = 20
    """How many calls there must have been in that time before the source can be given up."""
    error_percent: Annotated[int, Field(ge=1, le=100)] = 50
    """How many of a hundred calls must have failed for the source to be given up."""
    open_ms: Milliseconds = 5000
    """After which time one call tries whether the source is back."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return whether there is one."""
        return {name: self.enabled}


class HedgeKeys(CallPolicyKeys):
    """``hedge:`` of a step or source: a call that takes longer than 95 of 100 is made once more beside it, and the first good answer counts.

    For steps that only read: GET and HEAD, SELECT, GraphQL queries.
    """

    example = "hedge: { max_percent: 5, min_samples: 50 }"

    enabled: bool = True
    """Whether there are second calls; `false` at a step whose source has them."""
    max_percent: Annotated[int, Field(ge=1, le=100)] = 5
    """How many second calls there may be for a hundred calls of the step, over the last minute."""
    min_samples: Annotated[int, Field(ge=10, le=100)] = 50
    """How many answers of the step must have been timed before its first second call."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return nothing: only the view tells of it."""
        return {}

    def in_full(self, name: str) -> dict[str, object]:
        """Return whether there are second calls."""
        return {"hedged": self.enabled}

    def in_words(self, name: str) -> dict[str, str]:
        """Return whether there are second calls."""
        return {name: "yes" if self.enabled else "no"}


class AdaptiveKeys(CallPolicyKeys):
    """``adaptive:`` of a source: how many calls are under way at the most follows from how long they take.

    As long as calls take no longer than when there are few of them, more are let through, up to `concurrency`; as they take longer, fewer.
    """

    example = "adaptive: { min: 10 }"

    min: Count = 5
    """How many calls may always be under way; at first there are no more, to learn how long calls take when there are few of them."""

    def in_short(self, name: str) -> dict[str, object]:
        """Return nothing: the view does not tell of it."""
        return {}


class _Guarded(Keys):
    @property
    def policies(self) -> dict[str, CallPolicyKeys]:
        """The policies that are given, by name."""
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
    """The policies that a step takes. Where several make calls longer, those of one attempt stand before ``retry``, which repeats it."""

    retry: Annotated[RetryKeys | None, such_as({"attempts": 3})] = None
    """When and how a failed attempt is repeated; left out: the source's."""
    hedge: Annotated[HedgeKeys | None, such_as({"max_percent": 5})] = None
    """Whether a slow call is made once more beside it; left out: the source's."""


class SourcePolicyKeys(_Guarded):
    """The policies that a source takes: for all calls to it, or for those steps that do not say themselves."""

    retry: Annotated[RetryKeys, such_as({"attempts": 3})] = RetryKeys()
    """When and how a failed attempt is repeated, for steps that do not say themselves."""
    concurrency: Count = 100
    """How many calls are under way at the most; further ones wait."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many calls wait at the most; further ones fail at once with `REQUEST_LIMIT_EXCEEDED`."""
    queue_timeout_ms: Milliseconds = 2000
    """How long a call waits at the most; then it fails with `REQUEST_LIMIT_EXCEEDED`."""
    adaptive: Annotated[AdaptiveKeys | None, such_as({"min": 10})] = None
    """Whether fewer calls than `concurrency` are under way while the source is slow; left out: that never changes."""
    breaker: Annotated[BreakerKeys, such_as({"error_percent": 30})] = BreakerKeys()
    """When the source is not called for a while because too many calls have failed."""
    hedge: Annotated[HedgeKeys | None, such_as({"max_percent": 5})] = None
    """Whether slow calls are made once more beside it, for steps that do not say themselves; left out: they are not."""
