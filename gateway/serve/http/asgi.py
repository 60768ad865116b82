"""ASGI scopes and messages ↔ whole requests and answers: the outermost layer of the application.

Under the gateway's own protocol (:mod:`gateway.serve.connections.connection`) GraphQL requests do not come this way; under other servers and
in tests they do.
"""

import asyncio
import logging
from collections.abc import Coroutine
from time import perf_counter
from typing import Any, TypeVar

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Code, RequestError
from gateway.serve.http.edge import Edge
from gateway.serve.http.endpoint import GraphQLEndpoint, RequestIds
from gateway.serve.http.media_types import JSON
from gateway.serve.http.request import GRAPHQL_PATH, PREFLIGHT_HEADERS, HttpMessage, headers_of, read_body
from gateway.serve.http.response import (
    CONTENT_TYPES,
    REQUEST_ID_HEADER,
    UNEXPECTED,
    VERSION_HEADER,
    HttpResponse,
    error_text,
    json_response,
)
from gateway.settings import CorsKeys

REQUEST_ID = "stepgraph.request_id"
log = logging.getLogger("stepgraph.http")

T = TypeVar("T")


class GatewayApp:
    """GraphQL requests go straight to their endpoint, all others to the application.

    Every response has an ``x-request-id``, and no exception reaches the server or the client.
    """

    def __init__(self, app: ASGIApp, endpoint: GraphQLEndpoint, edge: Edge) -> None:
        self.app = app
        self.endpoint = endpoint
        self.edge = edge
        self.ids = RequestIds()
        self._cors: tuple[CorsKeys, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under an id: the client's own when it is a sound one."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER), None)
        scope[REQUEST_ID] = self.ids.of(None if given is None else given.decode("latin-1"))
        if scope["path"] != GRAPHQL_PATH:
            await self._pass_on(scope, receive, send)
            return
        cors = self.edge.keys().cors
        if cors.origins:
            await self._across_origins(cors)(scope, receive, _with_id(send, scope[REQUEST_ID]))
        else:
            await self._graphql(scope, receive, send)

    def _across_origins(self, keys: CorsKeys) -> ASGIApp:
        if self._cors is None or self._cors[0] is not keys:
            self._cors = (
                keys,
                _Cors(
                    self._graphql,
                    allow_origins=keys.origins,
                    allow_methods=["GET", "POST"],
                    allow_headers=["content-type", *PREFLIGHT_HEADERS, *keys.headers],
                    allow_credentials=keys.credentials,
                    expose_headers=[REQUEST_ID_HEADER.decode(), VERSION_HEADER.decode()],
                    max_age=keys.max_age_ms // 1000,
                ),
            )
        return self._cors[1]

    async def _graphql(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, request_id = headers_of(scope), scope[REQUEST_ID]
        arrived_at = asyncio.get_running_loop().time()
        try:
            body = await read_body(headers, receive, self.edge.keys().max_request_bytes) if scope["method"] == "POST" else b""
        except RequestError as error:
            await _send(send, self.endpoint.refuse(error, request_id))
            return
        peer = scope["client"][0] if scope.get("client") else ""
        message = HttpMessage(scope["method"], scope["query_string"], headers, body, request_id, arrived_at, peer)
        begun = self.endpoint.begin(message)
        answer = begun if isinstance(begun, HttpResponse) else await unless_client_leaves(begun(), receive)
        if answer is None:
            self.endpoint.left(message)
        else:
            await _send(send, answer)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id, began, status = scope[REQUEST_ID], perf_counter(), 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        send_with_id = _with_id(note, request_id)
        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": request_id})
            if not status:
                await send_json(send_with_id, 500, UNEXPECTED)
        finally:
            self.endpoint.telemetry.passed_by(scope["method"], scope["path"], status, perf_counter() - began, request_id)


def _with_id(send: Send, request_id: str) -> Send:
    """Return what sends a response with the id of its request, if it has not got it yet."""

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            if all(name != REQUEST_ID_HEADER for name, _ in headers):
                message["headers"] = [*headers, (REQUEST_ID_HEADER, request_id.encode())]
        await send(message)

    return send_with_id


class _Cors(CORSMiddleware):
    """What tells pages of other sites whether they may ask; it refuses as everything else here does."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser that asks before a page may."""
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:
            text = error_text(Code.BAD_REQUEST, f"{bytes(response.body).decode()}.")
            headers = {name: value for name, value in response.headers.items() if name not in {"content-length", "content-type"}}
            response = Response(text, response.status_code, headers, CONTENT_TYPES[JSON].decode())
        return response


async def send_error(send: Send, status: int, code: Code, message: str) -> None:
    """Send a response that is one error."""
    await send_json(send, status, error_text(code, message))


async def send_json(send: Send, status: int, body: bytes) -> None:
    """Send a response of JSON text."""
    await _send(send, json_response(status, body))


async def _send(send: Send, answer: HttpResponse) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


async def unless_client_leaves(answering: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """Return the answer, or None when the client has left: then everything that was under way for it is cancelled."""
    task = asyncio.current_task()
    assert task is not None
    has_left = False

    async def watch() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await answering
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
        return None
    finally:
        watcher.cancel()
