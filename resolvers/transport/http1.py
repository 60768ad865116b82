"""The HTTP/1.1 transport: send requests over pooled keep-alive connections (RFC 9112).

The pool does not limit its connections: each call uses one, and the bulkhead in front of the transport limits the calls.
"""

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import Code, StepFault
from resolvers.transport.encoding import encode_path
from resolvers.transport.http1_connection import READ_SIZE, PoolState, UpstreamConnection
from resolvers.transport.names import HostName
from resolvers.transport.tls import tls_context
from resolvers.transport.transport import CONNECT_TIMEOUT, IDLE_SECONDS, Limits, UpstreamRequest, UpstreamResponse

_WITH_CONTENT = {"POST", "PUT", "PATCH"}
MAX_CONNECTING = 32
"""The most connections that a pool opens at once. To open a thousand in one turn of the event loop would block it for half a second."""


class Http1Transport:
    """A pool of connections to ``base_url``; it keeps at most ``limits.max_connections`` of them idle."""

    def __init__(self, base_url: str, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        url = urlsplit(base_url)
        host = url.hostname or ""
        self._host = host if ":" in host else host.encode("idna").decode("ascii")
        self._tls = (tls or tls_context(limits.trust)) if url.scheme == "https" else None
        default_port = 443 if self._tls else 80
        self._port = url.port or default_port
        self._name = HostName(self._host, denies_private=limits.denies_private)
        self._path = encode_path(url.path).rstrip("/")
        self._head = (
            f" HTTP/1.1\r\nhost: {_authority(self._host, self._port, default_port)}\r\n"
            "accept: application/json\r\naccept-encoding: gzip\r\n"
        )
        self._max_idle = limits.max_connections
        self._state = PoolState(bytearray(READ_SIZE), limits.max_bytes, limits.max_age, {})
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[UpstreamConnection]] = set()
        self._connecting_slots = asyncio.Semaphore(MAX_CONNECTING)
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request and read its whole response.

        An idempotent request is sent once more, on a new connection, when the reused one closes before any byte of a response.
        """
        message = self._message(request)
        reused = connection = self._take_idle(is_idempotent=request.is_idempotent)
        while True:
            if connection is None and self._is_closed:
                raise StepFault(Code.SUBREQUEST_HTTP_ERROR, detail="the pool was closed")
            connection = connection or await self._connect()
            waiter = connection.send(message, is_head_request=request.method == "HEAD")
            try:
                return await waiter
            except StepFault:
                # The upstream may have closed an idle connection while the request was on its way. A new connection has no such excuse.
                if connection is not reused or connection.has_received or not request.is_idempotent:
                    raise
            except BaseException:
                connection.cancel(waiter)
                raise
            connection = None

    async def aclose(self) -> None:
        """Close every connection at once, including those in use and those being opened."""
        self._is_closed = True
        closing: list[asyncio.Future[Any]] = [*self._connecting, *(connection.closed for connection in self._open)]
        for connecting in self._connecting:
            connecting.cancel()
        for connection in list(self._open):
            connection.abort()
        if closing:
            await asyncio.wait(closing)

    def _message(self, request: UpstreamRequest) -> bytes:
        """Encode a request with its headers and body as one message, which takes one write."""
        body = request.body
        lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers]) if request.headers else ""
        # These methods declare a length even without a body (RFC 9110, 8.6).
        if body is not None or request.method in _WITH_CONTENT:
            lines += f"content-length: {len(body or b'')}\r\n"
        head = f"{request.method} {self._path}{request.target}{self._head}{lines}\r\n".encode("latin-1")
        return head + body if body else head

    # -- idle connections

    def _take_idle(self, *, is_idempotent: bool) -> UpstreamConnection | None:
        """Return the most recently used idle connection, so that surplus ones expire; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(is_idempotent=is_idempotent):
                return connection
            connection.abort()
        return None

    def _keep_idle(self, connection: UpstreamConnection) -> None:
        """Return a connection to the pool after its response, or close it when the pool is closed or full."""
        if self._is_closed or len(self._idle) >= self._max_idle:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close expired idle connections. One timer serves all of them, and none runs while no connection is idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [connection for connection in self._idle if connection.expires_at <= now]:
            self._idle.remove(connection)
            connection.abort()
        next_expiry = min((connection.expires_at for connection in self._idle), default=None)
        self._sweeping = None if next_expiry is None else loop.call_at(next_expiry, self._sweep)

    def _discard(self, connection: UpstreamConnection) -> None:
        """Remove a closed connection from the pool."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._idle and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    # -- new connections

    async def _connect(self) -> UpstreamConnection:
        """Open a new connection.

        :raises StepFault: it cannot be opened, or not within ``CONNECT_TIMEOUT``.
        """
        # A task of its own: closing the pool cancels it without cancelling the caller.
        connecting = asyncio.create_task(self._dial())
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            return await connecting
        except asyncio.CancelledError:
            if not connecting.cancelled() and not connecting.exception():
                # The connection was opened before the cancellation took effect, so that another request can use it.
                self._keep_idle(connecting.result())
            if self._is_closed and not _is_cancelled():
                raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect", detail="the pool was closed") from None
            raise

    async def _dial(self) -> UpstreamConnection:
        """Resolve the host name and connect, and turn errors into faults of kind ``connect``."""
        try:
            # The slot first: waiting for it must not use up the time for connecting.
            async with self._connecting_slots, asyncio.timeout(CONNECT_TIMEOUT) as limit:
                return await self._name.connect(self._dial_one, limit.when() or 0.0)
        except TimeoutError as error:
            raise StepFault(Code.GATEWAY_TIMEOUT, kind="connect", detail=f"no connection within {CONNECT_TIMEOUT} s") from error
        except OSError as error:
            raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect", detail=f"{type(error).__name__}: {error}") from error

    async def _dial_one(self, address: str) -> UpstreamConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: UpstreamConnection(self._state, self._keep_idle, self._discard),
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        self._open.add(connection)
        return connection


def _authority(host: str, port: int, default_port: int) -> str:
    """Return the value of the ``host`` header: an IPv6 address in brackets, and the port unless it is the default (RFC 9110, 7.2)."""
    name = f"[{host}]" if ":" in host else host
    return name if port == default_port else f"{name}:{port}"


def _is_cancelled() -> bool:
    """Tell whether the current task itself is being cancelled, not only the task that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
