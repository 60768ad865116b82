"""``stepgraph import openapi``: what it writes passes ``check``, answers as the service does, and says what it leaves out."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from gateway.develop.importing.openapi.configuration import import_openapi, translate
from gateway.develop.importing.openapi.description import Description, read_description
from gateway.develop.importing.result import Imported, ImportFault, by_reason
from playground.demo.behaviours import DEFAULTS, Behaviour
from playground.demo.upstream import create_app
from tests.kit.imported import data, written
from tests.kit.paths import TESTS
from tests.kit.serving import listening, serving

DEMO = TESTS / "imports" / "demo.yaml"


def imported(paths: Mapping[str, Any], schemas: Mapping[str, Any] | None = None, **more: Any) -> Imported:
    """Import a description that is written down in a test."""
    root = {"openapi": "3.0.3", "info": {"title": "Test"}, "paths": paths, "components": {"schemas": schemas or {}}, **more}
    return translate(Description("https://api.example.com/v1/openapi.json", json.loads(json.dumps(root))), None, None)


def answering(schema: Mapping[str, Any], *parameters: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a path item whose GET answers with a schema."""
    response = {"description": "ok", "content": {"application/json": {"schema": schema}}}
    return {"get": {"parameters": list(parameters), "responses": {"200": response}, **more}}


def reasons(result: Imported) -> dict[str, int]:
    return {reason: count for reason, count, _ in by_reason(result.left_out)}


# -- end to end


def test_a_service_answers_through_its_description_as_it_does_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        quick = create_app(dict.fromkeys(DEFAULTS, Behaviour(0)))
        description = Route("/openapi.yaml", lambda _: PlainTextResponse(DEMO.read_text("utf-8")))
        async with listening(Starlette(routes=[description, Mount("/", quick)])) as url:
            result = await asyncio.to_thread(import_openapi, f"{url}/openapi.yaml", {})
            folder = await asyncio.to_thread(written, result, tmp_path / "demo")
            async with serving(folder) as gateway, httpx.AsyncClient(base_url=url) as client:
                expected = {path: (await client.get(path)).json() for path in ("/posts", "/users?id=2&id=3", "/accounts/42")}
                found = await data(
                    gateway,
                    "{ posts { id userId title body } users(id: [2, 3]) { id name email companyId }"
                    " accountsFindOne(customer_id: 42) { name tier } fraudSignalsByCustomerId(customer_id: 42) { score }"
                    " post(post_id: 7) { id } none: post(post_id: 7777) { id } }",
                )
        assert result.name == "demo"
        assert [{**post, "id": int(post["id"]), "userId": int(post["userId"])} for post in found["posts"]] == expected["/posts"]
        of_users = [(int(user["id"]), user["name"], user["email"], int(user["companyId"])) for user in found["users"]]
        assert of_users == [(user["id"], user["name"], user["email"], user["companyId"]) for user in expected["/users?id=2&id=3"]]
        assert found["accountsFindOne"] == {key: expected["/accounts/42"][key] for key in ("name", "tier")}
        assert isinstance(found["fraudSignalsByCustomerId"]["score"], float)
        assert found["post"] == {"id": "7"}
        assert found["none"] is None

    asyncio.run(scenario())


def test_the_files_are_readable_and_the_same_each_time() -> None:
    first, second = (import_openapi(str(DEMO), {}, "http://127.0.0.1:9101", "demo") for _ in range(2))
    assert first == second
    assert list(first.files) == ["source.yaml", "operations.yaml", "types.graphql"]
    assert first.files["source.yaml"].splitlines()[1:] == [
        "sources:",
        "  demo:",
        "    type: api",
        "    base_url: ${DEMO_URL:-http://127.0.0.1:9101}",
        "# left out: GET /health: a response that is text/plain, not JSON",
    ]
    assert """
operation: accountsFindOne
description: A customer's account
args: { customer_id: ID! }
steps:
  - name: one
    type: api
    source: demo
    endpoint: /accounts/{customer_id}
    returns: Account
    not_found: null
aggregation: { strategy: pick, step: one }
---
""" in first.files["operations.yaml"]
    assert """
"What a customer is to us."
type Account {
  id: ID!
  name: String!
  tier: Tier!
}
""" in first.files["types.graphql"]


# -- arguments


