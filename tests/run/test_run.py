"""The engine on virtual time: when nodes start, what is cancelled and shared, and that results do not wait for cancelled calls."""

import asyncio
import gc
import logging
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.outcome import Failure, Skipped, SkipReason, Success
from gateway.errors import Code, StepFault
from tests.kit import virtual
from tests.oracle import HANGS, CompiledConfiguration, FakeStepType, Part, RunResult, Stage, loop_time_ms, perform, settle

DOWN = StepFault(Code.SUBREQUEST_HTTP_ERROR, status=503)


@pytest.fixture(params=[True, False], ids=["prompt", "slow to end"], autouse=True)
def cancels_promptly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with steps whose cancelled calls end at once, so that chains run in the request's own task, and with other steps."""
    monkeypatch.setattr(FakeStepType, "cancels_promptly", request.param)


def operation(*steps: str, name: str = "o", rest: str = "") -> str:
    """Return an operation as YAML; steps are texts such as `name, key: value`."""
    return f"{{ operation: {name}, {rest} steps: [{', '.join(f'{{ type: act, name: {step} }}' for step in steps)}] }}"


# -- no barrier


def test_a_step_starts_when_its_own_dependency_has_ended_beside_a_slow_one() -> None:
    stage = Stage({"a": Part(after=10), "b": Part(after=10), "c": Part(after=500)})
    performance = perform(operation("a", "b, depends_on: [a]", "c"), "{ o { a b c } }", stage)
    assert (stage.times("a"), stage.times("b"), stage.times("c")) == (
        [(0, 10, "given")],
        [(10, 20, "given")],
        [(0, 500, "given")],
    )
    assert performance.took == 500


def test_order_without_data_waits_for_a_failed_step_as_for_a_good_one() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN)})
    performance = perform(operation("a", "b, depends_on: [a]"), "{ o { a b } }", stage)
    assert stage.times("b") == [(10, 10, "given")]
    assert performance.outcome("b") == Success("b")


def dag(random: Random, count: int) -> tuple[list[list[int]], list[int], str]:
    """Return a random graph: the prerequisites of each node, its duration in milliseconds, and an operation with these steps."""
    before = [random.sample(range(number), min(number, random.choice((0, 1, 1, 2, 3, 5)))) for number in range(count)]
    times = [random.choice((0, 1, 5, 7, 10, 100, 250)) for _ in range(count)]
    steps = []
    for number, others in enumerate(before):
        reads = [other for other in others if random.random() < 0.6]
        follows = [f"s{other}" for other in others if other not in reads]
        steps.append(f"s{number}, input: 'x{''.join(f'{{s{other}}}' for other in reads)}', depends_on: [{', '.join(follows)}]")
    return before, times, operation(*steps)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**9))
def test_in_any_graph_every_node_starts_exactly_when_the_last_of_its_prerequisites_has_ended(seed: int) -> None:
    before, times, config = dag(Random(seed), 200)
    stage = Stage({f"s{number}": Part(gives=number, after=time) for number, time in enumerate(times)})
    performance = perform(config, f"{{ o {{ {' '.join(f's{number}' for number in range(200))} }} }}", stage)
    ends: list[float] = []
    for number, others in enumerate(before):
        start = max((ends[other] for other in others), default=0.0)
        ends.append(start + times[number])
        assert stage.times(f"s{number}") == [(start, ends[-1], "given")]
    assert performance.took == max(ends)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**9))
def test_in_any_graph_with_failures_every_node_ends_and_the_answer_comes_with_the_last(seed: int) -> None:
    random = Random(seed)
    _, times, config = dag(random, 40)
    ends = {number: random.choice((None, None, None, DOWN, ValueError("a bug"))) for number in range(40)}
    stage = Stage({f"s{number}": Part(gives=number, after=time, raises=ends[number]) for number, time in enumerate(times)})
    logging.getLogger("stepgraph.engine").disabled = True
    try:
        performance = perform(config, f"{{ o {{ {' '.join(f's{number}' for number in range(40))} }} }}", stage)
    finally:
        logging.getLogger("stepgraph.engine").disabled = False
    for node in performance.plan.nodes:
        lost = [other for other in node.needs if not isinstance(performance.results.outcomes[other], Success)]
        expected = Skipped if lost else Failure if ends[int(node.step.name[1:])] else Success
        assert type(performance.results.outcomes[node.index]) is expected
        assert len(stage.of(node.step.name)) == (expected is not Skipped)
    assert performance.took == max((attempt.ended or 0 for attempt in stage.attempts), default=0)


