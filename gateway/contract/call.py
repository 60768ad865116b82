"""One call of a step: its inputs, its context, and its reply."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.contract.request import RequestContext
from gateway.contract.shape import Shape
from gateway.record import Record

Inputs = Mapping[str, Any]
"""The rendered inputs of one call, by the names that the step type gave them."""

ValuePath = tuple[str | int, ...]
"""Keys and indexes that lead from a value to a place within it; empty for the value itself."""


class CallContext:
    """One call of one step in one request: its absolute deadline (event loop clock), and what policies record about it.

    ``queued`` is the seconds spent in queues, ``waiting_since`` the start of a wait that has not ended. ``inputs`` are the rendered inputs,
    which identify the call for a stale fallback. ``faults`` has the errors of all failed attempts, for the log. ``events`` are actions of
    policies, each with its name in the trace and its time. ``error_paths`` are those of the reply that was used. ``began_at`` is when the
    current or last attempt sent its request to the source; None while it waits in a queue.
    """

    # Class attributes as defaults: most calls never change them, so one is created in a third of the time of a dataclass.
    attempts = 0
    queued = 0.0
    waiting_since: float | None = None
    inputs: Inputs | None = None
    faults: tuple[str, ...] = ()
    events: tuple[tuple[str, float], ...] = ()
    error_paths: tuple[ValuePath, ...] = ()
    began_at: float | None = None
    trace_headers: tuple[tuple[str, str], ...] = ()
    """The headers that propagate the trace to the service, set for each attempt where requests are traced."""
    _key = ""

    def __init__(self, request: RequestContext, deadline: float, shape: Shape | None = None) -> None:
        self.request = request
        self.deadline = deadline
        self.shape = shape
        """How to decode a reply that is JSON text, if the plan does not need all of it."""

    @property
    def idempotency_key(self) -> str:
        """A key that is the same for all attempts of this call, and unique to it."""
        self._key = self._key or uuid.uuid4().hex
        return self._key

    def begin_wait(self, now: float) -> None:
        """Record that the call enters a queue."""
        self.waiting_since = now

    def end_wait(self, now: float) -> None:
        """Record that the call leaves the queue."""
        if self.waiting_since is not None:
            self.queued += now - self.waiting_since
            self.waiting_since = None


class Reply(Record, frozen=True):
    """The result of a successful call."""

    value: object
    status: int | None = None
    size: int = 0
    """The number of bytes on the wire; 0 when that is not known."""
    max_age: float | None = None
    """Seconds for which it is fresh according to the upstream; None when the upstream does not say."""
    is_private: bool = False
    """Whether the upstream forbids caching it."""
    error_paths: tuple[ValuePath, ...] = ()
    """Where the upstream reports errors although it gives a value. The client gets both; such a reply is used once and never kept."""
    error_detail: str = ""
    """Those errors for the log."""


Call = Callable[[Inputs, CallContext], Awaitable[Reply]]
"""Performs a step once.

:raises StepFault: the step failed.
"""
