"""A thread for work that takes longer than the event loop may be held: reading and planning documents, putting large answers together."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gateway.run.single_flight import SingleFlight

T = TypeVar("T")


class Background:
    """Does work in one thread, in the order in which it is asked for; equal work is done once.

    One thread and no more: Python runs one at a time, and each further one would take its share of what the event loop needs.
    """

    def __init__(self, unwinding: set[asyncio.Future[Any]]) -> None:
        self._thread = _new_thread()
        self._work: SingleFlight[Any] = SingleFlight(unwinding)

    async def do(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return the result of some work. When its last caller has left, it is not begun any more."""

        async def start() -> T:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

        result: T = await self._work.join(key, start)
        return result

    def close(self) -> None:
        """Let the thread end after the work that it is at; what is asked for later has a new one."""
        self._thread.shutdown(wait=False)
        self._thread = _new_thread()


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="stepgraph-background")  # it starts with the first work