def test_a_document_without_steps_is_answered_at_once() -> None:
    performance = perform(operation("a"), "{ o { __typename } __typename }", Stage())
    assert (performance.took, performance.body["data"]) == (0, {"o": {"__typename": "O"}, "__typename": "Query"})


# -- fallbacks

ELSE = operation("a, fallback: [{ step: b }]", "b, input: '{c}', expose: false", "c, expose: false")


def test_a_fallback_and_its_dependencies_never_start_when_nobody_needs_them() -> None:
    stage = Stage()
    performance = perform(ELSE, "{ o { a } }", stage)
    assert stage.called() == ["a"]
    assert (performance.outcome("b"), performance.outcome("c")) == (None, None)


def test_a_fallback_does_not_start_because_what_it_reads_is_there() -> None:
    stage = Stage({"a": Part(after=50), "x": Part(after=10)})
    perform(operation("a, fallback: [{ step: b }]", "b, input: '{x}', expose: false", "x"), "{ o { a x } }", stage)
    assert stage.called() == ["a", "x"]


def test_a_fallback_starts_when_the_primary_has_failed_and_its_dependency_before_it() -> None:
    stage = Stage({"a": Part(after=30, raises=DOWN), "b": Part(gives="B", after=5), "c": Part(after=7)})
    performance = perform(ELSE, "{ o { a } }", stage)
    assert [stage.times(name)[0][:2] for name in "acb"] == [(0, 30), (30, 37), (37, 42)]
    assert performance.body["data"] == {"o": {"a": "B"}}
    assert performance.took == 42


@pytest.mark.parametrize(("primary", "other", "took"), [(10, 50, 50), (50, 10, 50), (20, 20, 20)])
def test_a_fallback_that_is_selected_as_well_runs_once(primary: float, other: float, took: float) -> None:
    stage = Stage({"a": Part(after=primary, raises=DOWN), "b": Part(gives="B", after=other)})
    performance = perform(operation("a, fallback: [{ step: b }]", "b"), "{ o { a b } }", stage)
    assert stage.called() == ["a", "b"]
    assert performance.body["data"] == {"o": {"a": "B", "b": "B"}}
    assert performance.took == took


def test_a_fallback_of_two_steps_runs_once() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN), "b": Part(after=15, raises=DOWN), "c": Part(gives="C", after=20)})
    config = operation("a, fallback: [{ step: c }]", "b, fallback: [{ step: c }]", "c, expose: false")
    performance = perform(config, "{ o { a b } }", stage)
    assert stage.times("c") == [(10, 30, "given")]
    assert performance.body["data"] == {"o": {"a": "C", "b": "C"}}


def test_fallbacks_are_tried_in_order_and_those_of_a_fallback_before_the_next() -> None:
    steps = ("a, fallback: [{ step: b }, { step: d }, { value: 9 }]", "b, fallback: [{ step: c }]", "c", "d")
    config = operation(steps[0], *(f"{step}, expose: false" for step in steps[1:]))
    parts = {name: Part(after=10, raises=DOWN) for name in "abc"}
    stage = Stage(parts)
    performance = perform(config, "{ o { a } }", stage)
    assert stage.called() == ["a", "b", "c", "d"]
    assert performance.outcome("a") == Success("d", "d", Failure.of("a", DOWN))
    stage = Stage(parts | {"d": Part(raises=DOWN)})
    assert perform(config, "{ o { a } }", stage).outcome("a") == Success(9, "value", Failure.of("a", DOWN))


def test_a_dependent_reads_the_value_that_the_fallback_gave() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN), "b": Part(gives={"x": 5}, after=5)})
    perform(operation("a, fallback: [{ step: b }]", "b, expose: false", "c, input: '{a.x}'"), "{ o { c } }", stage)
    assert [(attempt.inputs, attempt.began) for attempt in stage.of("c")] == [(5, 15)]


# -- cancellation


