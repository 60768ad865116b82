"""The circuit breaker of a source: after too many failures no calls are made for a while, then one call probes it (Nygard, Release It!, 5.2)."""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.bulkhead import BULKHEAD
from gateway.run.policies.policy import REFUSED, Policy, Series, SourceMetric, SourceState
from gateway.run.policies.timeout import had_time, is_cut_by_deadline
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

    ``on_open`` is then called with a function that makes the fault for calls that are waiting. A call is known by the number of changes of
    state before it: results of calls that began before the last change are ignored.
    """

    def __init__(self, keys: BreakerKeys, on_open: Callable[[Callable[[], StepFault]], None]) -> None:
        self.is_closed = True
        """Whether all calls go through."""
        self.is_trying = False
        """Whether a probe is under way."""
        self.window = SlidingWindow(keys.window_ms / 1000)
        self.opened = 0
        """How often it has opened."""
        self.rejected = 0
        """How many calls were refused."""
        self._min_calls = keys.min_calls
        self._error_percent = keys.error_percent
        self._open_seconds = keys.open_ms / 1000
        self._on_open = on_open
        self._probe_at = 0.0
        self._changes = 0

    @property
    def state(self) -> BreakerState:
        """Whether calls go through."""
        if self.is_closed:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.is_trying else BreakerState.OPEN

    def admit(self) -> int:
        """Let a call through; return the number that it is known by.

        :raises StepFault: the breaker is open.
        """
        if not self.is_closed:
            if self.is_trying or asyncio.get_running_loop().time() < self._probe_at:
                self.rejected += 1
                raise _rejection()
            self._change(is_closed=False, is_trying=True)
        return self._changes

    def note_success(self, call: int, now: float) -> None:
        """Record that a call has got its answer."""
        if call != self._changes:
            return
        self.window.count(now)
        if self.is_trying:
            self.window.clear()
            self._change(is_closed=True, is_trying=False)

    def note_failure(self, call: int, now: float) -> None:
        """Record that a call has failed because of the source."""
        if call != self._changes:
            return
        self.window.add(now, 1, 1)
        if self.is_trying or self._is_too_much():
            self._open(now)

    def note_end(self, call: int, error: BaseException, context: CallContext, timeout: float) -> None:
        """Record how a call has ended that did not succeed; ``timeout`` is that of the attempt."""
        now = asyncio.get_running_loop().time()
        if _is_failure(error) or (_is_cut_off(error, context, now) and had_time(context, timeout, now)):
            self.note_failure(call, now)
        elif isinstance(error, StepFault) and not error.is_refusal and error.kind != "timeout":
            self.note_success(call, now)  # a 404, say: the source is there
        else:
            self.note_nothing(call)

    def note_nothing(self, call: int) -> None:
        """Record that a call has ended in a way that says nothing about the source; if it was the probe, the next call is."""
        if call == self._changes and self.is_trying:
            self._change(is_closed=False, is_trying=False)

    def _is_too_much(self) -> bool:
        calls = self.window.calls
        return calls >= self._min_calls and self.window.marked * 100 >= calls * self._error_percent

    def _open(self, now: float) -> None:
        self.opened += 1
        self._probe_at = now + self._open_seconds
        self._change(is_closed=False, is_trying=False)
        self._on_open(_rejection)

    def _change(self, *, is_closed: bool, is_trying: bool) -> None:
        self.is_closed, self.is_trying = is_closed, is_trying
        self._changes += 1


def _rejection() -> StepFault:
    return StepFault(Code.SUBGRAPH_CIRCUIT_BREAKER_REJECTED, detail="the circuit breaker of the source is open")


def _is_failure(error: BaseException) -> bool:
    """Tell whether the connection failed or was lost, or the status is 500 or more."""
    return isinstance(error, StepFault) and (error.kind in {"connect", "reset"} or error.kind.startswith("5"))


def _is_cut_off(error: BaseException, context: CallContext, now: float) -> bool:
    """Tell whether the timeout or the deadline cut the call off. A client that disconnects also cancels it, but earlier."""
    if isinstance(error, StepFault):
        return error.kind == "timeout"
    return isinstance(error, asyncio.CancelledError) and is_cut_by_deadline(context, now)


def _breaker(keys: SourceKeys, source: SourceState) -> Breaker | None:
    bulkhead = BULKHEAD.of(source)
    return Breaker(keys.breaker, bulkhead.turn_away) if keys.breaker.enabled and bulkhead is not None else None


_STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
_STATE = SourceMetric("stepgraph_source_breaker_state", "0: calls go through; 1: one tries; 2: none does.", is_gauge=True)
_OPENED = SourceMetric("stepgraph_source_breaker_opened", "How often a source was given up.")

BREAKER: Policy[Breaker] = Policy(
    "breaker",
    state=_breaker,
    series=(
        Series(REFUSED, lambda breaker: breaker.rejected, "breaker"),
        Series(_STATE, lambda breaker: _STATES[breaker.state]),
        Series(_OPENED, lambda breaker: breaker.opened),
    ),
)
