"""What the playground's page is told: plans, runs without what they were given, examples, and the state of the configuration."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate

from gateway.blueprint.redaction import MASK
from gateway.develop.playground import endpoints as playground
from gateway.develop.playground import runs
from gateway.develop.playground.examples import examples
from gateway.document.redaction import masked_text
from gateway.load.build.build import load
from gateway.serve.generation.generation import open_generation
from gateway.serve.http.endpoint import GraphQLEndpoint
from gateway.serve.http.request import HttpMessage
from gateway.serve.http.response import HttpResponse
from resolvers import STEP_TYPES
from tests.kit.serving import Gateway, serving, write_files

CONFIG = {
    "graph.yaml": """\
context: { tenant: request.headers."x-tenant" }
---
operation: one
args: { id: ID! }
steps:
  - { name: first, type: value, value: 1 }
  - { name: second, type: transform, select: "first" }
  - { name: third, type: value, value: 3 }
---
operation: large
args: { of: JSON }
steps: [{ name: number, type: value, value: "{of}" }]
""",
}
QUERY = '{ one(id: "secret-7") { second } }'


class Page:
    """A gateway in development mode, as the page asks it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def get(self, path: str) -> Any:
        return (await self.gateway.client.get(self.gateway.url + path)).raise_for_status().json()

    async def plan(self, query: str, **parameters: object) -> Any:
        content = json.dumps({"query": query, **parameters}).encode()
        return (
            await self.gateway.send("POST", "/playground/plan", content=content, headers={"content-type": "application/json"})
        ).body


def act(folder: Path, scenario: Any) -> Any:
    async def serve() -> Any:
        async with serving(write_files(folder / "config", CONFIG), is_development=True) as gateway:
            return await scenario(Page(gateway))

    return asyncio.run(serve())


def test_a_plan_is_made_without_a_run_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    async def scenario(page: Page) -> Any:
        return await page.plan(QUERY), await page.get("/playground/runs")

    told, recorded = act(tmp_path, scenario)
    (operation,) = told["plan"]["operations"]
    assert [node["step"] for node in operation["nodes"]] == ["first", "second"]
    assert operation["pruned"] == [{"step": "third", "type": "value", "source": None}]
    assert operation["arguments"] == 'id: "secret-7"'
    assert (told["problems"], recorded) == ([], [])


def test_a_plan_is_shown_although_a_variable_is_missing_yet_and_says_so(tmp_path: Path) -> None:
    told = act(tmp_path, lambda page: page.plan("query($id: ID!) { one(id: $id) { second } }"))
    assert len(told["plan"]["operations"][0]["nodes"]) == 2
    assert "'$id'" in told["problems"][0]["message"]


def test_a_document_that_is_not_valid_has_no_plan_but_errors(tmp_path: Path) -> None:
    told = act(tmp_path, lambda page: page.plan("{ one(id: 1) { secnd } }"))
    assert told["plan"] is None
    assert "second" in told["problems"][0]["message"]


def test_a_run_is_recorded_with_plan_and_trace_and_without_what_it_was_given(tmp_path: Path) -> None:
    async def scenario(page: Page) -> Any:
        answer = await page.gateway.ask(QUERY, {"unused": ["hidden"]}, authorization="Bearer hidden", x_tenant="acme")
        (summary,) = await page.get("/playground/runs")
        return answer, summary, await page.get(f"/playground/runs/{summary['id']}")

    answer, summary, run = act(tmp_path, scenario)
    assert "extensions" not in answer.body
    assert run["id"] == answer.headers["x-request-id"]
    assert (run["tenant"], run["outcome"], run["operations"]) == ("acme", "ok", ["one"])
    assert [node["step"] for node in run["trace"]["nodes"]] == ["first", "second"]
    assert run["variables"] == {"unused": [MASK]}
    assert set(run["headers"].values()) == {MASK}
    assert not re.search("secret-7|hidden", json.dumps([summary, run]))


def test_a_client_that_asks_for_a_trace_gets_it(tmp_path: Path) -> None:
    answer = act(tmp_path, lambda page: page.gateway.ask(QUERY, x_stepgraph_trace="1"))
    assert answer.body["extensions"]["trace"]["critical_path"] == ["first", "second"]


