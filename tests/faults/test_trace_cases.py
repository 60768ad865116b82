"""Reliability case L-13: a trace names steps that no client may know of, so in production none is given that the configuration does not allow."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.kit.serving import JSON, Gateway, serving, write_files

GRAPH = """
operation: o
steps:
  - { name: hidden, type: value, value: 7, expose: false }
  - { name: shown, type: value, value: "{hidden}" }
---
operation: constant
steps: [{ name: one, type: value, value: 1 }]
---
operation: change
kind: mutation
steps: [{ name: hidden, type: value, value: 1, expose: false }, { name: made, type: value, value: 1 }]
---
server: { dedupe_queries: true }
---
"""
QUERIES = ("{ o { shown } }", "{ constant { one } }", "mutation { change { made } }")
EXTENSION = {"extensions": {"trace": True}}


async def answers(gateway: Gateway, query: str) -> Mapping[str, Any]:
    """Ask for a trace in every way that there is; the second time everything is cached that can be."""

    async def post(value: object, **headers: str) -> Any:
        return (await gateway.post(json.dumps(value).encode(), **headers)).body

    answered = {}
    for turn in ("first", "again"):
        answered[f"header, {turn}"] = await post({"query": query}, x_stepgraph_trace="1")
        answered[f"extension, {turn}"] = await post({"query": query} | EXTENSION)
        answered[f"both, {turn}"] = await post({"query": query} | EXTENSION, x_stepgraph_trace="1")
        for name, headers in (("header", {"x_stepgraph_trace": "1"}), ("extension", {})):
            batch = await post([{"query": query} | EXTENSION] * 2, **headers)
            answered |= {f"batch, {name}, {position}, {turn}": answer for position, answer in enumerate(batch)}
        if not query.startswith("mutation"):
            params = {"query": query, "extensions": json.dumps(EXTENSION["extensions"])}
            answer = await gateway.send(
                "GET", "/graphql", params=params, headers={"content-type": JSON, "x-stepgraph-trace": "1"}
            )
            answered[f"GET, {turn}"] = answer.body
    return answered


@pytest.mark.case("L-13")
@pytest.mark.parametrize("is_development", [False, True], ids=["production", "development"])
@pytest.mark.parametrize("allowed", [None, False, True])
def test_a_trace_is_given_only_where_it_is_allowed(tmp_path: Path, is_development: bool, allowed: bool | None) -> None:
    limits = "limits: { batching: 2 }" if allowed is None else f"limits: {{ batching: 2, trace: {str(allowed).lower()} }}"

    async def scenario() -> None:
        folder = write_files(tmp_path, {"graph.yaml": GRAPH + limits})
        async with serving(folder, is_development=is_development) as gateway:
            for query in QUERIES:
                for way, answer in (await answers(gateway, query)).items():
                    assert answer["data"], (way, answer)
                    is_traced = "trace" in answer.get("extensions", {})
                    assert is_traced == (is_development if allowed is None else allowed), (way, query)
                    assert is_traced or "hidden" not in json.dumps(answer)
            if is_development:  # the playground records traces whoever may have them
                runs = (await gateway.client.get(f"{gateway.url}/playground/runs")).json()
                run = (await gateway.client.get(f"{gateway.url}/playground/runs/{runs[-1]['id']}")).json()
                assert {node["step"] for node in run["trace"]["nodes"]} == {"hidden", "shown"}

    asyncio.run(scenario())
