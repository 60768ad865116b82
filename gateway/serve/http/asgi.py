"""ASGI messages ↔ complete requests and responses: the outermost layer of the application.

With the gateway's own protocol (:mod:`gateway.serve.connections.connection`) GraphQL requests bypass ASGI, unless CORS is
configured and they have an ``Origin``. Under other ASGI servers and in tests all requests come this way.
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
from gateway.serve.http.cross_site import LocalHosts, refuse_foreign_page
from gateway.serve.http.edge import Edge
from gateway.serve.http.endpoint import GraphQLEndpoint, RequestIds
from gateway.serve.http.media_types import JSON
from gateway.serve.http.request import GRAPHQL_PATH, PREFLIGHT_HEADERS, HttpMessage, decode_headers, read_body
from gateway.serve.http.response import (
    CONTENT_TYPES,
    INTERNAL_ERROR_BODY,
    REQUEST_ID_HEADER,
    VERSION_HEADER,
    HttpResponse,
    error_body,
    errors_body,
    json_response,
)
from gateway.settings import CorsKeys

REQUEST_ID = "stepgraph.request_id"
log = logging.getLogger("stepgraph.http")

T = TypeVar("T")


class GatewayApp:
    """The ASGI application: sends GraphQL requests to their endpoint, and all others to the Starlette application.

    Every response has an ``x-request-id``, and no exception reaches the server or the client.
    """

    def __init__(self, app: ASGIApp, endpoint: GraphQLEndpoint, edge: Edge) -> None:
        self.app = app
        self.endpoint = endpoint
        self.edge = edge
        self.request_ids = RequestIds()
        self._cors: tuple[CorsKeys, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch a request by its path, under an id: the client's own if that is valid."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client_id = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER), None)
        scope[REQUEST_ID] = self.request_ids.assign(None if client_id is None else client_id.decode("latin-1"))
        if scope["path"] != GRAPHQL_PATH:
            await self._call_app(scope, receive, send)
            return
        if self.edge.hosts is not None:
            try:
                self.edge.hosts.check(scope["headers"])
            except RequestError as error:
                await _send(send, self.endpoint.refuse(error, scope[REQUEST_ID]))
                return
        cors = self.edge.keys().cors
        if cors.origins:
            await self._cors_app(cors)(scope, receive, _with_id(send, scope[REQUEST_ID]))
        else:
            await self._graphql(scope, receive, send)

    def _cors_app(self, keys: CorsKeys) -> ASGIApp:
        """Return the GraphQL endpoint behind CORS middleware; it is created again when a reload changes the settings."""
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
        request_id = scope[REQUEST_ID]
        arrived_at = asyncio.get_running_loop().time()
        try:
            headers = decode_headers(scope)
            body = await read_body(headers, receive, self.edge.keys().max_request_bytes) if scope["method"] == "POST" else b""
        except RequestError as error:
            await _send(send, self.endpoint.refuse(error, request_id))
            return
        peer = scope["client"][0] if scope.get("client") else ""
        message = HttpMessage(scope["method"], scope["query_string"], headers, body, request_id, arrived_at, peer)
        result = self.endpoint.begin(message)
        response = result if isinstance(result, HttpResponse) else await cancel_on_disconnect(result(), receive)
        if response is None:
            self.endpoint.note_disconnect(message)
        else:
            await _send(send, response)

    async def _call_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id, started_at, status = scope[REQUEST_ID], perf_counter(), 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        send_with_id = _with_id(note_status, request_id)
        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": request_id})
            if not status:  # otherwise the response has begun, and its status cannot be changed
                await send_json(send_with_id, 500, INTERNAL_ERROR_BODY)
        finally:
            self.endpoint.telemetry.other_request_ended(
                scope["method"], scope["path"], status, perf_counter() - started_at, request_id
            )


def _with_id(send: Send, request_id: str) -> Send:
    """Return a ``send`` that adds the request id to the headers of the response, unless they have it."""

    async def send_with_id(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            if all(name != REQUEST_ID_HEADER for name, _ in headers):
                message["headers"] = [*headers, (REQUEST_ID_HEADER, request_id.encode())]
        await send(message)

    return send_with_id


class LocalPages:
    """An ASGI application for pages of this machine alone: it refuses requests by other hosts, and changes by pages of other origins."""

    def __init__(self, app: ASGIApp, hosts: LocalHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on."""
        if scope["type"] == "http":
            try:
                self._hosts.check(scope["headers"])
                refuse_foreign_page(scope["method"], scope["headers"])
            except RequestError as error:
                await send_json(send, error.status, errors_body(error))
                return
        await self._app(scope, receive, send)


class _Cors(CORSMiddleware):
    """CORS middleware whose rejections are JSON errors, as all others of the gateway are."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code >= 400:
            text = error_body(Code.BAD_REQUEST, f"{bytes(response.body).decode()}.")
            headers = {name: value for name, value in response.headers.items() if name not in {"content-length", "content-type"}}
            response = Response(text, response.status_code, headers, CONTENT_TYPES[JSON].decode())
        return response


async def send_error(send: Send, status: int, code: Code, message: str) -> None:
    """Send a response with one error."""
    await send_json(send, status, error_body(code, message))


async def send_json(send: Send, status: int, body: bytes) -> None:
    """Send a JSON response."""
    await _send(send, json_response(status, body))


async def _send(send: Send, response: HttpResponse) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})


async def cancel_on_disconnect(awaitable: Coroutine[Any, Any, T], receive: Receive) -> T | None:
    """Await something for a client; cancel it and return None when the client disconnects."""
    task = asyncio.current_task()
    assert task is not None
    has_disconnected = False

    async def watch() -> None:
        nonlocal has_disconnected
        while (await receive())["type"] != "http.disconnect":
            pass
        has_disconnected = True
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await awaitable
    except asyncio.CancelledError:
        if not has_disconnected:
            raise  # somebody else cancels the task, for example the server at shutdown
        task.uncancel()  # our own cancellation ends here, so that an enclosing asyncio.timeout or TaskGroup does not see it
        return None
    finally:
        watcher.cancel()
