"""The paper as a test: its configuration verbatim, its failure semantics (7.2), and its case study, Customer 360 (8)."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.blueprint import Blueprint
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.generation.generation import open_generation
from playground.demo.warehouse import seed
from resolvers import STEP_TYPES
from resolvers.api import Api
from tests.kit.scripted import BASE_URL, Upstreams
from tests.kit.virtual import run

PAPER = """\
operation: customer360
steps:
  - name: accountService
    type: api
    method: GET
    endpoint: /accounts/{customer_id}
    timeout_ms: 500

  - name: transactionService
    type: api
    method: GET
    endpoint: /transactions/{customer_id}
    timeout_ms: 800

  - name: fraudSignals
    type: api
    method: GET
    endpoint: /fraud/signals/{customer_id}
    timeout_ms: 400

  - name: riskProfile
    type: warehouse
    query: SELECT score, segment FROM risk_profiles WHERE customer_id = ?
    timeout_ms: 1200

aggregation:
  strategy: merge
  required_steps: [accountService, transactionService]
"""
SOURCES = f"""\
sources:
  core: {{ type: api, base_url: {BASE_URL}, retry: {{ attempts: 1 }} }}
  warehouse: {{ type: warehouse, url: sqlite:///warehouse.db }}
defaults: {{ api: core, warehouse: warehouse }}
"""
FIFTH_SOURCE = """\
  - name: recentCases
    type: api
    endpoint: /cases/{customer_id}
    timeout_ms: 300
"""
FIVE_SOURCES = PAPER.replace("\naggregation:", f"\n{FIFTH_SOURCE}\naggregation:")

ACCOUNT = {"json": {"id": "42", "tier": "gold"}, "delay": 30}
TRANSACTIONS = {"json": [{"id": "t1", "amount": 9.5}], "delay": 50}
FRAUD = {"json": {"score": 0.23}, "delay": 20}
CASES = {"json": [{"id": "c1"}], "delay": 10}
SOUND: Mapping[str, Any] = {
    "GET /accounts/42": ACCOUNT,
    "GET /transactions/42": TRANSACTIONS,
    "GET /fraud/signals/42": FRAUD,
}
ALL = "{ customer360(customer_id: 42) { accountService transactionService fraudSignals riskProfile } }"


def load(folder: Path, configuration: str, step_types: Mapping[str, Any] = STEP_TYPES) -> Blueprint:
    files = Files(folder, {"sources.yaml": SOURCES, "customer360.yaml": configuration}, (), "test")
    return build(files, step_types, {})


def ask(folder: Path, query: str, upstreams: Mapping[str, Any], configuration: str = PAPER) -> tuple[dict[str, Any], float]:
    """Return the answer and the virtual seconds that it took; every scripted call must be made, and no other."""
    scripted = Upstreams(upstreams)
    step_types = {**STEP_TYPES, "api": Api(scripted.transports)}

    async def answer() -> tuple[dict[str, Any], float]:
        loop = asyncio.get_running_loop()
        async with open_generation(load(folder, configuration, step_types), step_types) as generation:
            body = await generation.answer(GraphQLRequest(query), RequestContext("test", {}, loop.time()))
            return body, loop.time()

    result = run(answer(), threads=True)
    assert scripted.complaints() == []
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    seed(tmp_path / "warehouse.db")
    return tmp_path


def test_the_example_is_the_papers_file_to_the_letter() -> None:
    assert Path("schema_configs/customer360/customer360.yaml").read_text(encoding="utf-8") == PAPER


def test_the_papers_file_loads_verbatim_and_its_argument_is_inferred(folder: Path) -> None:
    operation = load(folder, PAPER).operations["customer360"]
    assert operation.are_arguments_inferred
    assert [(argument.name, argument.type) for argument in operation.arguments] == [("customer_id", "ID!")]
    assert [step.timeout for step in operation.steps.values()] == [0.5, 0.8, 0.4, 1.2]
    assert [name for name, step in operation.steps.items() if step.is_required] == ["accountService", "transactionService"]


def test_customer_360_takes_as_long_as_its_slowest_source(folder: Path) -> None:
    body, seconds = ask(folder, ALL, SOUND)
    assert body == {
        "data": {
            "customer360": {
                "accountService": {"id": "42", "tier": "gold"},
                "transactionService": [{"id": "t1", "amount": 9.5}],
                "fraudSignals": {"score": 0.23},
                "riskProfile": {"score": 0.23, "segment": "standard"},
            }
        }
    }
    assert seconds == 0.05


def test_only_the_requested_sources_are_called(folder: Path) -> None:
    body, _ = ask(folder, "{ customer360(customer_id: 42) { fraudSignals } }", {"GET /fraud/signals/42": FRAUD})
    assert body == {"data": {"customer360": {"fraudSignals": {"score": 0.23}}}}


@pytest.mark.parametrize("required", ["accountService", "transactionService"])
def test_failure_of_a_required_node_blocks_the_composite(folder: Path, required: str) -> None:
    target = {"accountService": "GET /accounts/42", "transactionService": "GET /transactions/42"}[required]
    body, seconds = ask(folder, ALL, {**SOUND, target: {"status": 500}})
    assert body["data"] == {"customer360": None}
    (error,) = body["errors"]
    assert error["path"] == ["customer360"]
    assert error["extensions"] == {"code": "SUBREQUEST_HTTP_ERROR", "step": required, "http": {"status": 500}}
    assert seconds == 0


def test_absence_of_an_optional_node_is_tolerated_with_a_partial_result(folder: Path) -> None:
    body, seconds = ask(folder, ALL, {**SOUND, "GET /fraud/signals/42": {"fault": "connect"}})
    assert body["data"]["customer360"]["fraudSignals"] is None
    assert body["data"]["customer360"]["accountService"] == {"id": "42", "tier": "gold"}
    assert [error["path"] for error in body["errors"]] == [["customer360", "fraudSignals"]]
    assert body["extensions"]["completeness"]["missing"] == [
        {"operation": "customer360", "path": ["customer360"], "step": "fraudSignals", "reason": "SUBREQUEST_HTTP_ERROR"}
    ]
    assert seconds == 0.05


def test_a_node_that_hangs_costs_its_own_timeout_and_no_more(folder: Path) -> None:
    body, seconds = ask(folder, ALL, {**SOUND, "GET /fraud/signals/42": {"fault": "hang"}})
    assert body["errors"][0]["extensions"] == {"code": "GATEWAY_TIMEOUT", "step": "fraudSignals"}
    assert seconds == 0.4


def test_a_fallback_node_is_an_alternate_way_to_the_same_data(folder: Path) -> None:
    configuration = PAPER.replace("    timeout_ms: 400\n", "    timeout_ms: 400\n    fallback: [ { step: riskProfile } ]\n")
    body, _ = ask(
        folder,
        "{ customer360(customer_id: 42) { fraudSignals } }",
        {"GET /fraud/signals/42": {"status": 503}},
        configuration,
    )
    assert body["data"] == {"customer360": {"fraudSignals": {"score": 0.23, "segment": "standard"}}}
    assert "errors" not in body
    assert body["extensions"]["completeness"]["degraded"] == [
        {
            "operation": "customer360",
            "path": ["customer360"],
            "step": "fraudSignals",
            "served_by": "riskProfile",
            "reason": "SUBREQUEST_HTTP_ERROR",
        }
    ]


def test_the_result_is_bounded_by_one_deadline(folder: Path) -> None:
    configuration = PAPER.replace("required_steps: [accountService, transactionService]", "required_steps: [accountService]")
    body, seconds = ask(
        folder,
        ALL,
        {**SOUND, "GET /transactions/42": {"fault": "hang"}},
        configuration.replace("steps:\n", "deadline_ms: 300\nsteps:\n", 1),
    )
    assert seconds == 0.3
    assert body["data"]["customer360"]["transactionService"] is None
    assert body["data"]["customer360"]["fraudSignals"] == {"score": 0.23}
    assert [(error["path"][-1], error["extensions"]["code"]) for error in body["errors"]] == [
        ("transactionService", "GATEWAY_TIMEOUT")
    ]


def test_a_fifth_source_arrives_by_configuration_alone(folder: Path) -> None:
    query = "{ customer360(customer_id: 42) { accountService recentCases } }"
    upstreams = {"GET /accounts/42": ACCOUNT, "GET /cases/42": CASES}
    body, seconds = ask(folder, query, upstreams, FIVE_SOURCES)
    assert body == {"data": {"customer360": {"accountService": {"id": "42", "tier": "gold"}, "recentCases": [{"id": "c1"}]}}}
    assert seconds == 0.03


def test_the_fifth_source_is_optional_and_changes_nothing_for_those_who_do_not_ask(folder: Path) -> None:
    assert ask(folder, ALL, SOUND, FIVE_SOURCES) == ask(folder, ALL, SOUND)
    query = "{ customer360(customer_id: 42) { accountService recentCases } }"
    body, _ = ask(folder, query, {"GET /accounts/42": ACCOUNT, "GET /cases/42": {"status": 500}}, FIVE_SOURCES)
    assert body["data"] == {"customer360": {"accountService": {"id": "42", "tier": "gold"}, "recentCases": None}}
