"""The results of a run: an outcome and a span for each node."""

from collections.abc import Sequence

from gateway.contract import CallContext
from gateway.contract.call import ValuePath
from gateway.contract.outcome import Failure, Outcome, Success
from gateway.record import Record
from gateway.run.joins import Key, LinkResult


class ReportedErrors(Record, frozen=True):
    """The errors that an upstream reported in its replies to a node, although it gave a value.

    ``places`` are the distinct places by the key of a link; those of a step of an operation have the key None. ``detail`` is for the log.
    """

    places: dict[Key | None, dict[ValuePath, None]]
    detail: str


class Span:
    """When a node was ready and when it ended (event loop clock), and the context of its call, which has its waits and attempts."""

    ready: float | None = None
    ended: float | None = None
    context: CallContext | None = None


class Results:
    """The results of a run.

    ``outcomes`` and ``spans`` are by node; the outcome of a lazy node that was not demanded is None. ``blocked`` is by operation call: the
    failure of its required node, if one failed. ``fallbacks`` has for a node the nodes of fallback steps that it has waited for.
    ``reported`` has the errors within the values of nodes.
    """

    def __init__(self, outcomes: list[Outcome | None], spans: Sequence[Span], blocked: list[Failure | None]) -> None:
        self.outcomes = outcomes
        self.spans = spans
        self.blocked = blocked
        self.fallbacks: dict[int, list[int]] = {}
        self.reported: dict[int, ReportedErrors] = {}

    def is_whole(self) -> bool:
        """Tell whether every node that ran has a value of its own, without a failed batch, a reported error or a fallback.

        This is the common case. The caller asks once for each request, and then leaves out all that only shortfalls need.
        """
        if self.reported:
            return False
        for outcome in self.outcomes:
            if type(outcome) is not Success:
                if outcome is not None:
                    return False
            elif outcome.instead_of is not None or (type(outcome.value) is LinkResult and not outcome.value.is_whole):
                return False
        return True
