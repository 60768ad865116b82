"""What responses reveal: nothing about upstreams, hosts, schema, versions or secrets (rows L-01 to L-08)."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.faults import Behaviour, DeepJson, Html, Json, Raw, Reset, Status
from tests.faults.served import Served, query_body, raw
from tests.kit.serving import JSON, RESPONSE_JSON, wait_until

case = pytest.mark.case
SECRET = "Traceback (most recent call last): /srv/app/db.py SELECT * FROM users; http://10.0.0.7:8080 password=hunter2"
LEAKY: dict[str, Behaviour] = {
    "status": Status(500, SECRET.encode()),
    "page": Html(SECRET),
    "reason": Raw(b"HTTP/1.1 500 hunter2 10.0.0.7\r\ncontent-length: 0\r\n\r\n"),
    "header": Raw(b"HTTP/1.1 200 OK\r\nx-leak: " + SECRET.encode() + b"\0\r\n\r\n"),
    "type": Json({"number": SECRET, "name": SECRET}),
    "reset": Reset(),
    "depth": DeepJson(1_000),
}
WORDS = [
    "hunter2",
    "10.0.0.7",
    "db.py",
    "SELECT",
    "127.0.0.1",
    "no-such-host",
    "invalid",
    "httpx",
    "asyncio",
    "Error:",
    "stepgraph",
]


def as_text(response: object) -> str:
    return str(response)


# -- faults


@case("L-01")
@pytest.mark.parametrize("name", LEAKY)
def test_what_an_upstream_says_of_its_failure_is_not_passed_on(served: Served, name: str) -> None:
    served.upstream.script(f"/leaky-{name}", LEAKY[name])
    answer = served.ask(f'{{ typed(path: "leaky-{name}") {{ item {{ number }} }} }}', x_request_id=f"leak-{name}")
    assert answer.codes
    for word in WORDS:
        assert word not in as_text((answer.body, answer.headers))


@case("L-01")
@pytest.mark.parametrize("query", ["{ selecting { call } }", "{ unresolved { call } }", "{ refused { call } }"])
def test_an_expression_that_fails_and_a_host_that_is_not_there_are_told_by_fixed_words(served: Served, query: str) -> None:
    served.upstream.script("/selected", Json({"secret": "hunter2"}))
    answer = served.ask(query, x_request_id="fixed-words")
    assert len(answer.codes) == 1
    for word in [*WORDS, "abs", "secret"]:
        assert word not in as_text((answer.body, answer.headers))
    wait_until(lambda: "fixed-words" in served.process.stderr, "the log tells of it")


# -- production mode


@case("L-03")
def test_production_mode_shows_no_page_no_schema_and_no_suggestion(served: Served) -> None:
    for path in ("/", "/graphql/", "/playground", "/graphiql"):
        response = served.get(path, accept="text/html")
        assert response.status_code == 404
        assert "server" not in response.headers
    response = served.get("/graphql", accept="text/html")
    assert response.status_code in {400, 404, 406}
    assert "<html" not in response.text
    for query in (
        "{ __schema { queryType { name } } }",
        '{ __type(name: "Query") { name } }',
        "{ ...A } fragment A on Query { __schema { queryType { name } } }",
    ):
        answer = served.ask(query)
        assert (answer.status, answer.codes) == (403, ["INTROSPECTION_DISABLED"])
    for query in (
        "{ constnt { one } }",
        "{ constant { onee } }",
        "{ constant(txt: 1) { one } }",
        "{ ... on Constnt { one } }",
        "query($a: Itn) { __typename }",
    ):
        answer = served.ask(query)
        assert answer.status == 400
        assert "Did you mean" not in as_text(answer.body)
        assert "did you mean" not in as_text(answer.body)
    answer = served.ask("{ __typename constant { __typename } }")
    assert answer.data == {"__typename": "Query", "constant": {"__typename": "Constant"}}
    assert {"server", "x-powered-by"}.isdisjoint(answer.headers.keys())


PATHS = ["/metrics", "/explain", "/admin", "/admin/config", "/admin/reload", "/docs", "/openapi.json", "/status", "/favicon.ico"]
PATHS += [
    "/.env",
    "/..%2f..%2fetc%2fpasswd",
    "/graphql/../admin/config",
    "/static/../../etc/passwd",
    "//graphql",
    "/GRAPHQL",
    "/plan",
]


@case("L-04")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_not_for_clients_is_not_there(served: Served, path: str, method: str) -> None:
    head = f"{method} {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    response = served.raw(head.encode())
    assert response.startswith(b"HTTP/1.1 404 ")
    assert b"x-request-id" in response


@case("L-04")
@pytest.mark.parametrize("path", ["/", "/graphql"])
def test_a_websocket_is_refused(served: Served, path: str) -> None:
    lines = [f"GET {path} HTTP/1.1", "host: gateway", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"]
    lines += ["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol: graphql-transport-ws, graphql-ws", "", ""]
    response = served.raw("\r\n".join(lines).encode(), within=3)
    assert 400 <= int(response[9:12]) < 500


LISTENING = "0A"


@case("L-04")
def test_the_admin_listener_is_for_this_machine_alone(served: Served) -> None:
    port = int(served.admin.rpartition(":")[2])
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    listening = [address for _, address, _, state, *_ in sockets if state == LISTENING and address.endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]
    foreign = served.run(lambda: raw(port, b"GET /admin/config HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"))
    assert foreign.startswith(b"HTTP/1.1 4")


# -- cross-site requests

CHANGE = query_body('mutation { change(path: "forged") { post } }')
FORM = "multipart/form-data; boundary=x"


@case("L-06")
def test_what_a_foreign_page_can_send_is_refused_and_runs_nothing(served: Served) -> None:
    served.upstream.script("/forged", Json(1))
    for content_type in ("text/plain", "application/x-www-form-urlencoded", FORM, "text/plain;charset=application/json"):
        answer = served.send("POST", "/graphql", content=CHANGE, headers={"content-type": content_type})
        assert answer.status in {400, 415}
        assert answer.codes in (["CSRF_ERROR"], ["INVALID_CONTENT_TYPE_HEADER"])
    target = "/graphql?query=" + quote('{ pair(left: "forged") { first } }')
    for headers in (
        {},
        {"content-type": "text/plain"},
        {"content-type": FORM},
        {"accept": "*/*", "origin": "https://evil.example"},
    ):
        answer = served.send("GET", target, headers=headers)
        assert (answer.status, answer.codes) == (400, ["CSRF_ERROR"])
    assert served.upstream.count("/forged") == 0
    for name in ("apollo-require-preflight", "graphql-require-preflight"):
        assert served.send("GET", target, headers={name: "1"}).data == {"pair": {"first": 1}}


@case("L-06")
def test_no_other_site_is_let_in_where_the_configuration_names_none(served: Served) -> None:
    headers = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    response = served.run(lambda: served.gateway.client.request("OPTIONS", f"{served.process.url}/graphql", headers=headers))
    assert not any(name.startswith("access-control-") for name in response.headers)
    answer = served.ask("{ __typename }", origin="https://evil.example")
    assert not any(name.startswith("access-control-") for name in answer.headers)


# -- graphql-cop (https://github.com/dolevf/graphql-cop): its thirteen checks, each with its request and what it reports as a finding


async def _post(served: Served, body: object, content_type: str = JSON) -> httpx.Response:
    content = json.dumps(body).encode() if content_type == JSON else str(body).encode()
    return await served.gateway.client.post(
        f"{served.process.url}/graphql", content=content, headers={"content-type": content_type}
    )


def _has_data(response: httpx.Response) -> bool:
    try:
        body = response.json()
    except ValueError:
        return False
    return isinstance(body, list) or "data" in body


CIRCLE = "{__schema{types{fields{type{fields{type{fields{type{fields{type{name}}}}}}}}}}}"
COP: dict[str, str] = {
    "introspection": "query cop { __schema { types { name fields { name } } } }",
    "field suggestions": "query cop { __schema { directive } }",
    "circular introspection": CIRCLE,
    "alias overloading": "query cop { " + " ".join(f"alias{number}:__typename" for number in range(101)) + " }",
    "field duplication": "query cop { " + "__typename \n" * 500 + "} ",
    "directive overloading": "query cop { __typename " + "@aa" * 10 + " }",
}


@case("L-08")
@pytest.mark.parametrize("name", COP)
def test_graphql_cop_finds_nothing_in_a_document(served: Served, name: str) -> None:
    response = served.run(
        lambda: _post(
            served, {"query": COP[name], "operationName": "cop"} if name != "circular introspection" else {"query": COP[name]}
        )
    )
    assert not _has_data(response)
    assert "Did you mean" not in response.text
    if name == "directive overloading":
        assert len(response.json()["errors"]) < 10


@case("L-08")
def test_graphql_cop_finds_nothing_in_the_ways_to_ask(served: Served) -> None:
    async def ask_all() -> None:
        client, url = served.gateway.client, f"{served.process.url}/graphql"
        batch = await _post(served, [{"query": "query cop { __typename }"}] * 10)
        assert not isinstance(batch.json(), list)
        for params in ({"query": "query cop {__typename}"}, {"query": "mutation cop {__typename}"}):
            assert not _has_data(await client.get(url, params=params))
        form = await _post(served, "query=query%20cop%20%7B__typename%7D", "application/x-www-form-urlencoded")
        assert not _has_data(form)
        traced = await _post(served, {"query": "query cop { __typename }"})
        assert "tracing" not in traced.json().get("extensions", {})
        unhandled = await _post(served, {"query": "qwerty cop { abc }"})
        assert "exception" not in unhandled.text
        for path in ("/graphiql", "/playground", "/console", "/graphql"):
            page = await client.get(f"{served.process.url}{path}", headers={"accept": "text/html"})
            assert not any(word in page.text.lower() for word in ("graphiql", "playground", "graphql console"))

    served.run(ask_all)


# -- secrets

CANARIES = {"CANARY_TOKEN": "canary-token-7f3a", "CANARY_PASSWORD": "canary-password-91bc", "CANARY_KEY": "canary-key-55e0"}
SECRETIVE = {
    "graph.yaml": """