def test_a_request_that_is_refused_is_a_run_too_and_one_for_the_schema_is_none(tmp_path: Path) -> None:
    async def scenario(page: Page) -> Any:
        await page.gateway.ask("{ __schema { queryType { name } } }")
        await page.gateway.ask("{ nothing }")
        return await page.get("/playground/runs")

    (run,) = act(tmp_path, scenario)
    assert (run["outcome"], run["duration_ms"]) == ("refused", None)


ENDINGS = """\
operation: ended
steps:
  - { name: well, type: value, value: 1 }
  - { name: instead, type: transform, select: "sum(well)", fallback: [{ value: 2 }] }
  - { name: skipped, type: value, value: 3, when: "well == `2`" }
  - { name: broken, type: transform, select: "sum(well)" }
---
limits: { batching: 9 }
"""


def outcomes(folder: Path, *bodies: object) -> tuple[list[object], list[tuple[str, int]]]:
    """Return the outcomes of the runs that posted bodies make, oldest first, and those of the requests, as metrics tell them."""
    blueprint = load(write_files(folder / "config", {"graph.yaml": ENDINGS}), STEP_TYPES)

    async def post() -> tuple[list[object], list[tuple[str, int]]]:
        history = runs.RunHistory()
        async with open_generation(blueprint, STEP_TYPES, is_development=True) as generation:
            endpoint = GraphQLEndpoint(lambda: runs.RecordingGeneration(generation, history), is_development=True)
            for body in bodies:
                now = asyncio.get_running_loop().time()
                begun = endpoint.begin(
                    HttpMessage("POST", b"", {"content-type": "application/json"}, json.dumps(body).encode(), "r", now)
                )
                assert not isinstance(begun, HttpResponse)
                await begun()
        return [run.summary["outcome"] for run in history][::-1], list(endpoint.telemetry.counters.requests)

    return asyncio.run(post())


def ended(fields: str) -> dict[str, str]:
    return {"query": f"{{ ended {{ {fields} }} }}"}


@pytest.mark.parametrize(
    ("fields", "outcome", "counted"),
    [
        ("well", "ok", "ok"),
        ("instead", "degraded", "ok"),
        ("skipped", "partial", "ok"),
        ("instead skipped", "partial", "ok"),
        ("broken", "partial", "partial"),
        ("instead broken", "partial", "partial"),
    ],
)
def test_a_run_ends_as_its_request_does_and_is_degraded_where_fallbacks_stood_in(
    tmp_path: Path, fields: str, outcome: str, counted: str
) -> None:
    assert outcomes(tmp_path, ended(fields)) == ([outcome], [(counted, 200)])


def test_each_request_of_a_batch_is_a_run_with_an_end_of_its_own(tmp_path: Path) -> None:
    told, counted = outcomes(tmp_path, [ended(fields) for fields in ("broken", "well", "instead", "nothing")])
    assert sorted(map(str, told)) == ["degraded", "ok", "partial", "refused"]
    assert counted == [("partial", 200)]


def test_a_run_is_run_again_with_what_it_was_given(tmp_path: Path) -> None:
    async def scenario(page: Page) -> Any:
        await page.gateway.ask(QUERY)
        (first,) = await page.get("/playground/runs")
        path = f"/playground/runs/{first['id']}/again"
        refused = await page.gateway.send("POST", path)
        again = await page.gateway.send("POST", path, headers={"graphql-require-preflight": "1"})
        return refused, again.body, await page.get("/playground/runs")

    refused, again, listed = act(tmp_path, scenario)
    assert (refused.status, refused.codes) == (400, ["CSRF_ERROR"])
    assert again["body"] == {"data": {"one": {"second": 1}}}
    assert listed[0]["id"] == again["id"]


def test_a_run_is_run_again_whatever_the_size_of_its_numbers(tmp_path: Path) -> None:
    async def scenario(page: Page) -> Any:
        await page.gateway.ask("{ large(of: 1180591620717411303424) { number } }")
        (first,) = await page.get("/playground/runs")
        path = f"/playground/runs/{first['id']}/again"
        return await page.gateway.send("POST", path, headers={"graphql-require-preflight": "1"})

    assert act(tmp_path, scenario).body["body"] == {"data": {"large": {"number": 2**70}}}


