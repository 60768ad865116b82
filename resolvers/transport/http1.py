"""The transport over HTTP/1.1: requests → bytes, over connections that are kept (RFC 9112).

Nothing here limits the number of connections: there is one to a call, and the bulkhead before it limits those.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import Code, StepFault
from resolvers.transport import CONNECT_TIMEOUT, IDLE_SECONDS, Limits, UpstreamRequest, UpstreamResponse
from resolvers.transport.encoding import as_written
from resolvers.transport.http1_connection import READ_SIZE, PoolState, UpstreamConnection
from resolvers.transport.names import HostName
from resolvers.transport.tls import verifying

_WITH_CONTENT = {"POST", "PUT", "PATCH"}
AT_ONCE = 32
"""How many connections of a pool are made at once. A thousand in one turn of the event loop would hold up everybody for half a second."""


class Http1Transport:
    """A pool of connections to ``base_url``; as many are kept as there may be calls at once."""

    def __init__(self, base_url: str, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        url = urlsplit(base_url)
        host = url.hostname or ""
        self._host = host if ":" in host else host.encode("idna").decode("ascii")
        self._tls = (tls or verifying()) if url.scheme == "https" else None
        usual_port = 443 if self._tls else 80
        self._port = url.port or usual_port
        self._name = HostName(self._host, denies_private=limits.denies_private)
        self._path = as_written(url.path).rstrip("/")
        self._head = (
            f" HTTP/1.1\r\nhost: {_authority(self._host, self._port, usual_port)}\r\n"
            "accept: application/json\r\naccept-encoding: gzip\r\n"
        )
        self._max_idle = limits.max_connections
        self._common = PoolState(bytearray(READ_SIZE), limits.max_bytes, {})
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[UpstreamConnection]] = set()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._sweeping: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request and read its whole response.

        An idempotent request that meets the end of a kept connection, before any byte of a response, goes out once more on a new one.
        """
        message = self._message(request)
        kept = connection = self._take(is_idempotent=request.is_idempotent)
        while True:
            if connection is None and self._is_closed:
                raise StepFault(Code.SUBREQUEST_HTTP_ERROR, detail="the pool was closed")
            connection = connection or await self._connect()
            waiter = connection.upstream(message, is_head_request=request.method == "HEAD")
            try:
                return await waiter
            except StepFault:
                if connection is not kept or connection.has_answered or not request.is_idempotent:
                    raise
            except BaseException:
                connection.leave(waiter)
                raise
            connection = None

    async def aclose(self) -> None:
        """Close every connection at once, those in use and those that are being made too."""
        self._is_closed = True
        summary: list[asyncio.Future[Any]] = [*self._connecting, *(connection.ended for connection in self._open)]
        for connecting in self._connecting:
            connecting.cancel()
        for connection in list(self._open):
            connection.abort()
        if summary:
            await asyncio.wait(summary)

    def _message(self, request: UpstreamRequest) -> bytes:
        body = request.body
        lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers]) if request.headers else ""
        if body is not None or request.method in _WITH_CONTENT:
            lines += f"content-length: {len(body or b'')}\r\n"
        head = f"{request.method} {self._path}{request.target}{self._head}{lines}\r\n".encode()
        return head + body if body else head

    # -- idle connections

    def _take(self, *, is_idempotent: bool) -> UpstreamConnection | None:
        """Return the connection that was used last: the others can grow old and be closed."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable(is_idempotent=is_idempotent):
                return connection
            connection.abort()
        return None

    def _keep(self, connection: UpstreamConnection) -> None:
        if self._is_closed or len(self._idle) >= self._max_idle:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer serves all connections, and there is none when none is idle."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [connection for connection in self._idle if connection.expires_at <= now]:
            self._idle.remove(connection)
            connection.abort()
        next_end = min((connection.expires_at for connection in self._idle), default=None)
        self._sweeping = None if next_end is None else loop.call_at(next_end, self._sweep)

    def _forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._idle and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    # -- new connections

    async def _connect(self) -> UpstreamConnection:
        """Return a new connection.

        :raises StepFault: there is none within the time limit.
        """
        connecting = asyncio.create_task(self._dial())
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            return await connecting
        except asyncio.CancelledError:
            if not connecting.cancelled() and not connecting.exception():
                self._keep(connecting.result())  # it was quicker than its cancellation, and somebody else may use it
            if self._is_closed and not _is_cancelled():
                raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect", detail="the pool was closed") from None
            raise

    async def _dial(self) -> UpstreamConnection:
        try:
            async with self._turns, asyncio.timeout(CONNECT_TIMEOUT) as limit:
                addresses = await self._name.addresses()
                return await self._dial_in_order(addresses, limit.when() or 0.0)
        except TimeoutError as error:
            raise StepFault(Code.GATEWAY_TIMEOUT, kind="connect", detail=f"no connection within {CONNECT_TIMEOUT} s") from error
        except OSError as error:
            raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect", detail=f"{type(error).__name__}: {error}") from error

    async def _dial_in_order(self, addresses: Sequence[str], until: float) -> UpstreamConnection:
        """Try one address after the other, each for its share of the time that is left."""
        loop = asyncio.get_running_loop()
        failure = OSError("the name has no address")
        for index, address in enumerate(addresses):
            try:
                async with asyncio.timeout((until - loop.time()) / (len(addresses) - index)):
                    return await self._dial_one(address)
            except OSError as error:  # a timeout is one
                failure = error
        self._name.forget()
        raise failure

    async def _dial_one(self, address: str) -> UpstreamConnection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: UpstreamConnection(self._common, self._keep, self._forget),
            address,
            self._port,
            ssl=self._tls,
            server_hostname=self._host if self._tls else None,
        )
        self._open.add(connection)
        return connection


def _authority(host: str, port: int, usual_port: int) -> str:
    """Return the value of ``host``: an IPv6 address in brackets, a port where it is not the usual one (RFC 9110, 7.2)."""
    name = f"[{host}]" if ":" in host else host
    return name if port == usual_port else f"{name}:{port}"


def _is_cancelled() -> bool:
    """Tell whether the running task itself is being cancelled, not only what it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