def test_a_request_that_is_cancelled_cancels_every_call_and_leaves_no_task() -> None:
    stage = Stage(dict.fromkeys(("a", "b", "c", "both"), HANGS))
    config = operation("a", "b", "c, fallback: [{ value: 1 }]", "d, depends_on: [a]", "x, part: both", "y, part: both")

    async def leave() -> None:
        compiled = CompiledConfiguration.open(config, stage)
        task = asyncio.create_task(compiled.answer("{ o { a b c d x y } }"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settle()
        assert not compiled.unwinding

    virtual.run(leave())
    assert {attempt.part: (attempt.ended, attempt.ending) for attempt in stage.attempts} == dict.fromkeys(
        ("a", "b", "c", "both"), (100, "cancelled")
    )


def test_a_required_failure_cancels_the_rest_of_its_operation_at_once_and_no_other() -> None:
    config = "\n---\n".join(
        [
            operation("a", "b", "c, depends_on: [b]", rest="aggregation: { required_steps: [a] },"),
            operation("d", name="p"),
        ]
    )
    stage = Stage({"a": Part(after=10, raises=DOWN), "b": Part(after=500), "d": Part(after=100)})
    performance = perform(config, "{ o { a b c } p { d } }", stage)
    assert stage.times("b") == [(0, 10, "cancelled")]
    assert stage.times("c") == []
    assert stage.times("d") == [(0, 100, "given")]
    assert performance.body["data"] == {"o": None, "p": {"d": "d"}}
    assert performance.outcome("b") == performance.outcome("c") == Skipped(SkipReason.CANCELLED)
    assert performance.results.blocked == [Failure.of("a", DOWN), None]
    assert performance.took == 100


def test_a_required_failure_ends_the_request_when_there_is_nothing_else() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN), "b": Part(after=500), "f": HANGS})
    config = operation("a", "b, fallback: [{ step: f }]", "f, expose: false", rest="aggregation: { required_steps: [a] },")
    assert perform(config, "{ o { a b } }", stage).took == 10
    assert stage.called() == ["a", "b"]


def test_a_required_step_that_only_another_one_needs_blocks_as_well() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN)})
    performance = perform(operation("a", "b, input: '{a}'", rest="aggregation: { required_steps: [a] },"), "{ o { b } }", stage)
    assert [error["path"] for error in performance.body["errors"]] == [["o"]]


def test_a_required_step_that_is_only_a_fallback_here_does_not_block() -> None:
    stage = Stage({"a": Part(raises=DOWN), "b": Part(raises=DOWN)})
    config = operation("a, fallback: [{ step: b }]", "b", rest="aggregation: { required_steps: [b] },")
    performance = perform(config, "{ o { a } }", stage)
    assert performance.results.blocked == [None]
    assert [error["path"] for error in performance.body["errors"]] == [["o", "a"]]


def test_a_failure_is_told_by_what_lost_its_input_over_several_steps() -> None:
    performance = perform(
        operation("a", "b, input: '{a}'", "c, input: '{b}'", "d, when: c == 'x'"), "{ o { d } }", Stage({"a": Part(raises=DOWN)})
    )
    assert performance.outcome("d") == Skipped(SkipReason.MISSING_INPUT, Failure.of("a", DOWN))
    assert [(error["path"], error["extensions"]["step"]) for error in performance.body["errors"]] == [(["o", "d"], "a")]


def test_the_first_required_failure_is_the_one_that_is_told() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN), "b": Part(after=5, raises=DOWN)})
    performance = perform(operation("a", "b", rest="aggregation: { required_steps: [a, b] },"), "{ o { a b } }", stage)
    assert performance.results.blocked == [Failure.of("b", DOWN)]


# -- deadlines


def test_at_the_deadline_what_is_unfinished_is_cancelled_and_what_is_there_is_the_answer() -> None:
    stage = Stage({"a": Part(gives="A", after=299), "b": HANGS, "f": HANGS, "d": Part(after=1, raises=DOWN)})
    config = operation(
        *(
            "a",
            "b",
            "c, depends_on: [b]",
            "d, fallback: [{ step: f }]",
            "f, expose: false",
            "v, depends_on: [b], fallback: [{ value: 7 }]",
        ),
        rest="deadline_ms: 300,",
    )
    performance = perform(config, "{ o { a b c d v } }", stage)
    assert performance.took == 300
    assert (stage.times("b"), stage.times("f"), stage.times("c")) == ([(0, 300, "cancelled")], [(1, 300, "cancelled")], [])
    assert performance.body["data"] == {"o": {"a": "A", "b": None, "c": None, "d": None, "v": 7}}
    codes = [(error["path"][1], error["extensions"]["code"]) for error in performance.body["errors"]]
    assert codes == [("b", "GATEWAY_TIMEOUT"), ("c", "GATEWAY_TIMEOUT"), ("d", "SUBREQUEST_HTTP_ERROR")]


