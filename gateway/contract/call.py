"""One call of a step: its inputs, its context, and its reply."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.contract.request import RequestContext
from gateway.contract.shape import Shape
from gateway.record import Record

Inputs = Mapping[str, Any]
"""The rendered inputs of one call, by the names that the step type gave them."""


class CallContext:
    """One call of one step in one request: its absolute deadline (event loop clock), and what policies note down.

    Most calls need no more than the class has, so that one is made in a third of the time of a dataclass.

    ``queued`` is the seconds spent waiting for a free place, ``waiting_since`` the time when a wait began that has not ended.
    ``inputs`` are what was rendered for it, by which a stale fallback knows it. ``faults`` say what went wrong with each failed
    attempt, for the log. ``events`` are what policies did, each by the name that the trace has for it and when. ``began_at`` is when the
    source was asked by the attempt that is under way or was last; None while it waits for its place.
    """

    attempts = 0
    queued = 0.0
    waiting_since: float | None = None
    inputs: Inputs | None = None
    faults: tuple[str, ...] = ()
    events: tuple[tuple[str, float], ...] = ()
    began_at: float | None = None
    trace_headers: tuple[tuple[str, str], ...] = ()
    """What tells a service of the attempt that begins, where requests are traced."""
    _key = ""

    def __init__(self, request: RequestContext, deadline: float, shape: Shape | None = None) -> None:
        self.request = request
        self.deadline = deadline
        self.shape = shape
        """How a reply that is JSON text is to be read, if its value need not be all that the text has."""

    @property
    def idempotency_key(self) -> str:
        """A key that all attempts of this call have in common and no other call has."""
        self._key = self._key or uuid.uuid4().hex
        return self._key

    def begin_wait(self, now: float) -> None:
        """Note that a wait for a place begins."""
        self.waiting_since = now

    def end_wait(self, now: float) -> None:
        """Note that a place was found."""
        if self.waiting_since is not None:
            self.queued += now - self.waiting_since
            self.waiting_since = None


class Reply(Record, frozen=True):
    """What a call gives back."""

    value: object
    status: int | None = None
    size: int = 0
    """How many bytes it had on the wire; 0 when that is not known."""
    max_age: float | None = None
    """Seconds for which the upstream says that it is fresh; None when it says nothing."""
    is_private: bool = False
    """Whether the upstream forbids keeping it."""


Call = Callable[[Inputs, CallContext], Awaitable[Reply]]
"""Performs a step once.

:raises StepFault: the step failed.
"""
