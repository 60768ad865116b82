"""TLS settings of every transport: how certificates are verified."""

import ssl
from functools import lru_cache
from typing import NamedTuple


class Trust(NamedTuple):
    """Which certificates of an upstream are accepted."""

    verifies: bool = True
    """Whether they must be valid, and issued for its name by a known authority."""
    authorities: str | None = None
    """The certificates of the known authorities in PEM; None for those of the operating system (or of ``SSL_CERT_FILE``)."""


SYSTEM = Trust()


@lru_cache(maxsize=64)
def tls_context(trust: Trust = SYSTEM) -> ssl.SSLContext:
    """Return the context for a kind of trust. Cached: creating one takes 10 ms.

    :raises ValueError: there is no authority.
    :raises ssl.SSLError: the authorities are no certificates in PEM.
    """
    if trust.authorities == "":
        raise ValueError("no authority")  # ssl would take it for those of the operating system
    context = ssl.create_default_context(cadata=trust.authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # neither transport speaks HTTP/2
    if not trust.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
