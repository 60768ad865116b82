"""Sources → their pools, each shared by all generations that call the source: it is opened by the first and closed after the last of them."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Source
from gateway.contract import StepType
from gateway.run.policies import SourceState, new_state


@dataclass(slots=True)
class Pool:
    """What calls to a source have in common: its connection and the state of its policies. ``users`` is how many generations have it."""

    connection: Any
    state: SourceState
    stack: AsyncExitStack
    users: int = 0


class Pools:
    """The pools that are open, by source: a source that a change leaves as it is stays the same object, and so keeps its pool."""

    def __init__(self, step_types: Mapping[str, StepType]) -> None:
        self._step_types = step_types
        self._open: dict[Source, Pool] = {}

    def states(self) -> Mapping[Source, SourceState]:
        """Return the state of the policies of every source that is open."""
        return {source: pool.state for source, pool in self._open.items()}

    @asynccontextmanager
    async def use(self, sources: Iterable[Source]) -> AsyncIterator[Mapping[Source, Pool]]:
        """Use the pools of some sources for as long as the context lasts."""
        async with AsyncExitStack() as stack:
            used = {}
            for source in sources:
                used[source] = await self._enter(source)
                stack.push_async_callback(self._leave, source)
            yield used

    async def _enter(self, source: Source) -> Pool:
        pool = self._open.get(source)
        if pool is None:
            stack = AsyncExitStack()
            connection = await stack.enter_async_context(self._step_types[source.keys.type].connect(source))
            pool = self._open[source] = Pool(connection, new_state(source.keys), stack)
        pool.users += 1
        return pool

    async def _leave(self, source: Source) -> None:
        pool = self._open[source]
        pool.users -= 1
        if pool.users == 0:
            del self._open[source]
            await pool.stack.aclose()
