"""Bytes of a connection ↔ complete requests and responses: uvicorn's protocol with limits and a fast path for GraphQL (RFC 9112).

All other requests go through uvicorn to the ASGI application.
"""

import asyncio
import select
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.errors import RequestError
from gateway.serve.connections.exchange import Exchange, Phase
from gateway.serve.connections.reader import NEVER, RequestReader
from gateway.serve.http.edge import request_timeout
from gateway.serve.http.endpoint import PendingResponse
from gateway.serve.http.response import HttpResponse

LINGER = 1.0
"""Seconds that a client has to read an error response before the connection closes. What it sends meanwhile is read and dropped: closing a
socket with unread bytes sends a TCP reset, and the client might lose the response."""

VARY_BY_ORIGIN = b"vary: Origin\r\n"
"""Where pages of other origins may call, a cache must not give one origin the response to another (Fetch, 3.3.5)."""


class GatewayProtocol(RequestReader):
    """One connection of a client.

    ASGI passes a request in messages that the application must await, and takes the response in two more. For a small query that is most of
    the work. Here a GraphQL request is answered synchronously or by one task, and its response is written in one piece.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.default_headers: list[tuple[bytes, bytes]] = []
        self.default_lines = b""
        """The headers that uvicorn adds to every response (``Date``), and the same as lines."""
        self.unread_bytes = 0
        """Size of the write buffer when the timeout was last checked: bytes of responses that the client has not read."""
        self.is_ending = False
        """Whether the connection ends once the requests that were received are answered."""

    # -- responses

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start a request, as all requests before it are answered. An ``Exchange`` is answered once its body is complete."""
        exchange: Any = cycle
        self.answering = exchange
        if not isinstance(exchange, Exchange):
            cycle.keep_alive = cycle.keep_alive and not self._ends_now()
            super()._start_asgi_task(cycle, app)
            return
        exchange.is_started = True
        if exchange.is_complete:
            self._answer(exchange)
        elif self.head is not None and self.head.expects_continue:  # it is the last request, whose head was read last
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _answer(self, exchange: Exchange) -> None:
        if self.transport.is_closing():
            return
        result = self.gateway_app.endpoint.begin(exchange)
        if isinstance(result, HttpResponse):
            self._respond(exchange, result)
            return
        task = exchange.task = self.loop.create_task(self._finish(exchange, result))
        self.tasks.add(task)  # uvicorn waits for these at shutdown

    async def _finish(self, exchange: Exchange, pending: PendingResponse) -> None:
        try:
            response = await pending()
        except asyncio.CancelledError:
            if not exchange.disconnected:
                raise  # the server cancels it at shutdown
            self.gateway_app.endpoint.note_disconnect(exchange)
        else:
            self._respond(exchange, response)
        finally:
            self.tasks.discard(exchange.task)

    def _respond(self, exchange: Exchange, response: HttpResponse) -> None:
        """Send a response, and close the connection if it is the last."""
        exchange.response_complete = True
        if exchange.disconnected:
            return
        if (self.edge.is_draining or self.is_ending) and self._ends_now():
            exchange.keep_alive = False
        self._write(response, keep_alive=exchange.keep_alive)
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, response: HttpResponse, *, keep_alive: bool) -> None:
        if self.default_headers is not self.server_state.default_headers:  # uvicorn makes a new list each second
            self.default_headers = self.server_state.default_headers
            self.default_lines = b"".join([b"%b: %b\r\n" % header for header in self.default_headers])
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        if self.keys.cors.origins:
            end = VARY_BY_ORIGIN + end
        self.transport.write(b"".join((STATUS_LINE[response.status], self.default_lines, response.head, end, response.body)))

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        self.server_state.total_requests += 1
        self.answering = None
        if self.transport.is_closing():
            self._enter_phase(Phase.IDLE, self.keys.idle_timeout_ms)  # for so long the client may not read the rest
        elif self.pipeline or self.unread:
            self._continue_soon()
        elif self.is_reading or self.flow.read_paused or self.flow.write_paused or self.is_ending:
            self._await_request()
        else:  # nearly always
            self._enter_phase(Phase.IDLE, self.keys.idle_timeout_ms)

    def _continue(self) -> None:
        """Start the next request that waits, or parse more of what was received; one step in each turn of the event loop."""
        self.is_continuing = False
        if self.transport.is_closing():
            return
        if self.pipeline and self.answering is None and not self.flow.write_paused:
            self._start_next()
        elif self.unread and not self.pipeline and not self.flow.write_paused and not self._is_answering():
            self._await_request()
            self._read_unread()
            self._continue_soon()
        else:
            self._await_request()

    def _start_next(self) -> None:
        if self.phase is not Phase.REFUSED:
            self.phase = Phase.ANSWER
        self.expires_at = NEVER
        self._start_asgi_task(*self.pipeline.pop())
        if self._answers_incomplete():
            self._continue_soon()

    def _await_request(self) -> None:
        """Read on, unless something that was received waits or the client does not read its responses; set the timeout of the phase."""
        if self.flow.write_paused or self.unread or self.pipeline:
            self.flow.hold()
        elif self.flow.read_paused:
            self.flow.release()
        if self.phase is Phase.REFUSED and self.pipeline:
            self.expires_at = self.loop.time() + self.keys.idle_timeout_ms / 1000
        if self.phase is Phase.ANSWER and not self._is_answering():  # in any other phase its timeout runs already
            self._enter_next_phase()

    def _enter_next_phase(self) -> None:
        if self.flow.is_held:  # the client has to read its responses, whatever else it has begun to send
            self._enter_phase(Phase.IDLE, self.keys.idle_timeout_ms)
        elif self.is_in_head:
            self._enter_phase(Phase.HEAD, self.keys.header_read_timeout_ms)
        elif self.is_reading:
            self._enter_phase(Phase.BODY, self.keys.body_read_timeout_ms)
        else:
            self._enter_phase(Phase.IDLE, self.keys.idle_timeout_ms)
            if self.is_ending and not (self.pipeline or self.unread or _has_unread_bytes(self.transport)):
                self.transport.close()

    def resume_writing(self) -> None:
        """Go on, now that the client has read its responses."""
        super().resume_writing()
        if self.phase is not Phase.ANSWER:
            self._continue_soon()

    def _is_answering(self) -> bool:
        """Tell whether a request is answered whose body is complete."""
        return self.answering is not None and not self._answers_incomplete()

    def _answers_incomplete(self) -> bool:
        """Tell whether the request whose turn it is is the one whose body is still being received."""
        return self.is_reading and not self.is_in_head and self.answering is self.cycle

    # -- end of the connection

    def _ends_now(self) -> bool:
        """Tell whether the request that is answered now is the last of the connection, because the server is about to end.

        Everything that the client has sent is answered. Where it was not read on, some of that may still be with the operating system.
        """
        if not (self.edge.is_draining or self.is_ending) or self.pipeline or self.unread:
            return False
        return not (self.flow.read_paused and _has_unread_bytes(self.transport))

    def _refuse(self, error: RequestError) -> None:
        """Send an error response and close the connection: where the next message begins is not known after an invalid one."""
        self.phase, self.expires_at, self.unread = Phase.REFUSED, NEVER, b""
        if self.pipeline and self.is_reading and not self.is_in_head:
            self.pipeline.popleft()  # the refused request itself
        earlier = self.pipeline[0][0] if self.pipeline else self.answering
        if earlier is not None and not self._answers_incomplete():
            earlier.keep_alive = False  # the responses to earlier requests are still to come, and will be the last
            return
        self._cancel_current()
        self.expires_at = self.loop.time() + LINGER
        self._write(self.gateway_app.endpoint.refuse(error, self.gateway_app.request_ids.assign(None)), keep_alive=False)
        self.flow.release()  # drop what still comes, see LINGER
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _cancel_current(self) -> None:
        """Cancel the request in flight; its response is not sent."""
        cycle: Any = self.answering
        if cycle is None or cycle.response_complete:
            return
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()
        if isinstance(cycle, Exchange) and cycle.task is not None:
            cycle.task.cancel()

    def expire(self, now: float) -> None:
        """Handle a timeout: close an idle connection, answer 408 to a request that is too slow, abort one that does not read its responses."""
        unread = self.transport.get_write_buffer_size()
        # While the client reads, however slowly, the response goes on.
        if unread and self.phase is Phase.IDLE and unread != self.unread_bytes:
            self.unread_bytes, self.expires_at = unread, now + self.keys.idle_timeout_ms / 1000
        elif unread or self.phase is Phase.REFUSED:
            self.transport.abort()
        elif self.phase is Phase.IDLE or not self.is_reading:
            self.transport.close()
        else:
            self._refuse(request_timeout())

    def shutdown(self) -> None:
        """Close the connection, or after the requests in flight if there are any; uvicorn calls this at shutdown."""
        self.is_ending = True
        if self.answering is None and not self.is_reading and not self.pipeline and not self.unread:
            self.transport.close()
        elif self.answering is not None and self._ends_now():
            self.answering.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel everything that is in flight for the connection."""
        self.expires_at = NEVER
        self.pipeline.clear()
        self.unread = b""
        super().connection_lost(exc)
        self._cancel_current()


def _has_unread_bytes(transport: asyncio.Transport) -> bool:
    """Ask the operating system whether a client has sent bytes that were not read."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
