"""The server process: it binds, listens, serves, and on a signal ends without a request being lost (the only module that runs uvicorn)."""

import asyncio
import functools
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvicorn

from gateway.operate.admin import WorkerGroup
from gateway.operate.serving import ServeOptions
from gateway.process.app import create_app
from gateway.process.workers import NOT_STARTED, Workers
from gateway.serve.connections.connection import GatewayProtocol
from gateway.serve.connections.listener import listen
from gateway.serve.http.asgi import GatewayApp
from gateway.serve.http.edge import Edge
from gateway.telemetry.logs import configure_logging

AT_ONCE = 64
"""How many of them are accepted in one turn of the event loop."""
AT_ONCE_BY_A_WORKER = 4
"""How many of them a worker accepts: or else the first that wakes up would take all that come together."""
LAST_SECONDS = 0.9
"""For how long a process may take to end once the last request has been cut off; then it ends as it is."""
DEVELOPMENT_GRACE = 1.0


def serve(folder: Path, bound: socket.socket, workers: int, options: ServeOptions, admin_port: int | None = None) -> int:
    """Serve on a bound socket until SIGTERM or Ctrl-C; return the exit status."""
    options = replace(options, owns_process=True)
    configure_logging(is_development=options.is_development)
    if workers == 1:
        return _serve(
            create_app(folder, is_development=options.is_development, options=options, admin_port=admin_port), bound, options
        )
    # A worker that takes the place of one that has died shall serve what the others do, whatever has become of the files since the start.
    was_sound = options.built is not None and not options.built.problems
    options = replace(options, built=None, keeps_going=True, resumes=was_sound)
    process = functools.partial(
        multiprocessing.get_context("spawn").Process,
        target=_work,
        args=(folder, bound, options, admin_port, WorkerGroup(os.getpid(), workers)),
    )
    return Workers(process, workers, bound).run()


def _work(folder: Path, bound: socket.socket, options: ServeOptions, admin_port: int | None, worker_group: WorkerGroup) -> None:
    """Be a worker process."""
    configure_logging(is_development=options.is_development)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the supervisor passes it on
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    app = create_app(
        folder, is_development=options.is_development, options=options, admin_port=admin_port, worker_group=worker_group
    )
    sys.exit(_serve(app, bound, options, is_worker=True))


def _end_with(parent: BaseProcess) -> None:
    """End this process when its parent does."""
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(app: GatewayApp, bound: socket.socket, options: ServeOptions, *, is_worker: bool = False) -> int:
    config = uvicorn.Config(
        app,
        http=GatewayProtocol,
        ws="none",
        server_header=False,
        access_log=False,  # the gateway has its own
        log_config=None,
        proxy_headers=False,
        timeout_keep_alive=15,
    )
    server = Server(config, app.edge, is_development=options.is_development, is_worker=is_worker)
    server.run(sockets=[bound])
    return 0 if server.started else NOT_STARTED


class Server(uvicorn.Server):
    """uvicorn's server with a start and an end of its own.

    It listens before the configuration is loaded, so that health checks are told; only a worker does not, as others answer. On a signal it
    says that it is not ready and goes on for the drain delay; then it takes no more connections, and what is under way has the grace time.
    A second signal ends it at once.
    """

    def __init__(self, config: uvicorn.Config, edge: Edge, *, is_development: bool, is_worker: bool) -> None:
        super().__init__(config)
        self._edge = edge
        self._is_development = is_development
        self._is_worker = is_worker
        self._drained_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve on sockets."""
        self.servers = []
        if not self._is_worker:
            await self._listen(sockets or [])
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(NOT_STARTED)
        if self._is_worker:
            await self._listen(sockets or [])
        self.started = True

    async def _listen(self, sockets: list[socket.socket]) -> None:
        factory = functools.partial(GatewayProtocol, self.config, self.server_state, self.lifespan.state)
        servers: list[Any] = [
            await listen(listening, factory, AT_ONCE_BY_A_WORKER if self._is_worker else AT_ONCE) for listening in sockets
        ]
        self.servers = servers  # of which uvicorn only wants that they can be closed

    async def on_tick(self, counter: int) -> bool:
        """Look whether it is time to end, ten times a second."""
        if self._edge.is_draining:
            now = asyncio.get_running_loop().time()
            delay = 0 if self._is_development else self._edge.keys().drain_delay_ms / 1000
            self._drained_at = self._drained_at or now + delay
            self.should_exit = now >= self._drained_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: no more connections, and the grace time for what is under way."""
        self._edge.stopping.set()
        grace = DEVELOPMENT_GRACE if self._is_development else self._edge.keys().shutdown_grace_ms / 1000
        self.config.timeout_graceful_shutdown = grace  # type: ignore[assignment] # parts of a second will do
        self.end_after(grace + LAST_SECONDS)
        await super().shutdown(sockets)
        if not self._is_development:
            self.end_after(LAST_SECONDS)  # nothing is under way any more

    def end_after(self, seconds: float) -> None:
        """See to it that the process ends then: a thread that does not come back, as one of a Python step, would hold it for ever."""
        last = threading.Timer(seconds, os._exit, [0])
        last.daemon = True
        last.start()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Begin to end; a second time end at once."""
        if self._edge.is_draining:
            os._exit(0)
        self._edge.is_draining = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals meanwhile, without raising them once more at the end as uvicorn does: the status is then 0."""
        signals = (signal.SIGTERM,) if self._is_worker else (signal.SIGINT, signal.SIGTERM)
        before = {sig: signal.signal(sig, self.handle_exit) for sig in signals}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)
