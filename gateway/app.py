"""The one place that puts the parts together: a Starlette application, and the server that runs it."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from gateway.admin import admin_listener, create_admin_app
from gateway.config.rules import Built
from gateway.errors import Code, RequestError
from gateway.http import Front, GraphQLEndpoint
from gateway.logs import configure_logging
from gateway.playground import Playground
from gateway.protocol import GatewayProtocol
from gateway.reload import Conduct, Serving, serve_folder
from gateway.resolver import StepType
from resolvers import STEP_TYPES

CONFIG_VARIABLE = "STEPGRAPH_CONFIG"
CONDUCT_VARIABLE = "STEPGRAPH_CONDUCT"
SUPERVISOR_VARIABLE = "STEPGRAPH_SUPERVISOR"


def create_app(
    folder: Path,
    *,
    is_development: bool = False,
    step_types: Mapping[str, StepType] = STEP_TYPES,
    conduct: Conduct | None = None,
    admin_port: int | None = None,
    stopping: asyncio.Event | None = None,
) -> ASGIApp:
    """Return the gateway's ASGI application over a configuration folder; with ``admin_port`` an admin listener stands beside it.

    Its lifespan loads the configuration; problems of it end the start with :class:`gateway.errors.ConfigurationError`. Whoever
    runs it sets ``stopping`` when no request shall be held any longer.
    """
    conduct = conduct or Conduct(is_development=is_development)
    current: list[Serving] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with serve_folder(folder, step_types, conduct) as serving, AsyncExitStack() as beside:
            current.append(serving)
            if conduct.owns_process and hasattr(signal, "SIGHUP"):  # Windows has none
                beside.enter_context(_looking_at_hang_up(serving))
            if admin_port is not None:
                supervisor = os.environ.get(SUPERVISOR_VARIABLE)
                admin = create_admin_app(serving, int(supervisor) if supervisor else None)
                await beside.enter_async_context(admin_listener(admin, admin_port))
            yield
            current.clear()

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        return JSONResponse({"status": "ready"}) if current else JSONResponse({"status": "loading"}, 503)

    playground = Playground(lambda: current[0] if current else None, stopping or asyncio.Event()) if is_development else None
    answers = playground.generation if playground else lambda: current[0].generation if current else None
    endpoint = GraphQLEndpoint(answers, is_development=is_development)
    routes: list[BaseRoute] = [Route("/health/live", live), Route("/health/ready", ready)]
    if playground:
        routes += playground.routes()
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error, RequestError: _refused})
    app.router.redirect_slashes = False  # the redirect would go to whatever host the client has named
    return Front(app, endpoint)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(error.status_code, Code.BAD_REQUEST)
    body = {"errors": [{"message": error.detail, "extensions": {"code": str(code)}}]}
    return JSONResponse(body, error.status_code, error.headers)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse({"errors": error.errors}, error.status)


@contextmanager
def _looking_at_hang_up(serving: Serving) -> Iterator[None]:
    """Have the folder looked at on SIGHUP."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, serving.look)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def from_environment(stopping: asyncio.Event | None = None, built: Built | None = None) -> ASGIApp:
    """Return the application of a server process, which gets its settings by the environment, and what is built already from its own."""
    given = json.loads(os.environ[CONDUCT_VARIABLE])
    state, admin_port = given.pop("state"), given.pop("admin_port")
    conduct = Conduct(**given, state=Path(state) if state else None, built=built)
    configure_logging(is_development=conduct.is_development)
    return create_app(
        Path(os.environ[CONFIG_VARIABLE]),
        is_development=conduct.is_development,
        conduct=conduct,
        admin_port=admin_port,
        stopping=stopping,
    )


class _Server(uvicorn.Server):
    """A server that ends with status 0 on SIGTERM and Ctrl-C: uvicorn raises the signal once more when it is done.

    It sets ``stopping`` first, or else it would wait for those who listen for as long as they like.
    """

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address, which worker processes can share.

    :raises OSError: the address is in use, or not one of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else asyncio leaves delays on
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


def _settings(conduct: Conduct) -> dict[str, object]:
    return {name: value for name, value in asdict(conduct).items() if name != "built"}


class _Workers(Multiprocess):
    """Worker processes; a SIGHUP is passed on to them instead of replacing them."""

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGHUP)


def serve(folder: Path, bound: socket.socket, workers: int, conduct: Conduct, admin_port: int | None = None) -> int:
    """Serve on a bound socket until SIGTERM or Ctrl-C; return the exit status."""
    # A worker that takes the place of one that has died shall serve what is sound, whatever has become of the files since the start.
    built = conduct.built
    conduct = replace(conduct, built=None, owns_process=True, keeps_going=conduct.keeps_going or workers > 1)
    is_development = conduct.is_development
    os.environ[CONFIG_VARIABLE] = str(folder)
    os.environ[CONDUCT_VARIABLE] = json.dumps({**_settings(conduct), "admin_port": admin_port}, default=str)
    if workers > 1:
        os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())
    stopping = asyncio.Event()
    config = uvicorn.Config(
        "gateway.app:from_environment" if workers > 1 else lambda: from_environment(stopping, built),
        factory=True,
        http=GatewayProtocol,
        workers=workers,
        server_header=False,
        access_log=is_development,
        log_level="info" if is_development else "warning",
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1 if is_development else 30,
    )
    if workers > 1:
        _Workers(config, sockets=[bound]).run()
        return 0
    server = _Server(config, stopping)
    server.run(sockets=[bound])
    return 0 if server.started else 3
