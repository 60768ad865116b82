"""The circuit breaker of a source: after too many failures it rejects calls for a while, then lets one probe through (Nygard, Release It!, 5.2)."""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.bulkhead import BULKHEAD
from gateway.run.policies.policy import REFUSED, Policy, Series, SourceMetric, SourceState
from gateway.run.policies.timeout import counts_against_source, is_due_to_deadline
from gateway.run.policies.window import SlidingWindow
from gateway.settings import SourceKeys
from gateway.settings.policies import BreakerKeys


class BreakerState(StrEnum):
    """Whether calls go through: all of them, none, or one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens when ``error_percent`` of at least ``min_calls`` calls of the window have failed.

    ``on_open`` is then called with a function that makes the fault for calls that wait in the queue. The *epoch* is the number of changes
    of state so far. A call belongs to the epoch in which it was admitted; if the state has changed since then, its result is ignored, so
    that a late result of an old call cannot close or open the breaker.
    """

    def __init__(self, keys: BreakerKeys, on_open: Callable[[Callable[[], StepFault]], None]) -> None:
        self.is_closed = True
        """Whether all calls go through."""
        self.is_probing = False
        """Whether a probe is under way."""
        self.window = SlidingWindow(keys.window_ms / 1000)
        self.opened = 0
        """How often it has opened."""
        self.rejected = 0
        """How many calls it has rejected."""
        self._min_calls = keys.min_calls
        self._error_percent = keys.error_percent
        self._open_seconds = keys.open_ms / 1000
        self._on_open = on_open
        self._probe_at = 0.0
        self._epoch = 0

    @property
    def state(self) -> BreakerState:
        """Whether calls go through."""
        if self.is_closed:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.is_probing else BreakerState.OPEN

    def admit(self) -> int:
        """Admit a call; return its epoch.

        :raises StepFault: the breaker is open, or half open with a probe under way.
        """
        if not self.is_closed:
            if self.is_probing or asyncio.get_running_loop().time() < self._probe_at:
                self.rejected += 1
                raise _rejection()
            self._transition(is_closed=False, is_probing=True)
        return self._epoch

    def record_success(self, epoch: int, now: float) -> None:
        """Record that the source has answered a call. A successful probe closes the breaker."""
        if epoch != self._epoch:
            return
        self.window.count(now)
        if self.is_probing:
            self.window.clear()
            self._transition(is_closed=True, is_probing=False)

    def record_failure(self, epoch: int, now: float) -> None:
        """Record that a call has failed because of the source. A failed probe opens the breaker again."""
        if epoch != self._epoch:
            return
        self.window.add(now, 1, 1)
        if self.is_probing or self._exceeds_threshold():
            self._open(now)

    def record_end(self, epoch: int, error: BaseException, context: CallContext, timeout: float) -> None:
        """Record a call that has raised an error; ``timeout`` is that of the attempt in seconds."""
        now = asyncio.get_running_loop().time()
        if _is_failure(error) or (_is_cut_off(error, context, now) and counts_against_source(context, timeout, now)):
            self.record_failure(epoch, now)
        elif isinstance(error, StepFault) and not error.is_refusal and error.kind != "timeout":
            self.record_success(epoch, now)  # a 404, for example: the source works
        else:
            self.record_neutral(epoch)

    def record_neutral(self, epoch: int) -> None:
        """Record a call whose end says nothing about the source. If it was the probe, the next call becomes the probe."""
        if epoch == self._epoch and self.is_probing:
            self._transition(is_closed=False, is_probing=False)

    def _exceeds_threshold(self) -> bool:
        calls = self.window.calls
        return calls >= self._min_calls and self.window.marked * 100 >= calls * self._error_percent

    def _open(self, now: float) -> None:
        self.opened += 1
        self._probe_at = now + self._open_seconds
        self._transition(is_closed=False, is_probing=False)
        self._on_open(_rejection)

    def _transition(self, *, is_closed: bool, is_probing: bool) -> None:
        self.is_closed, self.is_probing = is_closed, is_probing
        self._epoch += 1


def _rejection() -> StepFault:
    return StepFault(Code.SUBGRAPH_CIRCUIT_BREAKER_REJECTED, detail="the circuit breaker of the source is open")


def _is_failure(error: BaseException) -> bool:
    """Tell whether the connection failed or was lost, or the status is 500 or more."""
    return isinstance(error, StepFault) and (error.kind in {"connect", "reset"} or error.kind.startswith("5"))


def _is_cut_off(error: BaseException, context: CallContext, now: float) -> bool:
    """Tell whether the call ended at its timeout or deadline. If a client disconnects, it is cancelled too, but before the deadline."""
    if isinstance(error, StepFault):
        return error.kind == "timeout"
    return isinstance(error, asyncio.CancelledError) and is_due_to_deadline(context, now)


def _new_breaker(keys: SourceKeys, source: SourceState) -> Breaker | None:
    bulkhead = BULKHEAD.of(source)
    return Breaker(keys.breaker, bulkhead.reject_waiters) if keys.breaker.enabled and bulkhead is not None else None


_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_STATE = SourceMetric(
    "stepgraph_source_breaker_state",
    "0: closed, calls go through; 1: half open, one call probes; 2: open, no calls.",
    is_gauge=True,
)
_OPENED = SourceMetric("stepgraph_source_breaker_opened", "How often the circuit breaker has opened.")

BREAKER: Policy[Breaker] = Policy(
    "breaker",
    state=_new_breaker,
    series=(
        Series(REFUSED, lambda breaker: breaker.rejected, "breaker"),
        Series(_STATE, lambda breaker: _STATES[breaker.state]),
        Series(_OPENED, lambda breaker: breaker.opened),
    ),
)
