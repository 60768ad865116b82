"""An HTTP message → a GraphQL request, by the GraphQL-over-HTTP specification: media types, cross-site requests, sizes, parameters."""

import functools
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope

from gateway.errors import Code, RequestError
from gateway.generation import GraphQLRequest

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
MAX_BODY = 2_000_000
MAX_CACHED_HEADERS = 256
TRACE_HEADER = "x-stepgraph-trace"
PREFLIGHT_HEADERS = ("apollo-require-preflight", "graphql-require-preflight", "x-apollo-operation-name")

Headers = Mapping[str, str]


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by their names in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def read_request(headers: Headers, receive: Receive) -> GraphQLRequest:
    """Read a request that was posted.

    :raises RequestError: it is not well-formed.
    """
    _check_content(headers.get("content-type", ""), headers.get("content-encoding", ""))
    return _request(_decode(await _read_body(headers, receive)), headers, is_read_only=False)


def read_parameters(scope: Scope, headers: Headers) -> GraphQLRequest:
    """Read a request that stands in the parameters of a GET, which may not change anything.

    :raises RequestError: it is not well-formed.
    """
    return _request(_query_parameters(scope), headers, is_read_only=True)


@functools.lru_cache(maxsize=MAX_CACHED_HEADERS)
def negotiate(accept: str | None) -> str:
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


def refuse_simple(headers: Headers) -> None:
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
