"""Bytes of a client → requests: uvicorn's parser, with a short way for GraphQL and with limits (RFC 9112)."""

import asyncio
import logging
from abc import abstractmethod
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import RequestError
from gateway.serve.connections.exchange import Exchange, Phase
from gateway.serve.connections.head import RequestHead, read_head
from gateway.serve.http.asgi import GatewayApp
from gateway.serve.http.edge import Edge, malformed, too_large_head, too_long_url
from gateway.serve.http.request import too_large
from gateway.serve.http.response import unexpected

log = logging.getLogger("stepgraph.http")

NEVER = float("inf")


class RequestReader(HttpToolsProtocol):
    """The reading side of a connection. A GraphQL request is collected whole; any other one goes uvicorn's way."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        gateway_app = config.loaded_app
        assert isinstance(gateway_app, GatewayApp)
        self.gateway_app = gateway_app
        self.edge: Edge = gateway_app.edge
        self.phase = Phase.IDLE
        self.limit_at = NEVER
        self.keys = gateway_app.edge.keys()
        self.head: RequestHead | None = None
        """That of the last GraphQL request."""
        self.frame_size = 0  # bytes of the message beside its body: its head, the sizes of its chunks, its trailers
        self.is_reading = self.is_in_head = self.has_ended = False
        """Whether a message has begun and not ended; whether its head has not either; whether one has ended in these bytes."""
        self.cycle: Any = None  # uvicorn's, for the requests that go its way, or an exchange
        self.answering: Exchange | RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        self._enter(Phase.HEAD, self.keys.header_read_timeout_ms)
        self.edge.look_after(self.connections)  # type: ignore[arg-type]

    @abstractmethod
    def _answer(self, exchange: Exchange) -> None:
        """Answer a request that is whole and whose turn has come."""

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Answer that a message is refused, and end the connection."""

    def _enter(self, phase: Phase, timeout_ms: float) -> None:
        self.phase = phase
        self.limit_at = self.loop.time() + timeout_ms / 1000

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        head = self.head
        if self.phase is Phase.IDLE and head is not None and head.begins(data) and head.keys is self.edge.keys():
            self._take_whole(head, data)
        elif self.phase is not Phase.REFUSED:
            self._read(data)

    def _read(self, data: bytes) -> None:
        before = self.cycle
        is_between, self.has_ended = not self.is_reading, False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.phase = Phase.REFUSED  # the request itself is answered; what follows is of a protocol that is not spoken here
        except httptools.HttpParserError as error:
            self._refuse(_mistake(error))
        if self.is_reading and self.phase is not Phase.REFUSED:
            self._expect_more(0 if self.has_ended else len(data))  # how much of it is of the next message, nobody says
        elif is_between and self.cycle is not before and self.head is not None and not self.head.text:
            self.head.learn(data)

    def _expect_more(self, size: int) -> None:
        """Wait for the rest of a message, but not for ever; ``size`` is how much of it has just come."""
        self.frame_size += size
        if self.is_in_head:
            if self.frame_size > self.keys.max_header_bytes:
                self._refuse(too_large_head())
            elif self.phase is Phase.IDLE:
                self._enter(Phase.HEAD, self.keys.header_read_timeout_ms)
        elif self.frame_size > self.keys.max_header_bytes + self.keys.max_request_bytes:
            self._refuse(too_large(self.keys.max_request_bytes))
        elif self.phase in {Phase.IDLE, Phase.HEAD}:
            self._enter(Phase.BODY, self.keys.body_read_timeout_ms)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url, self.headers = b"", []
        self.keys, self.frame_size = self.edge.keys(), 0
        self.is_reading = self.is_in_head = True

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        self.url += url
        if len(self.url) > self.keys.max_url_bytes:
            raise too_long_url()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer, which comes after the body, is dropped (RFC 9110, 6.5.1)."""
        if self.is_in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Choose the way of a request, now that its head is there."""
        written = self.url, self.parser.get_method(), self.parser.get_http_version(), self.headers
        head = self.head
        if head is None or head.written != written or head.keys is not self.keys:
            head = self.head = read_head(written, self.keys, is_last=not self._keeps_alive())
        if head is None:
            self._pass_on()
        else:
            self._take(head)

    def _take(self, head: RequestHead) -> None:
        """Take a GraphQL request, whose body is still to come."""
        before: Any = self.cycle
        self.cycle = self._exchange(head, b"")
        self.is_in_head = False
        if before is not None and not before.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
            return
        if head.waits_for_word:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._start_asgi_task(self.cycle, self.app)

    def _take_whole(self, head: RequestHead, data: bytes) -> None:
        """Take a GraphQL request of which everything is there, and of which the parser need see nothing, as it has seen its head before."""
        exchange = self.answering = self.cycle = self._exchange(head, data[len(head.text) :])
        exchange.is_whole = exchange.is_begun = True
        self.phase, self.limit_at = Phase.ANSWER, NEVER
        self._answer(exchange)

    def _exchange(self, head: RequestHead, body: bytes) -> Exchange:
        request_id = self.gateway_app.ids.of(head.headers.get("x-request-id"))
        return Exchange(head, body, request_id, self.loop.time(), self.client[0] if self.client else "")

    def _pass_on(self) -> None:
        """Let uvicorn have a request that is not for GraphQL."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.headers = url, headers
        self.scope["headers"] = headers
        self.expect_100_continue = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
        super().on_headers_complete()
        self.is_in_head = False
        self.cycle.keep_alive = self._keeps_alive() and not self.edge.is_draining

    def _keeps_alive(self) -> bool:
        parser = self.parser
        return bool(parser.should_keep_alive() and not parser.should_upgrade() and parser.get_http_version() != "1.0")

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self.frame_size -= len(body)
        exchange: Any = self.cycle
        if not isinstance(exchange, Exchange):
            super().on_body(body)
            return
        exchange.parts.append(body)
        exchange.size += len(body)
        if exchange.size > self.keys.max_request_bytes:
            raise too_large(self.keys.max_request_bytes)

    def on_message_complete(self) -> None:
        """End a request."""
        self.is_reading, self.has_ended = False, True
        if self.answering is None:  # it was answered before all of it was there
            self._enter(Phase.IDLE, self.keys.idle_timeout_ms)
        else:
            self.phase, self.limit_at = Phase.ANSWER, NEVER
        exchange: Any = self.cycle
        if not isinstance(exchange, Exchange):
            super().on_message_complete()
            return
        exchange.body = b"".join(exchange.parts)
        exchange.is_whole = True
        if exchange.is_begun:
            self._answer(exchange)


def _mistake(error: httptools.HttpParserError) -> RequestError:
    """Return what is wrong with a message by what its parser says: what a callback has raised is told apart from the parser's own."""
    cause = error.__context__
    if cause is None:
        return malformed()
    if isinstance(cause, RequestError):
        return cause
    log.error("request failed unexpectedly", exc_info=cause)
    return unexpected()
