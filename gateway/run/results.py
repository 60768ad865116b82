"""What goes into a run beside its plan, and how the run ended: the arguments, and an outcome and a span for each node."""

from collections.abc import Sequence

from gateway.contract import CallContext
from gateway.contract.outcome import Failure, Outcome, Success
from gateway.run.joins import Joined


class Span:
    """When a node was ready and when it ended (event loop clock), and its call, which knows of waits and attempts."""

    ready: float | None = None
    ended: float | None = None
    context: CallContext | None = None


class Results:
    """How a run ended: an outcome and a span for each node, and for each operation the required node that failed, if one did.

    ``outcomes`` has None for lazy nodes that nothing asked for. ``fallbacks`` has the nodes of fallback steps that each node has waited for.
    """

    def __init__(self, outcomes: list[Outcome | None], spans: Sequence[Span], blocked: list[Failure | None]) -> None:
        self.outcomes = outcomes
        self.spans = spans
        self.blocked = blocked
        self.fallbacks: dict[int, list[int]] = {}

    def is_whole(self) -> bool:
        """Tell whether every node that ran gave its own value, and all of it: what is nearly always so is found quickly."""
        for outcome in self.outcomes:
            if type(outcome) is not Success:
                if outcome is not None:
                    return False
            elif outcome.instead_of is not None or (type(outcome.value) is Joined and not outcome.value.is_whole):
                return False
        return True
