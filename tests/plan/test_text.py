"""Plans as text for people and as JSON for programs."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from gateway.blueprint import Blueprint
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.plan.nodes import Plan
from gateway.plan.text import plan_json, plan_text
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES
from tests.kit.documents import Documents

SOURCES = """
sources:
  core: { type: api, base_url: http://core, retry: { attempts: 3 } }
  warehouse: { type: warehouse, url: sqlite:///warehouse.db }
defaults: { api: core, warehouse: warehouse }
"""
CUSTOMER = """
operation: customer360
args: { customer_id: ID! }
deadline_ms: 2000
steps:
  - { name: accountService, type: api, endpoint: "/accounts/{customer_id}", returns: Account, timeout_ms: 500 }
  - { name: transactionService, type: api, endpoint: "/transactions/{customer_id}" }
  - name: fraudSignals
    type: api
    endpoint: /fraud/{customer_id}
    returns: Fraud
    timeout_ms: 400
    fallback: [{ step: fraudCache }]
  - { name: fraudCache, type: warehouse, query: SELECT score FROM fraud WHERE id = ?, returns: Fraud, expose: false, timeout_ms: 200 }
  - { name: creditExposure, type: api, method: POST, endpoint: "/credit/{accountService.tier}", returns: Credit, timeout_ms: 800,
      when: accountService.status == 'ACTIVE', fallback: [{ value: { limit: 0 } }] }
  - { name: riskProfile, type: warehouse, query: SELECT 1, depends_on: [accountService] }
aggregation: { required_steps: [accountService] }
"""
TYPES = """
type Account { id: ID tier: String status: String }
type Fraud { score: Float }
type Credit { limit: Float }
"""
QUERY = """
query ($id: ID!) {
  customer360(customer_id: $id) { accountService { id tier } fraudSignals { score } creditExposure { limit } }
}
"""


def blueprint_of(*documents: str, types: str = TYPES) -> Blueprint:
    texts = {"config.yaml": "\n---\n".join([SOURCES, *documents]), "types.graphql": types}
    return build(Files(Path(), texts, (), "test"), STEP_TYPES, {})


def plan_of(query: str, *documents: str, types: str = TYPES, variables: dict[str, Any] | None = None) -> Plan:
    blueprint = blueprint_of(*(documents or (CUSTOMER,)), types=types)
    loaded = Documents(blueprint, build_schema(blueprint), is_development=True)
    document = loaded.read(query)
    definition = document.definition(None, is_read_only=False)
    return loaded.plan(definition, definition.variables(variables or {"id": "42"})).plan


def test_the_plan_text_of_customer_360() -> None:
    assert (
        plan_text(plan_of(QUERY))
        == """\
plan customer360(customer_id: $id)                            critical path 1300 ms
  1  accountService  api        GET /accounts/{customer_id}           required  500 ms
  2  fraudSignals    api        GET /fraud/{customer_id}              optional  400 ms  else 3
  3  fraudCache      warehouse  SELECT score FROM fraud WHERE id = ?  fallback  200 ms
  4  creditExposure  api        POST /credit/{accountService.tier}    optional  800 ms  after 1  when accountService.status == 'ACTIVE'  else value
project
  customer360 { accountService { id tier }  fraudSignals { score }  creditExposure { limit } }
pruned: transactionService, riskProfile"""
    )


def test_the_plan_of_customer_360_as_data() -> None:
    plan: dict[str, Any] = plan_json(plan_of(QUERY))
    (operation,) = plan["operations"]
    nodes = operation.pop("nodes")
    assert operation == {
        "operation": "customer360",
        "arguments": "customer_id: $id",
        "deadline_ms": 2000,
        "critical_path_ms": 1300,
        "critical_path": [1, 4],
        "not_applicable": [],
        "pruned": ["transactionService", "riskProfile"],
    }
    assert plan["project"] == ["customer360 { accountService { id tier }  fraudSignals { score }  creditExposure { limit } }"]
    account = {
        "id": 1,
        "step": "accountService",
        "arguments": None,
        "batch": None,
        "type": "api",
        "source": "core",
        "call": "GET /accounts/{customer_id}",
        "role": "required",
        "timeout_ms": 500,
        "attempts": 3,
        "needs": [],
        "follows": [],
        "when": None,
        "fallback": [],
    }
    assert nodes[0] == account
    assert nodes[1] == account | {
        "id": 2,
        "step": "fraudSignals",
        "call": "GET /fraud/{customer_id}",
        "role": "optional",
        "timeout_ms": 400,
        "fallback": [{"node": 3}],
    }
    assert nodes[2] == account | {
        "id": 3,
        "step": "fraudCache",
        "type": "warehouse",
        "source": "warehouse",
        "call": "SELECT score FROM fraud WHERE id = ?",
        "role": "fallback",
        "timeout_ms": 200,
        "attempts": 2,
    }
    assert nodes[3] == account | {
        "id": 4,
        "step": "creditExposure",
        "call": "POST /credit/{accountService.tier}",
        "role": "optional",
        "timeout_ms": 800,
        "attempts": 1,
        "needs": [1],
        "when": "accountService.status == 'ACTIVE'",
        "fallback": [{"value": {"limit": 0}}],
    }
    assert json.loads(json.dumps(plan)) == plan


def test_order_without_data_is_after_in_the_text_and_follows_in_the_data() -> None:
    plan = plan_of("{ customer360(customer_id: 1) { riskProfile } }")
    assert plan_text(plan).splitlines()[1:3] == [
        "  1  accountService  api        GET /accounts/{customer_id}  required  500 ms",
        "  2  riskProfile     warehouse  SELECT 1                     optional  1000 ms  after 1",
    ]
    assert [(node["needs"], node["follows"]) for node in plan_json(plan)["operations"][0]["nodes"]] == [([], []), ([], [1])]  # type: ignore[index]


SMALL = """
operation: one
steps: [{ name: a, type: value, value: 1, returns: Int }, { name: b, type: value, value: 2, returns: Int }]
---
operation: many
args: { first: Int, tag: String }
steps: [{ name: all, type: value, value: [], returns: "[Shape]" }]
aggregation: { strategy: pick, step: all }
"""
SHAPES = "union Shape = Circle | Square type Circle { r: Float } type Square { a: Float of: Shape }"


NO_STEP = "project\n  __typename"
NOTHING_OF_IT = """\
plan one                                                      critical path 0 ms
project
  one { __typename }
pruned: a, b"""
A_UNION = """\
plan many(first: 2, tag: "t")                                 critical path 1000 ms
  1  all  value  value  optional  1000 ms
project
  x: many { ... on Circle { __typename r }  ... on Square { __typename } }
  again: many { __typename }"""
SEVERAL = """\
plan one                                                      critical path 1000 ms
  1  a  value  value  optional  1000 ms
  2  b  value  value  optional  1000 ms
plan many(first: 1)                                           critical path 1000 ms
  3  all  value  value  optional  1000 ms
project
  one { x: a }
  two: one { b }
  many { ... on Circle { r }  ... on Square { of { __typename }  a } }"""


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("{ __typename }", NO_STEP),
        ("{ one { __typename } }", NOTHING_OF_IT),
        (
            '{ x: many(tag: "t", first: 2) { __typename ... on Circle { r } } again: many(first: 2, tag: "t") { __typename } }',
            A_UNION,
        ),
        ("{ one { x: a } two: one { b } many(first: 1) { ... on Square { of { __typename } a } ... on Circle { r } } }", SEVERAL),
    ],
    ids=["no step", "nothing of it", "a union", "several"],
)
def test_plan_texts(query: str, text: str) -> None:
    assert plan_text(plan_of(query, SMALL, types=SHAPES)) == text


def test_a_type_of_which_nothing_is_selected_is_not_in_the_text() -> None:
    assert plan_text(plan_of("{ many { ... on Circle { r } } }", SMALL, types=SHAPES)).endswith("  many { ... on Circle { r } }")


def test_a_pruned_step_is_named_once_however_many_calls_leave_it_out() -> None:
    plan = plan_of("{ x: customer360(customer_id: 1) { accountService { id } } y: customer360(customer_id: 2) { riskProfile } }")
    assert plan_text(plan).splitlines()[-1] == "pruned: transactionService, fraudSignals, creditExposure, riskProfile"


def test_a_long_call_is_cut_in_the_text_and_whole_in_the_data() -> None:
    columns = ", ".join(f"column{number}" for number in range(20))
    query = f"SELECT {columns} FROM t"
    config = f"{{ operation: o, steps: [{{ name: s, type: warehouse, query: '{query}' }}] }}"
    plan = plan_of("{ o { s } }", config)
    assert (
        plan_text(plan).splitlines()[1]
        == "  1  s  warehouse  SELECT column0, column1, column2, column3, colu…  optional  1000 ms"
    )
    assert plan_json(plan)["operations"][0]["nodes"][0]["call"] == query  # type: ignore[index]


def test_the_critical_path_is_the_longest_chain_of_timeouts_without_fallbacks() -> None:
    config = """
    operation: o
    steps:
      - { name: a, type: value, value: 1, timeout_ms: 100 }
      - { name: b, type: value, value: "{a}", timeout_ms: 50, fallback: [{ step: slow }] }
      - { name: c, type: value, value: 1, timeout_ms: 60, depends_on: [b] }
      - { name: d, type: value, value: 1, timeout_ms: 200 }
      - { name: slow, type: value, value: 1, timeout_ms: 9000, expose: false }
    """
    plan = plan_of("{ x: o { a } o { b c } }", config)
    assert plan.critical_path(plan.calls[0]) == pytest.approx(0.210)
    plan = plan_of("{ o { c d } }", config)
    assert plan.critical_path(plan.calls[0]) == pytest.approx(0.210)
    plan = plan_of("{ o { a d } }", config)
    assert plan.critical_path(plan.calls[0]) == pytest.approx(0.200)


def test_a_plan_can_be_compared_and_not_be_changed() -> None:
    blueprint = blueprint_of(CUSTOMER)
    documents = Documents(blueprint, build_schema(blueprint), is_development=True)
    plans = []
    for _ in range(2):
        document = documents.read(QUERY)
        definition = document.definition(None, is_read_only=False)
        plans.append(documents.plan(definition, definition.variables({"id": "1"})).plan)
    assert plans[0].nodes == plans[1].nodes
    assert plan_json(plans[0]) == plan_json(plans[1])
    with pytest.raises(FrozenInstanceError):
        plans[0].nodes = ()  # type: ignore[misc]
