"""Reliability case L-09: which web pages may call, checked when the configuration is loaded and told in every response."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.load.build.build import build_next
from gateway.load.read.files import read_files
from gateway.operate.serving import ServeOptions
from gateway.process.app import create_app
from gateway.serve.http.asgi import GatewayApp
from resolvers import STEP_TYPES
from tests.kit.serving import JSON, listening, write_files

case = pytest.mark.case
GRAPH = "operation: o\nsteps: [{ name: a, type: value, value: 1 }]\n---\n"
DESK, EVIL = "https://desk.example", "https://evil.example"

MISTAKES = {
    'origins: ["*"], credentials: true': "as the user",
    'origins: ["https://a.com", "*"], credentials: true': "as the user",
    'origins: ["https://.*example.com"]': "no wildcards",
    'origins: ["https://*.example.com"]': "no wildcards",
    'origins: ["{request.headers.origin}"]': "no references",
    "origins: [HTTPS://A.com]": "write https://a.com",
    "origins: [https://a.com/]": "write https://a.com",
    "origins: [https://a.com:443]": "write https://a.com",
    'origins: ["null"]': "sandboxed",
    'origins: ["${ORIGIN}"]': "write https://from.example",
    'origins: ["https://${HOST}"]': "no wildcards",
    'origins: ["${ANY}"], credentials: true': "as the user",
}
ENVIRONMENT = {"ORIGIN": "https://From.example/", "HOST": "*.example.com", "ANY": "*"}


@case("L-09")
@pytest.mark.parametrize("keys", MISTAKES)
def test_origins_that_no_browser_sends_are_mistakes_of_the_configuration(keys: str, tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"graph.yaml": f"{GRAPH}server: {{ max_in_flight: 7, cors: {{ {keys} }} }}\n"})
    built = build_next(read_files(folder), STEP_TYPES, environment=ENVIRONMENT)
    (problem,) = built.problems
    assert (problem.place.line, problem.code) == (4, "bad-origin")
    assert MISTAKES[keys] in problem.message
    # With --keep-going the rest is served: then no page may call, rather than too many.
    assert built.blueprint is not None
    assert (built.blueprint.server.cors.origins, built.blueprint.server.cors.credentials) == ([], False)
    assert built.blueprint.server.max_in_flight == 7


@asynccontextmanager
async def over_sockets(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with listening(create_app(folder)) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


@asynccontextmanager
async def over_asgi(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serve as any other ASGI server does."""
    app = create_app(folder, options=ServeOptions())
    assert isinstance(app, GatewayApp)
    async with (
        app.app.router.lifespan_context(app.app),  # type: ignore[attr-defined] # a Starlette application
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client,
    ):
        yield client


Way = Callable[[Path], AbstractAsyncContextManager[httpx.AsyncClient]]
WAYS = pytest.mark.parametrize("way", [over_sockets, over_asgi])
ASKED: dict[str, tuple[str, dict[str, Any], int]] = {
    "an answer": ("POST", {"content": b'{"query":"{ o { a } }"}', "headers": {"content-type": JSON}}, 200),
    "a GET": ("GET", {"params": {"query": "{ o { a } }"}, "headers": {"content-type": JSON}}, 200),
    "a syntax error": ("POST", {"content": b'{"query":"{"}', "headers": {"content-type": JSON}}, 200),
    "a field that is not there": ("POST", {"content": b'{"query":"{ x }"}', "headers": {"content-type": JSON}}, 200),
    "not JSON": ("POST", {"content": b"{", "headers": {"content-type": JSON}}, 400),
    "no content type": ("POST", {"content": b"{}"}, 415),
    "too large": ("POST", {"content": b" " * 2000, "headers": {"content-type": JSON}}, 413),
    "a method that is not allowed": ("PUT", {"content": b"{}", "headers": {"content-type": JSON}}, 405),
    "OPTIONS that is no preflight": ("OPTIONS", {}, 405),
    "a query that could be cross-site": ("GET", {"params": {"query": "{ o { a } }"}}, 400),
}
ALLOWING = {
    "some": f"origins: [{DESK}], credentials: true",
    "all": 'origins: ["*"]',
}


@case("L-09")
@WAYS
@pytest.mark.parametrize("allowing", ALLOWING)
def test_every_response_tells_who_may_read_it(way: Way, allowing: str, tmp_path: Path) -> None:
    config = f"{GRAPH}server: {{ max_request_bytes: 1000, cors: {{ {ALLOWING[allowing]} }} }}\n"

    async def scenario() -> None:
        async with way(write_files(tmp_path, {"graph.yaml": config})) as client:
            for name, (method, request, status) in ASKED.items():
                for origin in (None, DESK, EVIL, "null", DESK.upper(), f"{DESK}:443", f"{DESK}.evil.example"):
                    headers = request.get("headers", {}) | ({"origin": origin} if origin else {}) | {"cookie": "session=1"}
                    response = await client.request(method, "/graphql", **(request | {"headers": headers}))
                    allowed = response.headers.get("access-control-allow-origin")
                    assert response.status_code == status, (name, origin)
                    assert response.headers["vary"] == "Origin", (name, origin)
                    if allowing == "all":
                        assert allowed == ("*" if origin else None), (name, origin)
                        assert "access-control-allow-credentials" not in response.headers
                    else:
                        assert allowed == (DESK if origin == DESK else None), (name, origin)

    asyncio.run(scenario())


@case("L-09")
@WAYS
def test_a_preflight_allows_what_is_written_and_other_paths_allow_nothing(way: Way, tmp_path: Path) -> None:
    config = f"{GRAPH}server: {{ cors: {{ origins: [{DESK}], headers: [X-Tenant] }} }}\n"

    async def scenario() -> None:
        async with way(write_files(tmp_path, {"graph.yaml": config})) as client:
            for origin, method, asked, status in (
                (DESK, "POST", "content-type, x-tenant", 200),
                (DESK, "DELETE", "content-type", 400),
                (DESK, "POST", "x-other", 400),
                (EVIL, "POST", "content-type", 400),
                ("null", "POST", "content-type", 400),
            ):
                headers = {
                    "origin": origin,
                    "access-control-request-method": method,
                    "access-control-request-headers": asked,
                }
                response = await client.options("/graphql", headers=headers)
                assert response.status_code == status
                assert response.headers.get("access-control-allow-origin") == (DESK if origin == DESK else None)
                assert response.headers["vary"].startswith("Origin")
                other = await client.options("/graphql/", headers=headers)
                assert other.status_code == 404
                assert not any(name.startswith("access-control-") for name in other.headers)

    asyncio.run(scenario())


@case("L-09")
def test_where_no_origin_is_written_no_response_varies(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with over_sockets(write_files(tmp_path, {"graph.yaml": GRAPH})) as client:
            response = await client.post("/graphql", json={"query": "{ o { a } }"}, headers={"origin": DESK})
            assert response.status_code == 200
            assert not {"vary", "access-control-allow-origin"} & set(response.headers)

    asyncio.run(scenario())