telemetry: { log_level: debug, access_log: all }
---
limits: { trace: true }
---
sources:
  core:
    type: api
    base_url: UPSTREAM
    retry: { attempts: 1 }
    headers: { authorization: "Bearer ${CANARY_TOKEN}" }
  gone: { type: warehouse, url: "postgresql://joe:${CANARY_PASSWORD}@127.0.0.1:1/none", retry: { attempts: 1 } }
defaults: { api: core, warehouse: gone }
---
operation: call
args: { path: ID! }
steps:
  - { name: one, type: api, endpoint: "/{path}", query: { key: "${CANARY_KEY}" } }
  - { name: two, type: warehouse, query: "SELECT 1 AS one" }
"""
}


@pytest.fixture(scope="module", params=["production", "development"])
def secretive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    arguments = ["--dev"] if request.param == "development" else []
    with Served(tmp_path_factory.mktemp("secretive"), SECRETIVE, arguments, **CANARIES) as opened:
        yield opened


TELLING = ["/", "/ready", "/live", "/health/ready", "/playground/runs", "/playground/examples"]
"""Paths that a client may request in addition to queries; most exist only in development mode."""


async def all_pages(secretive: Served) -> list[str]:
    client, url = secretive.gateway.client, secretive.process.url
    pages = [await client.get(url + path) for path in TELLING]
    pages += [await client.get(secretive.admin + path) for path in ("/metrics", "/admin/config")]
    pages.append(await client.post(url + "/playground/plan", json={"query": '{ call(path: "canary") { one two } }'}))
    if (runs := pages[TELLING.index("/playground/runs")]).is_success:
        pages += [await client.get(f"{url}/playground/runs/{run['id']}") for run in runs.json()]
        assert len(pages) > len(TELLING) + 3
    return [as_text((page.text, page.headers)) for page in pages]


@case("L-02")
def test_a_secret_is_in_nothing_that_the_gateway_tells(secretive: Served) -> None:
    async def ask_all() -> list[str]:
        texts = []
        behaviours: list[Behaviour] = [
            Json(1),
            Status(500),
            Reset(),
            Html(),
            Raw(b"\x16\x03"),
            Status(302),
            LEAKY["status"],
            LEAKY["header"],
        ]
        for behaviour in behaviours:
            secretive.upstream.script("/canary", behaviour)
            answer = await secretive.gateway.ask('{ call(path: "canary") { one two } }', authorization="Bearer canary-client-77")
            texts.append(as_text((answer.body, answer.headers)))
        answer = await secretive.gateway.post(
            json.dumps({"query": '{ call(path: "canary") { one } }', "extensions": {"trace": True}}).encode()
        )
        texts.append(as_text(answer.body))
        texts += await all_pages(secretive)
        await asyncio.sleep(0.2)
        return texts

    texts = secretive.run(ask_all)
    assert dict(secretive.upstream.requests[-1].headers)["authorization"] == "Bearer canary-token-7f3a"
    assert "key=canary-key-55e0" in secretive.upstream.requests[-1].target
    for text in [*texts, secretive.process.stderr, secretive.process.stdout]:
        for canary in [*CANARIES.values(), "canary-client-77"]:
            assert canary not in text


@case("L-02")
def test_an_answer_has_the_media_type_that_was_asked_for_and_is_not_guessed_at(served: Served) -> None:
    assert served.ask("{ __typename }").headers["content-type"] == f"{RESPONSE_JSON}; charset=utf-8"
