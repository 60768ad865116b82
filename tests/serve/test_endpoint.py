"""HTTP in, HTTP out: what GraphQL over HTTP asks of statuses, media types and methods, and what production keeps to itself.

Hostile bodies have their own page, ``test_request.py``.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from gateway.contract.request import GraphQLRequest
from gateway.errors import RequestError
from gateway.serve.generation.generation import Generation
from gateway.serve.http.media_types import negotiate
from gateway.serve.http.request import MAX_CACHED_BODY, MAX_CACHED_REQUESTS, HttpMessage, RequestParser
from tests.faults import Json
from tests.kit.serving import JSON, RESPONSE_JSON, Gateway, Stage, serve_command
from tests.kit.timing import least_cpu_seconds

CONFIG = {
    "graph.yaml": """
sources:
  core:
    type: api
    base_url: UPSTREAM
    headers: { x-team: desk }
defaults: { api: core }
---
operation: thing
args: { id: ID!, size: Size }
steps:
  - name: one
    type: api
    endpoint: /things/{id}
    headers: { x-declared: "{request.headers.x-wanted?}" }
    returns: Item
---
operation: doubled
args: { number: Int! }
steps: [ { name: given, type: value, value: "{number}", returns: Int } ]
""",
    "types.graphql": """
type Item { id: ID! label: String }
enum Size { SMALL LARGE }
""",
}
TRIVIAL = "{ __typename }"
THING = '{ thing(id: "1") { one { label } } }'
MODES = pytest.mark.parametrize("mode", ["production", "development"])
PREFLIGHT = {"graphql-require-preflight": "1"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("http"), CONFIG) as opened:
        opened.upstream.script("/things/1", Json({"id": 1, "label": "first"}))
        yield opened


def gateway_of(stage: Stage, mode: str) -> Gateway:
    return stage.production if mode == "production" else stage.development


def get(parameters: dict[str, str]) -> str:
    return "/graphql?" + urlencode(parameters)


# -- media types


@MODES
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (RESPONSE_JSON, RESPONSE_JSON),
        (JSON, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/*;q=0.2, text/html", JSON),
        (f"{RESPONSE_JSON}, {JSON};q=0.9", RESPONSE_JSON),
        (f"{JSON};q=0.9, {RESPONSE_JSON}", RESPONSE_JSON),
        (f"{RESPONSE_JSON};q=0.5, {JSON}", JSON),
        (f"{RESPONSE_JSON}; charset=utf-8, {JSON}; charset=utf-8", RESPONSE_JSON),
        (f"text/html, {RESPONSE_JSON};q=0.1", RESPONSE_JSON),
        ("APPLICATION/GraphQL-Response+JSON", RESPONSE_JSON),
        ("", JSON),
    ],
)
def test_the_answer_has_the_media_type_that_the_client_likes_best(stage: Stage, mode: str, accept: str, expected: str) -> None:
    answer = stage.run(lambda: gateway_of(stage, mode).ask(TRIVIAL, accept=accept))
    assert (answer.status, answer.data) == (200, {"__typename": "Query"})
    assert answer.headers["content-type"] == f"{expected}; charset=utf-8"


def test_without_an_accept_header_the_answer_is_json(stage: Stage) -> None:
    async def ask() -> httpx.Response:
        request = httpx.Request("POST", stage.production.url + "/graphql", json={"query": TRIVIAL})
        assert "accept" not in request.headers
        return await stage.production.client.send(request)

    assert stage.run(ask).headers["content-type"].startswith(JSON)


@MODES
@pytest.mark.parametrize(
    "accept", ["text/plain", "text/*", "application/xml", f"{JSON};q=0", f"{RESPONSE_JSON};charset=utf-16", "nonsense", ";", ","]
)
def test_a_client_that_takes_neither_media_type_gets_406(stage: Stage, mode: str, accept: str) -> None:
    answer = stage.run(lambda: gateway_of(stage, mode).ask(THING, accept=accept))
    assert (answer.status, answer.codes) == (406, ["INVALID_ACCEPT_HEADER"])


def test_a_refused_media_range_is_refused_also_when_a_wider_one_is_allowed(stage: Stage) -> None:
    answer = stage.run(lambda: stage.production.ask(TRIVIAL, accept=f"{JSON};q=0, */*;q=0.5"))
    assert answer.headers["content-type"].startswith(RESPONSE_JSON)


# -- request errors

REQUEST_ERRORS = {
    "GRAPHQL_PARSE_FAILED": {"query": "{"},
    "GRAPHQL_VALIDATION_FAILED": {"query": "{ nothing }"},
    "BAD_USER_INPUT": {"query": "query($n: Int!) { doubled(number: $n) { given } }", "variables": {"n": "x"}},
    "OPERATION_RESOLUTION_FAILURE": {"query": "query A { __typename } query B { __typename }"},
}


@MODES
@pytest.mark.parametrize("code", REQUEST_ERRORS)
def test_a_request_error_is_a_400_without_data(stage: Stage, mode: str, code: str) -> None:
    answer = stage.run(lambda: gateway_of(stage, mode).post(json.dumps(REQUEST_ERRORS[code]).encode()))
    assert (answer.status, answer.codes) == (400, [code])
    assert "data" not in answer.body


@pytest.mark.parametrize("code", REQUEST_ERRORS)
def test_a_well_formed_request_is_200_for_clients_that_take_only_json(stage: Stage, code: str) -> None:
    answer = stage.run(lambda: stage.production.post(json.dumps(REQUEST_ERRORS[code]).encode(), accept=JSON))
    assert (answer.status, answer.codes) == (200, [code])
    assert "data" not in answer.body


@pytest.mark.parametrize("body", [b'{"query":', b'{"query": 1}', b"[]", b'{"qeury": "{ __typename }"}'])
def test_a_body_that_is_no_request_is_a_400_for_every_client(stage: Stage, body: bytes) -> None:
    assert stage.run(lambda: stage.production.post(body, accept=JSON)).status == 400


@MODES
@pytest.mark.parametrize(
    "variables", [{}, {"n": None}, {"n": "x"}, {"n": {"a": 1}}, {"n": [1]}, {"n": 1.5}, {"n": 2**31}, {"n": True}]
)
def test_a_variable_that_is_missing_or_of_the_wrong_type_is_refused(
    stage: Stage, mode: str, variables: dict[str, object]
) -> None:
    query = "query($n: Int!) { doubled(number: $n) { given } }"
    answer = stage.run(lambda: gateway_of(stage, mode).ask(query, variables))
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])


def test_a_refused_value_is_echoed_in_part(stage: Stage) -> None:
    query = "query($n: Int!) { doubled(number: $n) { given } }"
    answer = stage.run(lambda: stage.production.ask(query, {"n": "é" * 5_000}))
    assert answer.error["message"].count("é") <= 200


@pytest.mark.parametrize(
    ("query", "name", "code"),
    [
        ("query A { __typename } query B { __typename }", "B", None),
        ("query A { __typename } query B { __typename }", "C", "OPERATION_RESOLUTION_FAILURE"),
        ("query A { __typename }", "", None),
        ("{ __typename }", "A", "OPERATION_RESOLUTION_FAILURE"),
        ("fragment F on Query { __typename }", None, "OPERATION_RESOLUTION_FAILURE"),
    ],
)
def test_the_operation_name_chooses_the_operation(stage: Stage, query: str, name: str | None, code: str | None) -> None:
    body = json.dumps({"query": query, "operationName": name}).encode()
    assert stage.run(lambda: stage.production.post(body)).codes == ([code] if code else [])


@pytest.mark.parametrize("kind", ["mutation", "subscription"])
def test_an_operation_that_the_schema_has_not_is_a_validation_error(stage: Stage, kind: str) -> None:
    answer = stage.run(lambda: stage.production.ask(f"{kind} {{ x }}"))
    assert (answer.status, answer.codes) == (400, ["GRAPHQL_VALIDATION_FAILED"])


# -- methods and content types


@MODES
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"])
def test_methods_other_than_get_and_post_are_405(stage: Stage, mode: str, method: str) -> None:
    answer = stage.run(lambda: gateway_of(stage, mode).send(method, "/graphql"))
    assert (answer.status, answer.codes, answer.headers["allow"]) == (405, ["METHOD_NOT_ALLOWED"], "GET, POST")


@MODES
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/xml",
        "text/plain",
        "text/plain;charset=application/json",
        "application/graphql",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json-seq",
    ],
)
def test_a_post_that_is_not_json_is_415(stage: Stage, mode: str, content_type: str | None) -> None:
    headers = {"accept": RESPONSE_JSON, **PREFLIGHT} | ({"content-type": content_type} if content_type else {})
    before = len(stage.upstream.requests)
    content = json.dumps({"query": THING}).encode()
    answer = stage.run(lambda: gateway_of(stage, mode).send("POST", "/graphql", content=content, headers=headers))
    assert (answer.status, answer.codes) == (415, ["INVALID_CONTENT_TYPE_HEADER"])
    assert len(stage.upstream.requests) == before


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON;Charset=UTF-8", 'application/json; charset="utf-8"']
)
def test_json_in_utf8_is_taken_however_it_is_spelt(stage: Stage, content_type: str) -> None:
    body = json.dumps({"query": TRIVIAL}).encode()
    assert stage.run(lambda: stage.production.post(body, content_type=content_type)).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
def test_a_compressed_body_is_415(stage: Stage, encoding: str) -> None:
    answer = stage.run(lambda: stage.production.post(b"\x1f\x8b", content_encoding=encoding))
    assert (answer.status, answer.codes) == (415, ["INVALID_CONTENT_TYPE_HEADER"])


# -- requests that are cached by their bodies


def posted_message(body: bytes, **headers: str) -> HttpMessage:
    given = {"content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpMessage("POST", b"", given, body, "id", 0.0)


def read(message: HttpMessage, parser: RequestParser) -> GraphQLRequest:
    request = parser.parse(message)
    assert isinstance(request, GraphQLRequest)
    return request


def test_a_request_without_variables_is_read_once_and_one_with_variables_each_time() -> None:
    parser = RequestParser(is_development=False)
    same, other = (json.dumps({"query": TRIVIAL, "operationName": name}).encode() for name in ("a", "b"))
    first = read(posted_message(same), parser)
    assert read(posted_message(same), parser) is first
    assert read(posted_message(other), parser).operation_name == "b"
    varying = json.dumps({"query": TRIVIAL, "variables": {"a": 1}}).encode()
    assert read(posted_message(varying), parser) is not read(posted_message(varying), parser)


def test_headers_are_looked_at_although_the_bytes_are_known() -> None:
    parser = RequestParser(is_development=False)
    body = json.dumps({"query": TRIVIAL, "variables": {}}).encode()
    assert not read(posted_message(body), parser).wants_trace
    assert read(posted_message(body, x_stepgraph_trace="1"), parser).wants_trace
    assert not read(posted_message(body), parser).wants_trace
    for headers in ({"content_type": "text/plain"}, {"content_encoding": "gzip"}):
        with pytest.raises(RequestError):
            read(posted_message(body, **headers), parser)


def test_what_is_known_of_requests_is_bounded_in_number_and_size() -> None:
    parser = RequestParser(is_development=False)
    bodies = [json.dumps({"query": f"{TRIVIAL} # {number}"}).encode() for number in range(MAX_CACHED_REQUESTS + 1)]
    first = read(posted_message(bodies[0]), parser)
    for body in bodies[1:]:
        read(posted_message(body), parser)
    assert read(posted_message(bodies[0]), parser) is not first
    long = json.dumps({"query": TRIVIAL + " " * MAX_CACHED_BODY}).encode()
    assert read(posted_message(long), parser) is not read(posted_message(long), parser)


def test_what_one_endpoint_knows_of_requests_is_not_known_to_another() -> None:
    message = posted_message(json.dumps({"query": TRIVIAL}).encode())
    assert read(message, RequestParser(is_development=False)) is not read(message, RequestParser(is_development=False))


# -- GET


@MODES
def test_a_get_takes_the_parameters_from_the_url(stage: Stage, mode: str) -> None:
    query = "query A($n: Int!) { doubled(number: $n) { given } } query B { __typename }"
    target = get({"query": query, "variables": '{"n": 7}', "operationName": "A", "extensions": "{}"})
    answer = stage.run(lambda: gateway_of(stage, mode).send("GET", target, headers=PREFLIGHT))
    assert (answer.status, answer.data) == (200, {"doubled": {"given": 7}})


@MODES
@pytest.mark.parametrize(
    "target",
    [
        "/graphql",
        "/graphql?query=",
        get({"query": TRIVIAL, "variables": "{"}),
        get({"query": TRIVIAL, "variables": "[]"}),
        get({"query": TRIVIAL, "variables": '{"a": "\\ud800"}'}),
        get({"query": TRIVIAL, "extensions": "7"}),
        "/graphql?query=%ff",
        "/graphql?query=%ED%A0%80",
        "/graphql?" + "&".join(f"a{number}=1" for number in range(101)) + "&query={__typename}",
    ],
)
def test_a_get_without_sound_parameters_is_a_400(stage: Stage, mode: str, target: str) -> None:
    answer = stage.run(lambda: gateway_of(stage, mode).send("GET", target, headers=PREFLIGHT))
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])


@MODES
def test_a_mutation_by_get_is_405(stage: Stage, mode: str) -> None:
    target = get({"query": "mutation { x }"})
    answer = stage.run(lambda: gateway_of(stage, mode).send("GET", target, headers=PREFLIGHT))
    assert (answer.status, answer.codes) == (405, ["MUTATION_NOT_ALLOWED_OVER_HTTP_GET"])
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}, {"content-type": "text/plain;charset=application/json"}])
def test_in_production_a_get_that_a_foreign_page_can_send_is_refused(stage: Stage, headers: dict[str, str]) -> None:
    before = len(stage.upstream.requests)
    answer = stage.run(lambda: stage.production.send("GET", get({"query": THING}), headers=headers))
    assert (answer.status, answer.codes) == (400, ["CSRF_ERROR"])
    assert len(stage.upstream.requests) == before


@pytest.mark.parametrize(
    "headers",
    [{"Apollo-Require-Preflight": "true"}, {"GraphQL-Require-Preflight": "1"}, {"content-type": "application/json"}],
)
def test_in_production_a_get_that_a_browser_asks_about_first_passes(stage: Stage, headers: dict[str, str]) -> None:
    answer = stage.run(lambda: stage.production.send("GET", get({"query": THING}), headers=headers))
    assert (answer.status, answer.data) == (200, {"thing": {"one": {"label": "first"}}})


def test_in_development_a_plain_get_passes(stage: Stage) -> None:
    assert stage.run(lambda: stage.development.send("GET", get({"query": TRIVIAL}))).status == 200


# -- request ids


@pytest.mark.parametrize("given", ["abc-123", "A.b_c-9", "x" * 128])
def test_a_sound_request_id_of_the_client_is_kept(stage: Stage, given: str) -> None:
    assert stage.run(lambda: stage.production.ask(TRIVIAL, x_request_id=given)).headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a,b", "<script>", "a\tb", "a%0d%0ab", "é"])
def test_any_other_request_id_is_replaced(stage: Stage, given: str) -> None:
    headers = {"x-request-id": given.encode(), "content-type": JSON.encode()}
    content = json.dumps({"query": TRIVIAL}).encode()
    answer = stage.run(lambda: stage.production.send("POST", "/graphql", content=content, headers=headers))
    (request_id,) = answer.headers.get_list("x-request-id")
    assert len(request_id) == 32
    assert request_id.isalnum()


def test_two_requests_have_two_request_ids(stage: Stage) -> None:
    async def ask() -> set[str]:
        answers = await asyncio.gather(*(stage.production.ask(TRIVIAL) for _ in range(5)))
        return {answer.headers["x-request-id"] for answer in answers}

    assert len(stage.run(ask)) == 5


# -- other paths


@MODES
@pytest.mark.parametrize(("path", "status"), [("/health/live", "live"), ("/health/ready", "ready")])
def test_health_is_told(stage: Stage, mode: str, path: str, status: str) -> None:
    answer = stage.run(lambda: gateway_of(stage, mode).send("GET", path))
    assert (answer.status, answer.body) == (200, {"status": status})


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_is_read_only(stage: Stage, path: str) -> None:
    answer = stage.run(lambda: stage.production.send("POST", path))
    assert (answer.status, answer.codes) == (405, ["METHOD_NOT_ALLOWED"])
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/explain",
        "/admin",
        "/docs",
        "/graphiql",
        "/playground/plan",
        "/playground/events",
        "/playground/examples",
        "/playground/runs",
        "/playground/index.html",
        "/health",
        "/graphql/",
        "/graphql/x",
        "/..%2fgraphql",
        "//graphql",
    ],
)
def test_in_production_there_is_nothing_else(stage: Stage, path: str) -> None:
    answer = stage.run(lambda: stage.production.send("GET", path, headers={"accept": "text/html"}))
    assert (answer.status, answer.codes) == (404, ["NOT_FOUND"])


@pytest.mark.parametrize("path", ["/playground/nope.js", "/playground/", "/playground/%2e%2e/%2e%2e/pyproject.toml"])
def test_in_development_a_file_of_the_page_that_is_not_there_is_not_found(stage: Stage, path: str) -> None:
    answer = stage.run(lambda: stage.development.send("GET", path))
    assert (answer.status, answer.codes) == (404, ["NOT_FOUND"])


def test_in_development_a_browser_gets_graphiql(stage: Stage) -> None:
    page = stage.run(lambda: stage.development.client.get(stage.development.url + "/", headers={"accept": "text/html"}))
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-request-id"]
    assert "<title>Stepgraph</title>" in page.text


@pytest.mark.parametrize(
    "accept", ["," * 65_000, "a;q=1," * 10_000, JSON + ",a" * 30_000], ids=["commas", "media types", "and more"]
)
def test_a_long_list_of_wishes_is_heard_in_part(accept: str) -> None:
    def hear() -> None:
        with contextlib.suppress(RequestError):
            assert negotiate(accept) == JSON

    assert least_cpu_seconds(hear, 0.02) < 0.02


@MODES
def test_an_unexpected_exception_is_an_answer_like_any_other(
    stage: Stage, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Generation, "_run", fail)
    monkeypatch.setattr(Generation, "answer", fail)  # in development mode the playground records through it
    gateway = gateway_of(stage, mode)
    response = stage.run(
        lambda: gateway.client.post(
            gateway.url + "/graphql", json={"query": f"{TRIVIAL} # not answered before"}, headers={"x-request-id": "known-id"}
        )
    )
    assert response.status_code == 500
    assert response.headers["x-request-id"] == "known-id"
    assert response.json()["errors"][0]["extensions"] == {"code": "INTERNAL_SERVER_ERROR"}
    assert "secret" not in response.text
    assert [vars(record)["request_id"] for record in caplog.records if record.exc_info] == ["known-id"]


@MODES
def test_a_websocket_is_refused(stage: Stage, mode: str) -> None:
    headers = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol": "graphql-transport-ws",
    }
    gateway = gateway_of(stage, mode)
    answer = stage.run(lambda: gateway.client.get(gateway.url + "/graphql", headers=headers))
    assert 400 <= answer.status_code < 500


# -- what production does not reveal


@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { name } } }",
        '{ __type(name: "Item") { name } }',
        '{ a: __typename b: __type(name: "Item") { name } }',
        "{ ... { ...F } } fragment F on Query { hidden: __schema { queryType { name } } }",
        '{ thing(id: "1") { one { label } } __schema { queryType { name } } }',
    ],
)
def test_in_production_introspection_is_switched_off(stage: Stage, query: str) -> None:
    before = len(stage.upstream.requests)
    answer = stage.run(lambda: stage.production.ask(query))
    assert (answer.status, answer.codes) == (403, ["INTROSPECTION_DISABLED"])
    assert "data" not in answer.body
    assert len(stage.upstream.requests) == before


def test_in_production_typename_is_answered(stage: Stage) -> None:
    answer = stage.run(lambda: stage.production.ask('{ __typename thing(id: "1") { __typename one { __typename } } }'))
    assert answer.data == {"__typename": "Query", "thing": {"__typename": "Thing", "one": {"__typename": "Item"}}}


def test_in_development_the_schema_can_be_asked_for(stage: Stage) -> None:
    answer = stage.run(
        lambda: stage.development.ask('{ __type(name: "Item") { name fields { name } } __schema { queryType { name } } }')
    )
    fields = [{"name": "id"}, {"name": "label"}]
    assert answer.data == {"__type": {"name": "Item", "fields": fields}, "__schema": {"queryType": {"name": "Query"}}}


MISSPELT = [
    ("{ thign { one } }", None),
    ('{ thing(id: "1") { oen { label } } }', None),
    ('{ thing(id: "1") { one { labl } } }', None),
    ('{ thing(di: "1") { one { label } } }', None),
    ('{ thing(id: "1", size: SMAL) { one { label } } }', None),
    ("{ ... on Itme { label } }", None),
    ("query($s: Sise) { __typename }", None),
    ('query($s: Size) { thing(id: "1", size: $s) { one { label } } }', {"s": "SMAL"}),
]


@pytest.mark.parametrize(("query", "variables"), MISSPELT)
def test_names_are_suggested_in_development_alone(stage: Stage, query: str, variables: dict[str, str] | None) -> None:
    errors = stage.run(lambda: stage.development.ask(query, variables)).body["errors"]
    assert any("did you mean" in error["message"].lower() for error in errors)
    kept = stage.run(lambda: stage.production.ask(query, variables)).body["errors"]
    assert not any("did you mean" in error["message"].lower() for error in kept)


@pytest.mark.case("A-09")
def test_the_upstream_gets_declared_headers_alone(stage: Stage) -> None:
    async def ask() -> list[tuple[str, str]]:
        before = len(stage.upstream.requests)
        await stage.production.ask(
            THING,
            cookie="session=secret",
            authorization="Bearer secret",
            x_anything="secret",
            x_wanted="passed on",
            connection="close, x-secret",
            x_secret="secret",
            te="trailers",
            forwarded="for=10.0.0.1",
            x_forwarded_for="10.0.0.1",
            user_agent="secret/1.0",
            accept_language="de",
        )
        (request,) = stage.upstream.requests[before:]
        return request.headers

    headers = dict(stage.run(ask))
    assert headers.pop("host") == stage.upstream.url.removeprefix("http://")
    assert headers.pop("connection", "keep-alive") == "keep-alive"
    assert headers == {"accept": "application/json", "accept-encoding": "gzip", "x-team": "desk", "x-declared": "passed on"}


@pytest.mark.case("A-09")
def test_the_client_gets_no_headers_of_the_upstream(stage: Stage) -> None:
    upstream_headers = {"set-cookie": "session=1", "server": "upstream/1.0", "x-powered-by": "php", "cache-control": "public"}
    stage.upstream.script("/things/telling", Json({"id": 1, "label": "first"}, headers=upstream_headers))
    answer = stage.run(lambda: stage.production.ask('{ thing(id: "telling") { one { label } } }'))
    assert set(answer.headers) == {"content-type", "content-length", "x-request-id", "x-config-version"}


def test_a_cookie_of_the_upstream_is_not_kept_for_the_next_call(stage: Stage) -> None:
    stage.upstream.script(
        "/things/baked", Json({"id": 1, "label": "x"}, headers={"set-cookie": "session=of-another-user; Path=/"})
    )

    async def ask() -> list[str]:
        for _ in range(2):
            await stage.production.ask('{ thing(id: "baked") { one { label } } }')
        return [name for name, _ in stage.upstream.requests[-1].headers]

    assert "cookie" not in stage.run(ask)


def test_the_served_process_does_not_name_its_server(stage: Stage, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "graph.yaml").write_text("operation: a\nsteps: [{ name: b, type: value, value: 1 }]\n", "utf-8")
    with serve_command(tmp_path, config) as process, httpx.Client(base_url=process.url, trust_env=False) as client:
        for path in ("/graphql", "/health/live", "/nothing"):
            assert set(client.get(path).headers) <= {"content-type", "content-length", "date", "x-request-id", "x-config-version"}
