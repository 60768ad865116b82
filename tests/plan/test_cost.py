"""The estimated cost of plans: calls, batches and fan-outs with estimated list sizes; and requests that are refused for their cost."""

from collections.abc import Mapping

import pytest

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.errors import Code, RequestError
from gateway.plan.cost import MAX_COST
from gateway.run.reply_cache import ReplyCache
from gateway.schema.build import build_schema
from gateway.serve.generation.generation import Generation
from tests.kit.documents import Documents
from tests.oracle import blueprint_of

TYPES = """
type Post { id: ID userId: ID tags: [Tag] author: Author }
type Author { id: ID posts: [[Post]] }
type Tag { name: ID }
type User { id: ID teamId: ID }
type Team { id: ID }
interface Node { id: ID }
type A implements Node { id: ID parts: [Tag] }
type B implements Node { id: ID parts: [Tag] }
"""
CONFIG = """
operation: posts
args: { limit: "Int = 7", after: ID }
steps: [ { name: list, type: act, returns: "[Post]", list_size: limit } ]
aggregation: { strategy: pick, step: list }
---
operation: plain
steps:
  - { name: list, type: act, returns: "[Post]" }
  - { name: one, type: act, returns: Post, fallback: [ { step: spare } ] }
  - { name: spare, type: act, returns: Post, expose: false }
  - { name: dear, type: act, cost: 10 }
  - { name: free, type: act, cost: 0 }
  - { name: nodes, type: act, returns: "[Node]", list_size: 3 }
---
field: Post.user
returns: User
step: { type: act, input: { keys: "{keys}" }, batch: { key: userId, match: id, max: 10 } }
---
field: User.team
returns: Team
step: { type: act, input: { id: "{parent.teamId}" } }
---
field: Tag.posts
args: { first: Int }
returns: "[Post]"
step: { type: act, cost: 2, input: { name: "{parent.name}" }, list_size: first }
---
field: Tag.kin
returns: "[Tag]"
step: { type: act, input: { keys: "{keys}" }, batch: { key: name, match: name, max: 50 } }
"""


def documents(limits: str = "list_size: 100") -> Documents:
    wide = "max_depth: 100, max_tokens: 10000, max_fields: 10000"
    blueprint = blueprint_of(f"{CONFIG}---\nlimits: {{ {limits}, {wide} }}\n", TYPES)
    return Documents(blueprint, build_schema(blueprint), is_development=True)


USUAL = documents()


def cost(query: str, variables: Mapping[str, object] | None = None) -> int:
    definition = USUAL.read(query).definition(None, is_read_only=False)
    coerced = definition.variables(variables or {})
    planned = USUAL.plan(definition, coerced)
    return planned.cost.of(planned.arguments(coerced))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ __typename }", 0),
        ("{ plain { list { id } } }", 1),
        ("{ plain { one { id } dear free } }", 1 + 10),
        ("{ a: plain { dear } b: plain { dear } }", 10),
        ("{ plain { one { user { id } } } }", 1 + 1),
        ("{ plain { list { user { id } } } }", 1 + 10),
        ("{ plain { list { user { team { id } } } } }", 1 + 10 + 100),
        ("{ posts { user { team { id } } } }", 1 + 1 + 7),
        ("{ posts(limit: 25) { user { team { id } } } }", 1 + 3 + 25),
        ("{ posts(limit: null) { user { id } } }", 1 + 10),
        ("{ posts(limit: 0) { user { id } } }", 1 + 0),
        ("{ posts(limit: -5) { user { id } } }", 1 + 0),
        ("{ a: posts(limit: 1) { user { id } } b: posts(limit: 20) { user { id } } }", 2 + 1 + 2),
        ("{ plain { one { tags { posts { id } } } } }", 1 + 2 * 100),
        ("{ plain { one { tags { posts(first: 2) { user { id } } } } } }", 1 + 2 * 100 + 20),
        ("{ plain { list { tags { kin { name } } } } }", 1 + 100 * 100 // 50),
        ("{ plain { one { author { posts { user { id } } } } } }", 1 + 100 * 100 // 10),
        ("{ plain { nodes { ... on A { parts { kin { name } } } id } } }", 1 + 6),
        ("{ plain { nodes { ... on A { parts { kin { name } } } ... on B { parts { kin { name } } } } } }", 1 + 6 + 6),
        ("{ plain { one { a: tags { kin { name } } b: tags { kin { name } } } } }", 1 + 2),
    ],
)
def test_a_plan_costs_a_call_for_each_step_and_what_links_ask_for_below_lists(query: str, expected: int) -> None:
    assert cost(query) == expected


def test_a_list_is_as_long_as_the_variable_says_that_sets_it() -> None:
    query = "query($n: Int) { posts(limit: $n) { user { id } } }"
    assert [cost(query, {"n": number}) for number in (1, 95, None)] == [2, 11, 11]
    assert cost(query) == 1 + 1, "the default of the argument"


def test_a_cost_beyond_measure_is_told_as_the_most() -> None:
    inner = "id"
    for _ in range(30):
        inner = f"tags {{ kin {{ posts(first: 2000000000) {{ {inner} }} }} }}"
    assert cost(f"{{ plain {{ one {{ {inner} }} }} }}") == MAX_COST


def prepared(query: str, limits: str, variables: Mapping[str, object] | None = None) -> None:
    """Prepare a query, which checks its cost, without running a step."""
    generation = Generation(documents(limits), {}, ReplyCache())
    generation.begin(GraphQLRequest(query, variables=variables or {}), RequestContext("r", {}, 0.0))


def test_a_query_that_costs_too_much_is_refused_before_any_call() -> None:
    query = "query($n: Int) { posts(limit: $n) { user { id } } }"
    prepared(query, "max_cost: 3", {"n": 20})
    with pytest.raises(RequestError) as caught:
        prepared(query, "max_cost: 3", {"n": 21})
    assert (caught.value.code, caught.value.status) == (Code.COST_ESTIMATED_TOO_EXPENSIVE, 400)
    assert str(caught.value) == "The query is estimated to cost 4, which is more than 3."


def test_a_cost_that_is_only_measured_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    prepared("{ plain { list { user { id } } } }", "max_cost: 2, mode: measure")
    (record,) = caplog.records
    assert (vars(record)["cost"], vars(record)["request_id"]) == (11, "r")
