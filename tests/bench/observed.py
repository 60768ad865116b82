"""The gateway as `stepgraph serve` runs it, with a clock in its event loop that tells for how long the loop was held."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

import gateway.process.server
from gateway.operate.serving import ServeOptions
from gateway.serve.connections.listener import bind
from gateway.serve.http.asgi import GatewayApp

LAG_PATH = "/lag"
TICK = 0.001


class Observed:
    """An ASGI layer that answers `/lag` with the longest time, in ms, that the loop was held since it was last asked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._worst = 0.0
        self._clock: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        self._clock = self._clock or asyncio.create_task(self._watch())
        if scope.get("path") != LAG_PATH:
            await self._app(scope, receive, send)
            return
        worst, self._worst = self._worst, 0.0
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": str(worst * 1000).encode()})

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self._worst = max(self._worst, loop.time() - due)


def main() -> int:
    """Serve a folder on a port with everything else as it always is."""
    names = vars(gateway.process.server)
    plain = names["create_app"]

    def observed(*arguments: Any, **keywords: Any) -> GatewayApp:
        gateway_app: GatewayApp = plain(*arguments, **keywords)
        gateway_app.app = Observed(gateway_app.app)
        return gateway_app

    names["create_app"] = observed
    return gateway.process.server.serve(Path(sys.argv[1]), bind("127.0.0.1", int(sys.argv[2])), 1, ServeOptions())


if __name__ == "__main__":
    sys.exit(main())
