"""The gateway as a Strawberry schema: mounted in Strawberry's own views, it answers as its own endpoint does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from strawberry.asgi import GraphQL
from strawberry.fastapi import GraphQLRouter

from gateway.errors import ConfigurationError
from gateway.process.embed import embedded_schema

CONFIG = """
operation: greeting
args: { name: String! }
steps:
  - { name: hello, type: value, value: "Hello {name}", returns: String }
  - { name: broken, type: value, value: "x", returns: Int }
"""


@asynccontextmanager
async def mounted(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    (folder / "greeting.yaml").write_text(CONFIG, encoding="utf-8")
    async with embedded_schema(folder) as schema:
        app = Starlette(routes=[Mount("/graphql", GraphQL(schema))])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            yield client


def test_a_fastapi_application_serves_a_configuration(tmp_path: Path) -> None:
    async def run() -> dict[str, Any]:
        (tmp_path / "greeting.yaml").write_text(CONFIG, encoding="utf-8")
        async with embedded_schema(tmp_path) as schema:
            app = FastAPI()
            app.include_router(GraphQLRouter(schema), prefix="/graphql")
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
                response = await client.post("/graphql", json={"query": '{ greeting(name: "Ada") { hello broken } }'})
                answer: dict[str, Any] = response.json()
                return answer

    answer = asyncio.run(run())
    assert answer["data"] == {"greeting": {"hello": "Hello Ada", "broken": None}}
    assert answer["errors"][0]["extensions"] == {"code": "RESPONSE_VALIDATION_FAILED", "step": "broken"}


def ask(folder: Path, query: str, method: str = "POST") -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        async with mounted(folder) as client:
            sent = {"json": {"query": query}} if method == "POST" else {"params": {"query": query}}
            answer: dict[str, Any] = (await client.request(method, "/graphql/", **sent)).json()  # type: ignore[arg-type]
            return answer

    return asyncio.run(run())


def test_a_strawberry_view_serves_a_configuration(tmp_path: Path) -> None:
    assert ask(tmp_path, '{ greeting(name: "Ada") { hello } }') == {"data": {"greeting": {"hello": "Hello Ada"}}}


def test_errors_keep_their_path_code_and_step(tmp_path: Path) -> None:
    answer = ask(tmp_path, '{ greeting(name: "Ada") { hello broken } }')
    assert answer["data"] == {"greeting": {"hello": "Hello Ada", "broken": None}}
    (error,) = answer["errors"]
    assert error["path"] == ["greeting", "broken"]
    assert error["extensions"] == {"code": "RESPONSE_VALIDATION_FAILED", "step": "broken"}


def test_a_document_that_is_not_valid_is_refused_with_its_code(tmp_path: Path) -> None:
    answer = ask(tmp_path, "{ nothing }")
    assert answer["data"] is None
    assert answer["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_introspection_is_answered(tmp_path: Path) -> None:
    assert ask(tmp_path, "{ __schema { queryType { name } } }", "GET") == {"data": {"__schema": {"queryType": {"name": "Query"}}}}


def test_the_schema_prints_itself(tmp_path: Path) -> None:
    async def run() -> str:
        (tmp_path / "greeting.yaml").write_text(CONFIG, encoding="utf-8")
        async with embedded_schema(tmp_path) as schema:
            with pytest.raises(NotImplementedError, match="asynchronously"):
                schema.execute_sync("{ __typename }")
            return schema.as_str()

    assert "greeting(name: String!): Greeting" in asyncio.run(run())


def test_a_configuration_with_problems_is_not_offered(tmp_path: Path) -> None:
    async def run() -> None:
        async with embedded_schema(tmp_path):
            pass

    with pytest.raises(ConfigurationError):
        asyncio.run(run())


def test_a_header_that_is_sent_twice_is_refused(tmp_path: Path) -> None:
    async def run() -> list[dict[str, Any]]:
        (tmp_path / "greeting.yaml").write_text(CONFIG, encoding="utf-8")
        async with mounted(tmp_path) as client:
            query = {"query": '{ greeting(name: "Ada") { hello } }'}
            return [
                (await client.post("/graphql/", json=query, headers=headers)).json()
                for headers in ([("x-tenant", "a"), ("x-tenant", "b")], [("accept-language", "de"), ("accept-language", "fr")])
            ]

    refused, joined = asyncio.run(run())
    assert refused["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert joined["data"] == {"greeting": {"hello": "Hello Ada"}}
