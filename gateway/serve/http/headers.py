"""The header lines of a request → one value for each name (RFC 9110, 5.2 to 5.5)."""

from collections.abc import Iterable, Sequence

from gateway.errors import Code, RequestError

_LISTS = {
    "accept", "accept-charset", "accept-encoding", "accept-language", "access-control-request-headers", "baggage",
    "cache-control", "cdn-loop", "connection", "content-encoding", "content-language", "cookie", "forwarded",
    "if-match", "if-none-match", "keep-alive", "link", "pragma", "prefer", "priority", "sec-websocket-extensions",
    "sec-websocket-protocol", "signature", "signature-input", "te", "tracestate", "trailer", "transfer-encoding",
    "upgrade", "via", "warning",
}  # fmt: skip
"""The headers of requests whose value is a list, and which therefore may have several lines; so may all that begin with ``x-forwarded-``."""


def decode_lines(lines: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name, as :func:`merge_headers` does."""
    headers = {name.decode("latin-1"): value.decode("latin-1").strip(" \t") for name, value in lines}
    if len(headers) == len(lines):  # nearly always
        return headers
    return merge_headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in lines)


def merge_headers(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers by name, which is in lower case already. The lines of a list are joined; white space around a value is no part of it.

    :raises RequestError: a header that is no list has several lines. A proxy in front may have checked one of them and the configuration read
        another, and which of them holds nobody can tell.
    """
    headers: dict[str, str] = {}
    for name, line in lines:
        value = line.strip(" \t")
        if name in headers:
            value = f"{headers[name]}{_separator(name)}{value}"
        headers[name] = value
    return headers


def _separator(name: str) -> str:
    if name not in _LISTS and not name.startswith("x-forwarded-"):
        raise RequestError(Code.BAD_REQUEST, 400, {"message": f"The header '{name[:100]}' was sent more than once."})
    return "; " if name == "cookie" else ", "
