"""HTTP requests ↔ GraphQL requests and answers, by the GraphQL-over-HTTP specification.

Pure ASGI: nothing stands between the server and the generation that answers, and a client that leaves cancels its request, which
neither Starlette's request handlers nor uvicorn do by themselves.
"""

import asyncio
import functools
import itertools
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Code, RequestError
from gateway.generation import Generation, GraphQLRequest
from gateway.json_text import json_text
from gateway.resolver import RequestContext

log = logging.getLogger("stepgraph.http")

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
MAX_BODY = 2_000_000
REQUEST_ID = "stepgraph.request_id"
GRAPHQL_PATH = "/graphql"
DEPARTURE = "stepgraph.departure"
"""Where a server's scope takes the function that it calls when the client has left; with servers that know nothing of that a task waits."""
MAX_CACHED_HEADERS = 256
TRACE_HEADER = "x-stepgraph-trace"
VERSION_HEADER = b"x-config-version"
PREFLIGHT_HEADERS = ("apollo-require-preflight", "graphql-require-preflight", "x-apollo-operation-name")
_LEGACY_200 = {
    Code.GRAPHQL_PARSE_FAILED,
    Code.GRAPHQL_VALIDATION_FAILED,
    Code.BAD_USER_INPUT,
    Code.OPERATION_RESOLUTION_FAILURE,
}
"""Request errors that ``application/json`` answers with 200: there a status other than 200 means that this is no GraphQL server."""

Headers = Mapping[str, str]


class GraphQLEndpoint:
    """The ASGI application behind ``/graphql``. ``generation`` gives the one that answers now, or None while there is none."""

    def __init__(self, generation: Callable[[], Generation | None], *, is_development: bool) -> None:
        self._generation = generation
        self._is_development = is_development

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        context = RequestContext(scope[REQUEST_ID], headers, asyncio.get_running_loop().time())
        media_type = JSON
        generation = None
        try:
            media_type = _negotiate(headers.get("accept"))
            request = await self._read(scope, headers, receive)
            generation = self._generation()  # not before: one that has no request under way may be let go at any time
            body = await _unless_client_leaves(_answer(generation, request, context), scope, receive)
            if body is None:
                log.info("client left", extra={"request_id": context.request_id, "status": 499})
                return
            await send_bytes(send, 200, body, media_type, _version(generation))
        except RequestError as error:
            status = 200 if media_type == JSON and error.code in _LEGACY_200 else error.status
            allow = [(b"allow", b"GET, POST")] if status == 405 else []
            await send_json(
                send, status, {"errors": error.errors}, media_type, [*_version(generation or self._generation()), *allow]
            )

    async def _read(self, scope: Scope, headers: Headers, receive: Receive) -> GraphQLRequest:
        if scope["method"] == "POST":
            _check_content(headers.get("content-type", ""), headers.get("content-encoding", ""))
            return _request(_decode(await _read_body(headers, receive)), headers, is_read_only=False)
        if scope["method"] != "GET":
            raise RequestError(Code.METHOD_NOT_ALLOWED, 405, {"message": "GraphQL only supports GET and POST requests."})
        if not self._is_development:
            _refuse_simple(headers)
        return _request(_query_parameters(scope), headers, is_read_only=True)


def _version(generation: Generation | None) -> list[tuple[bytes, bytes]]:
    return [(VERSION_HEADER, generation.version)] if generation else []


async def _answer(generation: Generation | None, request: GraphQLRequest, context: RequestContext) -> bytes:
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
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        is_sound = given is not None and _SOUND_ID.fullmatch(given)
        request_id = given.decode() if given and is_sound else f"{self._process}{next(self._count):016x}"
        scope[REQUEST_ID] = request_id
        has_started = False

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            return send(message)

        try:
            await (self._endpoint if scope["path"] == GRAPHQL_PATH else self._app)(scope, receive, send_with_id)
        except Exception:
            log.exception("request failed unexpectedly", extra={"request_id": request_id})
            if not has_started:
                await send_error(send_with_id, 500, Code.INTERNAL_SERVER_ERROR, "The gateway failed.")


async def send_error(send: Send, status: int, code: Code, message: str) -> None:
    """Send a response that is one error."""
    await send_json(send, status, {"errors": [{"message": message, "extensions": {"code": str(code)}}]}, JSON)


