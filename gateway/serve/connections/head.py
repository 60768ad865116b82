"""The head of a GraphQL request: read and checked once, and known again when the next request of its connection has the very same one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.serve.http.edge import malformed, no_host, too_large_head
from gateway.serve.http.request import GRAPHQL_PATH, declared_length, too_large
from gateway.settings import ServerKeys

Written = tuple[bytes, bytes, str, list[tuple[bytes, bytes]]]
"""A head as its parser gives it: URL, method, version of HTTP, and headers by their names in lower case."""
_GRAPHQL_PATH = GRAPHQL_PATH.encode()
_END = b"\r\n\r\n"
_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
"""A name or address, and perhaps a port (RFC 3986, 3.2.2)."""


@dataclass(slots=True)
class RequestHead:
    """The head of a GraphQL request that was found sound. A client's next one on a connection is nearly always the very same."""

    written: Written
    keys: ServerKeys
    """The limits that it was checked against."""
    method: str
    query_string: bytes
    headers: Mapping[str, str]
    length: int
    """How many bytes of a body it announces."""
    is_last: bool
    """Whether the client wants the connection to end after it."""
    waits_for_word: bool
    """Whether the body comes only after ``100 Continue``."""
    text: bytes = b""
    """Its very bytes, where they are known and say all that there is to say of how the request is read."""

    def learn(self, message: bytes) -> None:
        """Keep the bytes of the head from those in which a message with it came, unless they are more than that one message."""
        head, end, body = message.partition(_END)
        if end and len(body) == self.length and not (self.is_last or self.waits_for_word or "transfer-encoding" in self.headers):
            self.text = head + end

    def begins(self, message: bytes) -> bool:
        """Tell whether some bytes are one whole message with this head."""
        text = self.text
        return bool(text) and len(message) == len(text) + self.length and message.startswith(text)


def read_head(written: Written, keys: ServerKeys, *, is_last: bool) -> RequestHead | None:
    """Return the head of a GraphQL request, or None for any other one.

    :raises RequestError: nobody may send such a head.
    """
    _check(written, keys)
    url, method, _, fields = written
    path, _, query_string = url.partition(b"?")
    if path != _GRAPHQL_PATH or method not in {b"POST", b"GET"}:
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
    if keys.cors.origins and "origin" in headers:
        return None
    length = declared_length(headers)
    if length > keys.max_request_bytes:
        raise too_large(keys.max_request_bytes)
    waits_for_word = headers.get("expect", "").lower() == "100-continue"
    return RequestHead(written, keys, method.decode(), query_string, headers, length, is_last, waits_for_word)


def _check(written: Written, keys: ServerKeys) -> None:
    """Check what is checked by nobody else.

    :raises RequestError: the head is of another protocol, too large, does not say for which host it is (RFC 9112, 2.3 and 3.2), or announces a
        body that is coded in a way which is not known here (6.1).
    """
    url, _, version, fields = written
    if version not in {"1.1", "1.0"}:
        raise malformed()
    names = [name for name, _ in fields]
    size = len(url) + sum(map(len, names)) + sum([len(value) + 4 for _, value in fields])
    if size > keys.max_header_bytes or len(names) > keys.max_headers:
        raise too_large_head()
    hosts = [value for name, value in fields if name == b"host"]
    if (len(hosts) != 1 and (hosts or version != "1.0")) or not all(map(_HOST.fullmatch, hosts)):
        raise no_host()
    if any(value.strip().lower() != b"chunked" for name, value in fields if name == b"transfer-encoding"):
        raise malformed()
