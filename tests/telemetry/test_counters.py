"""Metrics: labels come from the configuration alone, and their number is bounded (O-09)."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.contract import RequestContext
from gateway.contract.outcome import Failure, Skipped, SkipReason, Success
from gateway.contract.request import GraphQLRequest
from gateway.errors import Code
from gateway.operate.prometheus import metrics_text
from gateway.operate.serving import Serving, serve_folder
from gateway.run import Results, Span
from gateway.serve.generation.generation import Generation
from gateway.telemetry.counters import MAX_STEP_SERIES, Counters, StepMeters, measuring_loop_lag
from resolvers import STEP_TYPES
from tests.faults import refused_port
from tests.kit import virtual
from tests.kit.serving import write_files

TENANTS = """
context: { tenant: 'request.headers."x-tenant"' }
---
operation: o
args: { id: ID! }
steps:
  - { name: a, type: value, value: "{id}" }
  - { name: b, type: transform, select: "abs('x')" }
---
overlay: gold
when: { tenant: gold }
operation: o
steps: [ { name: a, timeout_ms: 100 } ]
"""


async def respond(generation: Generation, request: GraphQLRequest, context: RequestContext) -> bytes:
    response = generation.begin(request, context)
    return response if isinstance(response, bytes) else await response()


def series(serving: Serving) -> dict[str, float]:
    families = text_string_to_metric_families(metrics_text(serving).decode())
    return {f"{sample.name}{sorted(sample.labels.items())}": sample.value for family in families for sample in family.samples}


def test_neither_tenants_nor_documents_nor_operation_names_make_series(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": TENANTS})

    async def scenario() -> tuple[dict[str, float], dict[str, float]]:
        async with serve_folder(tmp_path, STEP_TYPES, is_watched=False) as serving:
            assert serving.generation is not None
            for number in range(3):
                await ask(serving, number)
            before = series(serving)
            for number in range(3000):
                await ask(serving, number)
            return before, series(serving)

    async def ask(serving: Serving, number: int) -> None:
        assert serving.generation is not None
        headers = {"x-tenant": "gold" if number % 3 == 0 else f"tenant-{number}"}
        context = RequestContext(f"r{number}", headers, asyncio.get_running_loop().time())
        request = GraphQLRequest(f"query Q{number % 200} {{ o(id: {number % 200}) {{ a b }} }}")
        serving.telemetry.request_started(context)
        await respond(serving.generation, request, context)
        serving.telemetry.request_ended("POST", f"/{number}", 200, context)

    before, after = asyncio.run(scenario())
    assert before.keys() == after.keys()
    assert after["stepgraph_requests_total[('outcome', 'partial'), ('status', '200')]"] == 3003
    assert after["stepgraph_step_outcomes_total[('operation', 'o'), ('outcome', 'ok'), ('step', 'a')]"] == 3003


def test_there_are_never_more_than_two_thousand_series(tmp_path: Path) -> None:
    steps = ", ".join(f"{{ name: s{number}, type: value, value: {number} }}" for number in range(20))
    config = "\n---\n".join(f"operation: o{number}\nsteps: [ {steps} ]" for number in range(100))
    write_files(tmp_path, {"a.yaml": config})

    async def scenario() -> dict[str, float]:
        async with serve_folder(tmp_path, STEP_TYPES, is_watched=False) as serving:
            assert serving.generation is not None
            for code in Code:  # the worst case: every code for every step
                for meter in list(serving.telemetry.counters.steps):
                    serving.telemetry.counters.steps.count_each([meter], failed(code))
                serving.telemetry.counters.errors[str(code)] += 1
                for outcome in ("ok", "partial", "failed", "refused", "left"):
                    serving.telemetry.counters.requests[outcome, 400 + len(code)] += 1
            for number in range(100):
                request = GraphQLRequest(f"{{ o{number} {{ {' '.join(f's{step}' for step in range(20))} }} }}")
                await respond(serving.generation, request, RequestContext("r", {}, asyncio.get_running_loop().time()))
            for code in Code:
                for meter in list(serving.telemetry.counters.steps):
                    serving.telemetry.counters.steps.count_each([meter], failed(code))
            return series(serving)

    metrics = asyncio.run(scenario())
    assert 1000 < len(metrics) <= 2000
    counted = sum(value for name, value in metrics.items() if name.startswith("stepgraph_step_outcomes_total") and "'ok'" in name)
    assert counted == 2000, "what has no series of its own is counted with the others"
    assert "stepgraph_step_outcomes_total[('operation', 'other'), ('outcome', 'ok'), ('step', 'other')]" in metrics


def span(ready: float, ended: float) -> Span:
    result = Span()
    result.ready, result.ended = ready, ended
    return result


def failed(code: Code) -> Results:
    return Results([Failure("s", code, "m")], [span(0.0, 0.1)], [None])


def test_a_step_counts_by_how_it_ended() -> None:
    meters = StepMeters()
    meter = meters.of("o", "a")
    assert meters.of("o", "a") is meter
    down = Failure("a", Code.GATEWAY_TIMEOUT, "late")
    for outcome in (Success(1), Success(2), down, Skipped(SkipReason.CONDITION), Success(1, "value", down), None):
        meters.count_each([meter], Results([outcome], [span(1.0, 1.03)], [None]))
    assert (meter.ok, meter.outcomes, meter.served) == (2, {"GATEWAY_TIMEOUT": 2, "skipped": 1}, 1)
    assert sum(meter.seconds.counts) == 4, "what was not run took no time"
    assert meter.seconds.counts[2] == 4
    assert meter.seconds.total == pytest.approx(0.12)


def test_room_for_series_is_bounded() -> None:
    meters = StepMeters()
    distinct = {id(meters.of("o", f"s{number}")) for number in range(10_000)}
    assert 50 < len(distinct) < MAX_STEP_SERIES / 10


def test_the_lag_of_the_loop_is_seen() -> None:
    counters = Counters()

    async def scenario() -> None:
        with measuring_loop_lag(counters):
            await asyncio.sleep(0.55)
            time.sleep(0.7)  # noqa: ASYNC251 - a blocked event loop is what the test is about
            await asyncio.sleep(0.1)

    asyncio.run(scenario())
    assert 0.1 < counters.largest_lag < 5
    assert sum(counters.lag.counts) >= 2


def test_the_watch_of_the_loop_ends_with_its_context() -> None:
    counters = Counters()

    async def scenario() -> int:
        with measuring_loop_lag(counters):
            await asyncio.sleep(2.1)
        counted = sum(counters.lag.counts)
        await asyncio.sleep(60)
        return counted

    assert virtual.run(scenario()) == sum(counters.lag.counts) == 4


def test_equal_queries_of_several_requests_count_each_with_its_errors(tmp_path: Path) -> None:
    config = "server: { dedupe_queries: true }\n---\noperation: o\nsteps: [ { name: b, type: transform, select: \"abs('x')\" } ]"
    write_files(tmp_path, {"a.yaml": config})

    async def scenario() -> Serving:
        async with serve_folder(tmp_path, STEP_TYPES, is_watched=False) as serving:
            generation = serving.generation
            assert generation is not None

            async def ask() -> None:
                context = RequestContext("r", {}, asyncio.get_running_loop().time())
                serving.telemetry.request_started(context)
                body = await respond(generation, GraphQLRequest("{ o { b } }"), context)
                serving.telemetry.request_ended("POST", "/graphql", 200, context)
                assert json.loads(body)["errors"]

            await asyncio.gather(*(ask() for _ in range(5)))
            return serving

    counters = asyncio.run(scenario()).telemetry.counters
    assert counters.errors == {"INTERNAL_SERVER_ERROR": 5}
    assert counters.requests == {("partial", 200): 5}
    assert counters.shared["query_joined"] == 4
    assert sum(meter.outcomes.get("INTERNAL_SERVER_ERROR", 0) for meter in counters.steps) == 1, "it has run once"


def test_the_policies_of_a_source_are_told(tmp_path: Path) -> None:
    config = f"""
