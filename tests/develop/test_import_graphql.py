"""``stepgraph import graphql``: the schema of an endpoint becomes operations and SDL, which answer as the endpoint does."""

import asyncio
from pathlib import Path

import httpx
import pytest
from graphql import build_client_schema, build_schema, introspection_from_schema
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from gateway.develop.importing.graphql_endpoint import import_graphql, translate
from gateway.develop.importing.result import Imported, ImportFault, by_reason
from tests.kit.imported import data, written
from tests.kit.serving import listening, serving, write_files

UPSTREAM = {
    "u.yaml": """
operation: user
description: Finds a user.
args: { id: ID!, role: Role }
steps:
  - { name: one, type: value, value: { id: "{id}", name: Ada, role: "{role?}", pets: [ { name: Rex } ] }, returns: User }
aggregation: { strategy: pick, step: one }
---
operation: version
steps: [ { name: one, type: value, value: "1.2", returns: String } ]
aggregation: { strategy: pick, step: one }
---
operation: users
args: { filter: Filter }
steps: [ { name: list, type: value, value: [ { id: "1", name: "{filter.name?}" } ], returns: "[User!]" } ]
aggregation: { strategy: pick, step: list }
""",
    "u.graphql": """
enum Role { ADMIN GUEST }
input Filter { name: String }
type User { id: ID! name: String role: Role pets: [Pet!] }
type Pet { name: String }
""",
}


def imported(sdl: str) -> Imported:
    """Import a schema that is written down in a test."""
    schema = build_client_schema(introspection_from_schema(build_schema(sdl)))
    return translate(schema, "https://user:secret@api.example.com/graphql?key=1", "example")


def test_an_endpoint_answers_through_its_import_as_it_does_itself(tmp_path: Path) -> None:
    query = """
    query ($filter: Filter) {
      user(id: 7, role: ADMIN) { id name role pets { name } }
      guest: user(id: "8") { id role }
      version
      users(filter: $filter) { name }
    }
    """

    async def scenario() -> None:
        async with serving(write_files(tmp_path / "upstream", UPSTREAM), is_development=True) as upstream:
            result = await asyncio.to_thread(import_graphql, f"{upstream.url}/graphql", {}, "upstream")
            async with serving(await asyncio.to_thread(written, result, tmp_path / "imported")) as gateway:
                expected = await data(upstream, query, filter={"name": "Bo"})
                assert await data(gateway, query, filter={"name": "Bo"}) == expected
                assert expected["user"] == {"id": "7", "name": "Ada", "role": "ADMIN", "pets": [{"name": "Rex"}]}

    asyncio.run(scenario())


def test_fields_become_operations_and_types_become_sdl(tmp_path: Path) -> None:
    result = imported("""
        "Somebody" type User implements Node { id: ID! name: String @deprecated(reason: "no more") posts(first: Int = 3): [Post!]! }
        type Robot implements Node { id: ID! }
        interface Node { id: ID! }
        union Hit = User | Post
        scalar DateTime @specifiedBy(url: "https://scalars.example.com/date-time")
        input Filter { role: Role = READER tags: [String!] }
        enum Role { READER WRITER }
        type Post { id: ID! at: DateTime author: User }
        type Query {
          "Finds one." user(id: ID!, context: String, limit: Int! = 3): User!
          users(filter: Filter): [User!]!
          search(text: String!): [Hit]
          node: Node
          old: String @deprecated(reason: "use version")
        }
    """)
    written(result, tmp_path / "example")
    assert (result.operations, result.types) == (5, 8)
    assert (
        result.files["source.yaml"]
        == """\
# Imported from https://api.example.com/graphql by 'stepgraph import graphql'; change it as you like.
# To forward what clients send, add to the source: headers: { authorization: "{request.headers.authorization?}" }
sources:
  example:
    type: graphql
    url: ${EXAMPLE_URL:-https://api.example.com/graphql}
"""
    )
    operations = result.files["operations.yaml"]
    assert (
        """
operation: user
description: Finds one.
args: { id: ID!, context2: String, limit: Int }
steps:
  - name: one
    type: graphql
    source: example
    query: "query($id: ID!, $context2: String, $limit: Int) { user(id: $id, context: $context2, limit: $limit) }"
    variables: { id: "{id}", context2: "{context2?}", limit: "{limit?}" }
    returns: User
aggregation: { strategy: pick, step: one }
"""
        in operations
    )
    assert '{ name: list, type: graphql, source: example, query: "' not in operations
    assert "# deprecated: use version\noperation: old\n" in operations
    types = result.files["types.graphql"]
    assert (
        '"""Somebody"""\ntype User implements Node {\n  id: ID!\n  name: String @deprecated(reason: "no more")\n  posts: [Post!]!'
        in types
    )
    assert "union Hit = User | Post" in types
    assert "type Robot implements Node" in types, "an interface brings the types that implement it"


def test_what_cannot_be_asked_for_is_left_out_and_counted(tmp_path: Path) -> None:
    result = imported("""
        type Viewer { query: Query needs(x: Int!): Int optional(x: Int): Int }
        type Empty { needs(x: Int!): Int }
        union Either = Empty | Viewer
        type Query { viewer: Viewer me: Query empty: Empty either: Either }
        type Mutation { a: Int b: Int }
    """)
    written(result, tmp_path / "example")
    assert "type Viewer {\n  optional: Int\n}" in result.files["types.graphql"]
    assert "union Either = Viewer" in result.files["types.graphql"]
    assert {reason: count for reason, count, _ in by_reason(result.left_out)} == {
        "a field whose type has nothing that can be selected, or leads back to the whole schema": 3,
        "a field of Mutation": 2,
        "a field below an operation that needs arguments of its own": 1,
        "the optional arguments of a field below an operation": 1,
    }


def test_what_does_not_answer_introspection_is_refused_with_what_it_said() -> None:
    async def refuse(_: object) -> JSONResponse:
        return JSONResponse({"errors": [{"message": "introspection is off"}]})

    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def deny(_: object) -> PlainTextResponse:
        return PlainTextResponse("who are you?", 401)

    async def strange(_: object) -> JSONResponse:
        return JSONResponse({"data": {"__schema": {"types": 1}}})

    endpoints = {"/refuse": refuse, "/page": page, "/deny": deny, "/strange": strange}
    messages = {
        "/refuse": "does not answer introspection: introspection is off; is it switched on there",
        "/page": "is no GraphQL endpoint: its answer is not JSON",
        "/deny": "answered with the status 401; give credentials with --header",
        "/strange": "describes a schema that cannot be read",
    }

    async def scenario() -> None:
        async with listening(Starlette(routes=[Route(path, end, methods=["POST"]) for path, end in endpoints.items()])) as url:
            for path, message in messages.items():
                with pytest.raises(ImportFault, match=message):
                    await asyncio.to_thread(import_graphql, url + path, {})

    asyncio.run(scenario())


def test_headers_of_the_command_are_sent_and_written_nowhere() -> None:
    seen: list[httpx.Headers] = []

    async def answer(request: object) -> JSONResponse:
        seen.append(httpx.Headers(request.headers))  # type: ignore[attr-defined]
        return JSONResponse({"data": introspection_from_schema(build_schema("type Query { a: Int }"))})

    async def scenario() -> None:
        async with listening(Starlette(routes=[Route("/", answer, methods=["POST"])])) as url:
            result = await asyncio.to_thread(import_graphql, url, {"authorization": "Bearer secret"})
        assert seen[0]["authorization"] == "Bearer secret"
        assert not any("secret" in text for text in result.files.values())

    asyncio.run(scenario())