def test_every_call_knows_the_deadline() -> None:
    stage = Stage({"a": Part(after=10)})
    perform(operation("a", "b, depends_on: [a]", rest="deadline_ms: 700,"), "{ o { a b } }", stage)
    assert [attempt.context.deadline for attempt in stage.attempts] == [0.7, 0.7]


def test_a_required_step_that_the_deadline_cuts_off_blocks_its_operation() -> None:
    stage = Stage({"a": HANGS})
    config = operation("a", "b", rest="deadline_ms: 300, aggregation: { required_steps: [a] },")
    performance = perform(config, "{ o { a b } }", stage)
    assert (performance.took, performance.body["data"]) == (300, {"o": None})
    assert performance.body["errors"][0]["extensions"]["code"] == "GATEWAY_TIMEOUT"


def test_each_operation_has_its_own_deadline() -> None:
    stage = Stage({"a": HANGS, "b": Part(gives="B", after=400)})
    config = (
        f"{operation('a', name='soon', rest='deadline_ms: 100,')}\n---\n{operation('b', name='late', rest='deadline_ms: 500,')}"
    )
    performance = perform(config, "{ late { b } soon { a } }", stage)
    assert stage.times("a") == [(0, 100, "cancelled")]
    assert performance.body["data"] == {"late": {"b": "B"}, "soon": {"a": None}}
    assert performance.took == 400


# -- shared calls

SHARED = "\n---\n".join(
    [
        operation("a, part: both", "x", name="soon", rest="deadline_ms: 100, aggregation: { required_steps: [x] },"),
        operation("b, part: both", name="late", rest="deadline_ms: 500,"),
    ]
)


SHARED_ALONE = operation("a, part: both", "b, part: both", "x", rest="aggregation: { required_steps: [x] },")


def test_a_shared_call_has_the_later_deadline_and_the_earlier_operation_ends_without_it() -> None:
    stage = Stage({"both": Part(gives="B", after=300)})
    performance = perform(SHARED, "{ soon { a } late { b } }", stage)
    assert stage.times("both") == [(0, 300, "given")]
    assert stage.attempts[0].context.deadline == 0.5
    assert performance.body["data"] == {"soon": {"a": None}, "late": {"b": "B"}}
    assert performance.span("a").ended == pytest.approx(0.1)


@pytest.mark.parametrize("query", ["{ soon { a x } late { b } }", "{ late { b } soon { a x } }"])
def test_a_follower_gets_its_value_when_the_leaders_operation_is_blocked(query: str) -> None:
    stage = Stage({"both": Part(gives="B", after=300), "x": Part(after=10, raises=DOWN)})
    performance = perform(SHARED, query, stage)
    assert stage.times("both") == [(0, 300, "given")]
    assert performance.body["data"] == {"soon": None, "late": {"b": "B"}}
    assert [error["path"] for error in performance.body["errors"]] == [["soon"]]


def test_a_shared_call_that_fails_fails_for_each_under_its_own_name() -> None:
    stage = Stage({"both": Part(after=30, raises=DOWN)})
    performance = perform(SHARED, "{ soon { a } late { b } }", stage)
    assert len(stage.attempts) == 1
    assert [(error["path"], error["extensions"]["step"]) for error in performance.body["errors"]] == [
        (["soon", "a"], "a"),
        (["late", "b"], "b"),
    ]


def test_a_shared_call_that_fails_when_nobody_waits_any_more_is_no_complaint_of_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage({"both": Part(after=30, raises=DOWN), "x": Part(after=10, raises=DOWN), "y": Part(after=50)})
    perform(f"{SHARED_ALONE}\n---\n{operation('y', name='p')}", "{ o { a b x } p { y } }", stage)
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_equal_texts_of_different_kinds_are_different_inputs() -> None:
    stage = Stage()
    perform(
        operation("a, input: '{v}'", rest="args: { v: JSON },"),
        '{ x: o(v: 1) { a } y: o(v: "1") { a } z: o(v: true) { a } }',
        stage,
    )
    assert [attempt.inputs for attempt in stage.attempts] == [1, "1", True]


