"""A database that does not respond, behind a gateway process (rows S-01 and S-02)."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.faults.crowd import closed_loop, request
from tests.faults.probes import holdings
from tests.faults.served import Served
from tests.kit.serving import until
from tests.kit.timing import SLACK

case = pytest.mark.case
PEOPLE = "{ people { count } constant { one } }"
ENDLESS = "{ endless { row } constant { one } }"


@contextmanager
def locked(served: Served) -> Iterator[None]:
    with closing(sqlite3.connect(served.folder / "data.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@case("S-01")
def test_a_query_on_a_locked_table_is_a_timeout_and_the_next_is_answered(served: Served) -> None:
    with locked(served):
        answer = served.ask(PEOPLE)
        assert answer.data == {"people": {"count": None}, "constant": {"one": 1}}
        assert answer.fault == ("GATEWAY_TIMEOUT", "count", ["people", "count"])
        assert 0.5 <= answer.seconds < 0.6 + SLACK
    answer = served.ask(PEOPLE)
    assert answer.data["people"] == {"count": {"n": 3}}
    assert answer.seconds < 0.05 + SLACK


@case("S-01")
def test_many_queries_on_a_locked_table_all_end_in_time(served: Served) -> None:
    """There are ten times as many queries as connections in the pool: those that wait for one have no more time than the others."""

    async def ask_many() -> float:
        started = time.monotonic()
        answers = await asyncio.gather(*(served.gateway.ask(PEOPLE) for _ in range(40)))
        assert all(answer.codes == ["GATEWAY_TIMEOUT"] for answer in answers)
        return time.monotonic() - started

    with locked(served):
        assert served.run(ask_many) < 0.6 + SLACK
    assert served.ask(PEOPLE).data["people"] == {"count": {"n": 3}}


@case("S-02")
def test_a_query_without_end_is_interrupted_and_the_next_is_quick(served: Served) -> None:
    async def ask_many() -> None:
        answers = await asyncio.gather(*(served.gateway.ask(ENDLESS) for _ in range(4)))  # as many as the pool has connections
        for answer in answers:
            assert answer.data == {"endless": {"row": None}, "constant": {"one": 1}}
            assert answer.fault == ("GATEWAY_TIMEOUT", "row", ["endless", "row"])
            assert 0.5 <= answer.seconds < 0.6 + SLACK
        quick = await served.gateway.ask(PEOPLE)
        assert quick.data["people"] == {"count": {"n": 3}}
        assert quick.seconds < 0.05 + SLACK

    served.run(ask_many)


@case("S-02")
@pytest.mark.parametrize("count", [pytest.param(1_000, id="1,000"), pytest.param(10_000, id="10,000", marks=pytest.mark.load)])
def test_the_number_of_threads_stays_what_it_is(served: Served, count: int) -> None:
    async def ask_many() -> tuple[int, int]:
        # The first queries open all connections of the pool, so that the number of threads is at its maximum.
        await closed_loop(served.port, 8, 200, lambda number: request(ENDLESS if number < 16 else PEOPLE))
        before = holdings(served.pid).threads
        tally = await closed_loop(served.port, 8, count, lambda number: request(ENDLESS if number % 500 == 7 else PEOPLE))
        assert tally.statuses == {200: count}

        async def is_as_before() -> bool:
            return holdings(served.pid).threads <= before + 2

        with contextlib.suppress(TimeoutError):
            await until(is_as_before, 0.3 + SLACK)
        return before, holdings(served.pid).threads

    before, after = served.run(ask_many)
    assert after <= before + 2, "beside the few that look after the files and the log"
