"""Requests to a gateway process: which are valid, which are rejected, and with what response (rows P-02 to P-10)."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

import pytest

from tests.faults import Json, Status
from tests.faults.served import Served, query_body
from tests.kit.serving import JSON, RESPONSE_JSON

case = pytest.mark.case
SOUND = query_body("{ constant { one } }")

NO_REQUESTS = {
    "a cut object": b'{"query":',
    "100,000 brackets": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "invalid UTF-8": b'{"query": "{ __typename \xff }"}',
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "NaN": b'{"query": "{ __typename }", "variables": {"a": NaN}}',
    "half a surrogate pair": b'{"query": "{ __typename }", "variables": {"a": "\\ud800"}}',
    "a list of variables": b'{"query": "{ __typename }", "variables": []}',
}


@case("P-02")
@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_a_body_that_is_no_request_is_a_400_without_data(served: Served, body: bytes) -> None:
    answer = served.run(lambda: served.gateway.post(body))
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])
    assert "data" not in answer.body


@case("P-04")
@pytest.mark.parametrize("query", ["{", "{ constant", "{ a(b: ) }", "\0", '{ a(b: "'])
def test_a_document_that_does_not_parse_is_told_as_such(served: Served, query: str) -> None:
    answer = served.ask(query)
    assert (answer.status, answer.codes) == (400, ["GRAPHQL_PARSE_FAILED"])
    assert "data" not in answer.body


INVALID: Mapping[str, tuple[str, Mapping[str, object] | None, str]] = {
    "an unknown field": ("{ nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
    "a text for an integer": ("query($a: Int!) { constant(id: $a) { one } }", {"a": "x"}, "BAD_USER_INPUT"),
    "a missing variable": ("query($a: Int!) { constant(id: $a) { one } }", None, "BAD_USER_INPUT"),
    "an object for a scalar": ("query($a: Int!) { constant(id: $a) { one } }", {"a": {"b": 1}}, "BAD_USER_INPUT"),
    "a list for a scalar": ("query($a: Int!) { constant(id: $a) { one } }", {"a": [1]}, "BAD_USER_INPUT"),
    "a null item": ("query($a: [Int!]) { constant(list: $a) { one } }", {"a": [None]}, "BAD_USER_INPUT"),
    "a very long text": ("query($a: Int!) { constant(id: $a) { one } }", {"a": "x" * 100_000}, "BAD_USER_INPUT"),
    "a wrong literal": ('{ constant(id: "x") { one } }', None, "GRAPHQL_VALIDATION_FAILED"),
}


@case("P-05")
@pytest.mark.parametrize("name", INVALID)
def test_what_is_not_valid_calls_nobody_and_is_echoed_in_part_at_the_most(served: Served, name: str) -> None:
    query, variables, code = INVALID[name]
    before = len(served.upstream.requests)
    answer = served.ask(query, variables)
    assert (answer.status, answer.codes) == (400, [code])
    assert "x" * 201 not in json.dumps(answer.body)
    assert len(json.dumps(answer.body)) < 2_000
    assert len(served.upstream.requests) == before


@case("P-05")
def test_with_json_alone_what_is_not_valid_is_told_with_status_200(served: Served) -> None:
    for query in ("{", "{ nothing }", "query($a: Int!) { constant(id: $a) { one } }"):
        answer = served.run(partial(served.gateway.post, query_body(query), accept=JSON))
        assert (answer.status, "data" in answer.body) == (200, False)


def get(query: str) -> str:
    return f"/graphql?query={quote(query)}"


PREFLIGHT = {"apollo-require-preflight": "1"}


@case("P-07")
def test_methods_and_media_types_that_do_not_fit_are_told_apart(served: Served) -> None:
    headers = {"content-type": JSON, "accept": RESPONSE_JSON}
    for method in ("PUT", "DELETE", "PATCH"):
        answer = served.send(method, "/graphql", content=SOUND, headers=headers)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
    assert served.send("GET", "/graphql", headers=PREFLIGHT).status == 400
    answer = served.send("GET", get("mutation { change(path: 1) { post } }"), headers=PREFLIGHT)
    assert (answer.status, answer.codes) == (405, ["MUTATION_NOT_ALLOWED_OVER_HTTP_GET"])
    for content_type in ({}, {"content-type": "text/xml"}, {"content-type": "application/graphql"}):
        answer = served.send("POST", "/graphql", content=SOUND, headers=content_type)
        assert (answer.status, answer.codes) == (415, ["INVALID_CONTENT_TYPE_HEADER"])
    for accept in ("text/plain", "text/html, image/*", "application/json;q=0"):
        answer = served.send("POST", "/graphql", content=SOUND, headers={**headers, "accept": accept})
        assert (answer.status, answer.codes) == (406, ["INVALID_ACCEPT_HEADER"])


@case("P-08")
@pytest.mark.parametrize("accept", [JSON, RESPONSE_JSON])
def test_an_answer_with_data_has_status_200_whatever_else_went_wrong(served: Served, accept: str) -> None:
    served.upstream.script("/broken", Status(500))
    answer = served.run(
        lambda: served.gateway.post(query_body('{ pair(left: "broken", right: "quick") { first second } }'), accept=accept)
    )
    assert (answer.status, answer.data) == (200, {"pair": {"first": None, "second": "quick"}})
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "first", ["pair", "first"])


@case("P-09")
def test_every_answer_is_sound_json_with_a_request_id_and_errors_that_say_their_code(served: Served) -> None:
    """``tests.kit.serving.checked`` checks the same for the responses of all other tests of the cases."""
    served.upstream.script("/ninth", Json({"x": "\u2028\U0001f600"}), Status(404), Json(None))
    bodies = [
        SOUND,
        query_body('{ pair(left: "ninth") { first } refusedStrict { call } }'),
        query_body('{ pair(left: "ninth") { first } }'),
        query_body('{ pair(left: "ninth") { first } }', variables=1),
        b"\xff",
        *NO_REQUESTS.values(),
    ]
    for body in bodies:
        answer = served.run(partial(served.gateway.post, body))
        assert answer.headers["x-request-id"]
    ids = [served.ask("{ __typename }").headers["x-request-id"] for _ in range(10)]
    assert len(set(ids)) == 10
    assert served.ask("{ __typename }", x_request_id="mine-1").headers["x-request-id"] == "mine-1"


@case("P-10")
@pytest.mark.parametrize("body", [b"[" + SOUND + b"]", b"[]", b"[" + b",".join([SOUND] * 1_000) + b"]"])
def test_a_batch_is_refused_where_batches_are_not_enabled(served: Served, body: bytes) -> None:
    answer = served.run(lambda: served.gateway.post(body))
    assert (answer.status, answer.codes) == (400, ["BATCHING_NOT_ENABLED"])


@case("P-09")
def test_many_requests_at_once_have_their_own_answers(served: Served) -> None:
    async def ask_many() -> None:
        query = "query($t: String) { constant(text: $t) { value } }"
        answers = await asyncio.gather(*(served.gateway.ask(query, {"t": str(number)}) for number in range(100)))
        assert [answer.data["constant"]["value"]["text"] for answer in answers] == [str(number) for number in range(100)]

    served.run(ask_many)