def test_runs_are_bounded_and_an_old_one_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_RUNS", 3)

    async def scenario(page: Page) -> Any:
        for number in range(5):
            await page.gateway.ask(QUERY, x_request_id=f"run-{number}")
        return [run["id"] for run in await page.get("/playground/runs")], await page.gateway.send("GET", "/playground/runs/run-0")

    listed, gone = act(tmp_path, scenario)
    assert listed == ["run-4", "run-3", "run-2"]
    assert (gone.status, gone.codes) == (404, ["NOT_FOUND"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{ a(x: "1", y: 2, z: [3.5]) }', f'{{ a(x: "{MASK}", y: "{MASK}", z: ["{MASK}"]) }}'),
        ('{ a(x: """block""") # note\n}', f'{{ a(x: "{MASK}") # note\n}}'),
        ("{ a(x: $x, y: RED, z: true) }", "{ a(x: $x, y: RED, z: true) }"),
        ('{ a(x: "no end', MASK),
    ],
)
def test_literals_are_masked_where_they_stand(text: str, expected: str) -> None:
    assert masked_text(text) == expected


async def state(lines: Any) -> Any:
    """Return the next state that a listener is told of."""
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    return None


def test_a_listener_hears_of_problems_and_of_new_versions(tmp_path: Path) -> None:
    async def scenario(page: Page) -> Any:
        file = tmp_path / "config" / "graph.yaml"
        async with page.gateway.client.stream("GET", page.gateway.url + "/playground/events") as response:
            lines = response.aiter_lines()
            first = await state(lines)
            file.write_text(CONFIG["graph.yaml"].replace('select: "first"', "selct: first"), "utf-8")
            broken = await state(lines)
            file.write_text(CONFIG["graph.yaml"].replace("value: 3", "value: 4"), "utf-8")
            return first, broken, await state(lines)

    first, broken, mended = act(tmp_path, scenario)
    assert first["problems"] == mended["problems"] == []
    assert first["version"] != mended["version"]
    problem = broken["problems"][-1]
    assert problem["place"]["file"].endswith("graph.yaml")
    assert (problem["place"]["line"], problem["code"]) == (7, "unknown-key")
    assert "did you mean 'select'?" in problem["message"]


def test_listeners_are_bounded_hear_that_the_server_is_there_and_leave_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playground, "MAX_LISTENERS", 2)
    monkeypatch.setattr(playground, "HEARTBEAT", 0.05)

    async def listen(stack: AsyncExitStack, page: Page) -> int:
        response = await stack.enter_async_context(page.gateway.client.stream("GET", page.gateway.url + "/playground/events"))
        lines = response.aiter_lines()
        while response.status_code == 200 and not (await anext(lines)).startswith(":"):
            pass
        stack.push_async_callback(lines.aclose)  # type: ignore[attr-defined]
        return response.status_code

    async def scenario(page: Page) -> Any:
        async with AsyncExitStack() as stack:
            before = [await listen(stack, page) for _ in range(3)]
        async with asyncio.timeout(5):
            while await listen(stack, page) != 200:
                await stack.aclose()
        await stack.aclose()
        return before

    assert act(tmp_path, scenario) == [200, 200, 503]


SDL = """
type Query { plain: Int  named(id: ID!, limit: Int = 3, filter: Filter!): Thing  things: [Thing!]!  any: Either }
type Mutation { change(colour: Colour!): Boolean }
input Filter { text: String!  nested: Filter  numbers: [Float!]! }
enum Colour { RED BLUE }
type Thing { id: ID!  part(of: Int!): Int  whole: Thing  parts: [Part] }
type Part { name: String  thing: Thing }
union Either = Thing | Part
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return {example.operation: example for example in examples(build_schema(SDL))}


def test_every_example_is_valid_and_has_its_required_arguments_as_variables(found: dict[str, Any]) -> None:
    schema = build_schema(SDL)
    assert [mistake for example in found.values() for mistake in validate(schema, parse(example.query))] == []
    assert found["named"].variables == {"id": "1", "filter": {"text": "text", "numbers": [1.0]}}
    assert found["change"].variables == {"colour": "RED"}
    assert [name for name, example in found.items() if example.is_mutation] == ["change"]


def test_an_example_has_the_leaf_fields_of_two_levels(found: dict[str, Any]) -> None:
    assert found["things"].query == (
        "query things {\n  things {\n    id\n    whole {\n      id\n    }\n    parts {\n      name\n    }\n  }\n}"
    )
    assert found["any"].query == "query any {\n  any {\n    __typename\n  }\n}"
