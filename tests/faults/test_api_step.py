"""An upstream that is unreachable, late, wrongly typed or fails for a while, and what a client of the gateway gets.

Rows U-01 to U-04, U-07 and U-10 of the reliability cases. Paths are arguments, so that every test has its own.
"""

import asyncio
import threading
import time

import pytest

from tests.faults import Behaviour, CloseWithoutAnswer, Delay, Drip, Hang, HangAfterHeaders, Json, Reset, Status, refused_port
from tests.faults.pair import ask, ask_pair
from tests.kit.serving import Answer, Stage
from tests.kit.timing import SLACK

TIMEOUT = 0.3
"""Seconds of the configuration's ``timeout_ms: 300``."""

CONFIG = {
    "graph.yaml": f"""
sources:
  core: {{ type: api, base_url: UPSTREAM, retry: {{ attempts: 1, budget_min: 1000 }}, breaker: {{ enabled: false }} }}
  nobody: {{ type: api, base_url: "http://127.0.0.1:{refused_port()}", retry: {{ attempts: 1 }}, breaker: {{ enabled: false }} }}
defaults: {{ api: core }}
---
operation: pair
args: {{ left: ID!, right: ID }}
steps:
  - {{ name: first, type: api, endpoint: "/{{left}}", timeout_ms: 300 }}
  - {{ name: second, type: api, endpoint: "/{{right}}" }}
---
operation: strict
args: {{ left: ID!, right: ID! }}
steps:
  - {{ name: first, type: api, endpoint: "/{{left}}", timeout_ms: 300 }}
  - {{ name: second, type: api, endpoint: "/{{right}}" }}
aggregation: {{ required_steps: [first] }}
---
operation: refused
steps: [ {{ name: call, type: api, source: nobody, endpoint: / }} ]
---
operation: refusedStrict
steps: [ {{ name: call, type: api, source: nobody, endpoint: / }} ]
aggregation: {{ required_steps: [call] }}
---
operation: refusedRescued
steps:
  - {{ name: call, type: api, source: nobody, endpoint: /, fallback: [ {{ step: spare }} ] }}
  - {{ name: spare, type: api, endpoint: /spare, expose: false }}
---
operation: chain
deadline_ms: 500
steps:
  - {{ name: one, type: api, endpoint: /chain/1 }}
  - {{ name: two, type: api, endpoint: "/chain/{{one.next}}" }}
  - {{ name: three, type: api, endpoint: "/chain/{{two.next}}" }}
---
operation: bounded
args: {{ path: ID! }}
deadline_ms: 300
steps:
  - {{ name: quick, type: api, endpoint: /quick }}
  - {{ name: slow, type: api, endpoint: "/{{path}}" }}
---
operation: typed
args: {{ path: ID! }}
steps:
  - {{ name: item, type: api, endpoint: "/{{path}}", returns: Item }}
  - {{ name: beside, type: api, endpoint: /quick }}
---
operation: insistent
args: {{ path: ID! }}
steps:
  - {{ name: get, type: api, endpoint: "/{{path}}", retry: {{ attempts: 3, base_ms: 1 }} }}
  - {{ name: post, type: api, method: POST, endpoint: "/{{path}}", retry: {{ attempts: 3, base_ms: 1 }} }}
  - {{ name: put, type: api, method: PUT, endpoint: "/{{path}}", idempotent: true, retry: {{ attempts: 3, base_ms: 1 }} }}
""",
    "types.graphql": """
type Item { number: Int name: String! size: Size tags: [String!] inner: Inner }
type Inner { text: String }
enum Size { SMALL LARGE }
""",
}


HANGING = '{ bounded(path: "hanging") { quick slow } }'


# -- unreachable (U-01, U-02)


@pytest.mark.case("U-01")
def test_a_required_step_that_is_refused_fails_its_operation_alone(stage: Stage) -> None:
    answer = ask(stage, '{ refusedStrict { call } pair(left: "quick", right: "quick") { first } }')
    assert answer.status == 200
    assert answer.data == {"refusedStrict": None, "pair": {"first": "quick"}}
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "call", ["refusedStrict"])
    assert answer.seconds < 0.1 + SLACK


@pytest.mark.case("U-02")
def test_an_optional_step_that_is_refused_is_null_with_an_error(stage: Stage) -> None:
    answer = ask(stage, "{ refused { call } }")
    assert (answer.status, answer.data) == (200, {"refused": {"call": None}})
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "call", ["refused", "call"])
    assert "http" not in answer.error["extensions"]


