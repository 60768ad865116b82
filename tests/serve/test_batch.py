"""Batches over real sockets: how many requests are accepted, and that each is answered by itself (case P-10)."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import Delay, Hang, Json, Status
from tests.kit.serving import JSON, Answer, Stage, until_tasks_end
from tests.kit.timing import SLACK

CONFIG = {
    "graph.yaml": """
sources: { core: { type: api, base_url: UPSTREAM, retry: { attempts: 1 } } }
defaults: { api: core }
---
operation: echo
args: { text: String }
steps: [ { name: words, type: value, value: "{text?}", returns: String } ]
---
operation: call
args: { path: ID! }
deadline_ms: 800
steps: [ { name: got, type: api, endpoint: "/{path}" } ]
---
operation: patient
steps: [ { name: got, type: api, endpoint: /hang, timeout_ms: 20000 } ]
---
limits: { batching: 5, max_response_bytes: 100000 }
"""
}
TYPENAME = {"query": "{ __typename }"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("batching"), CONFIG) as opened:
        yield opened


def ask(stage: Stage, *requests: object, **headers: str) -> Answer:
    return stage.run(lambda: stage.production.post(json.dumps(requests).encode(), **headers))


def call(path: str) -> dict[str, Any]:
    return {"query": "query($path: ID!) { call(path: $path) { got } }", "variables": {"path": path}}


@pytest.mark.parametrize("number", [1, 5])
def test_requests_of_one_body_are_answered_in_order(stage: Stage, number: int) -> None:
    requests = [{"query": f'{{ echo(text: "{index}") {{ words }} }}'} for index in range(number)]
    answer = ask(stage, *requests)
    assert (answer.status, answer.body) == (200, [{"data": {"echo": {"words": str(index)}}} for index in range(number)])


@pytest.mark.parametrize(
    ("requests", "status", "code"),
    [([TYPENAME] * 6, 422, "BATCH_LIMIT_EXCEEDED"), ([1] * 100_000, 422, "BATCH_LIMIT_EXCEEDED"), ([], 400, "BAD_REQUEST")],
)
@pytest.mark.parametrize("accept", [JSON, "application/graphql-response+json"])
def test_too_many_requests_in_one_body_or_none_are_refused_as_a_whole(
    stage: Stage, requests: list[object], status: int, code: str, accept: str
) -> None:
    before = len(stage.upstream.connections)
    answer = ask(stage, *requests, accept=accept)
    assert (answer.status, answer.codes, len(stage.upstream.connections)) == (status, [code], before)


def test_what_is_wrong_with_one_request_is_that_ones_answer_alone(stage: Stage) -> None:
    stage.upstream.script("/broken", Status(500))
    fields = " ".join(f"f{index}" for index in range(21))
    answer = ask(stage, {"query": "{"}, [TYPENAME], {"query": f"{{ {fields} }}"}, call("broken"), TYPENAME)
    codes = [[error["extensions"]["code"] for error in body.get("errors", ())] for body in answer.body]
    assert answer.status == 200
    assert codes == [["GRAPHQL_PARSE_FAILED"], ["BAD_REQUEST"], ["MAX_ROOT_FIELDS_LIMIT"], ["SUBREQUEST_HTTP_ERROR"], []]
    assert ["data" in body for body in answer.body] == [False, False, False, True, True]


def test_requests_of_one_body_wait_together_and_each_to_its_own_deadline(stage: Stage) -> None:
    stage.upstream.script("/hang", Hang())
    stage.upstream.script("/slow", Delay(0.2, Json({"slow": True})))
    answer = ask(stage, call("hang"), call("slow"), call("hang"), call("slow"))
    assert [body["data"]["call"]["got"] for body in answer.body] == [None, {"slow": True}, None, {"slow": True}]
    assert [bool(body.get("errors")) for body in answer.body] == [True, False, True, False]
    assert answer.seconds < 0.9 + SLACK


def test_answers_of_one_body_are_together_no_larger_than_one_may_be(stage: Stage) -> None:
    stage.upstream.script("/large", Json("x" * 40_000))
    echo = {"query": '{ echo(text: "%s") { words } }' % ("x" * 40_000)}
    for request in (call("large"), echo):
        answers = ask(stage, *[request] * 4, TYPENAME).body
        codes = [answer["errors"][0]["extensions"]["code"] for answer in answers if "errors" in answer]
        assert codes == ["RESPONSE_TOO_LARGE"] * 2
        assert answers[4] == {"data": {"__typename": "Query"}}


def test_a_client_that_leaves_takes_all_requests_of_its_body_with_it(stage: Stage) -> None:
    stage.upstream.script("/hang", Hang())

    async def leave() -> None:
        before, already = len(asyncio.all_tasks()), stage.upstream.count("/hang")
        asking = asyncio.create_task(stage.production.post(json.dumps([{"query": "{ patient { got } }"}] * 3).encode()))
        await stage.upstream.wait_requests("/hang", already + 3)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until_tasks_end(before, 0.25 + SLACK)

    stage.run(leave)
