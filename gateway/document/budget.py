"""The work that reading and planning a document may take (``limits: planning``), whatever its text and the schema make of each other.

A selection on an interface is worked out for each concrete type, and again for each combination of fragments that meet there. Documents of a
few hundred bytes exist for which that is exponential. Every stage between the text and the compiled plan therefore counts its units of work
here: a field on one concrete type, a field compared with others, a line of generated code. A unit takes about 10 µs.
"""

from logging import getLogger

from gateway.errors import Code, RequestError
from gateway.settings import LimitsKeys

log = getLogger("stepgraph.document")

HARD_MAX_UNITS = 100_000
"""No document takes more, even in the mode that only measures limits: about a second."""
IMMEDIATE_UNITS = 1000
"""What may be done at once on the event loop, about 10 ms; longer work is for a thread."""


class NotImmediate(Exception):
    """The work takes longer than the event loop may be held."""


class PlanningBudget:
    """Counts down the units of work for one document or plan."""

    __slots__ = ("_is_immediate", "_left", "_limits", "_start")

    def __init__(self, limits: LimitsKeys, *, is_immediate: bool = False) -> None:
        self._limits = limits
        self._is_immediate = is_immediate
        self._start = self._left = min(self.allowed, IMMEDIATE_UNITS) if is_immediate else self.allowed

    @property
    def allowed(self) -> int:
        """How many units one document may take."""
        return self._limits.planning if self._limits.mode == "enforce" else max(self._limits.planning, HARD_MAX_UNITS)

    @property
    def spent(self) -> int:
        """How many units have been taken."""
        return self._start - self._left

    def spend(self, units: int = 1) -> None:
        """Take units of work.

        :raises RequestError: there are none left.
        :raises NotImmediate: there are some left, but not for the event loop.
        """
        self._left -= units
        if self._left < 0:
            self._refuse()

    def _refuse(self) -> None:
        if self._is_immediate and self.allowed > IMMEDIATE_UNITS:
            raise NotImmediate
        message = f"Planning the document takes more than {self.allowed} steps: it selects too much for too many types."
        raise RequestError(Code.QUERY_PLAN_COMPLEXITY_EXCEEDED, 400, {"message": message})

    def report(self) -> None:
        """Log that the limit is exceeded, where it is only measured."""
        if self.spent > self._limits.planning:
            log.warning(
                "planning a document takes more than %s steps",
                self._limits.planning,
                extra={"code": str(Code.QUERY_PLAN_COMPLEXITY_EXCEEDED), "steps": self.spent},
            )
