"""What the answer says of itself: what is missing or degraded, and where the time went (virtual time)."""

import asyncio
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code, StepFault
from tests.kit import virtual
from tests.oracle import HANGS, CompiledConfiguration, Part, Stage, perform, settle
from tests.run.test_run import dag, operation

DOWN = Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", status=503))


def report(config: str, query: str, types: str = "", **parts: Part) -> Any:
    return perform(config, query, Stage(parts), types=types).body["completeness"]


def missing(step: str, reason: str, path: str = "o") -> dict[str, Any]:
    return {"operation": "o", "path": [path], "step": step, "reason": reason}


def degraded(step: str, served_by: str, reason: str) -> dict[str, Any]:
    return {"operation": "o", "path": ["o"], "step": step, "served_by": served_by, "reason": reason}


# -- completeness


def test_nothing_is_said_when_everything_is_there() -> None:
    assert report(operation("a", "b, fallback: [{ value: 1 }]"), "{ o { a b } }", a=Part(None)) is None
    assert report(operation("a"), "{ __typename o { __typename } }") is None


def test_what_failed_or_was_skipped_is_missing_in_the_order_of_the_plan() -> None:
    config = operation("a", "b, input: '{a}'", "c, when: a == 'x'", "d, when: e == 'x'", "e")
    assert report(config, "{ o { d c b a } }", a=DOWN) == {
        "missing": [
            missing("a", "SUBREQUEST_HTTP_ERROR"),
            missing("b", "missing_input"),
            missing("c", "missing_input"),
            missing("d", "condition"),
        ],
        "degraded": [],
    }


def test_a_step_that_no_field_shows_is_missing_too_when_others_needed_it() -> None:
    assert report(operation("a, expose: false", "b, depends_on: [a]"), "{ o { b } }", a=DOWN)["missing"] == [
        missing("a", "SUBREQUEST_HTTP_ERROR")
    ]


def test_what_a_fallback_gave_is_degraded_with_what_served_it_and_why() -> None:
    config = operation(
        "a, fallback: [{ step: f }, { step: g }]",
        "b, input: '{n}', fallback: [{ value: 1 }]",
        "n",
        "f, expose: false",
        "g, expose: false",
    )
    assert report(config, "{ o { a b } }", a=DOWN, f=DOWN, n=Part(None)) == {
        "missing": [],
        "degraded": [degraded("a", "g", "SUBREQUEST_HTTP_ERROR"), degraded("b", "value", "missing_input")],
    }


def test_a_fallback_that_failed_is_not_missing_itself_unless_it_was_asked_for() -> None:
    config = operation("a, fallback: [{ step: f }]", "f")
    assert report(config, "{ o { a } }", a=DOWN, f=DOWN)["missing"] == [missing("a", "SUBREQUEST_HTTP_ERROR")]
    assert report(config, "{ o { a f } }", a=DOWN, f=DOWN)["missing"] == [
        missing("a", "SUBREQUEST_HTTP_ERROR"),
        missing("f", "SUBREQUEST_HTTP_ERROR"),
    ]


def test_a_blocked_operation_says_what_blocked_it_and_what_was_cancelled() -> None:
    config = operation("a", "b", "c, fallback: [{ step: f }]", "f, expose: false", rest="aggregation: { required_steps: [a] },")
    assert report(config, "{ o { a b c } }", a=DOWN, b=HANGS, c=Part()) == {
        "missing": [missing("a", "SUBREQUEST_HTTP_ERROR"), missing("b", "cancelled")],
        "degraded": [],
    }


def test_a_value_that_does_not_fit_is_missing_once_however_many_errors_it_makes() -> None:
    config = operation("a, returns: '[Int]'", "b, returns: Int")
    found = report(config, "{ x: o { a again: a b } y: o { a } }", a=Part([1, "x", "y"]))
    reason = "RESPONSE_VALIDATION_FAILED"
    assert found["missing"] == [missing("a", reason, "x"), missing("b", reason, "x"), missing("a", reason, "y")]


def test_a_call_is_known_by_the_first_root_field_that_shows_it() -> None:
    config = operation("a, input: '{n}'", rest="args: { n: Int },")
    found = report(config, "{ one: o(n: 1) { a } two: o(n: 2) { a } again: o(n: 1) { a } }", a=DOWN)
    assert found["missing"] == [missing("a", "SUBREQUEST_HTTP_ERROR", path) for path in ("one", "two")]


# -- trace


