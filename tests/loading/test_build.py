"""A configuration folder → its blueprint: what it means when it is sound, and every problem at once when it is not."""

import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.blueprint import Blueprint, Operation, Origin, Strategy
from gateway.blueprint.graph import find_cycles
from gateway.blueprint.step import FallbackStep, FallbackValue
from gateway.errors import ConfigurationError, Place, Problem, did_you_mean
from gateway.load.build.build import build, load
from gateway.load.read.files import Files, read_files
from gateway.settings.policies import RetryKeys
from resolvers import STEP_TYPES
from tests.kit.paths import CHECKOUT
from tests.test_paper import PAPER

EXAMPLES = CHECKOUT / "schema_configs"
SOURCES = """\
sources:
  core: { type: api, base_url: http://core.internal, timeout_ms: 700, retry: { attempts: 4, errors: [timeout], base_ms: 10, cap_ms: 20 } }
  plain: { type: api, base_url: http://plain.internal }
  warehouse: { type: warehouse, url: sqlite:///warehouse.db }
defaults: { api: core, warehouse: warehouse }
"""


def files(**texts: str) -> Files:
    """Files as they are read from a folder: `a` is `a.yaml`, `types_graphql` is `types.graphql`."""
    named = {
        f"{name.removesuffix('_graphql')}.{'graphql' if name.endswith('_graphql') else 'yaml'}": text
        for name, text in texts.items()
    }
    return Files(Path("config"), named, (), "version")


def blueprint(text: str, sdl: str = "", environment: Mapping[str, str] | None = None) -> Blueprint:
    given = {"a": text, "sources": SOURCES} | ({"types_graphql": sdl} if sdl else {})
    return build(files(**given), STEP_TYPES, environment or {})


def operation(text: str, sdl: str = "") -> Operation:
    (found,) = blueprint(text, sdl).operations.values()
    return found


