"""An HTTP message → a GraphQL request, by the GraphQL-over-HTTP specification: media types, cross-site requests, sizes, parameters."""

import functools
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope

from gateway.contract import RequestContext
from gateway.contract.request import NO_VALUES, GraphQLRequest, RequestSummary
from gateway.errors import Code, RequestError
from gateway.serve.http.batch import Batch
from gateway.serve.http.media_types import JSON

GRAPHQL_PATH = "/graphql"
MAX_CACHED_HEADERS = 256
TRACE_HEADER = "x-stepgraph-trace"
PREFLIGHT_HEADERS = ("apollo-require-preflight", "graphql-require-preflight", "x-apollo-operation-name")

MAX_KNOWN, MAX_KNOWN_BODY = 1000, 4000
"""How many requests are kept by the bytes of their bodies, and how many bytes such a body has at the most."""
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19

Headers = Mapping[str, str]


class HttpMessage(RequestContext):
    """An HTTP request that has come whole; its headers are by their names in lower case.

    ``peer`` is the address at the other end of the connection: the client's, or that of a proxy.
    """

    __slots__ = ("body", "method", "peer", "query_string")

    def __init__(  # noqa: PLR0913, PLR0917 - all that there is of a request, set at once as that is the quickest way
        self, method: str, query_string: bytes, headers: Headers, body: bytes, request_id: str, arrived_at: float, peer: str = ""
    ) -> None:
        self.request_id = request_id
        self.headers = headers
        self.arrived_at = arrived_at
        self.values = NO_VALUES
        self.summary = RequestSummary()
        self.method = method
        self.query_string = query_string
        self.body = body
        self.peer = peer


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers of a request by their names in lower case."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def client_address(message: HttpMessage, proxies: int) -> str:
    """Return the address of the client as the first of so many proxies of ours has seen it; each appends the one that it is called by."""
    forwarded = message.headers.get("x-forwarded-for", "") if proxies else ""
    addresses = [address.strip() for address in forwarded.split(",")]
    return addresses[-proxies] if forwarded and len(addresses) >= proxies else message.peer


class RequestParser:
    """Reads the GraphQL requests of one endpoint.

    Requests without variables come again and again and are the same each time, so they are kept by the bytes of their bodies.
    """

    def __init__(self, *, is_development: bool) -> None:
        self._is_development = is_development
        self._known: dict[bytes, GraphQLRequest] = {}

    def read(self, message: HttpMessage) -> GraphQLRequest | Batch:
        """Read a GraphQL request, or several: posted, or one in the parameters of a GET, which may not change anything.

        :raises RequestError: it is not well-formed, or one that a browser sends to another site without asking first.
        """
        headers = message.headers
        if message.method == "POST":
            _check_content(headers.get("content-type", ""), headers.get("content-encoding", ""))
            known = self._known.get(message.body)
            return known if known is not None and TRACE_HEADER not in headers else self._all_posted(message.body, headers)
        if message.method != "GET":
            raise RequestError(Code.METHOD_NOT_ALLOWED, 405, {"message": "GraphQL only supports GET and POST requests."})
        if not self._is_development:
            refuse_simple(headers)
        return _request(_query_parameters(message.query_string), headers, is_read_only=True)

    def _all_posted(self, body: bytes, headers: Headers) -> GraphQLRequest | Batch:
        value = _decoded(body)
        if isinstance(value, list):
            return Batch(value, lambda item: _posted(item, headers))
        request = _posted(value, headers)
        if not (request.variables or request.wants_trace) and len(body) <= MAX_KNOWN_BODY:
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[body] = request
        return request


def posted(body: bytes, headers: Headers) -> GraphQLRequest:
    """Read a request that was posted.

    :raises RequestError: it is not well-formed.
    """
    _check_content(headers.get("content-type", ""), headers.get("content-encoding", ""))
    return _posted(_decoded(body), headers)


