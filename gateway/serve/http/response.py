"""What a request has come to → an HTTP response, by the GraphQL-over-HTTP specification: status, head, errors in JSON."""

from functools import lru_cache

from gateway.errors import Code, RequestError
from gateway.json_text import json_text
from gateway.record import Record
from gateway.serve.http.media_types import JSON, RESPONSE_JSON

REQUEST_ID_HEADER = b"x-request-id"
VERSION_HEADER = b"x-config-version"
CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, RESPONSE_JSON)}
RETRY_AFTER = 1
"""Seconds after which those who were not let in may come again."""
_LEGACY_200 = {
    Code.GRAPHQL_PARSE_FAILED,
    Code.GRAPHQL_VALIDATION_FAILED,
    Code.BAD_USER_INPUT,
    Code.OPERATION_RESOLUTION_FAILURE,
}
"""Request errors that ``application/json`` answers with 200: there a status other than 200 means that this is no GraphQL server."""


Answer = tuple[int, bytes, bytes]
"""What a request has come to: the status and body of its response, and the header lines that most responses have not."""


class HttpResponse(Record, frozen=True):
    """A whole HTTP response. ``head`` is its header lines as they are sent, each with its end."""

    status: int
    head: bytes
    body: bytes

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names and values of its headers."""
        lines = (line.partition(b": ") for line in self.head.split(b"\r\n")[:-1])
        return [(name, value) for name, _, value in lines]


def http_response(answer: Answer, media_type: str, version: bytes, request_id: str) -> HttpResponse:
    """Return the response to a request; ``version`` is that of the configuration, empty where none was looked at."""
    status, body, lines = answer
    head = b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b" % (
        _common(media_type, version),
        len(body),
        request_id.encode(),
        lines,
    )
    return HttpResponse(status, head, body)


def json_response(status: int, body: bytes) -> HttpResponse:
    """Return a response of JSON text that is not one to a GraphQL request."""
    return HttpResponse(status, b"%bcontent-length: %d\r\n" % (_common(JSON, b""), len(body)), body)


@lru_cache(maxsize=16)
def _common(media_type: str, version: bytes) -> bytes:
    """Return the lines that the responses of a version have in common."""
    told = b"%b: %b\r\n" % (VERSION_HEADER, version) if version else b""
    return b"content-type: %b\r\n%b" % (CONTENT_TYPES[media_type], told)


def refusal(error: RequestError, media_type: str) -> Answer:
    """Return the answer to a request of which nothing was run."""
    status = 200 if media_type == JSON and error.code in _LEGACY_200 else error.status
    lines = b"allow: GET, POST\r\n" if status == 405 else b""
    if error.retry_after is not None:
        lines = b"retry-after: %d\r\n" % error.retry_after
    return status, errors_text(error), lines


def errors_text(error: RequestError) -> bytes:
    """Return the body of a response that has errors alone."""
    return json_text({"errors": error.errors})


def error_text(code: Code, message: str) -> bytes:
    """Return the body of a response that is one error."""
    return errors_text(RequestError(code, 0, {"message": message}))


def unexpected() -> RequestError:
    """Return what a client is told of a defect: a new error each time, as one that is raised keeps what was on the stack."""
    return RequestError(Code.INTERNAL_SERVER_ERROR, 500, {"message": "The gateway failed."})


def not_ready() -> RequestError:
    """Return what a client is told while no configuration is loaded."""
    return RequestError(Code.INTERNAL_SERVER_ERROR, 503, {"message": "The gateway is not ready."})


UNEXPECTED = errors_text(unexpected())
NOT_ADMITTED = refusal(
    RequestError(
        Code.REQUEST_CONCURRENCY_LIMITED,
        503,
        {"message": "The gateway has too much to do; try again later."},
        retry_after=RETRY_AFTER,
    ),
    JSON,
)
"""The answer to every request that is not let in; made once, as refusing must cost next to nothing."""
