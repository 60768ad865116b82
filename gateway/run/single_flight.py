"""Single flight: equal work that is requested while it runs is done once, and all callers get its result. The last caller to leave cancels it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """Work that runs or is kept, and its callers.

    Each caller waits for a future of its own, so that its cancellation neither cancels the work nor reaches the other callers.
    """

    task: asyncio.Future[T]
    waiters: set[asyncio.Future[T]]
    owner: object
    is_cancelled: bool = False
    """Whether the task has been told to cancel; it may still run. A flight that is cancelled takes no more callers."""


class SingleFlight(Generic[T]):
    """Work by key: equal work has equal keys.

    With ``keeps``, results are kept as long as the object, also failures: later callers get them without new work. Without it, work is
    forgotten when it ends. Cancelled work is in ``unwinding`` until it has ended.
    """

    def __init__(self, unwinding: set[asyncio.Future[Any]], *, keeps: bool = False) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._unwinding = unwinding
        self._keeps = keeps

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: Hashable, start: Callable[[], Awaitable[T]], owner: object = None) -> T:
        """Return the result of the work with this key. ``start`` starts it if it does not run; a failure is raised for all callers.

        ``owner`` is any object to keep with work that is started now, for later callers of :meth:`owner`.
        """
        flight = self._flights.get(key)
        if flight is None or flight.is_cancelled:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(start()), set(), owner)
            # The callback has its own waiters: the key may belong to a newer flight by the time that a cancelled one ends.
            waiters = flight.waiters
            flight.task.add_done_callback(lambda task: self._on_done(key, task, waiters))
        elif flight.task.done():
            return flight.task.result()
        waiter: asyncio.Future[T] = flight.task.get_loop().create_future()
        flight.waiters.add(waiter)
        try:
            return await waiter
        finally:
            flight.waiters.discard(waiter)
            _mark_retrieved(waiter)
            if not flight.waiters:
                self._cancel(flight)

    def has(self, key: Hashable) -> bool:
        """Tell whether the work with this key runs or is kept, so that a call of :meth:`join` would not start it."""
        flight = self._flights.get(key)
        return flight is not None and not flight.is_cancelled

    def owner(self, key: Hashable) -> object:
        """Return the owner of the work with this key; None if a call of :meth:`join` would start it."""
        return self._flights[key].owner if self.has(key) else None

    def cancel(self) -> None:
        """Cancel all work that runs."""
        for flight in self._flights.values():
            self._cancel(flight)

    def _cancel(self, flight: _Flight[T]) -> None:
        """Cancel work, but only once: a second cancellation would interrupt its cleanup."""
        if not flight.is_cancelled and not flight.task.done():
            flight.is_cancelled = True
            flight.task.cancel()
            self._unwinding.add(flight.task)

    def _on_done(self, key: Hashable, task: asyncio.Future[T], waiters: set[asyncio.Future[T]]) -> None:
        self._unwinding.discard(task)
        flight = self._flights.get(key)
        if flight is not None and flight.task is task and (flight.is_cancelled or not self._keeps):
            del self._flights[key]
        _mark_retrieved(task)
        for waiter in waiters:
            if not waiter.done():
                _copy_result(task, waiter)


def _mark_retrieved(future: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a future, so that asyncio does not log "exception was never retrieved" when all callers have left."""
    if future.done() and not future.cancelled():
        future.exception()


def _copy_result(task: asyncio.Future[T], waiter: asyncio.Future[T]) -> None:
    if task.cancelled():
        waiter.cancel()
    elif (error := task.exception()) is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(task.result())