def _decoded(body: bytes) -> object:
    try:
        return _read_json(body)
    except (ValueError, RecursionError):
        raise _bad_request("The request body is not valid JSON.") from None


def _read_json(text: bytes) -> object:
    """Read JSON. A whole number of more than 64 bits, of which orjson makes a float, keeps its digits: it may be an id.

    :raises ValueError: it is not valid, or has a number of more than 4,300 digits.
    :raises RecursionError: such a number is in it, and it is nested very deep.
    """
    value = orjson.loads(text)
    return json.loads(text) if _LONG_NUMBER in text.translate(_DIGITS_AS_ZEROS) else value


def _posted(value: object, headers: Headers) -> GraphQLRequest:
    if not isinstance(value, dict):
        raise _bad_request("A request must be a JSON object.")
    return _request(value, headers, is_read_only=False)


def refuse_page(message: HttpMessage) -> None:
    """Refuse a GET from the address line of a browser, which asks nothing."""
    if "text/html" in message.headers.get("accept", "") and b"query=" not in message.query_string:
        raise RequestError(Code.NOT_FOUND, 404, {"message": "There is no page here."})


def refuse_simple(headers: Headers) -> None:
    """Refuse what a browser sends to another site without asking first (CSRF): a GET that has no such header."""
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


async def read_body(headers: Headers, receive: Receive, max_bytes: int) -> bytes:
    """Read a body, no more of it than is allowed.

    :raises RequestError: it is too large, which the length that it declares tells before anything is read.
    """
    if declared_length(headers) > max_bytes:
        raise too_large(max_bytes)
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _bad_request("The request ended early.")
        body = body + message["body"] if body else message.get("body", b"")
        if len(body) > max_bytes:
            raise too_large(max_bytes)
        if not message.get("more_body", False):
            return body


def declared_length(headers: Headers) -> int:
    """Return the length that a request declares; 0 when it declares none."""
    declared = headers.get("content-length", "0")
    return int(declared[:20]) if declared.isdecimal() else 0


def too_large(max_bytes: int) -> RequestError:
    """Return the error of a body that is larger than allowed."""
    return RequestError(Code.PAYLOAD_TOO_LARGE, 413, {"message": f"The request body is larger than {max_bytes} bytes."})


def _bad_request(message: str) -> RequestError:
    return RequestError(Code.BAD_REQUEST, 400, {"message": message})


def _query_parameters(query_string: bytes) -> dict[str, Any]:
    """Return the parameters of a GET; ``variables`` and ``extensions`` are JSON in it."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), errors="strict", max_num_fields=100)
        parameters: dict[str, Any] = dict(pairs)
        for name in ("variables", "extensions"):
            if name in parameters:
                parameters[name] = _read_json(parameters[name].encode())
    except (ValueError, RecursionError):
        raise _bad_request("The query string is not valid: 'variables' and 'extensions' are JSON in UTF-8.") from None
    return parameters


def _request(parameters: Mapping[str, Any], headers: Headers, *, is_read_only: bool) -> GraphQLRequest:
    """Check the parameters of a request (GraphQL-over-HTTP 5.1).

    :raises RequestError: one is missing or of the wrong type.
    """
    get = parameters.get
    query, name, variables, extensions = get("query"), get("operationName"), get("variables"), get("extensions")
    if not isinstance(query, str) or not query:
        raise _bad_request("The parameter 'query' must be a non-empty string.")
    if name is not None and not isinstance(name, str):
        raise _bad_request("The parameter 'operationName' must be a string.")
    if variables is not None and not isinstance(variables, dict):
        raise _bad_request("The parameter 'variables' must be an object.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _bad_request("The parameter 'extensions' must be an object.")
    wants_trace = headers.get(TRACE_HEADER) == "1" or (extensions is not None and extensions.get("trace") is True)
    return GraphQLRequest(query, name or None, variables or {}, wants_trace, is_read_only)
