"""What holds for all connections of a server: the limits as they are configured now, and an eye on those that let it wait."""

import asyncio
from collections.abc import Callable, Set
from typing import Protocol

from gateway.errors import Code, RequestError
from gateway.settings import ServerKeys

LOOK = 0.5
"""Seconds between two looks at all connections: one timer for them all, instead of one for each request."""


class TimedConnection(Protocol):
    """A connection with a time when it must have moved on."""

    limit_at: float

    def expire(self, now: float) -> None:
        """Deal with the connection, whose time has come."""


class Edge:
    """The limits of a server and the connections that it looks after. ``keys`` gives what holds now."""

    def __init__(self, keys: Callable[[], ServerKeys]) -> None:
        self.keys = keys
        self.is_draining = False
        """Whether answers tell clients to go elsewhere, as the server is about to end."""
        self.stopping = asyncio.Event()
        """Set when no request shall be held any longer."""
        self._timer: asyncio.TimerHandle | None = None

    def look_after(self, connections: Set[TimedConnection]) -> None:
        """Look at these connections for as long as there are any; the set is the server's own, and goes on changing."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look, connections)

    def _look(self, connections: Set[TimedConnection]) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in [connection for connection in connections if connection.limit_at <= now]:
            connection.expire(now)
        if connections:
            self.look_after(connections)


def _refusal(status: int, code: Code, message: str) -> Callable[[], RequestError]:
    """Return what makes an error: one that is raised keeps what was on the stack, so none is raised twice."""
    return lambda: RequestError(code, status, {"message": message})


too_large_head = _refusal(431, Code.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")
too_long_url = _refusal(414, Code.URI_TOO_LONG, "The URL of the request is too long.")
no_host = _refusal(400, Code.BAD_REQUEST, "The request must have one sound 'Host' header.")
malformed = _refusal(400, Code.BAD_REQUEST, "The message is not valid HTTP.")
too_late = _refusal(408, Code.REQUEST_TIMEOUT, "The request did not come in time.")
