"""Mappings that say how calls are guarded: retries, the circuit breaker, hedges, adaptive concurrency."""

from typing import Annotated

from pydantic import Field

from gateway.settings.vocabulary import Count, Keys, Milliseconds, RetryClass

Percent = Annotated[int, Field(ge=0, le=100)]


class RetryKeys(Keys):
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


class BreakerKeys(Keys):
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


class HedgeKeys(Keys):
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


class AdaptiveKeys(Keys):
    """``adaptive:`` of a source: how many calls are under way at the most follows from how long they take.

    As long as calls take no longer than when there are few of them, more are let through, up to `concurrency`; as they take longer, fewer.
    """

    example = "adaptive: { min: 10 }"

    min: Count = 5
    """How many calls may always be under way; at first there are no more, to learn how long calls take when there are few of them."""
