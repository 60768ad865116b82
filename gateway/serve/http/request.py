"""An HTTP request → a GraphQL request: media types, protection against CSRF, size limits, parameters (GraphQL-over-HTTP 5)."""

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
from gateway.serve.http.headers import decode_lines
from gateway.serve.http.media_types import JSON

GRAPHQL_PATH = "/graphql"
MAX_CACHED_HEADERS = 256
TRACE_HEADER = "x-stepgraph-trace"
PREFLIGHT_HEADERS = ("apollo-require-preflight", "graphql-require-preflight", "x-apollo-operation-name")

MAX_CACHED_REQUESTS, MAX_CACHED_BODY = 1000, 4000
"""How many parsed requests are cached by their bodies, and the largest body that is cached, in bytes."""
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
"""Once every digit is replaced by 0, this occurs in a text that has a number of 19 digits or more: only such a one can exceed 64 bits. Inside a
string it does no harm."""

Headers = Mapping[str, str]


class HttpMessage(RequestContext):
    """A complete HTTP request. The names of ``headers`` are in lower case.

    ``peer`` is the address at the other end of the connection: that of the client, or of a proxy.
    """

    __slots__ = ("body", "method", "peer", "query_string")

    def __init__(  # noqa: PLR0913, PLR0917 - all fields in one call, without super().__init__: that is the fastest way
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


def decode_headers(scope: Scope) -> dict[str, str]:
    """Return the headers of an ASGI scope by name; ASGI has the names in lower case.

    :raises RequestError: a header that may be there once is there twice.
    """
    return decode_lines(list(scope["headers"]))


def client_address(message: HttpMessage, proxies: int) -> str:
    """Return the address of the client as the outermost of so many trusted proxies has seen it.

    Each proxy appends the address of its caller, so entries are counted from the right: the client itself can only forge those further left.
    """
    forwarded = message.headers.get("x-forwarded-for", "") if proxies else ""
    addresses = [address.strip() for address in forwarded.split(",")]
    return addresses[-proxies] if forwarded and len(addresses) >= proxies else message.peer


class RequestParser:
    """Parses the GraphQL requests of one endpoint.

    Requests without variables often repeat byte for byte, so they are cached by their bodies.
    """

    def __init__(self, *, is_development: bool) -> None:
        self._is_development = is_development
        self._cached: dict[bytes, GraphQLRequest] = {}

    def parse(self, message: HttpMessage) -> GraphQLRequest | Batch:
        """Parse a POST with one GraphQL request or a batch, or a GET with one in its parameters, which may not be a mutation.

        :raises RequestError: it is not well-formed, or could be a cross-site request of a browser.
        """
        headers = message.headers
        if message.method == "POST":
            _check_content(headers.get("content-type", ""), headers.get("content-encoding", ""))
            # The header asks for a trace, which the cached request does not have.
            cached = self._cached.get(message.body)
            return cached if cached is not None and TRACE_HEADER not in headers else self._parse_body(message.body, headers)
        if message.method != "GET":
            raise RequestError(Code.METHOD_NOT_ALLOWED, 405, {"message": "GraphQL only supports GET and POST requests."})
        if not self._is_development:
            refuse_cross_site(headers)
        return _build_request(_query_parameters(message.query_string), headers, is_read_only=True)

    def _parse_body(self, body: bytes, headers: Headers) -> GraphQLRequest | Batch:
        value = _decode_body(body)
        if isinstance(value, list):
            return Batch(value, lambda item: _parse_item(item, headers))
        request = _parse_item(value, headers)
        if not (request.variables or request.wants_trace) and len(body) <= MAX_CACHED_BODY:
            if len(self._cached) >= MAX_CACHED_REQUESTS:
                del self._cached[next(iter(self._cached))]
            self._cached[body] = request
        return request


def parse_post(body: bytes, headers: Headers) -> GraphQLRequest:
    """Parse the body of a POST with one GraphQL request.

    :raises RequestError: it is not well-formed.
    """
    _check_content(headers.get("content-type", ""), headers.get("content-encoding", ""))
    return _parse_item(_decode_body(body), headers)


def _decode_body(body: bytes) -> object:
    try:
        return _decode_json(body)
    except (ValueError, RecursionError):
        raise _bad_request("The request body is not valid JSON.") from None


def _decode_json(text: bytes) -> object:
    """Decode JSON. An integer of more than 64 bits keeps its digits, as it may be an id; orjson would turn it into a float.

    :raises ValueError: the JSON is invalid, or has a number of more than 4,300 digits.
    :raises RecursionError: it has a number of 19 digits or more and is nested too deep for Python's own decoder.
    """
    value = orjson.loads(text)
    # The check costs one pass over the text; only texts that may have such a number are decoded again, by the slower json.
    return json.loads(text) if _LONG_NUMBER in text.translate(_DIGITS_AS_ZEROS) else value


def _parse_item(value: object, headers: Headers) -> GraphQLRequest:
    if not isinstance(value, dict):
        raise _bad_request("A request must be a JSON object.")
    return _build_request(value, headers, is_read_only=False)


def refuse_browser(message: HttpMessage) -> None:
    """Reject a GET from the address bar of a browser, which has no query.

    :raises RequestError: 404, it accepts HTML and has no query.
    """
    if "text/html" in message.headers.get("accept", "") and b"query=" not in message.query_string:
        raise RequestError(Code.NOT_FOUND, 404, {"message": "There is no page here."})


def refuse_cross_site(headers: Headers) -> None:
    """Reject a request that a browser would send to another site without a CORS preflight (CSRF).

    :raises RequestError: it has none of ``PREFLIGHT_HEADERS``, and its content type is not JSON.
    """
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
    """Read a body from ASGI messages.

    :raises RequestError: it is larger than allowed (checked by ``Content-Length`` before anything is read), or the client disconnected.
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
    """Return the ``Content-Length`` of a request; 0 if it has none."""
    declared = headers.get("content-length", "0")
    # 20 digits exceed any limit, and int() raises ValueError for more than 4,300 digits.
    return int(declared[:20]) if declared.isdecimal() else 0


def too_large(max_bytes: int) -> RequestError:
    """Return the error for a body that is larger than allowed."""
    return RequestError(Code.PAYLOAD_TOO_LARGE, 413, {"message": f"The request body is larger than {max_bytes} bytes."})


def _bad_request(message: str) -> RequestError:
    return RequestError(Code.BAD_REQUEST, 400, {"message": message})


def _query_parameters(query_string: bytes) -> dict[str, Any]:
    """Return the parameters of a GET; ``variables`` and ``extensions`` are JSON texts."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), errors="strict", max_num_fields=100)
        parameters: dict[str, Any] = dict(pairs)
        for name in ("variables", "extensions"):
            if name in parameters:
                parameters[name] = _decode_json(parameters[name].encode())
    except (ValueError, RecursionError):
        raise _bad_request("The query string is not valid: 'variables' and 'extensions' are JSON in UTF-8.") from None
    return parameters


def _build_request(parameters: Mapping[str, Any], headers: Headers, *, is_read_only: bool) -> GraphQLRequest:
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
