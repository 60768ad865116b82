"""One HTTP/1.1 connection: bytes → responses, one at a time (RFC 9112). The only module that imports httptools.

A call needs no task and no timer of its own: the caller awaits one future, which the protocol's callbacks resolve.
"""

import asyncio
import re
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.errors import Code, StepFault
from resolvers.transport.decompression import Decompressor, decompressor_for
from resolvers.transport.transport import IDLE_SECONDS, UpstreamResponse, malformed, spread, too_large

READ_SIZE = 65_536
MAX_HEAD = 65_536
"""Bytes of status line and headers; also what framing may take beyond the body."""
MAX_HEADERS = 100
RECENT_SECONDS = 0.001
"""For so long after a response, a connection is assumed to be still open without asking the operating system."""
MAX_KNOWN_HEADS = 256
MAX_KNOWN_HEAD = 1024
"""Bytes. A longer response head is not cached."""
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class KnownHead:
    """A cached response head: of a response that arrived in one read, with a ``content-length`` and no encoding, on a connection kept alive."""

    status: int
    headers: dict[str, str]
    length: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """State that the connections of a pool share.

    ``buffer`` is the read buffer: each read is consumed before control returns to the event loop, so that one is enough. ``heads`` caches
    parsed response heads by their bytes: within one second (the resolution of ``date``) an upstream often sends the same head again.
    """

    buffer: bytearray
    max_bytes: int
    max_age: float
    heads: dict[bytes, KnownHead]


ConnectionCallback = Callable[["UpstreamConnection"], None]


