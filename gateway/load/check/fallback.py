"""``fallback:`` of a step → its fallbacks, and the mistakes in them."""

from collections.abc import Callable, Iterator, Sequence

from gateway.blueprint import Fallback
from gateway.blueprint.step import FallbackStale, FallbackStep, FallbackValue
from gateway.contract import KeyProblem
from gateway.settings import FallbackKeys


def read_fallback(keys: FallbackKeys) -> Fallback:
    """Return the fallback of one entry."""
    if keys.step is not None:
        return FallbackStep(keys.step)
    return FallbackStale(keys.stale_ms / 1000) if keys.stale_ms is not None else FallbackValue(keys.value)


def fallback_problems(entries: Sequence[FallbackKeys], is_idempotent: Callable[[], bool]) -> Iterator[KeyProblem]:
    """Yield the mistakes in the fallbacks of any step."""
    for index, keys in enumerate(entries):
        # The written keys count, not the values: `value: null` is a valid fallback.
        if len(keys.model_fields_set) != 1:
            message = f"a fallback has exactly one of the keys {', '.join(FallbackKeys.model_fields)}"
            yield KeyProblem(("fallback", index), message, "bad-fallback")
        elif keys.stale_ms is not None and not is_idempotent():
            message = "a call that may change something cannot be answered with an older value; use 'step' or 'value'"
            yield KeyProblem(("fallback", index, "stale_ms"), message, "stale-not-idempotent")


def fallback_problems_in_link(entries: Sequence[FallbackKeys]) -> Iterator[KeyProblem]:
    """Yield the mistakes that only the fallbacks of a link's step can have."""
    for index, keys in enumerate(entries):
        if read_fallback(keys).step is not None:
            message = "a link has no other steps that could run instead; use 'stale_ms' or 'value'"
            yield KeyProblem(("fallback", index, "step"), message, "unused-key")
