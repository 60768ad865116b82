"""Sources → connection pools, each shared by all generations that call the source: opened by the first, closed after the last of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Source
from gateway.contract import StepType
from gateway.run.policies import SourceState, new_state

log = logging.getLogger("stepgraph.pools")

CLOSE_SECONDS = 1.0
"""Seconds that closing may take, of a pool whose source does not answer or of anything else that the end of a process waits for."""


@dataclass(slots=True)
class Pool:
    """What all calls to a source share: its connection and the state of its policies. ``users`` is the number of generations that use it."""

    connection: Any
    state: SourceState
    stack: AsyncExitStack
    users: int = 0


class Pools:
    """The open pools by source. A reload that does not change a source keeps its object, and so its pool and the state of its policies."""

    def __init__(self, step_types: Mapping[str, StepType]) -> None:
        self._step_types = step_types
        self._open: dict[Source, Pool] = {}

    def states(self) -> Mapping[Source, SourceState]:
        """Return the state of the policies of every source with an open pool."""
        return {source: pool.state for source, pool in self._open.items()}

    @asynccontextmanager
    async def use(self, sources: Iterable[Source]) -> AsyncIterator[Mapping[Source, Pool]]:
        """Open the pools of some sources, or share those that are open, until the context ends."""
        used = {}
        try:
            for source in sources:
                used[source] = await self._acquire(source)
            yield used
        finally:
            await asyncio.gather(*map(self._release, used))

    async def _acquire(self, source: Source) -> Pool:
        pool = self._open.get(source)
        if pool is None:
            stack = AsyncExitStack()
            connection = await stack.enter_async_context(self._step_types[source.keys.type].connect(source))
            pool = self._open[source] = Pool(connection, new_state(source.keys), stack)
        pool.users += 1
        return pool

    async def _release(self, source: Source) -> None:
        pool = self._open[source]
        pool.users -= 1
        if pool.users == 0:
            del self._open[source]
            closing = asyncio.ensure_future(pool.stack.aclose())
            await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
            # One that cannot be closed must not keep the others open, nor the process from its end.
            if not closing.done():
                closing.cancel()
                log.warning("a source does not close; it is given up", extra={"source": source.name})
            elif (error := closing.exception()) is not None:
                log.warning("a source could not be closed", extra={"source": source.name, "detail": type(error).__name__})
