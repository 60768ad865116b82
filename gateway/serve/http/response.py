"""What is answered → an HTTP response, by the GraphQL-over-HTTP specification: media types, the id of the request, errors."""

from functools import lru_cache

from gateway.answer.json_text import json_text
from gateway.errors import Code, RequestError
from gateway.record import Record
from gateway.serve.admission.admission import RETRY_AFTER
from gateway.serve.http.request import JSON, RESPONSE_JSON, negotiate

REQUEST_ID_HEADER = b"x-request-id"
VERSION_HEADER = b"x-config-version"
CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, RESPONSE_JSON)}


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

    def with_header(self, name: bytes, value: bytes) -> "HttpResponse":
        """Return this answer with one header more."""
        return HttpResponse(self.status, b"%b%b: %b\r\n" % (self.head, name, value), self.body)


def http_response(status: int, media_type: str, version: bytes, request_id: str, body: bytes) -> HttpResponse:
    """Return the answer to a request; ``version`` is that of the configuration, empty where none was looked at."""
    head = b"%bcontent-length: %d\r\n%b: %b\r\n" % (
        _common(media_type, version),
        len(body),
        REQUEST_ID_HEADER,
        request_id.encode(),
    )
    return HttpResponse(status, head, body)


def json_response(status: int, body: bytes) -> HttpResponse:
    """Return an answer of JSON text that is not one to a GraphQL request."""
    return HttpResponse(status, b"%bcontent-length: %d\r\n" % (_common(JSON, b""), len(body)), body)


def overloaded_response(accept: str | None, version: bytes, request_id: str) -> HttpResponse:
    """Return the answer to a request that is not let in, which costs next to nothing."""
    return HttpResponse(503, _common_too_much(accept, version), _TOO_MUCH).with_header(REQUEST_ID_HEADER, request_id.encode())


@lru_cache(maxsize=16)
def _common(media_type: str, version: bytes) -> bytes:
    """Return the lines that the answers of a version have in common."""
    told = b"%b: %b\r\n" % (VERSION_HEADER, version) if version else b""
    return b"content-type: %b\r\n%b" % (CONTENT_TYPES[media_type], told)


@lru_cache(maxsize=16)
def _common_too_much(accept: str | None, version: bytes) -> bytes:
    try:
        media_type = negotiate(accept)
    except RequestError:
        media_type = JSON
    return b"%bcontent-length: %d\r\nretry-after: %d\r\n" % (_common(media_type, version), len(_TOO_MUCH), RETRY_AFTER)


def error_text(code: Code, message: str) -> bytes:
    """Return the body of an answer that is one error."""
    return json_text({"errors": [{"message": message, "extensions": {"code": str(code)}}]})


UNEXPECTED = error_text(Code.INTERNAL_SERVER_ERROR, "The gateway failed.")
_TOO_MUCH = error_text(Code.REQUEST_CONCURRENCY_LIMITED, "The gateway has too much to do; try again later.")