@pytest.mark.parametrize(
    ("first", "second", "calls"),
    [
        ("input: same", "input: same", 1),
        ("input: '{args.n}'", "input: '{n}'", 2),
        ("input: { x: 1 }", "input: { x: '1' }", 2),
        ("input: 1", "input: 1, idempotent: false", 2),
        ("idempotent: false", "idempotent: false", 2),
        ("select: x", "select: y", 1),
    ],
)
def test_equal_idempotent_calls_are_one(first: str, second: str, calls: int) -> None:
    stage = Stage({"p": Part(gives={"x": 1, "y": 2}, after=5)})
    config = operation(f"a, part: p, {first}", f"b, part: p, {second}", rest="args: { n: Int },")
    performance = perform(config, "{ o(n: 1) { a b } }", stage)
    assert len(stage.attempts) == calls
    if "select" in first:
        assert performance.body["data"] == {"o": {"a": 1, "b": 2}}


def test_the_same_step_with_the_same_argument_in_other_words_is_one_call() -> None:
    stage = Stage()
    config = operation("a, input: '{id}'", rest="args: { id: ID! },")
    query = 'query ($id: ID!) { x: o(id: 1) { a } y: o(id: "1") { a } z: o(id: $id) { a } other: o(id: 2) { a } }'
    performance = perform(config, query, stage, variables={"id": 1})
    assert len(performance.plan.calls) == 4
    assert [attempt.inputs for attempt in stage.attempts] == ["1", "2"]


def test_a_shared_call_that_nobody_waits_for_any_more_is_cancelled() -> None:
    config = f"{SHARED_ALONE}\n---\n{operation('y', name='p')}"
    stage = Stage({"both": Part(after=900), "x": Part(after=10, raises=DOWN), "y": Part(after=500)})
    perform(config, "{ o { a b x } p { y } }", stage)
    assert stage.times("both") == [(0, 10, "cancelled")]


# -- concurrency of an operation


def test_no_more_steps_of_an_operation_run_at_once_than_it_allows() -> None:
    steps = [f"s{number}" for number in range(6)]
    stage = Stage({step: Part(after=10) for step in steps})
    performance = perform(operation(*steps, rest="concurrency: 2,"), f"{{ o {{ {' '.join(steps)} }} }}", stage)
    assert [(attempt.part, attempt.began) for attempt in stage.attempts] == [
        *(("s0", 0), ("s1", 0), ("s2", 10), ("s3", 10), ("s4", 20), ("s5", 20)),
    ]
    assert performance.took == 30


def test_a_step_that_waits_for_another_one_takes_no_place() -> None:
    stage = Stage({name: Part(after=10) for name in "abcd"})
    config = operation("a", "b, input: '{a}'", "c, input: '{a}'", "d", rest="concurrency: 2,")
    perform(config, "{ o { a b c d } }", stage)
    assert [(attempt.part, attempt.began) for attempt in stage.attempts] == [("a", 0), ("d", 0), ("b", 10), ("c", 10)]


def test_a_step_gives_its_place_to_its_own_fallback() -> None:
    stage = Stage({"a": Part(after=10, raises=DOWN), "b": Part(gives="B", after=10)})
    config = operation("a, fallback: [{ step: b }]", "b, expose: false", rest="concurrency: 1,")
    assert perform(config, "{ o { a } }", stage).body["data"] == {"o": {"a": "B"}}


def test_a_wait_for_a_place_ends_at_the_deadline() -> None:
    stage = Stage({"a": HANGS})
    performance = perform(operation("a", "b", rest="concurrency: 1, deadline_ms: 50,"), "{ o { a b } }", stage)
    assert (performance.took, stage.called()) == (50, ["a"])
    assert performance.failure("b").code is Code.GATEWAY_TIMEOUT


def test_operations_do_not_share_their_places() -> None:
    stage = Stage({name: Part(after=10) for name in "abc"})
    config = f"{operation('a', 'b', rest='concurrency: 1,')}\n---\n{operation('c', name='p', rest='concurrency: 1,')}"
    perform(config, "{ o { a b } p { c } }", stage)
    assert [(attempt.part, attempt.began) for attempt in stage.attempts] == [("a", 0), ("c", 0), ("b", 10)]


# -- what should not happen


