"""State shared by all connections of a server: the configured limits, the shutdown flags, and one timer that checks their timeouts."""

import asyncio
from collections.abc import Callable, Set
from typing import Protocol

from gateway.errors import Code, RequestError
from gateway.serve.http.cross_site import LocalHosts
from gateway.settings import ServerKeys

CHECK_INTERVAL = 0.5
"""Seconds between two checks of the timeouts: one timer for all connections costs less than one for each request."""


class TimedConnection(Protocol):
    """A connection with a timeout."""

    expires_at: float
    """When its current phase times out (event loop clock)."""

    def expire(self, now: float) -> None:
        """Handle the timeout of the connection."""


class Edge:
    """What the connections of a server share. ``keys`` returns the limits of the configuration that is served now.

    ``hosts`` are the only ones by which it may be called; None allows all, as in production, where a proxy may call it by any.
    """

    def __init__(self, keys: Callable[[], ServerKeys], hosts: LocalHosts | None = None) -> None:
        self.keys = keys
        self.hosts = hosts
        self.is_draining = False
        """Whether responses close their connection, because the server is about to shut down."""
        self.stopping = asyncio.Event()
        """Set when the server shuts down: event streams, which would never end, end then."""
        self.on_requests_ended: Callable[[], None] = lambda: None
        """Called in a shutdown when all requests have ended, mutations without a client included. What follows only tidies up."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connections: Set[TimedConnection]) -> None:
        """Check the timeouts of these connections until none is left. The set is the server's own, which adds to it and removes from it."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_INTERVAL, self._check, connections)

    def _check(self, connections: Set[TimedConnection]) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in [connection for connection in connections if connection.expires_at <= now]:
            connection.expire(now)
        if connections:
            self.watch(connections)


def _error_factory(status: int, code: Code, message: str) -> Callable[[], RequestError]:
    """Return a function that creates an error. Each use needs a new one, because a raised exception keeps its traceback alive."""
    return lambda: RequestError(code, status, {"message": message})


head_too_large = _error_factory(431, Code.REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.")
url_too_long = _error_factory(414, Code.URI_TOO_LONG, "The URL of the request is too long.")
invalid_host = _error_factory(400, Code.BAD_REQUEST, "The request must have one sound 'Host' header.")
malformed_target = _error_factory(400, Code.BAD_REQUEST, "The target of the request must be a path or a URL with one.")
tunnel_refused = _error_factory(405, Code.METHOD_NOT_ALLOWED, "The gateway is no proxy: CONNECT is not supported.")
malformed_message = _error_factory(400, Code.BAD_REQUEST, "The message is not valid HTTP.")
request_timeout = _error_factory(408, Code.REQUEST_TIMEOUT, "The request did not come in time.")
