"""Bytes of a connection ↔ ASGI: uvicorn's protocol, which also tells at once when a client has left."""

from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.http import DEPARTURE


class GatewayProtocol(HttpToolsProtocol):
    """One connection.

    ASGI has a client's departure come as a message that somebody has to wait for; a task for that costs more than the rest of a small request.
    Instead the scope takes a function that is called.
    """

    running: RequestResponseCycle | None = None

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[DEPARTURE] = None

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