def test_parameters_become_arguments_with_valid_names_and_the_types_that_they_have(tmp_path: Path) -> None:
    parameters: list[dict[str, Any]] = [
        {"name": "filter[name]", "in": "query", "schema": {"type": "string"}},
        {"name": "context", "in": "query", "required": True, "schema": {"type": "boolean"}},
        {"name": "size", "in": "query", "schema": {"type": "string", "enum": ["small", "large"]}},
        {"name": "tags", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
        {"name": "ids", "in": "query", "explode": False, "schema": {"type": "array", "items": {"type": "integer"}}},
        {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "string"}},
        {"name": "X-Version", "in": "header", "required": True, "schema": {"type": "string", "enum": ["2024-01"]}},
        {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
        {"name": "session", "in": "cookie", "schema": {"type": "string"}},
        {"name": "where", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
    ]
    result = imported({"/a/{user-id}/b": answering({"type": "string"}, *parameters, operationId="find")})
    written(result, tmp_path / "test")
    assert (
        result.files["operations.yaml"]
        == """\
# Imported from https://api.example.com/v1/openapi.json (Test).
# left out: the header 'X-Trace', which is not required
# left out: the cookie parameter 'session', in a cookie
# left out: the query parameter 'where', an object
operation: find
args:
  filter_name: String
  context2: Boolean!
  size: FindSize
  tags: "[String!]"
  ids: String
  x_tenant: String!
  user_id: ID!
steps:
  - name: one
    type: api
    source: test
    endpoint: /a/{user_id}/b
    query:
      "filter[name]": "{filter_name?}"
      context: "{context2}"
      size: "{size?}"
      tags: "{tags?}"
      ids: "{ids?}"
    headers: { X-Tenant: "{x_tenant}", X-Version: "2024-01" }
    returns: String
aggregation: { strategy: pick, step: one }
"""
    )


def test_operations_without_a_name_are_named_by_their_path_and_no_two_alike(tmp_path: Path) -> None:
    text = {"type": "string"}
    paths = {
        "/": answering(text),
        "/users/{id}/posts": answering(text),
        "/a": answering(text, operationId="get thing"),
        "/b": answering(text, operationId="get-thing"),
        "/c": answering(text, operationId="2fa"),
        "/d": answering(text, operationId="__x"),
        "/e": answering(text, operationId="Café"),
        "/f?beta=true": answering(text),
    }
    blueprint_names = [
        line[11:] for line in imported(paths).files["operations.yaml"].splitlines() if line.startswith("operation:")
    ]
    assert blueprint_names == ["root", "usersByIdPosts", "getThing", "getThing2", "_2fa", "x", "cafe", "fBetaTrue"]
    written(imported(paths), tmp_path / "test")


# -- types


def test_schemas_become_types(tmp_path: Path) -> None:
    schemas = {
        "node": {
            "type": "object",
            "required": ["id", "parent", "children", "maybe"],
            "properties": {
                "id": {"type": "integer"},
                "parent": {"$ref": "#/components/schemas/node"},
                "children": {"type": "array", "items": {"$ref": "#/components/schemas/node"}},
                "maybe": {"type": "string", "nullable": True},
                "large": {"type": "integer", "format": "int64"},
                "at": {"type": "string", "format": "date-time"},
                "wrapped": {"allOf": [{"$ref": "#/components/schemas/kind"}], "nullable": True},
                "kind": {"type": "string", "enum": ["a", "b", None]},
                "odd": {"type": "string", "enum": ["a-b", "c"]},
                "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                "same": {"anyOf": [{"type": "string"}, {"type": "string", "format": "email"}]},
                "free": {"type": "object", "additionalProperties": {"type": "string"}},
                "+1": {"type": "integer"},
                "secret": {"type": "string", "writeOnly": True},
                "inner": {"type": "object", "properties": {"type": {"type": "boolean"}}},
                "elsewhere": {"$ref": "other.yaml#/x"},
                "nothing": {"$ref": "#/components/schemas/missing"},
                "endless": {"$ref": "#/components/schemas/endless"},
                "grid": {"type": "array", "items": {"type": "array", "items": {"type": "number", "nullable": True}}},
            },
        },
        "kind": {"type": "string", "enum": ["x", "y"]},
        "endless": {"type": "array", "items": {"$ref": "#/components/schemas/endless"}},
    }
    result = imported({"/": answering({"$ref": "#/components/schemas/node"})}, schemas)
    written(result, tmp_path / "test")
    assert (
        result.files["types.graphql"].partition("\n\n")[2]
        == """\
scalar BigInt

scalar DateTime

enum Kind {
  x
  y
}

type Node {
  id: ID!
  parent: Node!
  children: [Node!]!
  maybe: String
  large: BigInt
  at: DateTime
  wrapped: Kind
  kind: NodeKind
  odd: String
  either: JSON
  same: String
  free: JSON
  inner: NodeInner
  elsewhere: JSON
  nothing: JSON
  endless: [JSON!]
  grid: [[Float]!]
  # left out: '+1' is not a GraphQL name
}

type NodeInner {
  type: Boolean
}

enum NodeKind {
  a
  b
}
""".replace("scalar BigInt\n\n", "scalar BigInt\n")
    )
    assert reasons(result) == {
        "a reference that leads nowhere or elsewhere (JSON)": 2,
        "an enumeration with values that are not GraphQL names (String)": 1,
        "one of several types (JSON)": 1,
        "an object whose properties are not known in advance (JSON)": 1,
        "a property whose name is not a GraphQL name": 1,
        "a type that is made of nothing but itself (JSON)": 1,
    }


def test_types_with_names_of_graphql_or_of_each_other_get_names_of_their_own(tmp_path: Path) -> None:
    thing = {"type": "object", "properties": {"x": {"type": "string"}}}
    schemas = {"Query": thing, "String": dict(thing), "a-b": dict(thing), "a_b": dict(thing), "2nd": dict(thing)}
    paths = {f"/{place}": answering({"$ref": f"#/components/schemas/{name}"}) for place, name in enumerate(schemas)}
    result = imported(paths, schemas)
    written(result, tmp_path / "test")
    lines = result.files["types.graphql"].splitlines()
    assert [line for line in lines if line.startswith("type")] == [
        f"type {name} {{" for name in ("AB", "AB2", "Query2", "String2", "_2nd")
    ]


# -- what cannot be one


def test_what_cannot_be_an_operation_is_listed_with_its_reason(tmp_path: Path) -> None:
    text = {"type": "string"}
    required = {"name": "s", "in": "cookie", "required": True, "schema": text}
    paths = {
        "/ok": answering(text),
        "/empty": {"get": {"responses": {"204": {"description": "no content"}}}},
        "/csv": {"get": {"responses": {"200": {"description": "", "content": {"text/csv": {}}}}}},
        "/cookie": answering(text, required),
        "/body": answering(text, requestBody={"required": True}),
        "/a b": answering(text),
        "/post": {"post": {}},
    }
    result = imported(paths)
    written(result, tmp_path / "test")
    assert {item.subject: item.reason for item in result.left_out} == {
        "GET /empty": "a response without content",
        "GET /csv": "a response that is text/csv, not JSON",
        "GET /cookie": "a required cookie parameter that is in a cookie",
        "GET /body": "a GET with a body",
        "GET /a b": "a path with characters that an endpoint cannot have",
    }
    for item in result.left_out:
        assert f"# left out: {item.subject}: {item.reason}" in result.files["source.yaml"]


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ([], "https://api.example.com"),
        ([{"url": "../v2/"}], "https://api.example.com/v2"),
        ([{"url": "https://{region}.example.com", "variables": {"region": {"default": "eu"}}}], "https://eu.example.com"),
        ([{"url": "https://user:secret@h.example.com/x?y=1"}], "https://h.example.com/x"),
    ],
)
def test_the_base_url_is_the_first_server(servers: list[Any], expected: str) -> None:
    result = imported({"/": answering({"type": "string"})}, servers=servers)
    assert f"${{TEST_URL:-{expected}}}" in result.files["source.yaml"]


