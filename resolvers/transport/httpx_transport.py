"""The transport over httpx (the only module that knows it)."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import httpx

from gateway.errors import Code, StepFault
from resolvers.transport import CONNECT_TIMEOUT, IDLE_SECONDS, Limits, UpstreamRequest, UpstreamResponse, malformed, too_large
from resolvers.transport.decompression import decompression
from resolvers.transport.names import HostName
from resolvers.transport.tls import verifying

_EXTENSIONS = {"timeout": {"connect": CONNECT_TIMEOUT, "read": None, "write": None, "pool": None}}
Trace = Callable[[str, object], Awaitable[None]]


class HttpxTransport:
    """A pool of HTTP/1.1 connections to ``base_url``.

    It stands on httpx's transport, not on its client: a client keeps the cookies that upstreams set and would send them on with the
    next caller's request, and its layers cost a fifth of a call.
    """

    def __init__(self, base_url: str, limits: Limits, tls: ssl.SSLContext | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._max_bytes = limits.max_bytes
        url = httpx.URL(self._base_url)
        self._host = url.host
        self._name = HostName(self._host, denies_private=True) if limits.denies_private else None
        self._exchanges: set[asyncio.Task[UpstreamResponse]] = set()
        self._pool = httpx.AsyncHTTPTransport(
            verify=(tls or verifying())
            if base_url.startswith("https:")
            else False,  # False is quick, and there is nothing to verify
            limits=httpx.Limits(
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_connections,
                keepalive_expiry=IDLE_SECONDS,
            ),
            trust_env=False,
        )

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send a request and read its whole response, decompressed, up to the limit.

        The upstream is a task of its own, which is cancelled once and only while it can be: httpcore loses the place of a connection
        whose request is cancelled between connecting and sending, and of one whose closing is cancelled in turn.
        """
        is_left = is_sending = False

        async def trace(event: str, _: object) -> None:
            nonlocal is_sending
            if event == "http11.send_request_headers.started":
                is_sending = True
                if is_left:
                    raise asyncio.CancelledError

        upstream = asyncio.create_task(self._exchange(request, trace))
        self._exchanges.add(upstream)
        upstream.add_done_callback(self._ended)
        try:
            return await asyncio.shield(upstream)
        except asyncio.CancelledError:
            is_left = True
            if is_sending:
                upstream.cancel()
            raise

    def _ended(self, upstream: asyncio.Task[UpstreamResponse]) -> None:
        """Forget an exchange; its failure is no complaint of the event loop when its caller has left."""
        self._exchanges.discard(upstream)
        if not upstream.cancelled():
            upstream.exception()

    async def _exchange(self, request: UpstreamRequest, trace: Trace) -> UpstreamResponse:
        given = [("accept", "application/json"), ("accept-encoding", "gzip"), *request.headers]
        headers = [(name.encode("ascii"), value.encode()) for name, value in given]
        try:
            outgoing = httpx.Request(
                request.method,
                self._base_url + request.target,
                headers=headers,
                content=request.body,
                extensions={**_EXTENSIONS, "trace": trace},
            )
            if self._name is not None:
                await self._direct(outgoing, self._name)
            response = await self._pool.handle_async_request(outgoing)
            try:
                has_body = request.method != "HEAD" and response.status_code not in {204, 304}
                body = await self._read(response, has_body=has_body)
                return UpstreamResponse(response.status_code, _lower(response.headers), body)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _fault(error) from error

    async def _direct(self, outgoing: httpx.Request, name: HostName) -> None:
        """Have a request go to an address that may be connected to, under the name that it is for: the host header has it already."""
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
        limit = self._max_bytes
        headers = response.headers if has_body else httpx.Headers()
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise too_large(f"body larger than {limit} bytes")
        decompressing = decompression(headers.get("content-encoding", ""), limit)
        body = bytearray()
        async for piece in response.aiter_raw():
            if decompressing is not None:
                decompressing.feed(piece)
            elif len(body) + len(piece) > limit:
                raise too_large(f"body larger than {limit} bytes")
            else:
                body += piece
        return bytes(body) if decompressing is None else decompressing.end()


def _lower(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _fault(error: Exception) -> StepFault:
    """Map the library's errors to kinds that retry policies know."""
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