def traced(config: str, query: str, stage: Stage) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the trace of a request that arrives after a second, and its nodes by step."""

    async def act() -> Any:
        await asyncio.sleep(1)
        performance = await CompiledConfiguration.open(config, stage).answer(query)
        await settle()
        return performance.body["trace"]

    trace = virtual.run(act())
    return trace, {node["step"]: node for node in trace["nodes"]}


def one_place(*steps: str, rest: str = "") -> str:
    """Write an operation over a source that answers one call after the other."""
    return f"sources: {{ stage: {{ type: act, concurrency: 1, queue: 1 }} }}\ndefaults: {{ act: stage }}\n---\n{operation(*steps, rest=rest)}"


def test_a_trace_says_for_each_node_when_it_was_ready_what_it_waited_and_how_long_it_ran() -> None:
    stage = Stage({"a": Part(after=10), "b": Part(after=25), "c": Part(after=40)})
    trace, nodes = traced(one_place("a", "b, depends_on: [a]", "c"), "{ o { a b c } }", stage)
    columns = ("id", "start_ms", "wait_ms", "run_ms", "duration_ms", "attempts", "outcome", "slack_ms")
    assert {name: tuple(node[column] for column in columns) for name, node in nodes.items()} == {
        "a": (1, 0, 0, 10, 10, 1, "success", 0),
        "b": (2, 10, 40, 25, 65, 1, "success", 0),
        "c": (3, 0, 10, 40, 50, 1, "success", 25),
    }
    assert (trace["duration_ms"], trace["critical_path"]) == (75, ["a", "b"])


def test_a_trace_counts_attempts_and_has_the_waits_between_them_in_the_run() -> None:
    stage = Stage(
        {"a": [Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", retry_after=1)), Part(after=10)]}
    )
    _, nodes = traced(operation("a, retry: { attempts: 3 }"), "{ o { a } }", stage)
    assert (nodes["a"]["attempts"], nodes["a"]["wait_ms"], nodes["a"]["run_ms"]) == (2, 0, 1020)


def test_a_trace_has_what_ended_and_not_what_was_never_wanted() -> None:
    config = operation("a, fallback: [{ step: f }]", "f, expose: false", "b, when: a == 'x'", "c, input: '{d}'", "d", "e")
    _, nodes = traced(config, "{ o { a b c } }", Stage({"d": DOWN}))
    assert {name: (node["outcome"], node["attempts"]) for name, node in nodes.items()} == {
        "a": ("success", 1),
        "b": ("skipped", 0),
        "d": ("failure", 1),
        "c": ("skipped", 0),
    }


def test_a_node_that_the_deadline_cut_off_shows_its_attempt_and_its_wait() -> None:
    trace, nodes = traced(
        one_place("a", "b", "c, depends_on: [a]", rest="deadline_ms: 100,"), "{ o { a b c } }", Stage({"a": HANGS})
    )
    assert [(nodes[name]["attempts"], nodes[name]["wait_ms"], nodes[name]["duration_ms"]) for name in "abc"] == [
        (1, 0, 100),
        (1, 100, 100),
        (0, 0, 0),
    ]
    assert (trace["duration_ms"], nodes["c"]["start_ms"]) == (100, 100)


def test_the_time_in_a_fallback_is_no_wait_in_a_queue() -> None:
    stage = Stage({"a": Part(after=20), "b": Part(after=20), "f": Part(after=70)})
    config = f"{one_place('a', 'b', 'c, fallback: [{ step: f }]', 'f, expose: false, source: other')}".replace(
        "sources: {", "sources: { other: { type: act },"
    )
    _, nodes = traced(config, "{ o { a b c } }", stage)
    assert (nodes["c"]["wait_ms"], nodes["c"]["duration_ms"]) == (0, 70)


RESCUED = operation("a", "b, depends_on: [a], fallback: [{ step: f }]", "f, expose: false", "c, input: '{b}'")
RESCUE = {"a": Part(after=10), "b": Part(after=20, raises=DOWN.raises), "f": Part(after=30), "c": Part(after=5)}


def test_the_critical_path_goes_through_the_fallback_that_was_waited_for() -> None:
    trace, nodes = traced(RESCUED, "{ o { c } }", Stage(RESCUE))
    assert (trace["critical_path"][-3:], trace["duration_ms"]) == (["f", "b", "c"], 65)
    assert (nodes["b"]["start_ms"], nodes["b"]["duration_ms"], nodes["f"]["start_ms"]) == (10, 50, 30)


def test_the_critical_path_has_what_the_primary_waited_for_before_its_fallback() -> None:
    assert traced(RESCUED, "{ o { c } }", Stage(RESCUE))[0]["critical_path"] == ["a", "f", "b", "c"]


UNUSED = operation("x, fallback: [{ step: f }]", "f", "y, input: '{f}'")


def test_a_fallback_that_ran_for_its_own_field_is_not_on_the_path_of_a_step_that_did_not_need_it() -> None:
    trace, _ = traced(UNUSED, "{ o { x f } }", Stage({"x": Part(after=100), "f": Part(after=50)}))
    assert trace["critical_path"] == ["x"]


def test_a_fallback_that_others_read_has_no_more_slack_than_they_leave_it() -> None:
    _, nodes = traced(UNUSED, "{ o { x f y } }", Stage({"x": Part(after=100), "f": Part(after=50), "y": Part(after=40)}))
    assert (nodes["y"]["slack_ms"], nodes["f"]["slack_ms"]) == (10, 10)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**9))
def test_the_critical_path_is_a_chain_of_prerequisites_that_fills_the_whole_time(seed: int) -> None:
    before, times, config = dag(Random(seed), 15)
    query = f"{{ o {{ {' '.join(f's{number}' for number in range(15))} }} }}"
    trace, nodes = traced(config, query, Stage({f"s{number}": Part(number, after=time + 1) for number, time in enumerate(times)}))
    path = [int(name[1:]) for name in trace["critical_path"]]
    assert all(first in before[second] for first, second in pairwise(path))
    assert nodes[f"s{path[0]}"]["start_ms"] == 0
    assert sum(times[number] + 1 for number in path) == trace["duration_ms"]
    assert {nodes[f"s{number}"]["slack_ms"] for number in path} == {0}


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**9))
def test_slack_is_how_much_longer_a_node_could_have_taken_without_anyone_waiting_for_it(seed: int) -> None:
    _, times, config = dag(Random(seed), 9)
    query = f"{{ o {{ {' '.join(f's{number}' for number in range(9))} }} }}"

    def run(longer: int = 0, by: float = 0) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        parts = {
            f"s{number}": Part(number, after=time + 1 + (by if number == longer else 0)) for number, time in enumerate(times)
        }
        return traced(config, query, Stage(parts))

    trace, nodes = run()
    for number in range(9):
        slack = nodes[f"s{number}"]["slack_ms"]
        assert run(number, slack)[0]["duration_ms"] == trace["duration_ms"]
        assert run(number, slack + 3)[0]["duration_ms"] == trace["duration_ms"] + 3
