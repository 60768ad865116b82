"""The transport over httpx: ``transport: httpx`` of a source. The only module that imports httpx."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

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
        url = httpx.URL(self._base_url)
        self._host = url.host
        self._name = HostName(self._host, denies_private=True) if limits.denies_private else None
        self._sending: set[asyncio.Task[UpstreamResponse]] = set()
        self._pool = httpx.AsyncHTTPTransport(
            verify=(tls or tls_context(limits.trust))
            if url.scheme == "https"
            else False,  # plain HTTP: loading certificates would only cost time
            limits=httpx.Limits(
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_connections,
                keepalive_expiry=IDLE_SECONDS,
            ),
            trust_env=False,
        )

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
            if self._name is not None:
                await self._pin_address(outgoing, self._name)
            response = await self._pool.handle_async_request(outgoing)
            try:
                has_body = request.method != "HEAD" and response.status_code not in {204, 304}
                body = await self._read(response, has_body=has_body)
                return UpstreamResponse(response.status_code, _lowercase(response.headers), body)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _fault(error) from error

    async def _pin_address(self, outgoing: httpx.Request, name: HostName) -> None:
        """Replace the host of the URL by an allowed address, so that httpx does not resolve the name again.

        The ``host`` header, which is set already, and the TLS server name keep the name.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                addresses = await name.addresses()
        except (TimeoutError, OSError) as error:
            raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect", detail=f"{type(error).__name__}: {error}") from error
        outgoing.url = outgoing.url.copy_with(host=addresses[0])
        outgoing.extensions["sni_hostname"] = self._host

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
