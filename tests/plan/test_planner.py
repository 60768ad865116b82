"""Planning: the selected steps with everything that they need, and nothing else."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.plan.nodes import Node, Plan, Role
from tests.oracle import CompiledConfiguration, FakeStepType, Stage

# account ◄─ credit (when, fallback: creditElse ◄─ tariff) ◄─ offer; risk follows account; fraud stands alone; hidden is not exposed
CUSTOMER = """
operation: customer
args: { id: ID!, n: Int }
deadline_ms: 1500
steps:
  - { name: account, type: act, input: "{id}" }
  - { name: credit, type: act, input: "{account.tier}", when: account.status == 'ok', fallback: [{ step: creditElse }, { value: 0 }] }
  - { name: creditElse, type: act, input: "{tariff.basic}", expose: false }
  - { name: tariff, type: act, expose: false }
  - { name: offer, type: act, input: "{credit.limit}-{hidden}" }
  - { name: hidden, type: act, expose: false }
  - { name: risk, type: act, as: riskProfile, depends_on: [account] }
  - { name: fraud, type: act, input: "{request.headers.x-tenant?}" }
aggregation: { required_steps: [account, risk] }
"""
OTHERS = """
operation: posts
steps: [{ name: list, type: act, returns: "[Post]" }, { name: other, type: act }]
aggregation: { strategy: pick, step: list }
---
operation: flat
steps: [{ name: left, type: act, returns: Left }, { name: right, type: act, returns: Right }]
aggregation: { strategy: flatten }
"""
TYPES = "type Post { id: ID } type Left { a: Int b: Int } type Right { c: Int }"
COMPILED = CompiledConfiguration.open(f"{CUSTOMER}\n---\n{OTHERS}", Stage(), TYPES)


def plan_of(query: str, compiled: CompiledConfiguration = COMPILED, **variables: object) -> Plan:
    return compiled.plan(compiled.documents.read(query), variables)[0].plan


def names(plan: Plan, indexes: Any = None) -> list[str]:
    return [plan.nodes[index].step.name for index in (range(len(plan.nodes)) if indexes is None else indexes)]


def node(plan: Plan, name: str) -> Node:
    return next(node for node in plan.nodes if node.step.name == name)


# -- which steps


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("account", ["account"]),
        ("fraud", ["fraud"]),
        ("riskProfile", ["account", "risk"]),
        ("fraud account", ["account", "fraud"]),
        ("credit", ["account", "credit", "tariff", "creditElse"]),
        ("offer", ["account", "credit", "tariff", "creditElse", "hidden", "offer"]),
        ("__typename", []),
        ("account @skip(if: true) fraud", ["fraud"]),
        ("...F fraud @include(if: false)", ["account"]),
        ("x: fraud y: fraud", ["fraud"]),
        ("account @skip(if: true)", []),
    ],
)
def test_only_what_is_asked_for_and_what_that_needs_is_run(fields: str, expected: list[str]) -> None:
    fragment = "fragment F on Customer { account }" if "...F" in fields else ""
    assert names(plan_of(f"{{ customer(id: 1) {{ {fields} }} }} {fragment}")) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ posts { id } }", ["list"]),
        ("{ posts { __typename } }", ["list"]),
        ("{ flat { a b } }", ["left"]),
        ("{ flat { c } }", ["right"]),
        ("{ flat { c a } }", ["left", "right"]),
        ("{ flat { __typename } }", []),
        ("{ __typename }", []),
        ("{ __schema { queryType { name } } }", []),
        ("{ posts { id @skip(if: true) } }", ["list"]),
        ("{ posts @skip(if: true) { id } __typename }", []),
    ],
)
def test_each_strategy_asks_for_the_steps_behind_the_selected_fields(query: str, expected: list[str]) -> None:
    assert names(plan_of(query)) == expected


def test_variables_of_conditions_make_different_plans() -> None:
    query = "query ($wants: Boolean!) { customer(id: 1) { account fraud @include(if: $wants) } }"
    assert names(plan_of(query, wants=True)) == ["account", "fraud"]
    assert names(plan_of(query, wants=False)) == ["account"]


def test_exposed_steps_that_are_not_run_are_pruned() -> None:
    plan = plan_of("{ customer(id: 1) { credit } posts { id } }")
    assert [call.pruned for call in plan.calls] == [("offer", "risk", "fraud"), ("other",)]


# -- how steps depend on each other


def test_needs_are_what_a_step_reads_and_follows_what_must_only_have_ended() -> None:
    plan = plan_of("{ customer(id: 1) { offer riskProfile } }")
    assert names(plan, node(plan, "offer").needs) == ["credit", "hidden"]
    assert names(plan, node(plan, "credit").needs) == ["account"]
    assert (names(plan, node(plan, "risk").needs), names(plan, node(plan, "risk").follows)) == ([], ["account"])


def test_a_fallback_and_what_only_it_needs_are_lazy() -> None:
    plan = plan_of("{ customer(id: 1) { offer } }")
    assert [each.step.name for each in plan.nodes if each.is_lazy] == ["tariff", "creditElse"]
    assert {name: plan.nodes[index].step.name for name, index in node(plan, "credit").substitutes.items()} == {
        "creditElse": "creditElse"
    }


def test_a_fallback_that_is_selected_as_well_is_not_lazy() -> None:
    compiled = CompiledConfiguration.open(
        "{ operation: o, steps: [{ name: a, type: act, fallback: [{ step: b }] }, { name: b, type: act }] }", Stage()
    )
    assert [(each.step.name, each.is_lazy, each.role) for each in plan_of("{ o { b a } }", compiled).nodes] == [
        ("a", False, Role.OPTIONAL),
        ("b", False, Role.OPTIONAL),
    ]
    assert [(each.step.name, each.is_lazy) for each in plan_of("{ o { a } }", compiled).nodes] == [("a", False), ("b", True)]
    assert names(plan_of("{ o { b } }", compiled)) == ["b"]


def test_roles_are_required_optional_and_fallback() -> None:
    plan = plan_of("{ customer(id: 1) { credit riskProfile } }")
    assert {each.step.name: each.role for each in plan.nodes} == {
        "account": Role.REQUIRED,
        "credit": Role.OPTIONAL,
        "tariff": Role.FALLBACK,
        "creditElse": Role.FALLBACK,
        "risk": Role.REQUIRED,
    }


def test_a_required_step_that_is_only_a_fallback_here_has_the_role_of_one() -> None:
    config = """{ operation: o, steps: [{ name: a, type: act, fallback: [{ step: b }] }, { name: b, type: act }],
                  aggregation: { required_steps: [b] } }"""
    compiled = CompiledConfiguration.open(config, Stage())
    assert [each.role for each in plan_of("{ o { a } }", compiled).nodes] == [Role.OPTIONAL, Role.FALLBACK]
    assert [each.role for each in plan_of("{ o { a b } }", compiled).nodes] == [Role.OPTIONAL, Role.REQUIRED]


def test_a_plan_says_whether_any_of_its_nodes_looks_at_the_request() -> None:
    assert plan_of("{ customer(id: 1) { fraud } }").request_reads
    assert not plan_of("{ customer(id: 1) { account } }").request_reads


# -- when calls share a node


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ("{ customer(id: 1) { fraud } x: customer(id: 1) { account } }", ["id: 1"]),
        ("{ customer(id: 1, n: 2) { fraud } x: customer(n: 2, id: 1) { fraud } }", ["id: 1, n: 2"]),
        ("{ customer(id: 1) { fraud } x: customer(id: 2) { fraud } }", ["id: 1", "id: 2"]),
        ('{ customer(id: 1) { fraud } x: customer(id: "1") { fraud } }', ["id: 1", 'id: "1"']),
    ],
)
def test_root_fields_with_the_same_arguments_are_one_call_of_the_operation(query: str, calls: list[str]) -> None:
    assert [call.arguments for call in plan_of(query).calls] == calls


def test_a_call_that_root_fields_share_runs_what_any_of_them_asks_for() -> None:
    plan = plan_of(
        "{ one: customer(id: 1) { fraud } t: __typename two: customer(id: 1) { account } three: customer(id: 2) { fraud } }"
    )
    assert names(plan) == ["account", "fraud", "fraud"]
    assert [(root.selected.key, root.call) for root in plan.roots] == [("one", 0), ("t", None), ("two", 0), ("three", 1)]
    assert [each.call for each in plan.nodes] == [0, 0, 1]


def test_nodes_that_may_make_the_same_call_are_marked_and_have_the_latest_deadline() -> None:
    config = """
    { operation: soon, deadline_ms: 100, steps: [{ name: a, type: act, part: p }, { name: b, type: act }] }
