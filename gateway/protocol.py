"""Bytes of a connection ↔ whole requests and answers: uvicorn's protocol, with a short way for GraphQL and with limits (RFC 9112).

Everything but a GraphQL request goes uvicorn's way, as ASGI messages to the application.
"""

import asyncio
import logging
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.asgi import Front
from gateway.edge import Edge, malformed, too_large_head, too_late, too_long_url, unexpected
from gateway.errors import RequestError
from gateway.exchange import Exchange, Phase
from gateway.head import Head, read_head
from gateway.http import RestOfAnswer
from gateway.http_answer import HttpAnswer
from gateway.http_request import too_large

log = logging.getLogger("stepgraph.http")

LINGER = 1.0
"""Seconds that a client who is refused has to read why; what it sends meanwhile is dropped, or else it would find the connection reset."""
_NEVER = float("inf")


class GatewayProtocol(HttpToolsProtocol):
    """One connection of a client.

    ASGI gives a request in messages that somebody has to await, and takes the response in two. For a small query that is most of the
    work. Here a GraphQL request is collected, answered at once or by one task, and written in one piece.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        front = config.loaded_app
        assert isinstance(front, Front)
        self.front = front
        self.edge: Edge = front.edge
        self.phase = Phase.IDLE
        self.limit_at = _NEVER
        self.keys = front.edge.keys()
        self.head: Head | None = None
        """That of the last GraphQL request."""
        self.frame_size = 0  # bytes of the message beside its body: its head, the sizes of its chunks, its trailers
        self.is_reading = self.is_in_head = self.has_ended = False
        """Whether a message has begun and not ended; whether its head has not either; whether one has ended in these bytes."""
        self.cycle: Any = None  # uvicorn's, for the requests that go its way, or an exchange
        self.answering: Exchange | RequestResponseCycle | None = None
        self.every: list[tuple[bytes, bytes]] = []
        self.every_line = b""
        """The headers that every answer of the moment has, and their lines."""
        self.unread = 0
        """Bytes that a slow client had not read at the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection."""
        super().connection_made(transport)
        self._enter(Phase.HEAD, self.keys.header_read_timeout_ms)
        self.edge.look_after(self.connections)  # type: ignore[arg-type]

    def _enter(self, phase: Phase, timeout_ms: float) -> None:
        self.phase = phase
        self.limit_at = self.loop.time() + timeout_ms / 1000

    # -- bytes in

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

    def _take(self, head: Head) -> None:
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

    def _take_whole(self, head: Head, data: bytes) -> None:
        """Take a GraphQL request of which everything is there, and of which the parser need see nothing, as it has seen its head before."""
        exchange = self.answering = self.cycle = self._exchange(head, data[len(head.text) :])
        exchange.is_whole = exchange.is_begun = True
        self.phase, self.limit_at = Phase.ANSWER, _NEVER
        self._answer(exchange)

    def _exchange(self, head: Head, body: bytes) -> Exchange:
        request_id = self.front.ids.of(head.headers.get("x-request-id"))
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
            self.phase, self.limit_at = Phase.ANSWER, _NEVER
        exchange: Any = self.cycle
        if not isinstance(exchange, Exchange):
            super().on_message_complete()
            return
        exchange.body = b"".join(exchange.parts)
        exchange.is_whole = True
        if exchange.is_begun:
            self._answer(exchange)

    # -- answers out

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin with a request whose turn has come."""
        exchange: Any = cycle
        self.answering = exchange
        if not isinstance(exchange, Exchange):
            super()._start_asgi_task(cycle, app)
            return
        exchange.is_begun = True
        if exchange.is_whole:
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        if self.transport.is_closing():
            return
        begun = self.front.endpoint.begin(exchange)
        if isinstance(begun, HttpAnswer):
            self._respond(exchange, begun)
            return
        task = exchange.task = self.loop.create_task(self._finish(exchange, begun))
        self.tasks.add(task)

    async def _finish(self, exchange: Exchange, rest: RestOfAnswer) -> None:
        try:
            answer = await rest()
        except asyncio.CancelledError:
            if not exchange.disconnected:
                raise
            self.front.endpoint.left(exchange)
        else:
            self._respond(exchange, answer)
        finally:
            self.tasks.discard(exchange.task)

    def _respond(self, exchange: Exchange, answer: HttpAnswer) -> None:
        """Send an answer in one piece."""
        exchange.response_complete = True
        if exchange.disconnected:
            return
        exchange.keep_alive = exchange.keep_alive and not self.edge.is_draining
        self._write(answer, keep_alive=exchange.keep_alive)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, answer: HttpAnswer, *, keep_alive: bool) -> None:
        if self.every is not self.server_state.default_headers:  # there are new ones each second
            self.every = self.server_state.default_headers
            self.every_line = b"".join([b"%b: %b\r\n" % header for header in self.every])
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[answer.status], self.every_line, answer.head, end, answer.body)))

    def on_response_complete(self) -> None:
        """Turn to the next request, or wait for one."""
        self.server_state.total_requests += 1
        self.answering = None
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            if not self._has_its_turn():
                return
        if self.flow.write_paused:
            self.flow.pause_reading()  # a client that does not read its answers does not get more of them
        elif self.flow.read_paused:
            self.flow.resume_reading()
        if self.is_in_head:
            self._enter(Phase.HEAD, self.keys.header_read_timeout_ms)
        elif self.is_reading:
            self._enter(Phase.BODY, self.keys.body_read_timeout_ms)
        else:
            self._enter(Phase.IDLE, self.keys.idle_timeout_ms)

    def resume_writing(self) -> None:
        """Go on, now that the client has read its answers."""
        super().resume_writing()
        if self.phase is not Phase.ANSWER:
            self.flow.resume_reading()

    def _has_its_turn(self) -> bool:
        """Tell whether the request whose body is being read is the one to be answered next."""
        return self.is_reading and not self.is_in_head and self.answering is self.cycle

    # -- ends

    def _refuse(self, error: RequestError) -> None:
        """Answer that a message is refused, and end the connection: what follows in it cannot be told apart any more."""
        self.phase, self.limit_at = Phase.REFUSED, _NEVER
        self.pipeline.clear()
        if self.answering is not None and not self._has_its_turn():
            self.answering.keep_alive = False  # the answer to a request before it is the last
            return
        self._abandon()
        self.limit_at = self.loop.time() + LINGER
        self._write(self.front.endpoint.refuse(error, self.front.ids.of(None)), keep_alive=False)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _abandon(self) -> None:
        """Give up the request under way."""
        cycle: Any = self.answering
        if cycle is None or cycle.response_complete:
            return
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()
        if isinstance(cycle, Exchange) and cycle.task is not None:
            cycle.task.cancel()

    def expire(self, now: float) -> None:
        """End a connection whose time is over: a slow client is told, an idle one is not."""
        unread = self.transport.get_write_buffer_size()
        if unread and self.phase is Phase.IDLE and unread != self.unread:
            self.unread, self.limit_at = unread, now + self.keys.idle_timeout_ms / 1000
        elif unread or self.phase is Phase.REFUSED:
            self.transport.abort()
        elif self.phase is Phase.IDLE or not self.is_reading:
            self.transport.close()
        else:
            self._refuse(too_late())

    def shutdown(self) -> None:
        """End the connection, or let the request under way be its last."""
        if self.answering is None and not self.is_reading:
            self.transport.close()
            return
        for cycle in (self.answering, self.cycle):
            if cycle is not None:
                cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection, and with it everything that is under way for it."""
        self.limit_at = _NEVER
        self.pipeline.clear()
        super().connection_lost(exc)
        self._abandon()


def _mistake(error: httptools.HttpParserError) -> RequestError:
    """Return what is wrong with a message by what its parser says: what a callback has raised is told apart from the parser's own."""
    cause = error.__context__
    if cause is None:
        return malformed()
    if isinstance(cause, RequestError):
        return cause
    log.error("request failed unexpectedly", exc_info=cause)
    return unexpected()