@pytest.mark.case("U-02")
def test_a_refused_step_with_a_fallback_gives_the_fallback_s_data(stage: Stage) -> None:
    stage.upstream.script("/spare", Json({"spare": True}))
    answer = ask(stage, "{ refusedRescued { call } }")
    assert answer.data == {"refusedRescued": {"call": {"spare": True}}}
    assert answer.codes == []
    assert answer.degraded == [("call", "spare", "SUBREQUEST_HTTP_ERROR")]
    assert answer.missing == []


# -- late (U-03, U-04)

LATE: dict[str, Behaviour] = {
    "hangs": Hang(),
    "hangs-after-its-headers": HangAfterHeaders(),
    "drips": Drip(0.05, b'{"slow": "' + b"x" * 100 + b'"}'),
    "answers-too-late": Delay(5, Json(1)),
}


@pytest.mark.parametrize("name", LATE)
@pytest.mark.case("U-03")
def test_a_late_step_is_cut_at_its_timeout_and_its_socket_closed(stage: Stage, name: str) -> None:
    answer = ask_pair(stage, name, LATE[name])
    assert answer.fault == ("GATEWAY_TIMEOUT", "first", ["pair", "first"])
    assert TIMEOUT <= answer.seconds < TIMEOUT + 0.1 + SLACK
    stage.run(lambda: stage.upstream.wait_closed(f"/{name}", 0.1 + SLACK))


@pytest.mark.case("U-03")
def test_a_late_required_step_ends_its_operation(stage: Stage) -> None:
    stage.upstream.script("/late-and-required", Hang())
    answer = ask(stage, '{ strict(left: "late-and-required", right: "quick") { first second } }')
    assert answer.data == {"strict": None}
    assert answer.fault == ("GATEWAY_TIMEOUT", "first", ["strict"])


def test_a_required_step_that_fails_stops_what_the_operation_still_waits_for(stage: Stage) -> None:
    stage.upstream.script("/broken", Delay(0.05, Status(500)))
    stage.upstream.script("/endless", Hang())
    answer = ask(stage, '{ strict(left: "broken", right: "endless") { first second } }')
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "first", ["strict"])
    assert answer.seconds < 0.2 + SLACK
    stage.run(lambda: stage.upstream.wait_closed("/endless", 0.1 + SLACK))


@pytest.mark.case("U-04")
def test_a_chain_is_cut_at_the_deadline_with_what_is_finished(stage: Stage) -> None:
    for number in (1, 2, 3):
        stage.upstream.script(f"/chain/{number}", Json({"next": number + 1}, delay=0.05 if number < 3 else 5))
    answer = ask(stage, "{ chain { one two three } }")
    assert answer.data == {"chain": {"one": {"next": 2}, "two": {"next": 3}, "three": None}}
    assert answer.fault == ("GATEWAY_TIMEOUT", "three", ["chain", "three"])
    assert 0.5 <= answer.seconds < 0.5 + 0.1 + SLACK
    stage.run(lambda: stage.upstream.wait_closed("/chain/3", 0.1 + SLACK))


