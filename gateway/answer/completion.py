"""The slow path of generated projections: coercion of values that are not of their type yet, and errors for missing or wrong values.

GraphQL spec 6.4.3 (Value Completion) and 6.4.4 (Handling Execution Errors).
"""

from collections.abc import Callable

from gateway.answer.errors import Errors
from gateway.contract.outcome import Failure, Outcome, Skipped
from gateway.errors import MESSAGES, Code

Path = tuple[str | int, ...]


class Null(Exception):
    """A non-null field is null; the error has been recorded already."""


def mismatch(errors: Errors, path: Path, step: str, expected: str) -> None:
    """Record that a step's value is not of the expected type. The message omits the value: upstream data must not leak in errors."""
    message = f"{MESSAGES[Code.RESPONSE_VALIDATION_FAILED].format(step=step)[:-1]}: expected {expected}."  # [:-1]: the full stop
    extensions = {"code": str(Code.RESPONSE_VALIDATION_FAILED), "step": step}
    errors.append({"message": message, "path": list(path), "extensions": extensions})


def leaf(coerce: Callable[[object], object], value: object, errors: Errors, path: Path, step: str, expected: str) -> object:
    """Coerce a scalar or enum value that is not of the expected Python type already. Return None and record an error when that fails."""
    try:
        result = coerce(value) if value is not None else None
    except Exception:  # noqa: BLE001 - coercion is code of the type, and any exception means that the value does not fit
        result = None
    if result is None:
        mismatch(errors, path, step, expected)
    return result


def absent(outcome: Outcome | None, errors: Errors, path: Path, reported: frozenset[str]) -> bool:
    """Record why a node has no value; return whether this added an error.

    A skipped node adds an error only if its input is missing because of a failure that no selected field reports. ``reported`` are the
    names of the steps whose failure a selected field reports.
    """
    failure = outcome.cause if isinstance(outcome, Skipped) else outcome
    is_reported = isinstance(outcome, Skipped) and failure is not None and failure.step in reported  # type: ignore[union-attr]
    if not isinstance(failure, Failure) or is_reported:
        return False
    errors.append(failure.error(path))
    return True
