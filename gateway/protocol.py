"""Bytes of a connection ↔ ASGI: uvicorn's protocol, with two short cuts past what a request to the gateway does not need."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.http import DEPARTURE, RESPOND


class GatewayProtocol(HttpToolsProtocol):
    """One connection.

    ASGI has a client's departure come as a message that somebody has to wait for, and a response go out in two messages, whose headers are
    looked at one by one. A task for the former costs more than the rest of a small request, the latter a fifth of it. Here the scope takes a
    function that is called, and gives one to call.
    """

    running: RequestResponseCycle | None = None

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        scope = cast("dict[str, Any]", self.scope)
        scope[DEPARTURE] = None
        scope[RESPOND] = self.respond

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole response to the request that is under way, in one piece; return False where only ASGI's way will do."""
        cycle = self.running
        if (
            cycle is None
            or cycle.response_started
            or cycle.access_log
            or self.flow.write_paused
            or cycle.scope["method"] == "HEAD"
        ):
            return False
        if cycle.disconnected:
            return True
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        self.transport.write(b"".join(lines))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection, and tell a request that is under way."""
        cycle = self.running
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            departed: Callable[[], None] | None = cast("dict[str, Any]", cycle.scope)[DEPARTURE]
            if departed is not None:
                departed()
