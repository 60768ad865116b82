"""The server process: listen, serve, and on a signal drain and exit without losing a request (the only module that runs uvicorn's server)."""

import asyncio
import functools
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
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
from gateway.telemetry.logs import configure_logging, flush_logs

log = logging.getLogger("stepgraph.server")

MAX_ACCEPTS = 64
"""How many connections are accepted in one turn of the event loop."""
MAX_WORKER_ACCEPTS = 4
"""The same for a worker: lower, or else the worker that wakes up first would take all connections that arrive together."""
EXIT_SECONDS = 0.9
"""How long a process may take to exit once it has closed everything; then it is forced to."""
SWITCH_SECONDS = 0.0005
"""How long another thread may keep Python's lock when the event loop wants it. The loop takes the lock anew for each socket that is ready, so
while a thread plans a query, say, each of these would wait for Python's usual 5 ms."""
CLOSE_SECONDS = 1.8
"""How long it may take to close everything once the last request has ended: pools, collectors and stores may hang."""
DEVELOPMENT_GRACE = 1.0
"""Seconds that requests in flight have in development mode, instead of ``shutdown_grace_ms``."""


def serve(folder: Path, bound: socket.socket, workers: int, options: ServeOptions, admin_port: int | None = None) -> int:
    """Serve on a bound socket until SIGTERM or Ctrl-C; return the exit status."""
    options = replace(options, owns_process=True)
    configure_logging(is_development=options.is_development)
    if workers == 1:
        return _serve(
            create_app(folder, is_development=options.is_development, options=options, admin_port=admin_port), bound, options
        )
    # A worker that replaces a dead one must serve what the others do, even if the files have become invalid since the start.
    was_sound = options.built is not None and not options.built.problems
    options = replace(options, built=None, keeps_going=True, resumes=was_sound)
    spawn, arguments = (
        multiprocessing.get_context("spawn"),
        (folder, bound, options, admin_port, WorkerGroup(os.getpid(), workers)),
    )

    def create_process(has_started: Connection) -> BaseProcess:
        return spawn.Process(target=_run_worker, args=(*arguments, has_started))

    return Workers(create_process, workers, bound).run()


def _run_worker(
    folder: Path,
    bound: socket.socket,
    options: ServeOptions,
    admin_port: int | None,
    worker_group: WorkerGroup,
    has_started: Connection,
) -> None:
    """Run as a worker process until a signal, then exit. When it serves it sends one byte to ``has_started``."""
    configure_logging(is_development=options.is_development)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the supervisor sends SIGTERM
    parent = multiprocessing.parent_process()
    assert parent is not None
    # A supervisor that was killed cannot send a signal any more.
    threading.Thread(target=_exit_with, args=[parent], daemon=True).start()
    app = create_app(
        folder, is_development=options.is_development, options=options, admin_port=admin_port, worker_group=worker_group
    )
    sys.exit(_serve(app, bound, options, has_started))


def _exit_with(parent: BaseProcess) -> None:
    """Stop this process by SIGTERM when its parent has exited."""
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(app: GatewayApp, bound: socket.socket, options: ServeOptions, has_started: Connection | None = None) -> int:
    config = uvicorn.Config(
        app,
        http=GatewayProtocol,
        ws="none",
        server_header=False,
        access_log=False,  # the gateway writes its own
        log_config=None,
        proxy_headers=False,
        timeout_keep_alive=15,
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    server = Server(config, app.edge, is_development=options.is_development, has_started=has_started)
    server.run(sockets=[bound])
    return 0 if server.started else NOT_STARTED


def run_to_end(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine until it ends, whatever other tasks do.

    An event loop stops when a task or callback ends with ``SystemExit`` or ``KeyboardInterrupt``, or calls its ``stop``. A function of a
    python step can start such a task; it must not end the process. The loop goes on where it has stopped, and loses nothing.
    """
    task = loop.create_task(main)
    while not task.done():
        try:
            loop.run_until_complete(task)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            log.exception("a task or callback has stopped the event loop, which goes on", extra={"detail": type(error).__name__})


def _exit_at_once() -> None:
    flush_logs(0.1)
    os._exit(0)


class Server(uvicorn.Server):
    """uvicorn's server with its own startup and shutdown.

    It listens before the configuration is loaded, so that health checks get a response; a worker does not, as other workers respond. On a
    signal it reports that it is not ready and serves on for the drain delay; then it accepts no more connections, and requests in flight have
    the grace time. A second signal makes it exit at once.
    """

    def __init__(
        self, config: uvicorn.Config, edge: Edge, *, is_development: bool, has_started: Connection | None = None
    ) -> None:
        super().__init__(config)
        self._edge = edge
        self._is_development = is_development
        self._has_started = has_started
        """Where a worker tells its supervisor that it serves; None in a process that is no worker."""
        self._is_worker = has_started is not None
        self._drained_at: float | None = None
        edge.on_requests_ended = lambda: self.exit_after(CLOSE_SECONDS)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal, on an event loop of its own."""
        runner = asyncio.Runner(loop_factory=self.config.get_loop_factory())
        try:
            run_to_end(runner.get_loop(), self.serve(sockets))
        finally:
            # A task that is cancelled now may end with SystemExit too; its status is not that of the process.
            with suppress(SystemExit, KeyboardInterrupt):
                runner.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets and load the configuration; exit with ``NOT_STARTED`` if that fails."""
        self.servers = []
        if not self._is_worker:
            await self._listen(sockets or [])
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(NOT_STARTED)
        if self._is_worker:
            await self._listen(sockets or [])
        self.started = True
        if self._has_started is not None:
            with suppress(OSError):  # the supervisor has been killed
                self._has_started.send_bytes(b"1")

    async def _listen(self, sockets: list[socket.socket]) -> None:
        factory = functools.partial(GatewayProtocol, self.config, self.server_state, self.lifespan.state)
        servers: list[Any] = [
            await listen(listening, factory, MAX_WORKER_ACCEPTS if self._is_worker else MAX_ACCEPTS) for listening in sockets
        ]
        self.servers = servers  # uvicorn only calls close() and wait_closed() on them

    async def on_tick(self, counter: int) -> bool:
        """Check whether the drain delay is over; uvicorn calls this ten times a second."""
        if self._edge.is_draining:
            now = asyncio.get_running_loop().time()
            delay = 0 if self._is_development else self._edge.keys().drain_delay_ms / 1000
            self._drained_at = self._drained_at or now + delay
            self.should_exit = now >= self._drained_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and give requests in flight the grace time to end."""
        self._edge.stopping.set()
        grace = DEVELOPMENT_GRACE if self._is_development else self._edge.keys().shutdown_grace_ms / 1000
        self.config.timeout_graceful_shutdown = grace  # type: ignore[assignment] # a float works too
        self.exit_after(grace + EXIT_SECONDS)
        await super().shutdown(sockets)
        if not self._is_development:
            self.exit_after(EXIT_SECONDS)  # no request is in flight any more, so the rest of the grace time is not needed

    def exit_after(self, seconds: float) -> None:
        """Force the process to exit after some seconds: a thread that never returns, as of a Python step, would keep it alive."""
        timer = threading.Timer(seconds, _exit_at_once)
        timer.daemon = True
        timer.start()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Start to drain; on a second signal exit at once."""
        if self._edge.is_draining:
            os._exit(0)
        self._edge.is_draining = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs. Unlike uvicorn's, do not raise them again at the end, so that the exit status is 0."""
        signals = (signal.SIGTERM,) if self._is_worker else (signal.SIGINT, signal.SIGTERM)
        before = {sig: signal.signal(sig, self.handle_exit) for sig in signals}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)
