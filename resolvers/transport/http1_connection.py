"""Bytes of one connection → responses, one at a time (RFC 9112). The only module that knows httptools.

There is no task and no timer to an upstream: the caller awaits one future, which the protocol's callbacks settle.
"""

import asyncio
import re
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.errors import Code, StepFault
from resolvers.transport import IDLE_SECONDS, UpstreamResponse, malformed, too_large
from resolvers.transport.decompression import Decompression, decompression

READ_SIZE = 65_536
MAX_HEAD = 65_536
MAX_HEADERS = 100
JUST_NOW = 0.001
"""Seconds."""
MAX_KNOWN_HEADS = 256
MAX_KNOWN_HEAD = 1024
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The head of a response that came whole and left its connection usable, with so many bytes of a body that is not encoded."""

    status: int
    headers: dict[str, str]
    length: int


@dataclass(frozen=True, slots=True)
class PoolState:
    """What the connections of a pool have in common.

    ``buffer`` takes what is read: nothing is left in it when control goes back to the loop. ``heads`` are those of responses by their bytes:
    within one second an upstream often sends the very same, and what it says of a body is known without parsing it again.
    """

    buffer: bytearray
    max_bytes: int
    heads: dict[bytes, KnownHead]


Notice = Callable[["UpstreamConnection"], None]


class UpstreamConnection(asyncio.BufferedProtocol):
    """One connection of a pool; ``on_idle`` is told of it when it may carry the next request, ``on_lost`` when it has ended."""

    def __init__(self, common: PoolState, on_idle: Notice, on_lost: Notice) -> None:
        self._bytes = common.buffer
        self._buffer = memoryview(common.buffer)
        self._heads = common.heads
        self._max_bytes = common.max_bytes
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._waiter: asyncio.Future[UpstreamResponse] | None = None
        self._response: UpstreamResponse | None = None
        self._fault: StepFault | None = None
        self.is_open = False
        self.expires_at = self._idle_since = 0.0

    # -- the caller's side

    def upstream(self, request: bytes, *, is_head_request: bool) -> asyncio.Future[UpstreamResponse]:
        """Send a request; the future becomes its response, or a fault."""
        waiter = self._waiter = self._loop.create_future()
        self._is_head_request = is_head_request
        self._response = None
        self._fault = None
        self._status = self._received = 0
        self._is_spoiled = self.has_answered = False
        if self.is_open:
            self._transport.write(request)
        else:
            self._fail(_reset("the connection was closed as soon as it was made"))
        return waiter

    def leave(self, waiter: asyncio.Future[UpstreamResponse]) -> None:
        """Close the connection if it is still at work for a caller that has been cancelled."""
        if self._waiter is waiter:
            self._waiter = None
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self.is_open = False
        self._transport.abort()

    def is_usable(self, *, is_idempotent: bool) -> bool:
        """Tell whether nothing has come while the connection was idle, be it an end or bytes that nobody asked for.

        The operating system is asked (3 µs), as the loop may not have got round to it; but not about one that has just carried a
        response, unless the request cannot be sent twice.
        """
        now = self._loop.time()
        if not self.is_open or now >= self.expires_at:
            return False
        return (is_idempotent and now - self._idle_since < JUST_NOW) or not self._events.poll(0)

    # -- the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; with TLS, after the handshake."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._events = select.poll()
        self._events.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.is_open = True
        self.expires_at = self._loop.time() + IDLE_SECONDS
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what was read; what comes while nobody waits ends the connection."""
        if self._waiter is None:
            self.abort()
            return
        is_first, self.has_answered = not self.has_answered, True
        self._received += nbytes
        if is_first and not self._is_head_request and self._is_known(nbytes):
            self._settle()
            return
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade) as error:
            self._is_spoiled = True
            self._fault = self._fault or malformed(f"{type(error).__name__}: {error}")
        if self._response is not None or self._fault is not None:
            if is_first and self._response is not None:
                self._learn(self._response, nbytes)
            self._settle()
        elif self._received > MAX_HEAD:
            self._check_received()

    def _is_known(self, size: int) -> bool:
        """Take what was read, if it is one whole response with a head that is known."""
        end = self._bytes.find(_END, 0, min(size, MAX_KNOWN_HEAD))
        known = self._heads.get(bytes(self._buffer[:end])) if end > 0 else None
        if known is None or end + len(_END) + known.length != size:
            return False
        self._response = UpstreamResponse(known.status, known.headers, bytes(self._buffer[end + len(_END) : size]))
        self._headers = known.headers
        return True

    def _learn(self, response: UpstreamResponse, size: int) -> None:
        """Keep the head of a response that was read in one piece."""
        end = self._bytes.find(_END, 0, min(size, MAX_KNOWN_HEAD))
        encoded = response.headers.keys() & {"transfer-encoding", "content-encoding"}
        is_whole = end > 0 and end + len(_END) + len(response.body) == size
        if self._is_spoiled or self._is_head_request or encoded or not is_whole or "content-length" not in response.headers:
            return
        if len(self._heads) >= MAX_KNOWN_HEADS:
            self._heads.clear()
        self._heads[bytes(self._buffer[:end])] = KnownHead(response.status, response.headers, len(response.body))

    def connection_lost(self, error: Exception | None) -> None:
        """End; a response that has no length is whole then."""
        self.is_open = False
        self._on_lost(self)
        self.ended.set_result(None)
        if self._waiter is not None:
            self._end(error)
        del self._parser  # which holds this object's methods

    def _end(self, error: Exception | None) -> None:
        if self._status < 200:
            self._fail(_reset(f"closed before a response: {error!r}" if error else "closed before a response"))
        elif error is not None:
            self._fail(_reset(f"closed within a response: {error!r}"))
        elif self._headers.keys() & {"content-length", "transfer-encoding"}:
            self._fail(malformed("the body ends before its length"))
        else:
            self._complete(is_last=True)
            self._settle()

    # -- the parser's side; after its response, whatever comes only spoils the connection

    def on_message_begin(self) -> None:
        """Begin a response, or one of those that precede it."""
        self._is_spoiled = self._response is not None
        self._fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; after a chunked body, a trailer."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head; the response to HEAD ends with it."""
        status = self._parser.get_status_code()
        if self._response is not None or status < 200:
            return
        self._status = status
        self._headers = _merged(self._fields)
        self._body: list[bytes] = []
        self._size = 0
        self._decompression: Decompression | None = None
        try:
            self._check_head()
        except StepFault as fault:
            self._fault = fault
        if self._is_head_request:
            self._complete(is_last=not self._parser.should_keep_alive())

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if self._response is not None or self._fault is not None:
            self._is_spoiled = True
            return
        self._size += len(piece)
        try:
            if self._decompression is not None:
                self._decompression.feed(piece)
            elif self._size > self._max_bytes:
                raise too_large(f"body larger than {self._max_bytes} bytes")
            else:
                self._body.append(piece)
        except StepFault as fault:
            self._fault = fault

    def on_message_complete(self) -> None:
        """Take the end of a response."""
        if self._response is None and self._status >= 200:
            self._complete(is_last=not self._parser.should_keep_alive())

    def _check_received(self) -> None:
        """Refuse a head without end, and chunks or trailers that have hardly a body in them."""
        if self._status < 200:
            self._fail(too_large(f"head larger than {MAX_HEAD} bytes"))
        elif self._received > 2 * (MAX_HEAD + self._size):
            self._fail(too_large("more framing than body"))

    def _check_head(self) -> None:
        headers = self._headers
        if len(self._fields) > MAX_HEADERS:
            raise too_large(f"more than {MAX_HEADERS} headers")
        if self._received > READ_SIZE and sum(len(name) + len(value) + 4 for name, value in self._fields) > MAX_HEAD:
            raise too_large(f"head larger than {MAX_HEAD} bytes")
        if self._is_head_request or self._status in {204, 304}:
            return
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise malformed("a transfer-encoding that is not 'chunked'")
        if int(headers.get("content-length", 0)) > self._max_bytes:
            raise too_large(f"body larger than {self._max_bytes} bytes")
        if "content-encoding" in headers:
            self._decompression = decompression(headers["content-encoding"], self._max_bytes)

    def _complete(self, *, is_last: bool) -> None:
        """Put the response together; the connection goes on after it unless it ``is_last``."""
        if self._fault is not None:
            return
        try:
            body = self._decompression.end() if self._decompression else b"".join(self._body)
        except StepFault as fault:
            self._fault = fault
        else:
            self._is_spoiled = is_last
            self._response = UpstreamResponse(self._status, self._headers, body)

    def _settle(self) -> None:
        """Give the response or the fault to the caller, and the connection to the next one if nothing speaks against it."""
        if self._response is None:
            assert self._fault is not None
            self._fail(self._fault)
            return
        waiter, self._waiter = self._waiter, None
        if self._is_spoiled or self._transport.get_write_buffer_size():
            self.abort()
        else:
            if self._is_head_request:
                self._parser = HttpResponseParser(self)  # the old one waits for the body that GET would have got
            kept = _kept_seconds(self._headers["keep-alive"]) if "keep-alive" in self._headers else IDLE_SECONDS
            self._idle_since = self._loop.time()
            self.expires_at = self._idle_since + kept
            self._on_idle(self)
        if waiter is not None and not waiter.done():
            waiter.set_result(self._response)

    def _fail(self, fault: StepFault) -> None:
        waiter, self._waiter = self._waiter, None
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(fault)


def _merged(fields: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; the values of one that is repeated are a list (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for field, value in fields:
        name = field.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _kept_seconds(keep_alive: str) -> float:
    """Return how long a connection may be idle if the server promises ``timeout=N``: a fifth less, so as to be first to close."""
    promised = re.search(r"timeout=(\d{1,6})", keep_alive, re.IGNORECASE)
    return min(IDLE_SECONDS, int(promised[1]) * 0.8) if promised else IDLE_SECONDS


def _reset(detail: str) -> StepFault:
    return StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="reset", detail=detail)
