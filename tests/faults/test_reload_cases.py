"""Changes of a configuration while it is served (rows R-02 to R-10; the others are in ``tests/operate``)."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from gateway.errors import ConfigurationError
from gateway.load.build.build import load
from resolvers import STEP_TYPES
from tests.faults import Json
from tests.faults.crowd import closed_loop, open_loop, percentile, request
from tests.faults.probes import Watch
from tests.faults.served import Served, in_background
from tests.kit.serving import wait_until
from tests.kit.timing import SLACK

case = pytest.mark.case

CONFIG = {
    "sources.yaml": "sources: { core: { type: api, base_url: UPSTREAM } }\ndefaults: { api: core }\n",
    "one.yaml": "operation: one\nsteps: [ { name: value, type: value, value: 1, returns: Int }, { name: slow, type: api, endpoint: /slow } ]\n",
    "two.yaml": "operation: two\nsteps: [ { name: value, type: value, value: 1, returns: Int } ]\n",
    "reload.yaml": "reload: { poll_ms: 200 }\n",
}
MISTAKES = {
    "bad YAML": ("operation: one\nsteps: [ {", "one.yaml:"),
    "an unknown type": (CONFIG["one.yaml"].replace("returns: Int", "returns: Itn"), "one.yaml:2:"),
    "an unknown key": (CONFIG["one.yaml"] + "countri: no\n", "one.yaml:3:1"),
    "a cycle": (
        "operation: one\nsteps:\n  - { name: value, type: api, endpoint: '/{slow.a}' }\n  - { name: slow, type: api, endpoint: '/{value.a}' }\n",
        "one.yaml:3:",
    ),
    "a reference that leads nowhere": (CONFIG["one.yaml"].replace("/slow", '"/{nothing.a}"'), "one.yaml:2:"),
    "a variable that is not set": (
        CONFIG["one.yaml"].replace("value: 1,", "value: 1, timeout_ms: ${NO_SUCH_VARIABLE},"),
        "one.yaml:2:",
    ),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("reload"), CONFIG) as opened:
        opened.upstream.script("/slow", Json("slow"))
        yield opened


def value(served: Served, operation: str) -> object:
    return (served.ask(f"{{ {operation} {{ value }} }}").body.get("data") or {}).get(operation, {}).get("value")


def wait_for(served: Served, operation: str, expected: object, within: float = 1.0) -> None:
    started = time.monotonic()
    while value(served, operation) != expected:
        assert time.monotonic() - started < within + SLACK, f"{operation} is {value(served, operation)} and not {expected}"
        time.sleep(0.02)


def restore(served: Served) -> None:
    """Restore the valid configuration, whatever the test before has written."""
    served.write(CONFIG)
    state = f"{served.admin}/admin/config"

    def is_current() -> bool:
        config_state = served.run(lambda: served.gateway.client.get(state)).json()
        return config_state["problems"] == [] and (value(served, "one"), value(served, "two")) == (1, 1)

    wait_until(is_current, "the sound configuration is back", 10)


@case("R-02")
@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_sound_of_a_change_moves_on_and_the_rest_keeps_its_last_good_definition(served: Served, name: str) -> None:
    text, place = MISTAKES[name]
    restore(served)
    results = ('config_reload_total{result="partial"}', 'config_reload_total{result="rejected"}')
    before = sum(map(served.metric, results))
    served.write({"one.yaml": text, "two.yaml": CONFIG["two.yaml"].replace("value: 1", "value: 2")})
    wait_for(served, "two", 2)
    assert value(served, "one") == 1
    wait_until(lambda: sum(map(served.metric, results)) >= before + 1, "the change is counted")
    assert served.get("/health/ready").status_code == 200
    config_state = served.run(lambda: served.gateway.client.get(f"{served.admin}/admin/config")).json()
    assert any(place in problem["place"] for problem in config_state["problems"])
    wait_until(lambda: place in served.process.stderr, "the log tells it")
    with pytest.raises(ConfigurationError) as caught:
        load(served.folder, STEP_TYPES)
    assert any(place in str(problem.place) for problem in caught.value.problems)


@case("R-02")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_change_of_which_nothing_is_sound_is_rejected(served: Served, name: str) -> None:
    text, place = MISTAKES[name]
    restore(served)
    rejected = 'config_reload_total{result="rejected"}'
    before, version = served.metric(rejected), served.ask("{ one { value } }").headers["x-config-version"]
    served.write({"one.yaml": text})
    wait_until(lambda: served.metric(rejected) == before + 1, "the change is counted")
    answer = served.ask("{ one { value } two { value } }")
    assert answer.data == {"one": {"value": 1}, "two": {"value": 1}}
    assert answer.headers["x-config-version"] == version
    config_state = served.run(lambda: served.gateway.client.get(f"{served.admin}/admin/config")).json()
    assert any(place in problem["place"] for problem in config_state["problems"])
    assert {unit: state["state"] for unit, state in config_state["units"].items()} == {
        "operation one": "kept",
        "operation two": "current",
    }


@case("R-09")
def test_a_request_under_way_keeps_what_it_began_with_and_new_ones_see_the_change_soon(served: Served) -> None:
    async def flip() -> None:
        served.upstream.script("/slow", Json("slow", delay=1.5))
        async with in_background(served.gateway.ask("{ one { value slow } two { value } }")) as asking:
            await served.upstream.wait_requests("/slow", served.upstream.count("/slow") + 1, timeout=5)
            started = time.monotonic()
            served.write({file: CONFIG[file].replace("value: 1", "value: 3") for file in ("one.yaml", "two.yaml")})
            while (await served.gateway.ask("{ two { value } }")).data != {"two": {"value": 3}}:
                assert time.monotonic() - started < 1 + SLACK
                await asyncio.sleep(0.01)
            answer = await asking
        assert answer.data == {"one": {"value": 1, "slow": "slow"}, "two": {"value": 1}}
        new = await served.gateway.ask("{ two { value } }")
        assert new.headers["x-config-version"] != answer.headers["x-config-version"]

    restore(served)
    served.run(flip)


@case("R-03")
def test_a_file_that_is_written_byte_by_byte_is_taken_once_it_is_whole(served: Served) -> None:
    """Every prefix of it is a valid configuration: only its end has the requested operation."""
    text = "".join(
        f"---\noperation: slowly{number}\nsteps: [ {{ name: value, type: value, value: {number} }} ]\n" for number in range(3)
    )

    async def write() -> set[str]:
        versions = set()
        with (served.folder / "slowly.yaml").open("wb", buffering=0) as file:
            for byte in text.encode():
                file.write(bytes([byte]))
                await asyncio.sleep(0.005)
                if byte == ord("\n"):
                    versions.add((await served.gateway.ask("{ __typename }")).headers["x-config-version"])
        return versions

    assert len(served.run(write)) == 1
    wait_for(served, "slowly2", 2)
    (served.folder / "slowly.yaml").unlink()


@pytest.mark.load
@case("R-10", "O-10")
def test_the_first_requests_after_a_change_are_as_quick_as_the_others(served: Served) -> None:
    queries = [request(f"{{ one {{ value a{number}: value }} two {{ value }} }}") for number in range(20)]

    async def measure() -> tuple[float, float, Watch]:
        await closed_loop(served.port, 4, 2_000, lambda number: queries[number % 20])
        steady = await open_loop(served.port, 100, 10, lambda number: queries[number % 20])
        first: list[float] = []
        async with Watch(served.pid, served.process.url) as watch:
            for change in range(5):
                served.write({"two.yaml": CONFIG["two.yaml"].replace("value: 1", f"value: {change + 10}")})
                tally = await open_loop(served.port, 100, 3, lambda number: queries[number % 20])
                versions = [answer.header("x-config-version") for answer in tally.answers]
                swapped = next(index for index, version in enumerate(versions) if version != versions[0])
                first += [answer.seconds for answer in tally.answers[swapped : swapped + 100]]
        return steady.percentile(0.99), percentile(first, 0.99), watch

    steady, first, watch = served.run(measure)
    assert first <= 2 * steady + 0.01 + SLACK / 20
    assert watch.delay < 0.1 + SLACK
