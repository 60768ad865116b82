"""Queries with a constant answer: it is computed once, and counted as if it were computed each time."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import load
from gateway.serve.generation.generation import MAX_CACHED_ANSWER, Generation, open_generation
from resolvers import STEP_TYPES
from tests.kit.serving import write_files

CONFIG = f"""
operation: version
args: {{ suffix: 'String = "a"' }}
steps:
  - {{ name: number, type: value, value: "1.{{suffix}}", returns: String }}
  - {{ name: doubled, type: transform, select: "[number, number]", returns: "[String]" }}
  - {{ name: agent, type: value, value: "{{request.headers.agent}}", returns: String }}
  - {{ name: tenant, type: value, value: "{{context.tenant}}", returns: String }}
  - {{ name: absent, type: value, when: "suffix == 'b'", value: 1 }}
  - {{ name: wrong, type: value, value: text, returns: Int }}
  - {{ name: large, type: value, value: "{"x" * MAX_CACHED_ANSWER}", returns: String }}
---
operation: write
kind: mutation
steps: [ {{ name: done, type: value, value: 1 }} ]
---
context: {{ tenant: request.headers.tenant }}
---
limits: {{ trace: true }}
"""


async def answer(generation: Generation, request: GraphQLRequest, **headers: str) -> dict[str, object]:
    now = asyncio.get_running_loop().time()
    pending = generation.begin(request, RequestContext("id", headers, now))
    body: dict[str, object] = json.loads(pending if isinstance(pending, bytes) else await pending())
    return body


def answers(folder: Path, requests: Sequence[tuple[GraphQLRequest, dict[str, str]]]) -> tuple[list[dict[str, object]], int, int]:
    """Send requests in sequence; return the answers, how many of them were cached before, and how many steps succeeded."""

    async def ask() -> tuple[list[dict[str, object]], int, int]:
        blueprint = await asyncio.to_thread(load, write_files(folder, {"a.yaml": CONFIG}), STEP_TYPES)
        async with open_generation(blueprint, STEP_TYPES) as generation:
            bodies, cached = [], 0
            for request, headers in requests:
                definition = generation.read(request.query).definition(request.operation_name, is_read_only=False)
                cached += any(
                    planned.constant_answer is not None for planned in generation.plans.cached_plans(definition).values()
                )
                bodies.append(await answer(generation, request, **headers))
            return bodies, cached, sum(meter.ok for meter in generation.plans.telemetry.counters.steps)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("query", "data", "steps"),
    [
        ("{ version { number } }", {"version": {"number": "1.a"}}, 1),
        ('{ version(suffix: "c") { number doubled } }', {"version": {"number": "1.c", "doubled": ["1.c", "1.c"]}}, 2),
        ("{ __typename }", {"__typename": "Query"}, 0),
    ],
)
def test_what_depends_on_nothing_is_answered_with_the_same_text(
    tmp_path: Path, query: str, data: dict[str, object], steps: int
) -> None:
    request = GraphQLRequest(query)
    bodies, cached, counted = answers(tmp_path, [(request, {"agent": "one"}), (request, {"agent": "two"}), (request, {})])
    assert bodies == [{"data": data}] * 3
    assert (cached, counted) == (2, 3 * steps)


def test_a_trace_is_that_of_its_own_request(tmp_path: Path) -> None:
    query = "{ version { number } }"
    bodies, cached, _ = answers(tmp_path, [(GraphQLRequest(query), {}), (GraphQLRequest(query, wants_trace=True), {})])
    assert cached == 1
    assert [list(answer) for answer in bodies] == [["data"], ["data", "extensions"]]


@pytest.mark.parametrize(
    ("request_", "first", "second"),
    [
        (GraphQLRequest("{ version { agent } }"), {"agent": "one"}, {"agent": "two"}),
        (GraphQLRequest("{ version { tenant } }"), {"tenant": "one"}, {"tenant": "two"}),
        (GraphQLRequest("query ($s: String) { version(suffix: $s) { number } }", variables={"s": "v"}), {}, {}),
        (GraphQLRequest("{ version { absent } }"), {}, {}),
        (GraphQLRequest("{ version { wrong } }"), {}, {}),
        (GraphQLRequest("{ version { large } }"), {}, {}),
        (GraphQLRequest("mutation { write { done } }"), {}, {}),
    ],
    ids=["a header", "the context", "a variable", "what is skipped", "an error", "what is large", "a mutation"],
)
def test_what_depends_on_the_request_or_is_not_whole_or_is_large_is_made_anew(
    tmp_path: Path, request_: GraphQLRequest, first: dict[str, str], second: dict[str, str]
) -> None:
    bodies, cached, _ = answers(tmp_path, [(request_, first), (request_, second)])
    assert cached == 0
    assert (bodies[0] == bodies[1]) is (first == second)
