"""Web origins as browsers write them in the ``Origin`` header: ``scheme://host`` with a port unless it is the default one (RFC 6454, 6.2)."""

import ipaddress
import re
import socket
from urllib.parse import SplitResult, urlsplit

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WITHOUT_PAGES = {"ftp", "ws", "wss", "file", "data", "blob", "about", "javascript"}
"""Schemes whose documents have the origin ``null``, or no documents at all."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_BARE = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+|\[[0-9a-f:.]+\])(:\d{1,5})?/?", re.IGNORECASE)
"""A host without a scheme; one with a dot, so that no other word is taken for it."""
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_DIFFERS = re.compile("[\u00df\u03c2\u1e9e\u200c\u200d]")
"""Characters that browsers encode otherwise than Python's codec ``idna`` (IDNA 2003): no origin is derived from them."""


def origin_mistake(text: str) -> str | None:
    """Return what is wrong with a text that should be an origin, with the origin to write where it is clear which is meant; None for an origin."""
    written = _origin(text)
    if written == text:
        return None
    if text.strip().lower() == "null":
        return "'null' is the origin of every sandboxed page, whoever wrote it; name the origins that may call"
    if "{" in text:
        return "an origin has no references: who may call is never up to a request"
    if "*" in text:
        return f"an origin has no wildcards; write each origin, such as https://desk.example.com, or {ANY!r} alone for all"
    return f"not an origin as browsers write it; write {written or 'scheme, host and port, such as https://desk.example.com'}"


def _origin(text: str) -> str | None:
    """Return the origin that is meant by a text; None where that is not clear."""
    text = text.strip()
    if bare := _BARE.fullmatch(text):
        is_local = bare[1].lower() in {"localhost", "127.0.0.1", "[::1]"}
        text = f"{'http' if is_local else 'https'}://{text}"
    try:
        url = urlsplit(text)
        scheme, port = url.scheme, url.port
    except ValueError:
        return None
    host = _host(url)
    if not _SCHEME.fullmatch(scheme) or scheme in _WITHOUT_PAGES or not host or port == 0:
        return None
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


def _host(url: SplitResult) -> str | None:
    """Return the host of a URL in the form of browsers; None for one that they do not accept."""
    try:
        host = (url.hostname or "").lower()
        if url.netloc.rpartition("@")[2].startswith("["):
            return f"[{_ipv6(host)}]"
        if not host.isascii():
            host = "" if _DIFFERS.search(host) else host.encode("idna").decode("ascii")
        if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2]):
            # Browsers take a name that ends in a number for an IPv4 address, in any of the forms of inet_aton.
            return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except (ValueError, OSError):
        return None
    return host if len(host) <= 253 and _DOMAIN.fullmatch(host) else None


def _ipv6(text: str) -> str:
    """Return an IPv6 address in the form of browsers, which write no part of it in decimal.

    :raises ValueError: it is none, or has a zone.
    """
    address = ipaddress.IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError("an address with a zone")
    low = int(address) & 0xFFFF_FFFF
    return f"::ffff:{low >> 16:x}:{low & 0xFFFF:x}" if address.ipv4_mapped else address.compressed