sources:
  core:
    type: api
    base_url: http://127.0.0.1:{refused_port()}
    retry: {{ attempts: 2, base_ms: 1, cap_ms: 1, errors: [connect] }}
    breaker: {{ min_calls: 4, error_percent: 50 }}
defaults: {{ api: core }}
---
operation: o
steps: [ {{ name: a, type: api, endpoint: /a }} ]
"""
    write_files(tmp_path, {"a.yaml": config})

    async def scenario() -> dict[str, float]:
        async with serve_folder(tmp_path, STEP_TYPES, is_watched=False) as serving:
            assert serving.generation is not None
            for _ in range(5):
                await respond(
                    serving.generation, GraphQLRequest("{ o { a } }"), RequestContext("r", {}, asyncio.get_running_loop().time())
                )
            return series(serving)

    metrics = asyncio.run(scenario())
    assert metrics["stepgraph_source_breaker_state[('source', 'core')]"] == 2
    assert metrics["stepgraph_source_breaker_opened_total[('source', 'core')]"] == 1
    assert metrics["stepgraph_source_refused_total[('by', 'breaker'), ('source', 'core')]"] == 3
    assert metrics["stepgraph_source_extra_calls_total[('by', 'retry'), ('source', 'core')]"] == 2
    assert metrics["stepgraph_source_calls[('kind', 'places'), ('source', 'core')]"] == 100
    assert metrics["stepgraph_source_calls[('kind', 'under_way'), ('source', 'core')]"] == 0
