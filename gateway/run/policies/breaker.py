"""The circuit breaker of a source: when too many calls fail nobody is asked for a while, then one call tries (Nygard, Release It!, 5.2)."""

import asyncio
from collections.abc import Callable
from enum import StrEnum

from gateway.contract import CallContext
from gateway.errors import Code, StepFault
from gateway.run.policies.timeout import had_time, is_cut_by_deadline
from gateway.run.policies.window import SlidingWindow
from gateway.settings import BreakerKeys


class BreakerState(StrEnum):
    """Whether calls go through: all of them, none, or the one that tries."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens when ``error_percent`` of at least ``min_calls`` calls of the window have failed; ``on_open`` is given what those who wait fail with.

    A call is known by the number of changes of state before it: how a call ends that began before the last of them is of no interest.
    """

    def __init__(self, keys: BreakerKeys, on_open: Callable[[Callable[[], StepFault]], None]) -> None:
        self.is_closed = True
        """Whether all calls go through."""
        self.is_trying = False
        """Whether the one call that tries is under way."""
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
        """Let a call through, or not; return what it is known by.

        :raises StepFault: the source is given up for the moment.
        """
        if not self.is_closed:
            if self.is_trying or asyncio.get_running_loop().time() < self._probe_at:
                self.rejected += 1
                raise _rejection()
            self._change(is_closed=False, is_trying=True)
        return self._changes

    def note_success(self, call: int, now: float) -> None:
        """Take note that a call has got its answer."""
        if call != self._changes:
            return
        self.window.count(now)
        if self.is_trying:
            self.window.clear()
            self._change(is_closed=True, is_trying=False)

    def note_failure(self, call: int, now: float) -> None:
        """Take note that a call has failed because of the source."""
        if call != self._changes:
            return
        self.window.add(now, 1, 1)
        if self.is_trying or self._is_too_much():
            self._open(now)

    def note_end(self, call: int, error: BaseException, context: CallContext, timeout: float) -> None:
        """Take note of how a call has ended that did not succeed; ``timeout`` is that of the attempt."""
        now = asyncio.get_running_loop().time()
        if _is_failure(error) or (_is_cut_off(error, context, now) and had_time(context, timeout, now)):
            self.note_failure(call, now)
        elif isinstance(error, StepFault) and not error.is_refusal and error.kind != "timeout":
            self.note_success(call, now)  # a 404, say: the source is there
        else:
            self.note_nothing(call)

    def note_nothing(self, call: int) -> None:
        """Take note that a call has ended in a way that says nothing of the source; if it was to try, the next one does."""
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
    """Tell whether the source could not be reached, was lost, or says itself that it is broken."""
    return isinstance(error, StepFault) and (error.kind in {"connect", "reset"} or error.kind.startswith("5"))


def _is_cut_off(error: BaseException, context: CallContext, now: float) -> bool:
    """Tell whether time was up: its own, or the request's, which cancels what is under way. A client that leaves earlier is another thing."""
    if isinstance(error, StepFault):
        return error.kind == "timeout"
    return isinstance(error, asyncio.CancelledError) and is_cut_by_deadline(context, now)
