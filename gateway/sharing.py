"""Equal work that is under way → done once: whoever comes while it runs waits for the same end, and the last one to leave cancels it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """Work under way, and how many wait for it."""

    task: asyncio.Future[T]
    waiting: int = 0
    is_cancelled: bool = False


class Flights(Generic[T]):
    """Work by what it is: keys of equal work are equal.

    With ``keeps``, work that has ended stays known for as long as the object. Work that is cancelled is put into ``unwinding`` until it has ended.
    """

    def __init__(self, unwinding: set[asyncio.Future[Any]], *, keeps: bool = False) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self._unwinding = unwinding
        self._keeps = keeps

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: Hashable, begin: Callable[[], Awaitable[T]]) -> T:
        """Return what the work of this key gives; ``begin`` starts it when it is not under way. Its failure is everybody's."""
        flight = self._flights.get(key)
        if flight is None or flight.is_cancelled:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(begin()))
            flight.task.add_done_callback(lambda task: self._ended(key, task))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0:
                self._cancel(flight)

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

    def _ended(self, key: Hashable, task: asyncio.Future[T]) -> None:
        self._unwinding.discard(task)
        flight = self._flights.get(key)
        if flight is not None and flight.task is task and (flight.is_cancelled or not self._keeps):
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # a failure that nobody waits for any more is no complaint of the event loop