---
    { operation: late, deadline_ms: 500, steps: [{ name: c, type: act, part: p }, { name: d, type: act, part: once, idempotent: false }] }
---
    { operation: last, deadline_ms: 900, steps: [{ name: e, type: act, part: once, idempotent: false }] }
    """
    plan = plan_of("{ soon { a b } late { c d } last { e } }", CompiledConfiguration.open(config, Stage()))
    assert {each.step.name: (each.is_shared, each.deadline) for each in plan.nodes} == {
        "a": (True, 0.5),
        "b": (False, 0.1),
        "c": (True, 0.5),
        "d": (False, 0.5),
        "e": (False, 0.9),
    }


def test_another_timeout_or_a_list_makes_another_call_and_another_select_does_not() -> None:
    config = """
    operation: o
    steps:
      - { name: a, type: act, part: p }
      - { name: b, type: act, part: p, timeout_ms: 5 }
      - { name: c, type: act, part: p, select: "@" }
      - { name: d, type: act, part: p, returns: "[JSON]" }
    """
    plan = plan_of("{ o { a b c d } }", CompiledConfiguration.open(config, Stage()))
    assert [each.step.name for each in plan.nodes if each.is_shared] == ["a", "c"]


# -- order


def assert_ordered(plan: Plan) -> None:
    for each in plan.nodes:
        assert each is plan.nodes[each.index]
        assert all(other < each.index for other in (*each.needs, *each.follows)), "a node stands before what it waits for"


def test_nodes_stand_after_what_they_wait_for_and_otherwise_in_file_order() -> None:
    plan = plan_of("{ customer(id: 1) { fraud riskProfile offer } }")
    assert names(plan) == ["account", "credit", "tariff", "creditElse", "hidden", "offer", "risk", "fraud"]
    assert_ordered(plan)


@pytest.mark.parametrize("steps", ["a, input: '{b}'", "a, input: '{c}'"])
def test_a_step_may_read_its_own_fallback(steps: str) -> None:
    config = f"""
    operation: o
    steps:
      - {{ name: {steps}, type: act, fallback: [{{ step: b }}] }}
      - {{ name: c, type: act, input: "{{b}}" }}
      - {{ name: b, type: act }}
    """
    assert_ordered(plan_of("{ o { a } }", CompiledConfiguration.open(config, Stage())))


def test_a_node_stands_after_what_it_waits_for_even_where_steps_stand_in_for_each_other_in_a_circle() -> None:
    config = """
    operation: o
    steps:
      - { name: a, type: act, input: "{x}", fallback: [{ step: f }] }
      - { name: x, type: act }
      - { name: p, type: act, input: "{f}", fallback: [{ step: x }] }
      - { name: f, type: act }
    """
    plan = plan_of("{ o { a p } }", CompiledConfiguration.open(config, Stage()))
    assert names(plan) == ["x", "a", "f", "p"]
    assert_ordered(plan)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Generate steps in any order that read, follow and replace others, without a cycle; and the fields to select."""
    count = draw(st.integers(1, 9))
    order = draw(st.permutations(range(count)))
    steps = []
    for place, number in enumerate(order):
        before = [f"s{other}" for other in order[:place]]
        needs, follows, fallbacks = (
            draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else [] for _ in range(3)
        )
        fallbacks = [name for name in fallbacks if name not in (*needs, *follows)]
        fallback = "".join(f"{{ step: {name} }}, " for name in fallbacks)
        reads = "".join(f"{{{name}}}" for name in needs)
        steps.append(
            (
                number,
                f"{{ name: s{number}, type: act, input: 'x{reads}', depends_on: [{', '.join(follows)}], fallback: [{fallback}] }}",
            )
        )
    selected = draw(st.lists(st.sampled_from([f"s{number}" for number in range(count)]), min_size=1, unique=True))
    return f"{{ operation: o, steps: [{', '.join(text for _, text in sorted(steps))}] }}", selected