def test_a_get_with_a_server_of_its_own_has_a_source_of_its_own(tmp_path: Path) -> None:
    text = {"type": "string"}
    paths = {"/a": answering(text), "/b": answering(text, servers=[{"url": "https://files.example.com"}])}
    result = imported(paths)
    written(result, tmp_path / "test")
    assert "  test2:\n    type: api\n    base_url: ${TEST2_URL:-https://files.example.com}\n" in result.files["source.yaml"]
    assert "source: test2, endpoint: /b," in result.files["operations.yaml"]


def test_credentials_that_the_service_asks_for_are_shown_but_not_forwarded(tmp_path: Path) -> None:
    schemes = {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}, "token": {"type": "http", "scheme": "bearer"}}
    text = {"type": "string"}
    result = imported({"/": answering(text)}, components={"securitySchemes": schemes})
    written(result, tmp_path / "test")
    assert '    # headers: { x-key: "{request.headers.x-key?}" } # forwards' in result.files["source.yaml"]
    assert '    # headers: { authorization: "{request.headers.authorization?}" } # forwards' in result.files["source.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "d.yaml is no OpenAPI description: it is empty"),
        ("<html>", "it is a web page"),
        ("{", "d.yaml is not JSON: "),
        ("a: [", "d.yaml is neither JSON nor YAML: "),
        ("[]", "it is not a mapping"),
        ("a: 1", "it has no key 'openapi'"),
        ("swagger: '2.0'", "d.yaml is Swagger 2.0, which came before OpenAPI 3; convert it first"),
        ("openapi: 4.0.0", "d.yaml is OpenAPI 4.0.0; 3.0 and 3.1 can be imported"),
        ("openapi: 3.0.0", "d.yaml describes no paths"),
    ],
)
def test_what_is_no_description_is_refused_with_what_it_is(content: str, message: str) -> None:
    with pytest.raises(ImportFault, match=message.replace(".", r"\.")):
        read_description("d.yaml", content.encode())


def test_a_file_whose_description_names_no_server_needs_a_base_url() -> None:
    with pytest.raises(ImportFault, match="say where the service is with --base-url"):
        import_openapi(str(DEMO), {})


def test_a_description_without_a_get_that_can_be_one_is_refused() -> None:
    with pytest.raises(ImportFault, match="has no GET that can be an operation: GET / has a response without content"):
        imported({"/": {"get": {"responses": {"204": {}}}}})
