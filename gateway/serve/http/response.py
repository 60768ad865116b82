"""The result of a request → an HTTP response: status, header lines, errors in JSON (GraphQL-over-HTTP 6)."""

from functools import lru_cache

from gateway.errors import Code, RequestError
from gateway.json_text import json_text
from gateway.record import Record
from gateway.serve.http.media_types import JSON, RESPONSE_JSON

REQUEST_ID_HEADER = b"x-request-id"
VERSION_HEADER = b"x-config-version"
CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, RESPONSE_JSON)}
RETRY_AFTER = 1
"""Seconds after which a client that was not admitted may retry."""
_LEGACY_200 = {
    Code.GRAPHQL_PARSE_FAILED,
    Code.GRAPHQL_VALIDATION_FAILED,
    Code.BAD_USER_INPUT,
    Code.OPERATION_RESOLUTION_FAILURE,
}
"""Request errors that have status 200 with ``application/json``: there clients take any other status to come from no GraphQL server."""

Answer = tuple[int, bytes, bytes]
"""The result of a request: status, body, and the header lines that only some responses have."""


class HttpResponse(Record, frozen=True):
    """A complete HTTP response. ``head`` is its header lines as they are sent, each with its line end."""

    status: int
    head: bytes
    body: bytes

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names and values of the headers, as ASGI wants them."""
        lines = (line.partition(b": ") for line in self.head.split(b"\r\n")[:-1])
        return [(name, value) for name, _, value in lines]


def http_response(answer: Answer, media_type: str, version: bytes, request_id: str) -> HttpResponse:
    """Return the response to a request; ``version`` is the content hash of the configuration, empty if none was used."""
    status, body, lines = answer
    head = b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b" % (
        _common_lines(media_type, version),
        len(body),
        request_id.encode(),
        lines,
    )
    return HttpResponse(status, head, body)


def json_response(status: int, body: bytes) -> HttpResponse:
    """Return a JSON response that does not answer a GraphQL request."""
    return HttpResponse(status, b"%bcontent-length: %d\r\n" % (_common_lines(JSON, b""), len(body)), body)


@lru_cache(maxsize=16)
def _common_lines(media_type: str, version: bytes) -> bytes:
    """Return the header lines that all responses of a version have in common."""
    version_line = b"%b: %b\r\n" % (VERSION_HEADER, version) if version else b""
    return b"content-type: %b\r\n%b" % (CONTENT_TYPES[media_type], version_line)


def error_answer(error: RequestError, media_type: str) -> Answer:
    """Return the answer to a request that was rejected before any step ran."""
    status = 200 if media_type == JSON and error.code in _LEGACY_200 else error.status
    # A 405 must name the methods that are allowed (RFC 9110, 15.5.6).
    lines = b"allow: GET, POST\r\n" if status == 405 else b""
    if error.retry_after is not None:
        lines = b"retry-after: %d\r\n" % error.retry_after
    return status, errors_body(error), lines


def errors_body(error: RequestError) -> bytes:
    """Return the body of a response that has only errors."""
    return json_text({"errors": error.errors})


def error_body(code: Code, message: str) -> bytes:
    """Return the body of a response that has only one error."""
    return errors_body(RequestError(code, 0, {"message": message}))


def internal_error() -> RequestError:
    """Return the error for a defect of the gateway. A new one each time, because a raised exception keeps its traceback alive."""
    return RequestError(Code.INTERNAL_SERVER_ERROR, 500, {"message": "The gateway failed."})


def not_ready() -> RequestError:
    """Return the error for a request that arrives while no configuration is loaded."""
    return RequestError(Code.INTERNAL_SERVER_ERROR, 503, {"message": "The gateway is not ready."})


INTERNAL_ERROR_BODY = errors_body(internal_error())
NOT_ADMITTED = error_answer(
    RequestError(
        Code.REQUEST_CONCURRENCY_LIMITED,
        503,
        {"message": "The gateway has too much to do; try again later."},
        retry_after=RETRY_AFTER,
    ),
    JSON,
)
"""The answer to every request that is not admitted. Encoded once, because under overload a rejection must cost next to nothing."""
