"""``tls:`` of an HTTP source: its keys, and what is wrong or unwise in them."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from gateway.contract import KeyProblem
from gateway.settings import Keys, Text, such_as
from resolvers.transport.tls import Trust, tls_context


class TlsKeys(Keys):
    """``tls:`` of a source: which certificates of its service are accepted."""

    example = "tls: { ca: certificates/internal.pem }"

    verify: bool = True
    """Whether the service must show a valid certificate for its name. `false`: whoever answers in its place is believed, and can read and
    change every call. The gateway warns of it at each load."""
    ca: Annotated[Text | None, such_as("certificates/internal.pem")] = None
    """A PEM file with the certificates of the authorities that are trusted instead of those of the operating system; a relative path begins at
    the configuration folder. It is read when the source is opened."""


def read_trust(keys: TlsKeys, folder: str) -> Trust:
    """Return whom a source trusts, with the authorities of its file.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is not ASCII.
    """
    return Trust(keys.verify, Path(folder, keys.ca).read_text("ascii") if keys.ca else None)


def check_tls(keys: TlsKeys, folder: str) -> Iterator[KeyProblem]:
    """Yield the problem of a file of authorities that cannot be used, or that nothing needs."""
    path = ("tls", "ca")
    if keys.ca is None:
        return
    if not keys.verify:
        yield KeyProblem(path, "with 'verify: false' no authority is asked; remove one of them", "unused-key")
        return
    try:
        tls_context(read_trust(keys, folder))
    except (OSError, ValueError) as error:  # of ssl: SSLError is an OSError, an empty file a ValueError
        reason = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        message = f"the file of authorities cannot be used: {reason or 'it has no certificates in PEM'}"
        yield KeyProblem(path, message, "bad-file")


def advise_tls(keys: TlsKeys) -> Iterator[KeyProblem]:
    """Yield a warning when certificates are not verified."""
    if not keys.verify:
        message = "whoever answers in place of this service is believed; remove 'verify: false', and name its authority in 'ca:'"
        yield KeyProblem(("tls", "verify"), message, "unverified-certificate")
