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
    """A value that it needs was null or never came."""
    CANCELLED = "cancelled"
    """A required step of its operation failed first."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that gave no value; ``step`` is the one that a client is told."""

    step: str
    code: Code
    message: str
    status: int | None = None

    @classmethod
    def of(cls, step: str, fault: StepFault) -> "Failure":
        """Turn the fault of a step's last attempt into what may be told of it."""
        return cls(step, fault.code, fault.message or MESSAGES[fault.code].format(step=step), fault.status)

    def error(self, path: tuple[str | int, ...]) -> dict[str, object]:
        """Return the GraphQL error for one place of the response."""
        extensions: dict[str, object] = {"code": str(self.code), "step": self.step}
        if self.status is not None:
            extensions["http"] = {"status": self.status}
        return {"message": self.message, "path": list(path), "extensions": extensions}


class Success(Record, frozen=True):
    """A step that gave a value, perhaps null.

    ``instead_of`` is the primary's failure when a fallback gave it, ``age`` the seconds since the value was good when it is stale.
    """

    value: object
    served_by: str | None = None
    instead_of: "Failure | Skipped | None" = None
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step that was not run; ``cause`` is the failure that kept its input away, if one did."""

    reason: SkipReason
    cause: Failure | None = None


Outcome = Success | Failure | Skipped