async def send_json(send: Send, status: int, body: object, media_type: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Send a response of JSON."""
    await send_bytes(send, status, json_text(body), media_type, headers)


_CONTENT_TYPES = {media_type: (b"content-type", f"{media_type}; charset=utf-8".encode()) for media_type in (JSON, RESPONSE_JSON)}


async def send_bytes(send: Send, status: int, body: bytes, media_type: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Send a response that is JSON text already."""
    content = [_CONTENT_TYPES[media_type], (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": content})
    await send({"type": "http.response.body", "body": body})


# -- requests


_SOUND_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


@functools.lru_cache(maxsize=MAX_CACHED_HEADERS)
def _negotiate(accept: str | None) -> str:
    """Choose the response's media type (GraphQL-over-HTTP 6.1); without a wish it is ``application/json``.

    :raises RequestError: the client takes neither of the two.
    """
    if not accept:
        return JSON
    qualities: dict[str, float] = {}
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        qualities.setdefault(media_range, _quality(parameters))
    offers = [(_quality_of(media_type, qualities), media_type) for media_type in _by_mention(qualities)]
    quality, best = max(offers, key=lambda offer: offer[0])
    if quality <= 0:
        message = f"The response is {RESPONSE_JSON} or {JSON}; 'Accept' allows neither."
        raise RequestError(Code.INVALID_ACCEPT_HEADER, 406, {"message": message})
    return best


def _by_mention(qualities: Mapping[str, float]) -> list[str]:
    """Return our media types, those that the client names first; of equal ones the first is chosen."""
    return sorted(
        (JSON, RESPONSE_JSON), key=lambda media_type: list(qualities).index(media_type) if media_type in qualities else 99
    )


def _quality_of(media_type: str, qualities: Mapping[str, float]) -> float:
    """Return the quality of a media type: that of the most precise range that covers it (RFC 9110, 12.5.1)."""
    return next((qualities[name] for name in (media_type, "application/*", "*/*") if name in qualities), 0.0)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
        if name.strip() == "charset" and value.strip().strip('"') not in {"utf-8", "utf8"}:
            return 0.0
    return 1.0


def _refuse_simple(headers: Headers) -> None:
    """Refuse what a browser sends to another site without asking first (CSRF): a GET that has no telling header."""
    if any(name in headers for name in PREFLIGHT_HEADERS):
        return
    if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        message = "Refused as a possible cross-site request; send the header 'GraphQL-Require-Preflight: 1'."
        raise RequestError(Code.CSRF_ERROR, 400, {"message": message})


@functools.lru_cache(maxsize=MAX_CACHED_HEADERS)
def _check_content(content_type: str, content_encoding: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charset = next((part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if media_type != JSON or charset not in {"utf-8", "utf8"}:
        message = "The request body must be 'Content-Type: application/json' in UTF-8."
        raise RequestError(Code.INVALID_CONTENT_TYPE_HEADER, 415, {"message": message})
    if content_encoding.strip().lower() not in {"", "identity"}:
        raise RequestError(Code.INVALID_CONTENT_TYPE_HEADER, 415, {"message": "A compressed request body is not accepted."})


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    """Read the body, no more of it than is allowed.

    :raises RequestError: it is too large, which the length that it declares tells before anything is read.
    """
    declared = headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > MAX_BODY:
        raise _too_large()
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _bad_request("The request ended early.")
        body = body + message["body"] if body else message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
        if not message.get("more_body", False):
            return body


def _too_large() -> RequestError:
    return RequestError(Code.PAYLOAD_TOO_LARGE, 413, {"message": f"The request body is larger than {MAX_BODY} bytes."})


def _bad_request(message: str) -> RequestError:
    return RequestError(Code.BAD_REQUEST, 400, {"message": message})


def _decode(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _bad_request("The request body is not valid JSON.") from None
    if isinstance(value, list):
        raise RequestError(Code.BATCHING_NOT_ENABLED, 400, {"message": "Batching is not enabled; send one request at a time."})
    if not isinstance(value, dict):
        raise _bad_request("The request body must be a JSON object.")
    return value


def _query_parameters(scope: Scope) -> dict[str, Any]:
    """Return the parameters of a GET; ``variables`` and ``extensions`` are JSON in it."""
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), errors="strict", max_num_fields=100)
        parameters: dict[str, Any] = dict(pairs)
        for name in ("variables", "extensions"):
            if name in parameters:
                parameters[name] = orjson.loads(parameters[name])
    except ValueError:
        raise _bad_request("The query string is not valid: 'variables' and 'extensions' are JSON in UTF-8.") from None
    return parameters


def _request(parameters: Mapping[str, Any], headers: Headers, *, is_read_only: bool) -> GraphQLRequest:
    """Check the parameters of a request (GraphQL-over-HTTP 5.1).

    :raises RequestError: one is missing or of the wrong type.
    """
    query, name = parameters.get("query"), parameters.get("operationName")
    variables, extensions = parameters.get("variables"), parameters.get("extensions")
    if not isinstance(query, str) or not query:
        raise _bad_request("The parameter 'query' must be a non-empty string.")
    if name is not None and not isinstance(name, str):
        raise _bad_request("The parameter 'operationName' must be a string.")
    if variables is not None and not isinstance(variables, dict):
        raise _bad_request("The parameter 'variables' must be an object.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _bad_request("The parameter 'extensions' must be an object.")
    wants_trace = headers.get(TRACE_HEADER) == "1" or (extensions or {}).get("trace") is True
    return GraphQLRequest(query, name or None, variables or {}, wants_trace, is_read_only)


async def _unless_client_leaves(answering: Coroutine[Any, Any, bytes], scope: Scope, receive: Receive) -> bytes | None:
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
