"""Sources → connection pools, each shared by all generations that call the source: opened by the first, closed after the last of them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Source
from gateway.contract import StepType
from gateway.run.policies import SourceState, new_state


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
        async with AsyncExitStack() as stack:
            used = {}
            for source in sources:
                used[source] = await self._acquire(source)
                stack.push_async_callback(self._release, source)
            yield used

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
            await pool.stack.aclose()