def test_an_unexpected_exception_is_an_internal_error_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage({"a": Part(after=5, raises=ZeroDivisionError("secret"))})
    performance = perform(operation("a", "b, depends_on: [a]"), "{ o { a b } }", stage)
    assert performance.body["data"] == {"o": {"a": None, "b": "b"}}
    assert performance.body["errors"] == [
        {
            "message": "'a' could not be computed.",
            "path": ["o", "a"],
            "extensions": {"code": "INTERNAL_SERVER_ERROR", "step": "a"},
        }
    ]
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["step"], fields["code"], fields["request_id"]) == ("a", "INTERNAL_SERVER_ERROR", "request-1")
    assert fields["exception"].startswith("Traceback")
    assert fields["exception"].endswith("ZeroDivisionError: secret")


def test_an_unexpected_exception_makes_way_for_the_fallback_like_any_failure() -> None:
    stage = Stage({"a": Part(raises=ZeroDivisionError())})
    assert perform(operation("a, fallback: [{ value: 7 }]"), "{ o { a } }", stage).body["data"] == {"o": {"a": 7}}


def test_a_call_that_ends_as_cancelled_by_itself_is_a_failure_at_once() -> None:
    performance = perform(
        operation("a", rest="deadline_ms: 900,"), "{ o { a } }", Stage({"a": Part(after=5, raises=asyncio.CancelledError())})
    )
    assert performance.took == 5


def test_each_failed_node_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage({"a": Part(raises=DOWN), "b": HANGS, "c": Part(raises=DOWN)})
    config = operation("a", "b", "c, fallback: [{ value: 1 }]", "d, input: '{a}'", rest="deadline_ms: 50,")
    perform(config, "{ o { a x: a b c d } }", stage)
    fields = [(vars(record)["step"], vars(record)["code"], vars(record)["operation"]) for record in caplog.records]
    assert fields == [("a", "SUBREQUEST_HTTP_ERROR", "o"), ("c", "SUBREQUEST_HTTP_ERROR", "o"), ("b", "GATEWAY_TIMEOUT", "o")]


@pytest.mark.parametrize("cancels_promptly", [False], indirect=True)
@pytest.mark.parametrize("ends_by", ["deadline", "required"])
def test_a_call_that_ignores_cancellation_does_not_hold_the_answer(ends_by: str) -> None:
    stage = Stage({"a": Part(after=2000, is_deaf=True), "x": Part(after=20, raises=DOWN)})
    required = "aggregation: { required_steps: [x] }," if ends_by == "required" else ""
    config = operation("a", "x", rest=f"deadline_ms: 100, {required}")

    async def watch() -> tuple[RunResult, float]:
        compiled = CompiledConfiguration.open(config, stage)
        performance = await compiled.answer("{ o { a x } }")
        answered = loop_time_ms()
        assert len(compiled.unwinding) == 1
        await asyncio.wait(compiled.unwinding)
        await settle()
        return performance, answered

    performance, answered = virtual.run(watch())
    assert answered == {"deadline": 100, "required": 20}[ends_by]
    assert not isinstance(performance.outcome("a"), Success)
    assert stage.times("a") == [(0, 2000, "given")]


@pytest.mark.parametrize("cancels_promptly", [False], indirect=True)
def test_a_value_that_comes_too_late_changes_nothing() -> None:
    stage = Stage({"a": Part(gives="late", after=500, is_deaf=True), "b": Part(gives="B", after=900)})
    config = f"{operation('a', rest='deadline_ms: 100,')}\n---\n{operation('b', name='p')}"
    performance = perform(config, "{ o { a } p { b } }", stage)
    assert performance.body["data"] == {"o": {"a": None}, "p": {"b": "B"}}
    assert performance.failure("a").code is Code.GATEWAY_TIMEOUT


# -- inputs


def test_inputs_are_rendered_of_arguments_steps_and_the_request() -> None:
    stage = Stage({"a": Part(gives={"tiers": ["gold", "basic"], "n": 5})})
    config = operation(
        "a",
        "b, input: { tier: '{a.tiers.0}', text: 'n={a.n}', id: '{id}', all: '{args.id}', who: '{request.headers.x-who?}', no: '{a.zzz?}' }",
    ).replace("operation: o,", "operation: o, args: { id: ID! },")

    async def ask() -> Any:
        return await CompiledConfiguration.open(config, stage).answer("{ o(id: 7) { b } }", headers={"x-who": "me"})

    virtual.run(ask())
    assert stage.of("b")[0].inputs == {"tier": "gold", "text": "n=5", "id": "7", "all": "7", "who": "me"}
