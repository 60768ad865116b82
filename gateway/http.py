"""HTTP requests ↔ GraphQL requests and answers, by the GraphQL-over-HTTP specification.

Pure ASGI: nothing stands between the server and the generation that answers, and a client that leaves cancels its request, which
neither Starlette's request handlers nor uvicorn do by themselves.
"""

import asyncio
import itertools
import logging
import re
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Code, RequestError
from gateway.generation import GraphQLRequest
from gateway.http_request import JSON, RESPONSE_JSON, Headers, headers_of, negotiate, read_parameters, read_request, refuse_simple
from gateway.json_text import json_text
from gateway.resolver import RequestContext

log = logging.getLogger("stepgraph.http")

REQUEST_ID = "stepgraph.request_id"
REQUEST_ID_HEADER = b"x-request-id"
GRAPHQL_PATH = "/graphql"
_SOUND_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
DEPARTURE = "stepgraph.departure"
"""Where a server's scope takes the function that it calls when the client has left; with servers that know nothing of that a task waits."""
RESPOND = "stepgraph.respond"
"""Where a server's scope offers a function that sends a whole response: status, headers, body. It tells whether it could."""
VERSION_HEADER = b"x-config-version"
_LEGACY_200 = {
    Code.GRAPHQL_PARSE_FAILED,
    Code.GRAPHQL_VALIDATION_FAILED,
    Code.BAD_USER_INPUT,
    Code.OPERATION_RESOLUTION_FAILURE,
}
"""Request errors that ``application/json`` answers with 200: there a status other than 200 means that this is no GraphQL server."""

T = TypeVar("T")


class Responds(Protocol):
    """What answers requests with JSON text, as a generation does."""

    @property
    def version(self) -> bytes:
        """The hash of the configuration that it answers by."""

    async def respond(self, request: GraphQLRequest, context: RequestContext) -> bytes:
        """Answer a request.

        :raises RequestError: nothing was run; the error is the answer.
        """


class GraphQLEndpoint:
    """The ASGI application behind ``/graphql``. ``generation`` gives the one that answers now, or None while there is none."""

    def __init__(self, generation: Callable[[], Responds | None], *, is_development: bool) -> None:
        self._generation = generation
        self._is_development = is_development

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = headers_of(scope)
        context = RequestContext(scope[REQUEST_ID], headers, asyncio.get_running_loop().time())
        own = [(REQUEST_ID_HEADER, context.request_id.encode())]
        generation = None
        media_type, status = JSON, 200
        try:
            media_type = negotiate(headers.get("accept"))
            request = await self._read(scope, headers, receive)
            generation = self._generation()  # not before: one that has no request under way may be let go at any time
            answer = await unless_client_leaves(_answer(generation, request, context), scope, receive)
        except RequestError as error:
            status = 200 if media_type == JSON and error.code in _LEGACY_200 else error.status
            answer = json_text({"errors": error.errors})
            if status == 405:
                own.append((b"allow", b"GET, POST"))
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": context.request_id})
            status, answer = 500, _error_text(Code.INTERNAL_SERVER_ERROR, "The gateway failed.")
        if answer is None:
            log.info("client left", extra={"request_id": context.request_id, "status": 499})
            return
        generation = generation or self._generation()
        if generation:
            own.append((VERSION_HEADER, generation.version))
        content = [_CONTENT_TYPES[media_type], (b"content-length", b"%d" % len(answer)), *own]
        respond = scope.get(RESPOND)
        if respond is None or not respond(status, content, answer):
            await send({"type": "http.response.start", "status": status, "headers": content})
            await send({"type": "http.response.body", "body": answer})

    async def _read(self, scope: Scope, headers: Headers, receive: Receive) -> GraphQLRequest:
        if scope["method"] == "POST":
            return await read_request(headers, receive)
        if scope["method"] != "GET":
            raise RequestError(Code.METHOD_NOT_ALLOWED, 405, {"message": "GraphQL only supports GET and POST requests."})
        if not self._is_development:
            refuse_simple(headers)
        return read_parameters(scope, headers)


async def _answer(generation: Responds | None, request: GraphQLRequest, context: RequestContext) -> bytes:
    if generation is None:
        raise RequestError(Code.INTERNAL_SERVER_ERROR, 503, {"message": "The gateway is not ready."})
    return await generation.respond(request, context)


class Front:
    """Outermost ASGI layer: GraphQL requests go straight to their endpoint, all others to the application.

    Every response has an ``x-request-id``, and no exception reaches the server or the client.
    """

    def __init__(self, app: ASGIApp, endpoint: GraphQLEndpoint) -> None:
        self._app = app
        self._endpoint = endpoint
        self._process = uuid.uuid4().hex[:16]
        self._count = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under an id: the client's own when it is a sound one."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == REQUEST_ID_HEADER), None)
        is_sound = given is not None and _SOUND_ID.fullmatch(given)
        scope[REQUEST_ID] = given.decode() if given and is_sound else f"{self._process}{next(self._count):016x}"
        if scope["path"] == GRAPHQL_PATH:
            await self._endpoint(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope[REQUEST_ID]
        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": request_id})
            if not has_started:
                await send_error(send_with_id, 500, Code.INTERNAL_SERVER_ERROR, "The gateway failed.")


_CONTENT_TYPES = {media_type: (b"content-type", f"{media_type}; charset=utf-8".encode()) for media_type in (JSON, RESPONSE_JSON)}


async def send_error(send: Send, status: int, code: Code, message: str) -> None:
    """Send a response that is one error."""
    body = _error_text(code, message)
    headers = [_CONTENT_TYPES[JSON], (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error_text(code: Code, message: str) -> bytes:
    return json_text({"errors": [{"message": message, "extensions": {"code": str(code)}}]})


async def unless_client_leaves(answering: Coroutine[Any, Any, T], scope: Scope, receive: Receive) -> T | None:
    """Return the answer, or None when the client has left: then everything that was under way for it is cancelled."""
    task = asyncio.current_task()
    assert task is not None
    has_left = False

    def leave() -> None:
        nonlocal has_left
        has_left = True
        task.cancel()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        leave()

    watcher = None
    if DEPARTURE in scope:
        scope[DEPARTURE] = leave
    else:
        watcher = asyncio.create_task(watch())
    try:
        return await answering
    except asyncio.CancelledError:
        if not has_left:
            raise
        task.uncancel()
        return None
    finally:
        if watcher is not None:
            watcher.cancel()
        else:
            scope[DEPARTURE] = None
