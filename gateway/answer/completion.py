"""What the code of a projection calls where a value is not as it should be: coercion, and the errors of what is missing or wrong.

GraphQL spec 6.4.3 (Value Completion) and 6.4.4 (Handling Execution Errors).
"""

from collections.abc import Callable, MutableSequence

from gateway.contract.outcome import Failure, Outcome, Skipped
from gateway.errors import MESSAGES, Code

Errors = MutableSequence[dict[str, object]]
Path = tuple[str | int, ...]


class Null(Exception):
    """A null where the schema allows none; its error has been recorded."""


def unfit(value: object, errors: Errors, path: Path, step: str, expected: str) -> None:
    """Record why a value is not of its type: a part that the upstream failed to give tells its own failure."""
    if isinstance(value, Failure):
        errors.append(value.error(path))
    else:
        mismatch(errors, path, step, expected)


def mismatch(errors: Errors, path: Path, step: str, expected: str) -> None:
    """Record that a step's value is not of the expected type. What it was is not told: it is the upstream's."""
    message = f"{MESSAGES[Code.RESPONSE_VALIDATION_FAILED].format(step=step)[:-1]}: expected {expected}."
    extensions = {"code": str(Code.RESPONSE_VALIDATION_FAILED), "step": step}
    errors.append({"message": message, "path": list(path), "extensions": extensions})


def leaf(coerce: Callable[[object], object], value: object, errors: Errors, path: Path, step: str, expected: str) -> object:
    """Coerce a scalar or enum value that is not of the expected Python type already; None, with an error, when that is impossible."""
    try:
        result = coerce(value) if value is not None and type(value) is not Failure else None
    except Exception:  # noqa: BLE001 - coercion is the type's own code, and any failure of it means the same
        result = None
    if result is None:
        unfit(value, errors, path, step, expected)
    return result


def absent(outcome: Outcome | None, errors: Errors, path: Path, reported: frozenset[str]) -> bool:
    """Record why a node has no value, and tell whether that made an error.

    A skipped node is no error, but for one whose input was lost by a failure that no selected field reports.
    """
    failure = outcome.cause if isinstance(outcome, Skipped) else outcome
    is_told_elsewhere = isinstance(outcome, Skipped) and failure is not None and failure.step in reported  # type: ignore[union-attr]
    if not isinstance(failure, Failure) or is_told_elsewhere:
        return False
    errors.append(failure.error(path))
    return True