@settings(max_examples=120, deadline=None, derandomize=True)
@given(graphs())
def test_any_plan_is_the_closure_of_what_is_selected(graph: tuple[str, list[str]]) -> None:
    config, selected = graph
    compiled = CompiledConfiguration.open(config, Stage())
    steps = compiled.documents.blueprint.operations["o"].steps
    plan = plan_of(f"{{ o {{ {' '.join(selected)} }} }}", compiled)
    eager, everything = set(selected), set(selected)
    for _ in steps:
        eager |= {other for name in eager for other in (*steps[name].needs, *steps[name].follows)}
        everything |= {other for name in everything for other in (*steps[name].needs, *steps[name].follows)}
        everything |= {fallback.step for name in everything for fallback in steps[name].fallbacks if fallback.step}
    assert {each.step.name for each in plan.nodes} == everything
    assert {each.step.name for each in plan.nodes if not each.is_lazy} == eager
    assert plan.calls[0].pruned == tuple(name for name in steps if name not in everything)
    for each in plan.nodes:
        assert names(plan, each.needs) == list(each.step.needs)
        assert names(plan, each.follows) == list(each.step.follows)


def test_a_step_of_a_mutation_follows_the_one_written_before_it_once_though_it_depends_on_it() -> None:
    config = """
    operation: o
    kind: mutation
    steps:
      - { name: a, type: act }
      - { name: b, type: act, depends_on: [a] }
      - { name: c, type: act, input: "{b}" }
    """
    plan = plan_of("mutation { o { a } }", CompiledConfiguration.open(config, Stage()))
    assert [(names(plan, each.needs), names(plan, each.follows)) for each in plan.nodes] == [
        ([], []),
        ([], ["a"]),
        (["b"], []),
    ]


