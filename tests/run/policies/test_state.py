"""The state of a source's policies lives as long as its pool, also over changes of the configuration."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.blueprint import Source
from gateway.errors import Place
from gateway.serve.generation.pools import Pools
from gateway.settings import SourceKeys
from tests.kit import virtual
from tests.oracle import FakeStepType, Stage


class Connected(FakeStepType):
    """A step type whose sources have no connections."""

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator[None]:
        yield None


def test_generations_with_the_same_source_have_its_state_in_common_and_it_ends_with_the_last_of_them() -> None:
    source, other = (Source(name, SourceKeys(type="act"), ".", Place("a.yaml")) for name in ("core", "other"))

    async def play() -> None:
        pools = Pools({"act": Connected(Stage())})
        async with pools.use([source]) as old:
            first = old[source].state
            async with pools.use([source, other]) as new:
                assert new[source].state is first
                assert new[other].state is not first
                assert list(pools.states()) == [source, other]
        assert not pools.states()
        async with pools.use([source]) as later:
            assert later[source].state is not first

    virtual.run(play())


def test_what_can_be_read_of_it_is_there_before_anything_was_called() -> None:
    async def play() -> None:
        pools = Pools({"act": Connected(Stage())})
        source = Source("core", SourceKeys(type="act", concurrency=7), ".", Place("a.yaml"))
        async with pools.use([source]):
            (state,) = pools.states().values()
            assert (
                state["bulkhead"].capacity,
                state["bulkhead"].in_use,
                state["bulkhead"].waiting,
                state["bulkhead"].rejected,
            ) == (
                7,
                0,
                0,
                0,
            )
            assert (state["breaker"].state, state["breaker"].opened, state["breaker"].rejected) == ("closed", 0, 0)
            assert (state["retry"].available, state["retry"].granted, state["retry"].denied) == (3, 0, 0)
            assert state["hedge"].hedges == 0

    virtual.run(play())