def problems(*, sources: str = SOURCES, **texts: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        build(files(sources=sources, **texts), STEP_TYPES, {})
    return caught.value.problems


def codes(**texts: str) -> list[str]:
    return [problem.code for problem in problems(**texts)]


# -- the paper


def test_the_papers_file_loads_verbatim_and_untyped() -> None:
    found = operation(PAPER)
    assert [(argument.name, argument.type) for argument in found.arguments] == [("customer_id", "ID!")]
    assert found.are_arguments_inferred
    assert (found.strategy.name, found.returns) == ("merge", "Customer360")
    assert {name: step.returns for name, step in found.steps.items()} == dict.fromkeys(found.steps, "JSON")
    assert {name: step.timeout for name, step in found.steps.items()} == {
        "accountService": 0.5,
        "transactionService": 0.8,
        "fraudSignals": 0.4,
        "riskProfile": 1.2,
    }
    assert [name for name, step in found.steps.items() if step.is_required] == ["accountService", "transactionService"]
    assert {step.source.name for step in found.steps.values() if step.source} == {"core", "warehouse"}
    assert all(not step.needs and not step.follows for step in found.steps.values())
    assert found.strategy.origins == {name: Origin(name) for name in found.steps}


def test_the_papers_file_is_typed_by_the_declared_type_of_its_operation() -> None:
    sdl = """
    type Customer360 { riskProfile: RiskProfile, accountService: Account!, transactionService: [Transaction!] }
    type Account { id: ID! }
    type Transaction { id: ID! }
    type RiskProfile { score: Float, segment: String }
    """
    found = operation(PAPER, sdl)
    assert {name: step.returns for name, step in found.steps.items()} == {
        "accountService": "Account!",
        "transactionService": "[Transaction!]",
        "fraudSignals": "JSON",
        "riskProfile": "RiskProfile",
    }
    assert list(found.strategy.origins) == ["riskProfile", "accountService", "transactionService", "fraudSignals"]


def test_the_examples_of_the_repository_are_sound() -> None:
    found = load(EXAMPLES, STEP_TYPES, {})
    assert (EXAMPLES / "customer360/customer360.yaml").read_text("utf-8") == PAPER
    assert {"customer360", "creditDecision", "posts", "post", "author"} <= set(found.operations)
    assert found.operations["customer360"].steps["accountService"].returns == "Account"


# -- problems together


def test_the_problems_of_all_files_come_at_once_in_order_of_place() -> None:
    found = problems(
        b="operation: b\nsteps:\n  - { name: x, type: apy }\n  - { name: y, type: value, value: '{z}', depends_on: [w] }\nargs: {}\n",
        a="operation: a\nstps: []\n---\noperation: c\ndeadline_ms: 0\nsteps: [{ name: x, type: value, value: '{' }]\n",
        c="a: [}",
        types_graphql="type A { b: B }\ntype Query { a: A }\n",
        sources="sources: { core: { type: api, base_url: nowhere } }\ndefaults: { api: cor }",
    )
    assert [(problem.place.file, problem.place.line, problem.code) for problem in found] == [
        ("a.yaml", 1, "missing-key"),
        ("a.yaml", 2, "unknown-key"),
        ("a.yaml", 5, "bad-value"),
        ("a.yaml", 6, "bad-template"),
        ("b.yaml", 3, "unknown-step-type"),
        ("b.yaml", 4, "unknown-reference"),
        ("b.yaml", 4, "unknown-step"),
        ("c.yaml", 1, "yaml-syntax"),
        ("sources.yaml", 1, "bad-url"),
        ("sources.yaml", 2, "unknown-source"),
        ("types.graphql", 1, "sdl-invalid"),
        ("types.graphql", 2, "sdl-root-type"),
    ]
    assert list(found) == sorted(found)


def test_an_error_prints_every_problem_with_place_subject_message_and_code() -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(files(a=PAPER.replace("accountService, ", "acountService, "), sources=SOURCES), STEP_TYPES, {})
    assert str(caught.value) == (
        "a.yaml:28:20  operation customer360 · aggregation\n"
        "  unknown step 'acountService'; did you mean 'accountService'?  [unknown-step]"
    )


def test_a_broken_key_hides_no_other_problem_of_its_step() -> None:
    text = "operation: a\nsteps:\n  - { name: x, type: api, endpoint: 'x', timeout_ms: soon, depends_on: [y], returns: Nope }\n"
    assert sorted(codes(a=text)) == ["bad-endpoint", "unknown-step", "unknown-type", "wrong-type"]


def test_the_step_to_pick_may_be_the_broken_one() -> None:
    text = "operation: a\nsteps: [{ name: x, type: apy }]\naggregation: { strategy: pick, step: x }\n"
    assert codes(a=text) == ["unknown-step-type"]


def test_what_refers_to_a_broken_thing_is_not_blamed_for_it() -> None:
    broken_step = (
        "operation: a\nsteps:\n  - { name: x, type: apy }\n  - { name: y, type: value, value: '{x.id}', depends_on: [x] }\n"
    )
    assert codes(a=broken_step) == ["unknown-step-type"]
    broken_source = "sources: { core: { type: api, base_url: http://x, queue: [] } }\ndefaults: { api: core }\n"
    assert codes(a="operation: a\nsteps: [{ name: x, type: api, endpoint: /x }]", sources=broken_source) == ["wrong-type"]
    broken_types = "type A { b: B }"
    assert codes(a="operation: a\nsteps: [{ name: x, type: value, value: 1, returns: A }]", types_graphql=broken_types) == [
        "sdl-invalid"
    ]


def test_a_folder_without_an_operation_is_a_problem_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(SOURCES)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, STEP_TYPES, {})
    (problem,) = caught.value.problems
    assert (problem.place, problem.code) == (Place(str(tmp_path)), "no-operation")
    assert "operation: <name>" in problem.message


def test_an_operation_of_the_name_of_another_names_the_place_of_the_first() -> None:
    one = "steps: [{ name: x, type: value, value: 1 }]\naggregation: { strategy: pick, step: x }\n"
    (problem,) = problems(a=f"# first\noperation: a\n{one}", b=f"operation: a\n{one}")
    assert (problem.place, problem.code) == (Place("b.yaml", 1, 12), "duplicate-name")
    assert "a.yaml:2:1" in problem.message


def test_the_nearest_name_is_given_only_where_one_is_near() -> None:
    assert did_you_mean("acount", ["risk", "account"]) == "; did you mean 'account'?"
    assert did_you_mean("fraud", ["risk", "account"]) == ""
    assert did_you_mean("x", []) == ""


# -- cycles


