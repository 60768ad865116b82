"""The transport over httpx: ``transport: httpx`` of a source. The only module that imports httpx and httpcore, its connection pool."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable

import httpcore
import httpx

from gateway.errors import Code, StepFault
from resolvers.transport.decompression import decompressor_for
from resolvers.transport.names import HostName
from resolvers.transport.tls import tls_context
from resolvers.transport.transport import (
    CONNECT_TIMEOUT,
    IDLE_SECONDS,
    Limits,
    UpstreamRequest,
    UpstreamResponse,
    malformed,
    spread,
    too_large,
)

_EXTENSIONS = {"timeout": {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}}
Trace = Callable[[str, object], Awaitable[None]]


class HttpxTransport:
    """A pool of HTTP/1.1 connections to ``base_url``.

    It uses httpx's transport, not its client: a client keeps the cookies that upstreams set and would send them with the next caller's
    request, and its layers cost a fifth of a call.
    """

    def __init__(self, base_url: str, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._max_bytes = limits.max_bytes
        self._sending: set[asyncio.Task[UpstreamResponse]] = set()
        url = httpx.URL(self._base_url)
        tls = (tls or tls_context(limits.trust)) if url.scheme == "https" else None  # to load certificates takes time
        name = HostName(url.raw_host.decode("ascii"), denies_private=limits.denies_private)
        self._pool = _PooledTransport(_Pool(name, limits, tls))

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request and read its whole response, decompressed, up to the limit.

        The request runs in a task of its own, which is cancelled at most once and only after it has begun to send: httpcore leaks the pool
        slot of a request that is cancelled between connecting and sending, and of one whose closing is cancelled too.
        """
        is_abandoned = is_sending = False

        async def trace(event: str, _: object) -> None:
            nonlocal is_sending
            if event == "http11.send_request_headers.started":
                is_sending = True
                if is_abandoned:  # the caller left while the task was connecting
                    raise asyncio.CancelledError

        sending = asyncio.create_task(self._send(request, trace))
        self._sending.add(sending)  # the event loop holds tasks by weak references only
        sending.add_done_callback(self._forget)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            is_abandoned = True
            if is_sending:
                sending.cancel()
            raise

    def _forget(self, sending: asyncio.Task[UpstreamResponse]) -> None:
        """Forget a finished request. Retrieve its exception: else the event loop logs it when the caller has left."""
        self._sending.discard(sending)
        if not sending.cancelled():
            sending.exception()

    async def _send(self, request: UpstreamRequest, trace: Trace) -> UpstreamResponse:
        named = [("accept", "application/json"), ("accept-encoding", "gzip"), *request.headers]
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in named]
        try:
            outgoing = httpx.Request(
                request.method,
                self._base_url + request.target,
                headers=headers,
                content=request.body,
                extensions={**_EXTENSIONS, "trace": trace},
            )
            response = await self._pool.handle_async_request(outgoing)
            try:
                has_body = request.method != "HEAD" and response.status_code not in {204, 304}
                body = await self._read(response, has_body=has_body)
                return UpstreamResponse(response.status_code, _lowercase(response.headers), body)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _fault(error) from error

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _read(self, response: httpx.Response, *, has_body: bool) -> bytes:
        """Read and decompress a body, up to the limit."""
        limit = self._max_bytes
        headers = response.headers if has_body else httpx.Headers()
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_large(f"body larger than {limit} bytes")
        decompressor = decompressor_for(headers.get("content-encoding", ""), limit)
        body = bytearray()
        async for piece in response.aiter_raw():
            if decompressor is not None:
                decompressor.feed(piece)
            elif len(body) + len(piece) > limit:
                raise too_large(f"body larger than {limit} bytes")
            else:
                body += piece
        return bytes(body) if decompressor is None else decompressor.end()


class _PooledTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over a given pool; its own constructor makes one that leaves fewer choices."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool


class _Pool(httpcore.AsyncConnectionPool):
    """Connections to one host that resolves its name as the other transport does, and reuses no connection that it should not."""

    def __init__(self, name: HostName, limits: Limits, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_connections,
            keepalive_expiry=IDLE_SECONDS,
        )
        self._tls = tls
        self._max_age = limits.max_age
        self._backend = _Backend(name)

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        """Return a connection that is opened by its first request."""
        return _Connection(origin, self._tls, self._backend, self._max_age)


class _Connection(httpcore.AsyncHTTPConnection):
    """A connection that is not used again once it is too old or has received more than its responses."""

    def __init__(
        self, origin: httpcore.Origin, tls: ssl.SSLContext | None, backend: httpcore.AsyncNetworkBackend, max_age: float
    ) -> None:
        super().__init__(origin, tls, keepalive_expiry=IDLE_SECONDS, network_backend=backend)
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + spread(max_age)

    def has_expired(self) -> bool:
        """Tell whether the connection is to be closed; the pool asks before each use."""
        return super().has_expired() or (self.is_idle() and (self._loop.time() >= self._ends_at or self._has_surplus()))

    def _has_surplus(self) -> bool:
        """Tell whether bytes followed the last response. The next caller would get them as the response to its own request."""
        # httpcore only looks for bytes that are still with the operating system, and offers no way to what it has read.
        parser = self._connection._h11_state  # type: ignore[union-attr] # noqa: SLF001
        return bool(parser.trailing_data[0])


class _Backend(httpcore.AnyIOBackend):
    """Opens connections to the addresses of one name. httpcore would resolve it in the threads that all names share, where slow ones block others."""

    def __init__(self, name: HostName) -> None:
        self._name = name

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers."""

        async def dial(address: str) -> httpcore.AsyncNetworkStream:
            try:
                return await connect(address, port, None, local_address, socket_options)
            except httpcore.ConnectError as error:
                raise OSError(str(error)) from error

        connect = super().connect_tcp
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self._name.connect(dial, limit.when() or 0.0)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(f"{type(error).__name__}: {error}") from error


def _lowercase(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _fault(error: Exception) -> StepFault:
    """Map an error of httpx to a fault, of a kind that retry policies know."""
    # Order matters: ConnectTimeout is a TimeoutException, and httpx tells some protocol errors apart by their text only.
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.ConnectTimeout):
        return StepFault(Code.GATEWAY_TIMEOUT, kind="connect", detail=detail)
    if isinstance(error, httpx.ConnectError):
        return StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect", detail=detail)
    if isinstance(error, httpx.TimeoutException):
        return StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=detail)
    if isinstance(error, httpx.RemoteProtocolError) and "too long" in str(error).lower():
        return too_large(detail)
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected without" not in str(error):
        return malformed(detail)
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
        return StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="reset", detail=detail)
    return StepFault(Code.SUBREQUEST_HTTP_ERROR, detail=detail)
