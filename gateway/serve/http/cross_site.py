"""Requests that a web page of another site makes a browser send to this machine.

Such a page calls it by a host name of its own that resolves to an address of this machine (DNS rebinding), or it posts to it from its own
origin (CSRF). Only listeners without authentication check this: the admin listener, and the server in development mode.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from gateway.errors import Code, RequestError

_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\])(?::\d{0,5})?", re.ASCII)
_TARGET = re.compile(rb"[a-z][a-z0-9+.-]*://([^/?#]*)", re.IGNORECASE)
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_OWN_PAGES = {"same-origin", "none"}
"""Values of ``Sec-Fetch-Site`` for a page of the same origin, and for a request that the user made without any page."""

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Headers as ASGI has them, with names in lower case."""


class LocalHosts:
    """The hosts by which a listener on ``host`` is called on purpose: names of this machine, the name that it was told, and addresses.

    An address cannot be rebound. A listener on loopback alone is called by none but loopback addresses.
    """

    def __init__(self, host: str | None) -> None:
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        self._names = {"localhost", own, short, f"{short}.local", *([host.lower()] if host else ())}
        self._takes_any_address = host is None or not _is_loopback(host.lower())

    def check(self, headers: RawHeaders, target: bytes = b"/") -> None:
        """Check the ``Host`` of a request; an absolute ``target`` counts too, as it precedes that header (RFC 9112, 3.2.2).

        :raises RequestError: 403, it is not one of these hosts.
        """
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if absolute := _TARGET.match(target):
            hosts.append(absolute[1].decode("latin-1"))
        for host in hosts:
            if not self._allows(host.strip().lower()):
                shown = host[:80]
                message = f"Refused: '{shown}' is not a name of this machine. Use 'localhost'"
                raise RequestError(Code.CSRF_ERROR, 403, {"message": f"{message}, or start the server with that name as --host."})

    def _allows(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].removesuffix(".")
        if name in self._names or name.endswith(".localhost"):  # RFC 6761, 6.3: such names are this machine
            return True
        return _is_address(name) if self._takes_any_address else _is_loopback(name)


def refuse_foreign_page(method: str, headers: RawHeaders) -> None:
    """Refuse a request that may change something and comes from a page of another origin. Other clients than browsers send no origin.

    :raises RequestError: 403.
    """
    if method in _SAFE_METHODS:
        return
    sent = [(name, value.decode("latin-1").strip().lower()) for name, value in headers]
    hosts = {value for name, value in sent if name == b"host"}
    is_own = all(
        value in _OWN_PAGES if name == b"sec-fetch-site" else _authority(value) in hosts
        for name, value in sent
        if name in {b"sec-fetch-site", b"origin"}
    )
    if not is_own:
        raise RequestError(Code.CSRF_ERROR, 403, {"message": "Refused: the request comes from a web page of another origin."})


def _authority(origin: str) -> str | None:
    """Return host and port of an origin; None for one of no web page."""
    with suppress(ValueError):
        url = urlsplit(origin)
        if url.scheme in {"http", "https"} and not (url.path or url.query or url.fragment):
            return url.netloc
    return None


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name.strip("[]")))
    return False


def _is_loopback(name: str) -> bool:
    with suppress(ValueError):
        address = ipaddress.ip_address(name.strip("[]"))
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return name == "localhost"