@pytest.mark.parametrize(
    ("edges", "cycles"),
    [
        ({"a": [], "b": ["a"], "c": ["a", "b"]}, []),
        ({"a": ["a"]}, [("a",)]),
        ({"a": ["b"], "b": ["a"]}, [("a", "b")]),
        ({"a": [], "b": ["d"], "c": ["b"], "d": ["c"]}, [("b", "d", "c")]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"], "e": ["a", "c"]}, [("a", "b"), ("c", "d")]),
        ({"a": ["x", "b"], "b": ["x", "a"], "x": []}, [("a", "b")]),
        ({"x": ["c"], "a": ["b"], "b": ["c"], "c": ["a"]}, [("a", "b", "c")]),
    ],
)
def test_cycles_are_named_whole_in_order_of_waiting_from_the_first_in_the_file(
    edges: dict[str, list[str]], cycles: list[tuple[str, ...]]
) -> None:
    assert sorted(find_cycles(edges)) == cycles


def test_every_way_of_waiting_counts_for_a_cycle_and_both_cycles_are_reported() -> None:
    text = """\
operation: a
steps:
  - { name: one, type: value, value: "{two.x}" }
  - { name: two, type: value, value: 1, when: three.x }
  - { name: three, type: value, value: 1, depends_on: [four] }
  - { name: four, type: value, value: 1, fallback: [{ value: 0 }, { step: one }] }
  - { name: five, type: value, value: "{args}{six}" }
  - { name: six, type: value, value: [{ deep: "{five.x}" }] }
  - { name: free, type: value, value: "{one}" }
"""
    assert [(problem.place.line, problem.message) for problem in problems(a=text)] == [
        (3, "the steps wait for each other: one → two → three → four → one"),
        (7, "the steps wait for each other: five → six → five"),
    ]


# -- arguments


def test_arguments_are_inferred_from_undotted_placeholders_in_file_order() -> None:
    text = """\
operation: a
steps:
  - name: x
    type: api
    query: { q: "{second}", f: "{x2.id}", o: "{third?}", r: "{request.id}", a: "{args.first}" }
    endpoint: /x/{fourth}/{first}/{second}
    headers: { h: "{fifth}" }
  - { name: x2, type: value, value: ["{sixth}", "{{no}}", "{x3}"] }
  - { name: x3, type: warehouse, query: "SELECT 1 WHERE 1 = :first", params: { first: "{seventh}" } }
"""
    found = operation(text)
    assert [argument.name for argument in found.arguments] == ["second", "third", "fourth", "first", "fifth", "sixth", "seventh"]
    assert {argument.type for argument in found.arguments} == {"ID!"}


def test_written_arguments_are_taken_as_they_are_and_nothing_is_inferred() -> None:
    found = operation("operation: a\nargs: { b: Int, a: '[ID!]! ' }\nsteps: [{ name: x, type: value, value: '{a}' }]")
    assert [(argument.name, argument.type.strip()) for argument in found.arguments] == [("b", "Int"), ("a", "[ID!]!")]
    assert not found.are_arguments_inferred
    assert codes(a="operation: a\nargs: {}\nsteps: [{ name: x, type: value, value: '{a}' }]") == ["unknown-reference"]


def test_a_broken_step_does_not_change_which_names_are_arguments() -> None:
    text = "operation: a\nsteps:\n  - { name: x, type: value, value: '{later}' }\n  - { name: later, type: apy }\n"
    assert codes(a=text) == ["unknown-step-type"]


# -- defaults and what overrides them


def test_what_is_left_out_has_the_defaults_of_the_language() -> None:
    found = operation(
        "operation: a\nsteps: [{ name: x, type: api, source: plain, endpoint: /x }, { name: y, type: value, value: 1 }]"
    )
    step, constant = found.steps.values()
    assert (found.deadline, found.concurrency, found.description, found.strategy.name) == (30.0, None, None, "merge")
    assert (step.field, step.is_exposed, step.is_required, step.returns) == ("x", True, False, "JSON")
    assert (step.timeout, step.retry) == (5.0, RetryKeys())
    assert (step.when, step.select, step.needs, step.follows, step.fallbacks, bool(step.request_reads)) == (
        None,
        None,
        (),
        (),
        (),
        False,
    )
    assert (constant.source, constant.timeout, constant.retry.attempts) == (None, 1.0, 1)


@pytest.mark.parametrize(
    ("keys", "timeout"),
    [
        ("type: warehouse, query: SELECT 1 AS one", 1.0),
        ("type: api, endpoint: /x", 0.7),
        ("type: api, endpoint: /x, timeout_ms: 50", 0.05),
    ],
)
def test_a_timeout_is_the_steps_or_the_sources_or_the_step_types(keys: str, timeout: float) -> None:
    (step,) = operation(f"operation: a\nsteps: [{{ name: x, {keys} }}]").steps.values()
    assert step.timeout == timeout


@pytest.mark.parametrize(
    ("keys", "retry"),
    [
        ("source: core", RetryKeys(attempts=4, errors=["timeout"], base_ms=10, cap_ms=20)),
        ("source: core, retry: { attempts: 1 }", RetryKeys(attempts=1)),
        ("source: plain, retry: { errors: [reset, 500], cap_ms: 100 }", RetryKeys(errors=["reset", 500], cap_ms=100)),
    ],
)
def test_a_retry_is_the_steps_as_a_whole_or_else_the_sources(keys: str, retry: RetryKeys) -> None:
    (step,) = operation(f"operation: a\nsteps: [{{ name: x, type: api, endpoint: /x, {keys} }}]").steps.values()
    assert step.retry == retry


def test_a_step_knows_what_it_needs_and_what_it_only_follows() -> None:
    text = """\
operation: a
steps:
  - { name: base, type: value, value: 1 }
  - { name: other, type: value, value: 1, expose: false }
  - name: x
    type: api
    endpoint: /x/{base.id}
    as: renamed
    headers: { id: "{request.id}" }
    when: other.ok && args.y == 'z'
    depends_on: [other, last]
    fallback: [{ step: last }, { value: null }]
  - { name: last, type: value, value: 1 }
args: { y: ID }
"""
    step = operation(text).steps["x"]
    assert (step.field, step.needs, step.follows, bool(step.request_reads)) == ("renamed", ("base", "other"), ("last",), True)
    assert step.fallbacks == (FallbackStep("last"), FallbackValue(None))


def test_a_header_of_the_source_makes_its_steps_read_the_request() -> None:
    sources = SOURCES.replace("http://plain.internal", 'http://plain.internal, headers: { a: "{request.headers.a?}" }')
    text = "operation: a\nsteps: [{ name: x, type: api, source: plain, endpoint: /x }, { name: y, type: api, endpoint: /x }]"
    (found,) = build(files(a=text, sources=sources), STEP_TYPES, {}).operations.values()
    assert {name: bool(step.request_reads) for name, step in found.steps.items()} == {"x": True, "y": False}


def test_steps_that_do_the_same_have_one_fingerprint_whatever_they_are_called() -> None:
    text = """\
operation: a
steps:
  - { name: a, type: api, endpoint: "/x/{id}" }
  - { name: b, type: api, endpoint: "/x/{id}", as: c, expose: false, when: id == 'x', depends_on: [a], fallback: [{ value: 1 }], select: y }
  - { name: d, type: api, endpoint: "/x/{id}", source: plain }
  - { name: e, type: api, endpoint: "/x/{id}", query: { y: z } }
  - { name: f, type: api, endpoint: "/x/{id}", timeout_ms: 9 }
  - { name: g, type: api, endpoint: "/x/{id}", method: HEAD }
args: { id: ID! }
"""
    prints = {name: step.fingerprint for name, step in operation(text).steps.items()}
    assert prints["a"] == prints["b"]
    assert len(set(prints.values())) == 5


# -- aggregation and types


def test_a_declared_composite_may_have_fewer_fields_than_there_are_steps() -> None:
    sdl = "type A { second: Int, first: [Int] }"
    found = operation(
        "operation: a\nsteps: [{ name: first, type: value, value: 1 }, { name: third, type: value, value: 1, returns: String },"
        " { name: x, type: value, value: 1, as: second }]",
        sdl,
    )
    assert {step.field: step.returns for step in found.steps.values()} == {"first": "[Int]", "third": "String", "second": "Int"}
    assert list(found.strategy.origins) == ["second", "first", "third"]


def test_a_step_that_is_not_exposed_fills_no_field_even_one_of_its_name() -> None:
    sdl = "type A { one: Int }"
    found = operation(
        "operation: a\nsteps: [{ name: x, type: value, value: 1, as: one }, { name: y, type: value, value: 1, expose: false }]",
        sdl,
    )
    assert list(found.strategy.origins) == ["one"]


def test_flatten_puts_the_fields_of_the_steps_objects_side_by_side() -> None:
    sdl = "type User { id: ID!, name: String }\ntype Risk { score: Float }"
    text = """\
operation: a
steps:
  - { name: user, type: value, value: {}, returns: User! }
  - { name: risk, type: value, value: {}, returns: Risk }
  - { name: helper, type: value, value: {}, expose: false }
aggregation: { strategy: flatten }
"""
    assert operation(text, sdl).strategy.origins == {
        "id": Origin("user", "id"),
        "name": Origin("user", "name"),
        "score": Origin("risk", "score"),
    }


@pytest.mark.parametrize(
    ("returns", "value"),
    [("'[Post!]!'", "[Post!]"), ("'[Post!]'", "[Post!]"), ("Post", "Post"), ("Post!", "Post"), ("JSON", "JSON")],
)
def test_pick_has_the_type_of_its_step_but_may_be_null(returns: str, value: str) -> None:
    text = f"operation: a\nsteps: [{{ name: x, type: value, value: 1, returns: {returns} }}]\naggregation: {{ strategy: pick, step: x }}"
    found = operation(text, "type Post { id: ID }")
    assert found.strategy == Strategy("pick", value, {}, whole=Origin("x"))
    assert (found.returns, found.strategy.composite, found.strategy.steps) == (value, None, {"x"})


def test_operations_that_pick_have_no_types_that_could_be_the_same() -> None:
    one = "steps: [{ name: x, type: value, value: 1 }]\naggregation: { strategy: pick, step: x }\n"
    assert list(blueprint(f"operation: a\n{one}---\noperation: A\n{one}").operations) == ["a", "A"]


def test_a_fallback_that_is_not_exposed_has_the_type_of_what_it_stands_in_for() -> None:
    text = """\
operation: a
steps:
  - { name: x, type: value, value: {}, returns: Post, fallback: [{ step: y }] }
  - { name: y, type: value, value: {}, expose: false }
"""
    assert operation(text, "type Post { id: ID }").steps["y"].returns == "Post"


def test_references_into_types_are_checked_and_references_into_the_unknown_are_not() -> None:
    sdl = "type A { list: [B!]!, any: JSON, date: Date, u: U, b: B }\ntype B { n: Int }\nunion U = B\nscalar Date"
    steps = "- { name: typed, type: value, value: {}, returns: T }\n  - { name: untyped, type: value, value: {} }\n"
    for path in ("typed.list.0.n", "typed.any.x.y", "typed.date.x", "typed.u.x", "typed.b.n", "untyped.a.0.b", "typed"):
        assert operation(
            f"operation: a\ntype: R\nsteps:\n  {steps}  - {{ name: x, type: value, value: '{{{path}}}' }}",
            sdl.replace("type A", "type T"),
        )
    for path in ("typed.list.n", "typed.list.0.m", "typed.b.n.x", "typed.c", "typed.b.nn"):
        text = f"operation: a\ntype: R\nsteps:\n  {steps}  - {{ name: x, type: value, value: '{{{path}}}' }}"
        assert codes(a=text, types_graphql=sdl.replace("type A", "type T")) == ["unknown-field"]


# -- mutated configurations


SOUND = {str(Path(name).relative_to(EXAMPLES)): text for name, text in read_files(EXAMPLES).texts.items()}
WORDS = sorted({word for text in SOUND.values() for word in re.findall(r"[\w/{}.?]+", text)})
JUNK = [
    "",
    "null",
    "true",
    "[]",
    "{}",
    "-1",
    "1e9",
    "0x10",
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "#",
    "&a ",
    "*a",
    "!!x ",
    "${X}",
    "\t",
    "\n",
    "é",
    "\x01",
]


def mutations(random_: random.Random, text: str) -> Iterator[str]:
    """Yield a text that was changed ever further: words swapped, cut, doubled, lines moved."""
    for _ in range(random_.randint(1, 4)):
        spans = [match.span() for match in re.finditer(r"[\w/.?]+|[^\w\s]|\n *", text)]
        start, end = random_.choice(spans)
        replacement = random_.choice([random_.choice(WORDS), random_.choice(JUNK), text[start:end] * 2, text[start:end][:-1]])
        text = text[:start] + replacement + text[end:]
        yield text


def test_what_is_mutated_is_sound() -> None:
    assert build(Files(Path("config"), SOUND, (), "version"), STEP_TYPES, {}).operations


# Not strict: which mutation meets the KeyError depends on the examples.
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), name=st.sampled_from(sorted(SOUND)))
def test_a_mutated_configuration_loads_or_is_refused_with_places(seed: int, name: str) -> None:
    for text in mutations(random.Random(seed), SOUND[name]):
        found = refused(SOUND | {name: text})
        assert found != ()
        for problem in found or ():
            assert problem.place.file in SOUND or problem.place.file == "config"
            assert problem.place.line >= 1
            assert problem.place.column >= 1
            assert problem.message.strip()
            assert problem.code


def refused(texts: Mapping[str, str]) -> tuple[Problem, ...] | None:
    """Return the problems of these files, None when they load; nothing else than a ConfigurationError is caught."""
    try:
        build(Files(Path("config"), texts, (), "version"), STEP_TYPES, {})
    except ConfigurationError as error:
        return error.problems
    return None
