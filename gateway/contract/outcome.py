"""How a node ended: exactly one of :class:`Success`, :class:`Failure` or :class:`Skipped` (paper 7.2)."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import MESSAGES, Code, StepFault
from gateway.record import Record


class SkipReason(StrEnum):
    """Why a node was Skipped."""

    CONDITION = "condition"
    """Its ``when`` was false."""
    MISSING_INPUT = "missing_input"
    """A value that it needs was null or missing."""
    CANCELLED = "cancelled"
    """A required step of its operation failed first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed. ``step`` is the name that clients see."""

    step: str
    code: Code
    message: str
    status: int | None = None

    @classmethod
    def of(cls, step: str, fault: StepFault) -> "Failure":
        """Convert the fault of a step's last attempt, without the details that only the log may have."""
        return cls(step, fault.code, fault.message or MESSAGES[fault.code].format(step=step), fault.status)

    def error(self, path: tuple[str | int, ...]) -> dict[str, object]:
        """Return the GraphQL error for one place of the response."""
        extensions: dict[str, object] = {"code": str(self.code), "step": self.step}
        if self.status is not None:
            extensions["http"] = {"status": self.status}
        return {"message": self.message, "path": list(path), "extensions": extensions}


class Success(Record, frozen=True):
    """A step that has a value, which may be null.

    When the value comes from a fallback, ``instead_of`` is the outcome of the step itself. ``age`` is the age of a stale value in seconds.
    """

    value: object
    served_by: str | None = None
    instead_of: "Failure | Skipped | None" = None
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step that was not run. ``cause`` is the failure because of which an input is missing, if there is one."""

    reason: SkipReason
    cause: Failure | None = None


Outcome = Success | Failure | Skipped