# -- chains

CHAINS = """
    operation: o
    args: { id: ID! }
    steps:
      - { name: a, type: act, input: "{id}" }
      - { name: b, type: act, input: "{a.x}" }
      - { name: c, type: act, input: "{id}", depends_on: [b] }
      - { name: d, type: act, input: "{a.y}" }
      - { name: e, type: act, input: "{id}", fallback: [{ value: 1 }] }
      - { name: f, type: act, input: "{id}", fallback: [{ step: a }] }
---
    operation: m
    kind: mutation
    args: { id: ID! }
    steps: [{ name: w, type: act, idempotent: false }, { name: x, type: act, idempotent: false }]
"""


@pytest.mark.parametrize(
    ("query", "is_chain"),
    [
        ("{ o(id: 1) { a } }", True),
        ("{ o(id: 1) { b } }", True),
        ("{ o(id: 1) { c a } }", True),
        ("{ o(id: 1) { e } }", True),
        ("{ __typename }", True),
        ("{ o(id: 1) { b d } }", False),  # two nodes wait for one
        ("{ o(id: 1) { a e } }", False),  # two nodes have no prerequisites
        ("{ o(id: 1) { f } }", False),  # one is the fallback of another
        ("{ o(id: 1) { a } p: o(id: 2) { a } }", False),  # two operations, each with its deadline
        ("mutation { m(id: 1) { x } }", True),
        ("mutation { m(id: 1) { x } n: m(id: 2) { x } }", False),
    ],
)
def test_a_plan_is_a_chain_when_no_two_of_its_nodes_can_be_under_way_at_once(query: str, *, is_chain: bool) -> None:
    assert plan_of(query, CompiledConfiguration.open(CHAINS, Stage())).is_chain is is_chain


def test_steps_whose_cancelled_calls_take_time_to_end_are_no_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeStepType, "cancels_promptly", False)
    assert not plan_of("{ o(id: 1) { a } }", CompiledConfiguration.open(CHAINS, Stage())).is_chain
