"""Bytes of a connection ↔ whole requests and answers: uvicorn's protocol, with a short way for GraphQL and with limits (RFC 9112).

Everything but a GraphQL request goes uvicorn's way, as ASGI messages to the application.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.errors import RequestError
from gateway.serve.connections.exchange import Exchange, Phase
from gateway.serve.connections.reader import NEVER, RequestReader
from gateway.serve.http.edge import too_late
from gateway.serve.http.endpoint import PendingResponse
from gateway.serve.http.response import HttpResponse

LINGER = 1.0
"""Seconds that a client who is refused has to read why; what it sends meanwhile is dropped, or else it would find the connection reset."""


class GatewayProtocol(RequestReader):
    """One connection of a client.

    ASGI gives a request in messages that somebody has to await, and takes the response in two. For a small query that is most of the
    work. Here a GraphQL request is answered at once or by one task, and the answer written in one piece.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.every: list[tuple[bytes, bytes]] = []
        self.every_line = b""
        """The headers that every answer of the moment has, and their lines."""
        self.unread = 0
        """Bytes that a slow client had not read at the last look."""

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
        begun = self.gateway_app.endpoint.begin(exchange)
        if isinstance(begun, HttpResponse):
            self._respond(exchange, begun)
            return
        task = exchange.task = self.loop.create_task(self._finish(exchange, begun))
        self.tasks.add(task)

    async def _finish(self, exchange: Exchange, rest: PendingResponse) -> None:
        try:
            answer = await rest()
        except asyncio.CancelledError:
            if not exchange.disconnected:
                raise
            self.gateway_app.endpoint.left(exchange)
        else:
            self._respond(exchange, answer)
        finally:
            self.tasks.discard(exchange.task)

    def _respond(self, exchange: Exchange, answer: HttpResponse) -> None:
        """Send an answer in one piece."""
        exchange.response_complete = True
        if exchange.disconnected:
            return
        exchange.keep_alive = exchange.keep_alive and not self.edge.is_draining
        self._write(answer, keep_alive=exchange.keep_alive)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, answer: HttpResponse, *, keep_alive: bool) -> None:
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
        self.phase, self.limit_at = Phase.REFUSED, NEVER
        self.pipeline.clear()
        if self.answering is not None and not self._has_its_turn():
            self.answering.keep_alive = False  # the answer to a request before it is the last
            return
        self._abandon()
        self.limit_at = self.loop.time() + LINGER
        self._write(self.gateway_app.endpoint.refuse(error, self.gateway_app.ids.of(None)), keep_alive=False)
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
        self.limit_at = NEVER
        self.pipeline.clear()
        super().connection_lost(exc)
        self._abandon()
