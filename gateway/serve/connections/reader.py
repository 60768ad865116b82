"""Bytes of a client → requests: uvicorn's parser with size limits and timeouts, and a fast path for GraphQL requests (RFC 9112)."""

import asyncio
import logging
from abc import abstractmethod
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import RequestError
from gateway.serve.connections.exchange import Exchange, Phase
from gateway.serve.connections.flow import Flow
from gateway.serve.connections.head import RawHead, RequestHead, check_target, head_without_upgrade, read_head
from gateway.serve.http.asgi import GatewayApp
from gateway.serve.http.edge import Edge, head_too_large, malformed_message, tunnel_refused, url_too_long
from gateway.serve.http.request import too_large
from gateway.serve.http.response import internal_error

log = logging.getLogger("stepgraph.http")

NEVER = float("inf")
PIECE = 8192
"""Bytes that are parsed in one turn of the event loop. It reads up to 256 KB at once, which may be 10,000 requests: too many objects, and to
answer them would take too long for one turn."""


class RequestReader(HttpToolsProtocol):
    """The receiving side of a connection. A GraphQL request is collected completely; any other one is passed on to uvicorn.

    Most methods override those of uvicorn's protocol or are callbacks of its parser, hence their names.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        gateway_app = config.loaded_app
        assert isinstance(gateway_app, GatewayApp)
        self.gateway_app = gateway_app
        self.edge: Edge = gateway_app.edge
        self.phase = Phase.IDLE
        self.expires_at = NEVER
        self.keys = gateway_app.edge.keys()
        self.head: RequestHead | None = None
        """The head of the last request if it was a GraphQL request."""
        self.framing_size = 0
        """Bytes of the current message that are not its body: head, chunk sizes, trailers."""
        self.is_reading = self.is_in_head = self.has_completed = False
        """Whether a message is incomplete; whether its head is; whether one was completed by the bytes received last."""
        self.cycle: Any = None  # the last request: an Exchange, or uvicorn's cycle of a request that is passed on
        self.answering: Exchange | RequestResponseCycle | None = None
        """The request that is answered now. Those after it (pipelining) wait in ``pipeline``, the last of them at the left end."""
        self.due: Exchange | None = None
        """The same request, while the bytes that complete it are parsed: what follows it there is known before it is answered."""
        self.unread = b""
        """Bytes that were received and are not parsed yet. While a request waits in ``pipeline``, no further one is parsed."""
        self.is_continuing = False
        """Whether the event loop is about to call ``_continue``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start a connection: the first request must come in time."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)
        self._enter_phase(Phase.HEAD, self.keys.header_read_timeout_ms)
        self.edge.watch(self.connections)  # type: ignore[arg-type]

    @abstractmethod
    def _answer(self, exchange: Exchange) -> None:
        """Answer a complete request; all requests before it are answered."""

    @abstractmethod
    def _continue(self) -> None:
        """Start the next request that waits, or parse more of what was received."""

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Send an error response and close the connection."""

    def _enter_phase(self, phase: Phase, timeout_ms: float) -> None:
        self.phase = phase
        self.expires_at = self.loop.time() + timeout_ms / 1000

    def _continue_soon(self) -> None:
        """Continue in a turn of the event loop of its own: within the answer to a request, the stack would grow with each further one."""
        if not self.is_continuing:
            self.is_continuing = True
            self.loop.call_soon(self._continue)

    def data_received(self, data: bytes) -> None:
        """Receive bytes: a request whose head repeats that of the one before it skips the parser."""
        head = self.head
        if (
            self.phase is Phase.IDLE
            and head is not None
            and head.matches(data)
            and head.keys is self.edge.keys()
            and not self.pipeline
        ):
            self._take_complete(head, data)
        elif self.phase is Phase.REFUSED:
            return
        elif self.unread or self.pipeline or (len(data) > PIECE and len(data) > self._body_left()):
            self.unread += data
            self.flow.hold()
            self._continue_soon()
        else:
            self._read(data)

    def _body_left(self) -> int:
        """Return how many bytes of the body of a GraphQL request are still to come; 0 if that is not known."""
        if self.is_in_head or not self.is_reading or self.head is None or not isinstance(self.cycle, Exchange):
            return 0
        return self.head.length - self.cycle.size

    def _read_unread(self) -> None:
        """Parse a piece of what was received, and with it the whole body that begins in it."""
        data, was_between_messages = self.unread, not self.is_reading
        piece, self.unread = data[:PIECE], data[PIECE:]
        self._read(piece)
        left = self._body_left()
        if left and self.unread:
            piece, self.unread = self.unread[:left], self.unread[left:]
            self._read(piece)
            if was_between_messages and not self.unread and self.head is not None and not self.head.text:
                self.head.remember(data)

    def _read(self, data: bytes) -> None:
        previous = self.cycle
        was_between_messages, self.has_completed = not self.is_reading, False
        offer_at = 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            (offer_at,) = offer.args
        except httptools.HttpParserError as error:
            self._refuse(_parse_error(error))
        if offer_at:  # not within the handler: the next error would have this one as its context, see _parse_error
            self._ignore_offer(memoryview(data)[offer_at:])
        if self.is_reading and self.phase is not Phase.REFUSED:
            # After a complete message in the same bytes, httptools does not tell how many of them belong to the next one.
            self._expect_more(0 if self.has_completed else len(data))
        elif was_between_messages and self.cycle is not previous and self.head is not None and not self.head.text:
            self.head.remember(data)
        if self.due is not None:
            due, self.due = self.due, None
            self._answer(due)

    def _ignore_offer(self, rest: memoryview) -> None:
        """Go on with a request as if it had not offered to upgrade to another protocol (RFC 9110, 7.8); ``rest`` is what follows its head.

        The parser ends a message with such an offer at its head, so the head is parsed a second time without the offer. Here an upgrade could
        be taken instead: ``rest`` is then of the other protocol.
        """
        while True:
            head = head_without_upgrade(self._raw_head())
            # Where the connection is to end with this request, the parser takes nothing more after such an offer.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            try:
                self.parser.feed_data(head)
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse(_parse_error(error))
                return
            else:
                return

    def _expect_more(self, size: int) -> None:
        """Check the size limits and start the timeout of an incomplete message; ``size`` is how many bytes of it were received now."""
        self.framing_size += size
        if self.is_in_head:
            if self.framing_size > self.keys.max_header_bytes:
                self._refuse(head_too_large())
            elif self.phase is Phase.IDLE:
                self._enter_phase(Phase.HEAD, self.keys.header_read_timeout_ms)
        elif self.framing_size > self.keys.max_header_bytes + self.keys.max_request_bytes:
            # Chunk sizes and trailers are not part of the body, so its own limit (in on_body) does not bound them.
            self._refuse(too_large(self.keys.max_request_bytes))
        elif self.phase in {Phase.IDLE, Phase.HEAD}:
            self._enter_phase(Phase.BODY, self.keys.body_read_timeout_ms)

    def on_message_begin(self) -> None:
        """Start a request."""
        self.url, self.headers = b"", []
        # One snapshot of the limits for the whole request, whatever a reload changes meanwhile.
        self.keys, self.framing_size = self.edge.keys(), 0
        self.is_reading = self.is_in_head = True

    def on_url(self, url: bytes) -> None:
        """Receive a part of the URL; a limit is checked here because a URL without end never completes the head."""
        self.url += url
        if len(self.url) > self.keys.max_url_bytes:
            raise url_too_long()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header. A trailer, which comes after the body, is dropped (RFC 9110, 6.5.1)."""
        if self.is_in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Decide who handles the request, now that its head is complete."""
        raw = self._raw_head()
        if self.parser.should_upgrade():
            if raw[1] == b"CONNECT":
                raise tunnel_refused()
            return  # the head comes again, see _ignore_offer
        if self.edge.hosts is not None:
            self.edge.hosts.check(self.headers, self.url)
        head = self.head
        if head is None or head.raw != raw or head.keys is not self.keys:
            head = self.head = read_head(raw, self.keys, closes_connection=not self._keeps_alive())
        if head is None:
            self._pass_to_uvicorn()
        else:
            self._take(head)
        self.is_in_head = False

    def _raw_head(self) -> RawHead:
        return self.url, self.parser.get_method(), self.parser.get_http_version(), self.headers

    def _take(self, head: RequestHead) -> None:
        """Start to receive a GraphQL request, whose body is still to come."""
        previous: Any = self.cycle
        self.cycle = self._new_exchange(head, b"")
        if (previous is not None and not previous.response_complete) or self.flow.write_paused:
            # The client pipelines, or does not read its responses: parse no further requests until this one has its turn.
            self.pipeline.appendleft((self.cycle, self.app))
            self.flow.hold()
            if self.answering is None:
                self._continue_soon()
            return
        self._start_asgi_task(self.cycle, self.app)

    def _take_complete(self, head: RequestHead, data: bytes) -> None:
        """Answer a GraphQL request that is received completely and has a known head. The parser does not see it."""
        exchange = self.answering = self.cycle = self._new_exchange(head, data[len(head.text) :])
        exchange.is_complete = exchange.is_started = True
        self.phase, self.expires_at = Phase.ANSWER, NEVER
        self._answer(exchange)

    def _new_exchange(self, head: RequestHead, body: bytes) -> Exchange:
        request_id = self.gateway_app.request_ids.assign(head.headers.get("x-request-id"))
        return Exchange(head, body, request_id, self.loop.time(), self.client[0] if self.client else "")

    def _pass_to_uvicorn(self) -> None:
        """Pass a request that is not for GraphQL on to uvicorn."""
        url, headers = self.url, self.headers
        check_target(url)
        super().on_message_begin()  # only now, as GraphQL requests need no scope; it clears what was received of the head
        self.url, self.headers = url, headers
        self.scope["headers"] = headers
        self.expect_100_continue = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
        super().on_headers_complete()
        if self.pipeline:
            self.flow.hold()

    def _keeps_alive(self) -> bool:
        parser = self.parser
        return bool(parser.should_keep_alive() and parser.get_http_version() != "1.0")

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        self.framing_size -= len(body)
        exchange: Any = self.cycle
        if not isinstance(exchange, Exchange):
            super().on_body(body)
            return
        exchange.parts.append(body)
        exchange.size += len(body)
        if exchange.size > self.keys.max_request_bytes:
            raise too_large(self.keys.max_request_bytes)

    def on_message_complete(self) -> None:
        """Complete a request; it is answered if it is its turn."""
        if self.is_in_head:
            return  # an offer to upgrade, see _ignore_offer
        self.is_reading, self.has_completed = False, True
        if self.answering is None:  # it was answered before it was complete
            self._enter_phase(Phase.IDLE, self.keys.idle_timeout_ms)
        else:
            self.phase, self.expires_at = Phase.ANSWER, NEVER
        exchange: Any = self.cycle
        if not isinstance(exchange, Exchange):
            super().on_message_complete()
            return
        exchange.body = b"".join(exchange.parts)
        exchange.is_complete = True
        if exchange.is_started:
            self.due = exchange


def _parse_error(error: httptools.HttpParserError) -> RequestError:
    """Return the error for a message that httptools rejects.

    An exception of one of our callbacks arrives as a parser error too, with the exception itself as its context.
    """
    cause = error.__context__
    if cause is None:
        return malformed_message()
    if isinstance(cause, RequestError):
        return cause
    log.error("request failed unexpectedly", exc_info=cause)
    return internal_error()
