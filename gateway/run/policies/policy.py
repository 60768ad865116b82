"""What a policy is: a wrapper of calls, the state that it keeps for each source, and what metrics show of that state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway.blueprint import Step
from gateway.contract import Call
from gateway.errors import Code, StepFault
from gateway.settings import SourceKeys

S = TypeVar("S")

SourceState = Mapping[str, Any]
"""The states of the policies of one source, by policy. They live as long as the source's connection, across reloads."""


@dataclass(frozen=True, slots=True)
class SourceMetric:
    """A metric with a series for each source: a counter or a gauge. Policies that share a metric distinguish their series by ``label``."""

    name: str
    text: str
    label: str | None = None
    is_gauge: bool = False


def defect_fault(error: BaseException) -> StepFault:
    """Return the fault of a call that raised what no call should: ``SystemExit``, or a CancelledError although nobody has cancelled it.

    It becomes a fault before it leaves the innermost policy. Beyond that there are tasks, and an event loop stops when a task ends with
    ``SystemExit`` or ``KeyboardInterrupt``.
    """
    return StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"the call ended with {type(error).__name__}")


REFUSED = SourceMetric("stepgraph_source_refused", "Calls and retries that were not made, by the policy that refused them.", "by")
EXTRA_CALLS = SourceMetric("stepgraph_source_extra_calls", "Additional calls, by the policy that made them.", "by")


@dataclass(frozen=True, slots=True)
class Series(Generic[S]):
    """One series of a metric, read from the state that a policy keeps; ``label`` is the value of the metric's own label."""

    metric: SourceMetric
    read: Callable[[S], float]
    label: str | None = None


def _unchanged(call: Call, _step: Step, _source: SourceState) -> Call:
    return call


def _nothing(_keys: SourceKeys, _source: SourceState) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Policy(Generic[S]):
    """A policy by its name, which is its key in the configuration.

    ``wrap`` is called once for each step and not for each request, so it does all look-ups that a call needs. ``state`` creates the state
    for a source; its second argument has the states of the policies before it. It returns None if the source does not have the policy.
    """

    name: str
    wrap: Callable[[Call, Step, SourceState], Call] = _unchanged
    state: Callable[[SourceKeys, SourceState], S | None] = _nothing
    series: tuple[Series[S], ...] = ()

    def of(self, source: SourceState) -> S | None:
        """Return the policy's state for a source; None if there is none."""
        return source.get(self.name)
