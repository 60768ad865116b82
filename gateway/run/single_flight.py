"""Equal work that is under way → done once: whoever comes while it runs waits for the same end, and the last one to leave cancels it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """Work under way, and those who wait for it, each with a future of its own: what cancels one of them does not touch the others."""

    task: asyncio.Future[T]
    waiters: set[asyncio.Future[T]]
    owner: object
    is_cancelled: bool = False


class SingleFlight(Generic[T]):
    """Work by what it is: keys of equal work are equal.

    With ``keeps``, work that has ended stays known for as long as the object. Work that is cancelled is put into ``unwinding`` until it has ended.
    """

    def __init__(self, unwinding: set[asyncio.Future[Any]], *, keeps: bool = False) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._unwinding = unwinding
        self._keeps = keeps

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: Hashable, begin: Callable[[], Awaitable[T]], owner: object = None) -> T:
        """Return what the work of this key gives; ``begin`` starts it when it is not under way. Its failure is everybody's.

        ``owner`` is what it is begun for, which :meth:`owner` tells those who come later.
        """
        flight = self._flights.get(key)
        if flight is None or flight.is_cancelled:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(begin()), set(), owner)
            waiters = flight.waiters
            flight.task.add_done_callback(lambda task: self._ended(key, task, waiters))
        elif flight.task.done():
            return flight.task.result()
        waiter: asyncio.Future[T] = flight.task.get_loop().create_future()
        flight.waiters.add(waiter)
        try:
            return await waiter
        finally:
            flight.waiters.discard(waiter)
            _hear(waiter)
            if not flight.waiters:
                self._cancel(flight)

    def has(self, key: Hashable) -> bool:
        """Tell whether the work of this key is under way, or kept, so that whoever joins it begins nothing."""
        flight = self._flights.get(key)
        return flight is not None and not flight.is_cancelled

    def owner(self, key: Hashable) -> object:
        """Return what the work of this key was begun for; None where whoever joins it begins it anew."""
        return self._flights[key].owner if self.has(key) else None

    def cancel(self) -> None:
        """Cancel all work that is under way."""
        for flight in self._flights.values():
            self._cancel(flight)

    def _cancel(self, flight: _Flight[T]) -> None:
        """Cancel work, once: a second time would interrupt the closing of what it holds."""
        if not flight.is_cancelled and not flight.task.done():
            flight.is_cancelled = True
            flight.task.cancel()
            self._unwinding.add(flight.task)

    def _ended(self, key: Hashable, task: asyncio.Future[T], waiters: set[asyncio.Future[T]]) -> None:
        self._unwinding.discard(task)
        flight = self._flights.get(key)
        if flight is not None and flight.task is task and (flight.is_cancelled or not self._keeps):
            del self._flights[key]
        _hear(task)
        for waiter in waiters:
            if not waiter.done():
                _pass_on(task, waiter)


def _hear(future: asyncio.Future[Any]) -> None:
    """Take note of a failure: one that nobody waits for any more is no complaint of the event loop."""
    if future.done() and not future.cancelled():
        future.exception()


def _pass_on(task: asyncio.Future[T], waiter: asyncio.Future[T]) -> None:
    if task.cancelled():
        waiter.cancel()
    elif (error := task.exception()) is not None:
        waiter.set_exception(error)
    else:
        waiter.set_result(task.result())
