"""The benchmark measures what it says: its load generator against its mock upstream, and the numbers that its bars are about."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from tests.bench.cases import BARS, CASES, OURS, SHARED
from tests.bench.growth import worst_lag_ms
from tests.bench.measure import Bench, Key, Result
from tests.bench.native import Mock, Target, put_load, running_mock
from tests.bench.planning import planning
from tests.bench.processes import free_port, running
from tests.bench.servers import PLAIN, observed_command
from tests.bench.stages import stages
from tests.bench.table import bar_table, numbers

THING = b'{"id":1,"name":"a small thing","size":3}'
RESULT = Result(rate=100, p50_ms=51, p99_ms=60, cpu_ms=0.5, calls=2, resident_mib=50, wrong=0)


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    if not shutil.which("gcc"):
        pytest.skip("there is no gcc")
    with running_mock() as running:
        yield running


def aim(mock: Mock, path: str, answer: bytes = THING) -> Target:
    return Target(int(mock.url.rpartition(":")[2]), path, b'{"n": @@@@@@@@@}', answer)


def test_the_load_generator_makes_exactly_the_requests_that_it_is_asked_for(mock: Mock) -> None:
    mock.reset()
    load = put_load(aim(mock, "/things/1"), 10, 10, requests=500)
    assert (load.requests, load.wrong, load.broken, mock.calls()) == (500, 0, 0, 500)


def test_an_answer_of_the_expected_length_with_one_other_byte_is_wrong(mock: Mock) -> None:
    load = put_load(aim(mock, "/things/1", THING.replace(b"3", b"4")), 1, 10, requests=20)
    assert (load.requests, load.wrong) == (20, 20)


def test_calls_that_are_delayed_wait_side_by_side_and_no_shorter_than_they_should(mock: Mock) -> None:
    answer = b'{"id":"42","name":"Zoe Adler","tier":"gold","score":7,"next":"43"}'
    load = put_load(aim(mock, "/after/100/1", answer), 200, 10, requests=200)
    assert load.wrong == load.broken == 0
    assert load.p50_us >= 100_000
    assert load.seconds < 200 * 0.1


def test_the_observed_gateway_answers_and_tells_for_how_long_its_loop_was_held(mock: Mock) -> None:
    port = free_port()
    with running(observed_command(PLAIN, port), port, {"MOCK_URL": mock.url}) as server:
        assert server.post(b'{"query": "{ thing(id: 1) { name } }"}')[1] == b'{"data":{"thing":{"name":"a small thing"}}}'
        assert 0 < worst_lag_ms(server) < 60_000


def test_each_stage_of_a_request_and_of_planning_can_be_measured(mock: Mock, tmp_path: Path) -> None:
    bench = Bench(mock, 0.05, tmp_path, StringIO())
    assert "| engine: scheduling, templates, policies, links |" in stages(bench, series=1).text
    assert planning(bench, counts=(1, 10)).text.count("\n") == 5


def test_a_rival_that_is_twice_as_fast_halves_our_ratio() -> None:
    results: dict[Key, Result | str] = {
        ("posts", 10, OURS): RESULT,
        ("posts", 10, "mercurius"): replace(RESULT, rate=200),
        ("posts", 10, "yoga"): "another answer",
    }
    assert numbers(results) == {"posts at 10: stepgraph / mercurius": 0.5, "posts at 10: CPU ms per query": 0.5}


def test_what_an_answer_takes_beyond_its_upstream_calls_is_the_gateways() -> None:
    assert numbers({("customer360", 1, OURS): RESULT})["customer360: p50 over its slowest call, ms"] == 1


def test_each_bar_about_a_case_is_about_a_number_that_the_case_gives() -> None:
    everything: dict[Key, Result | str] = {
        (case.name, connections, server): RESULT for case in CASES for connections in case.connections for server in case.servers
    }
    names = {case.name for case in CASES}
    about_cases = {bar.number for bar in BARS if bar.number.partition(" at ")[0].partition(":")[0] in names}
    assert about_cases <= numbers(everything).keys()
    assert {number for number in about_cases if SHARED in number}


def test_a_bar_that_does_not_hold_says_how_much_of_it_there_is() -> None:
    assert "| ≥ 1.3 | 2 | no (0.50 of it) |" in bar_table({"posts at 10: stepgraph / mercurius": 0.65})