class UpstreamConnection(asyncio.BufferedProtocol):
    """One connection of a pool. It calls ``on_idle`` when it can take the next request, and ``on_lost`` when it has closed."""

    def __init__(self, state: PoolState, on_idle: ConnectionCallback, on_lost: ConnectionCallback) -> None:
        self._bytes = state.buffer
        self._buffer = memoryview(state.buffer)
        self._heads = state.heads
        self._max_bytes = state.max_bytes
        self._max_age = state.max_age
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._waiter: asyncio.Future[UpstreamResponse] | None = None
        self._response: UpstreamResponse | None = None
        self._fault: StepFault | None = None
        self.is_open = False
        self.expires_at = self._idle_since = 0.0

    # -- called by the pool

    def send(self, request: bytes, *, is_head_request: bool) -> asyncio.Future[UpstreamResponse]:
        """Send an encoded request; return the future of its response, which fails with a :class:`StepFault`."""
        waiter = self._waiter = self._loop.create_future()
        self._is_head_request = is_head_request
        self._response = None
        self._fault = None
        self._status = self._received = 0
        self._must_close = self.has_received = False
        if self.is_open:
            self._transport.write(request)
        else:
            self._fail(_reset_fault("the connection was closed as soon as it was opened"))
        return waiter

    def cancel(self, waiter: asyncio.Future[UpstreamResponse]) -> None:
        """Close the connection if the call of ``waiter``, which was cancelled, is still in progress."""
        if self._waiter is waiter:
            self._waiter = None
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self.is_open = False
        self._transport.abort()

    def is_usable(self, *, is_idempotent: bool) -> bool:
        """Tell whether an idle connection can take a request: it is open, not expired, and received neither EOF nor unexpected bytes.

        The socket is polled (3 µs), because the event loop may not have read it yet. The poll is skipped within ``RECENT_SECONDS`` of a
        response, unless the request cannot be sent twice.
        """
        now = self._loop.time()
        if not self.is_open or now >= self.expires_at:
            return False
        return (is_idempotent and now - self._idle_since < RECENT_SECONDS) or not self._events.poll(0)

    # -- callbacks of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the connection up; with TLS, after the handshake."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is no subclass of it
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._events = select.poll()
        self._events.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.is_open = True
        now = self._loop.time()
        self._ends_at = now + spread(self._max_age)
        self.expires_at = min(now + IDLE_SECONDS, self._ends_at)
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the shared read buffer."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes that were read; bytes that arrive while no request is in progress close the connection."""
        if self._waiter is None:
            self.abort()
            return
        is_first, self.has_received = not self.has_received, True
        self._received += nbytes
        if is_first and not self._is_head_request and self._match_known_head(nbytes):
            self._settle()
            return
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as error:
            self._must_close = True
            self._fault = self._fault or malformed(f"{type(error).__name__}: {error}")
        if self._response is not None or self._fault is not None:
            if is_first and self._response is not None:
                self._remember_head(self._response, nbytes)
            self._settle()
        elif self._received > MAX_HEAD:
            self._check_received()

    def _match_known_head(self, size: int) -> bool:
        """Take the response without parsing it, if the read is exactly one response whose head is cached."""
        end = self._bytes.find(_END, 0, min(size, MAX_KNOWN_HEAD))
        known = self._heads.get(bytes(self._buffer[:end])) if end > 0 else None
        if known is None or end + len(_END) + known.length != size:
            return False
        self._response = UpstreamResponse(known.status, known.headers, bytes(self._buffer[end + len(_END) : size]))
        self._headers = known.headers
        return True

    def _remember_head(self, response: UpstreamResponse, size: int) -> None:
        """Cache the head of a response that arrived in one read."""
        end = self._bytes.find(_END, 0, min(size, MAX_KNOWN_HEAD))
        encoded = response.headers.keys() & {"transfer-encoding", "content-encoding"}
        is_whole = end > 0 and end + len(_END) + len(response.body) == size
        if self._must_close or self._is_head_request or encoded or not is_whole or "content-length" not in response.headers:
            return
        # Heads that all differ, by a request id for example, must not fill the memory.
        if len(self._heads) >= MAX_KNOWN_HEADS:
            self._heads.clear()
        self._heads[bytes(self._buffer[:end])] = KnownHead(response.status, response.headers, len(response.body))

    def connection_lost(self, error: Exception | None) -> None:
        """Finish the request in progress: a response without a length ends with its connection."""
        self.is_open = False
        self._on_lost(self)
        self.closed.set_result(None)
        if self._waiter is not None:
            self._finish_at_eof(error)
        # The parser holds bound methods of this object: a cycle, which would keep the connection until the garbage collector runs.
        del self._parser

    def _finish_at_eof(self, error: Exception | None) -> None:
        """Resolve the request in progress when the connection has closed, with ``error`` or at EOF."""
        if self._status < 200:
            self._fail(_reset_fault(f"closed before a response: {error!r}" if error else "closed before a response"))
        elif error is not None:
            self._fail(_reset_fault(f"closed within a response: {error!r}"))
        elif self._headers.keys() & {"content-length", "transfer-encoding"}:
            self._fail(malformed("the body ends before its length"))
        else:
            self._complete(is_last=True)
            self._settle()

    # -- callbacks of the parser; whatever follows a complete response only makes the connection unusable

    def on_message_begin(self) -> None:
        """Begin a response, or an interim one (1xx) before it."""
        self._must_close = self._response is not None
        self._fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, or a trailer after a chunked body."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the complete head; a response to HEAD ends here."""
        status = self._parser.get_status_code()
        if self._response is not None or status < 200:
            return
        self._status = status
        self._headers = _merge_headers(self._fields)
        self._body: list[bytes] = []
        self._size = 0
        self._decompressor: Decompressor | None = None
        try:
            self._check_head()
        except StepFault as fault:
            self._fault = fault
        if self._is_head_request:
            self._complete(is_last=not self._parser.should_keep_alive())

    def on_body(self, piece: bytes) -> None:
        """Collect a piece of the body, up to the limit."""
        if self._response is not None or self._fault is not None:
            self._must_close = True
            return
        self._size += len(piece)
        try:
            if self._decompressor is not None:
                self._decompressor.feed(piece)
            elif self._size > self._max_bytes:
                raise too_large(f"body larger than {self._max_bytes} bytes")
            else:
                self._body.append(piece)
        except StepFault as fault:
            self._fault = fault

    def on_message_complete(self) -> None:
        """Complete the response, unless it is an interim one."""
        if self._response is None and self._status >= 200:
            self._complete(is_last=not self._parser.should_keep_alive())

    def _check_received(self) -> None:
        """Refuse an endless head, and chunks or trailers that are mostly framing, which the limit of the body does not count."""
        if self._status < 200:
            self._fail(too_large(f"head larger than {MAX_HEAD} bytes"))
        elif self._received > 2 * (MAX_HEAD + self._size):
            self._fail(too_large("more framing than body"))

    def _check_head(self) -> None:
        """Check the size of the head and what it declares of the body.

        :raises StepFault: something is too large, or an encoding is not supported.
        """
        headers = self._headers
        if len(self._fields) > MAX_HEADERS:
            raise too_large(f"more than {MAX_HEADERS} headers")
        if self._received > READ_SIZE and sum(len(name) + len(value) + 4 for name, value in self._fields) > MAX_HEAD:
            raise too_large(f"head larger than {MAX_HEAD} bytes")
        if self._is_head_request or self._status in {204, 304}:
            return
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise malformed("a transfer-encoding that is not 'chunked'")
        # The parser has refused a length that is no number or that is repeated.
        if int(headers.get("content-length", 0)) > self._max_bytes:
            raise too_large(f"body larger than {self._max_bytes} bytes")
        if "content-encoding" in headers:
            self._decompressor = decompressor_for(headers["content-encoding"], self._max_bytes)

    def _complete(self, *, is_last: bool) -> None:
        """Build the response; the connection is closed after it if it ``is_last``."""
        if self._fault is not None:
            return
        try:
            body = self._decompressor.end() if self._decompressor else b"".join(self._body)
        except StepFault as fault:
            self._fault = fault
        else:
            self._must_close = is_last
            self._response = UpstreamResponse(self._status, self._headers, body)

    def _settle(self) -> None:
        """Resolve the future with the response or the fault, and return the connection to the pool if it can be reused."""
        if self._response is None:
            assert self._fault is not None
            self._fail(self._fault)
            return
        waiter, self._waiter = self._waiter, None
        # A response before the whole request was written: the rest of it would run into the next request.
        if self._must_close or self._transport.get_write_buffer_size():
            self.abort()
        else:
            if self._is_head_request:
                self._parser = HttpResponseParser(self)  # the old one still expects the body that GET would have returned
            keep_alive = _keep_alive_seconds(self._headers["keep-alive"]) if "keep-alive" in self._headers else IDLE_SECONDS
            self._idle_since = self._loop.time()
            self.expires_at = min(self._idle_since + keep_alive, self._ends_at)
            # Before the caller continues, so that its next call can reuse the connection.
            self._on_idle(self)
        if waiter is not None and not waiter.done():
            waiter.set_result(self._response)

    def _fail(self, fault: StepFault) -> None:
        """Fail the request in progress, and close the connection."""
        waiter, self._waiter = self._waiter, None
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(fault)


def _merge_headers(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; values of a repeated header are joined with commas (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for field, value in fields:
        name = field.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _keep_alive_seconds(keep_alive: str) -> float:
    """Return how long a connection may stay idle: a fifth less than the server's ``timeout=N``, so that the gateway closes it first."""
    match = re.search(r"timeout=(\d{1,6})", keep_alive, re.IGNORECASE)
    return min(IDLE_SECONDS, int(match[1]) * 0.8) if match else IDLE_SECONDS


def _reset_fault(detail: str) -> StepFault:
    return StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="reset", detail=detail)
