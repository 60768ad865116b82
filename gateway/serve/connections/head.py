"""The head of a GraphQL request: parsed and checked once, and reused when the next request of the connection has the same bytes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httptools

from gateway.serve.http.edge import head_too_large, invalid_host, malformed_message, malformed_target
from gateway.serve.http.headers import decode_lines
from gateway.serve.http.request import GRAPHQL_PATH, declared_length, too_large
from gateway.settings import ServerKeys

RawHead = tuple[bytes, bytes, str, list[tuple[bytes, bytes]]]
"""A head as httptools gives it: URL, method, HTTP version, and headers with names in lower case."""
_GRAPHQL_PATH = GRAPHQL_PATH.encode()
_END = b"\r\n\r\n"
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
"""A name or address with an optional port (RFC 3986, 3.2.2)."""


@dataclass(slots=True)
class RequestHead:
    """The head of a valid GraphQL request. The next request of a client on the same connection nearly always repeats it."""

    raw: RawHead
    keys: ServerKeys
    """The limits that it was checked against. A reload brings new ones, and then it must be checked again."""
    method: str
    query_string: bytes
    headers: Mapping[str, str]
    length: int
    """The ``Content-Length``."""
    closes_connection: bool
    """Whether the connection ends after this request."""
    expects_continue: bool
    """Whether the client sends the body only after ``100 Continue``."""
    text: bytes = b""
    """Its bytes, if a request that begins with them needs no parser; empty otherwise."""

    def remember(self, message: bytes) -> None:
        """Keep the bytes of the head, taken from the message that it arrived in, if they are exactly one message."""
        head, end, body = message.partition(_END)
        # Each of these changes how the message is read or answered, so such a request always goes through the parser.
        needs_parser = self.closes_connection or self.expects_continue or "transfer-encoding" in self.headers
        if end and len(body) == self.length and not needs_parser:
            self.text = head + end

    def matches(self, message: bytes) -> bool:
        """Tell whether these bytes are exactly one message with this head."""
        text = self.text
        return bool(text) and len(message) == len(text) + self.length and message.startswith(text)


def read_head(raw: RawHead, keys: ServerKeys, *, closes_connection: bool) -> RequestHead | None:
    """Check a head and return it if it is that of a GraphQL request; return None for any other request.

    :raises RequestError: the head is invalid, ambiguous or too large, or announces too large a body.
    """
    _check(raw, keys)
    url, method, _, fields = raw
    path, _, query_string = url.partition(b"?")
    if path != _GRAPHQL_PATH or method not in {b"POST", b"GET"}:
        return None
    headers = decode_lines(fields)
    # CORS is handled by Starlette's middleware, which needs ASGI.
    if keys.cors.origins and "origin" in headers:
        return None
    length = declared_length(headers)
    if length > keys.max_request_bytes:
        raise too_large(keys.max_request_bytes)
    expects_continue = headers.get("expect", "").lower() == "100-continue"
    return RequestHead(raw, keys, method.decode(), query_string, headers, length, closes_connection, expects_continue)


def head_without_upgrade(raw: RawHead) -> bytes:
    """Return the bytes of a head without the ``Upgrade`` header: ``Connection`` alone offers nothing."""
    url, method, version, fields = raw
    lines = [b"%b: %b\r\n" % field for field in fields if field[0] != b"upgrade"]
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, url, version.encode(), b"".join(lines))


def check_target(url: bytes) -> None:
    """Check that a request target has a path (RFC 9112, 3.2.1 and 3.2.2); ``host:port`` and ``*`` have none.

    :raises RequestError: it has none, or is not a URL.
    """
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        path = None
    if not path or not path.isascii():
        raise malformed_target()


def _check(raw: RawHead, keys: ServerKeys) -> None:
    """Check what neither httptools nor uvicorn checks.

    :raises RequestError: the HTTP version is not supported, the head is too large, it has not exactly one valid host (RFC 9112, 2.3 and 3.2),
        or its transfer coding is not supported (6.1).
    """
    url, _, version, fields = raw
    if version not in {"1.1", "1.0"}:
        raise malformed_message()
    names = [name for name, _ in fields]
    # 4 bytes of each line are ": " and the line end.
    size = len(url) + sum(map(len, names)) + sum([len(value) + 4 for _, value in fields])
    if size > keys.max_header_bytes or len(names) > keys.max_headers:
        raise head_too_large()
    # Two hosts, or a malformed_message one, could be read differently by a proxy in front; only HTTP/1.0 may have none.
    hosts = [value.strip(b" \t") for name, value in fields if name == b"host"]
    if (len(hosts) != 1 and (hosts or version != "1.0")) or not all(map(_HOST.fullmatch, hosts)):
        raise invalid_host()
    if any(value.strip().lower() != b"chunked" for name, value in fields if name == b"transfer-encoding"):
        raise malformed_message()