class Lateness(threading.Thread):
    """Measures how late a separate thread wakes up: the part of a delay that the machine causes, not the gateway."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.worst = 0.0
        self.has_ended = threading.Event()

    def run(self) -> None:
        while not self.has_ended.is_set():
            started = time.perf_counter()
            time.sleep(0.005)
            self.worst = max(self.worst, time.perf_counter() - started - 0.005)

    def end(self) -> float:
        self.has_ended.set()
        self.join()
        return self.worst


def measure(stage: Stage) -> tuple[list[Answer], float]:
    """Send 20 requests, 5 at a time; return the answers and how late the machine was meanwhile."""

    async def ask_all() -> list[Answer]:
        return [answer for _ in range(4) for answer in await asyncio.gather(*map(stage.production.ask, [HANGING] * 5))]

    lateness = Lateness()
    lateness.start()
    return stage.run(ask_all), lateness.end()


@pytest.mark.load
@pytest.mark.case("U-04")
def test_with_a_hanging_step_every_answer_is_there_40_ms_after_the_deadline(stage: Stage) -> None:
    stage.upstream.script("/hanging", Hang())
    ask(stage, HANGING)
    for _ in range(10):
        answers, lateness = measure(stage)
        if lateness < 0.02:
            break
    if lateness > 0.05:
        pytest.skip(f"this machine stood still for {lateness * 1000:.0f} ms, and nothing can be measured on it")
    for answer in answers:
        assert answer.data == {"bounded": {"quick": "quick", "slow": None}}
        assert answer.fault == ("GATEWAY_TIMEOUT", "slow", ["bounded", "slow"])
    assert len(answers) == 20
    assert min(answer.seconds for answer in answers) >= 0.3
    assert max(answer.seconds for answer in answers) < 0.34 + 3 * lateness


def test_at_the_deadline_the_sockets_of_hanging_steps_are_closed(stage: Stage) -> None:
    stage.upstream.script("/left-hanging", Hang())

    async def ask_many() -> None:
        query = HANGING.replace("hanging", "left-hanging")
        await asyncio.gather(*map(stage.production.ask, [query] * 5))
        await stage.upstream.wait_closed("/left-hanging", 0.1 + SLACK)

    stage.run(ask_many)


# -- values of the wrong type (U-07)

SOUND = {"number": 1, "name": "a", "size": "SMALL", "tags": ["t"], "inner": {"text": "x"}}
MISFITS: dict[str, tuple[dict[str, object], dict[str, object] | None, list[str | int]]] = {
    "text-for-a-number": ({"number": "x"}, {"number": None}, ["number"]),
    "a-list-for-an-object": ({"inner": [1]}, {"inner": None}, ["inner"]),
    "an-object-for-a-text": ({"inner": {"text": {"a": 1}}}, {"inner": {"text": None}}, ["inner", "text"]),
    "a-value-outside-the-enum": ({"size": "HUGE"}, {"size": None}, ["size"]),
    "a-null-item": ({"tags": ["t", None]}, {"tags": None}, ["tags", 1]),
    "an-object-for-a-list": ({"tags": {"0": "t"}}, {"tags": None}, ["tags"]),
    "a-missing-name": ({"name": None}, None, ["name"]),
    "too-large-a-number": ({"number": 2**31}, {"number": None}, ["number"]),
}


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.case("U-07")
def test_a_value_of_the_wrong_type_is_null_where_graphql_says(stage: Stage, name: str) -> None:
    given, expected, path = MISFITS[name]
    stage.upstream.script(f"/{name}", Json({**SOUND, **given}))
    answer = ask(stage, f'{{ typed(path: "{name}") {{ item {{ number name size tags inner {{ text }} }} beside }} }}')
    item = None if expected is None else {**SOUND, **expected}
    assert (answer.status, answer.data) == (200, {"typed": {"item": item, "beside": "quick"}})
    assert answer.fault == ("RESPONSE_VALIDATION_FAILED", "item", ["typed", "item", *path])


# -- calls that are repeated (U-10)

PASSING: dict[str, Behaviour] = {
    "502": Status(502),
    "503": Status(503),
    "504": Status(504),
    "reset": Reset(),
    "closed": CloseWithoutAnswer(),
}


@pytest.mark.case("U-10")
def test_a_get_is_repeated_until_it_succeeds(stage: Stage) -> None:
    stage.upstream.script("/flaky", Status(503), Status(503), Json("third time lucky"))
    answer = ask(stage, '{ insistent(path: "flaky") { get } }')
    assert (answer.data, answer.codes) == ({"insistent": {"get": "third time lucky"}}, [])
    assert stage.upstream.count("/flaky") == 3


@pytest.mark.parametrize("name", PASSING)
@pytest.mark.case("U-10")
def test_a_get_is_repeated_after_what_may_pass(stage: Stage, transport: str, name: str) -> None:
    """If a connection that was kept alive closes without a response, our transport repeats the attempt on a new one."""
    stage.upstream.script(f"/passing-{name}", PASSING[name])
    answer = ask(stage, f'{{ insistent(path: "passing-{name}") {{ get }} }}')
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "get", ["insistent", "get"])
    repeated = 3 if transport == "http1" and name in {"reset", "closed"} else 0
    assert 3 <= stage.upstream.count(f"/passing-{name}") <= 3 + repeated


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 422, 429, 500, 501])
@pytest.mark.case("U-10")
def test_what_will_not_pass_is_not_repeated(stage: Stage, status: int) -> None:
    stage.upstream.script(f"/status-{status}", Status(status))
    answer = ask(stage, f'{{ insistent(path: "status-{status}") {{ get }} }}')
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "get", ["insistent", "get"])
    assert answer.error["extensions"]["http"] == {"status": status}
    assert stage.upstream.count(f"/status-{status}") == 1


@pytest.mark.case("U-10")
def test_a_post_is_repeated_only_when_it_is_declared_idempotent(stage: Stage) -> None:
    for path in ("posted", "put"):
        stage.upstream.script(f"/{path}", Status(503))
    ask(stage, '{ insistent(path: "posted") { post } }')
    ask(stage, '{ insistent(path: "put") { put } }')
    assert (stage.upstream.count("/posted"), stage.upstream.count("/put")) == (1, 3)


def test_a_retry_after_beyond_the_deadline_ends_the_repetition(stage: Stage) -> None:
    stage.upstream.script("/later", Status(503, headers={"retry-after": "3600"}))
    answer = ask(stage, '{ insistent(path: "later") { get } }')
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "get", ["insistent", "get"])
    assert stage.upstream.count("/later") == 1
    assert answer.seconds < 1 + SLACK
