"""The transport contract: one HTTP request → one HTTP response, or a fault. Every upstream call goes through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to one source: ``target`` is the encoded path and query."""

    method: str
    target: str
    headers: Headers
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole response; header names are in lower case, the body is decompressed."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport(Protocol):
    """A pool of connections to one source.

    It follows no redirects, reads no proxy or credentials from the environment, verifies certificates, and reads no more of a
    body than its limit. Deadlines are the caller's: a cancelled ``send`` closes its connection.
    """

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and read its whole response.

        :raises StepFault: of kind ``connect``, ``reset`` or ``timeout``; or too large, or not HTTP.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
