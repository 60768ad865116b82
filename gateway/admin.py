"""The admin listener: the state of the configuration, and a way to have it read again. It is a server of its own, for this machine alone."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.metrics import CONTENT_TYPE, metrics_text
from gateway.reload import Serving

HOST = "127.0.0.1"


def create_admin_app(serving: Serving, supervisor: int | None = None) -> ASGIApp:
    """Return the admin application of what is served. ``supervisor`` is the process that passes a reload on to other workers."""

    async def config(_: Request) -> Response:
        return JSONResponse(state(serving))

    async def reload(_: Request) -> Response:
        outcome = await serving.reload()
        if supervisor is not None:
            os.kill(supervisor, signal.SIGHUP)
        return JSONResponse({"outcome": outcome, **state(serving)}, 409 if outcome in {"rejected", "failed"} else 200)

    async def metrics(_: Request) -> Response:
        return Response(metrics_text(serving), media_type=CONTENT_TYPE)

    routes = [Route("/admin/config", config), Route("/admin/reload", reload, methods=["POST"]), Route("/metrics", metrics)]
    # A page of another site could else reach it under a name of its own that leads to this machine.
    local = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)
    return Starlette(routes=routes, middleware=[local])


def state(serving: Serving) -> dict[str, object]:
    """Return what is served and what is wrong with the files, as JSON: an operation or link is ``current``, ``kept`` or ``left out``."""
    blueprint = serving.generation.blueprint if serving.generation else None
    names = [f"operation {name}" for name in blueprint.operations] if blueprint else []
    names += dict.fromkeys(f"field {link.step.name}" for link in blueprint.links.values()) if blueprint else []
    units: dict[str, object] = {name: {"state": "current"} for name in names}
    for name, since in serving.kept.items():
        units[name] = {"state": "kept" if name in units else "left out", "since": since.isoformat(timespec="milliseconds")}
    problems = [
        {"place": str(problem.place), "subject": problem.subject, "message": problem.message, "code": problem.code}
        for problem in serving.problems
    ]
    return {
        "version": serving.version,
        "since": serving.since.isoformat(timespec="milliseconds"),
        "state": "problems" if problems else "current",
        "problems": problems,
        "units": units,
        "changes": dict(serving.outcomes),
    }


class _Server(uvicorn.Server):
    """A server that leaves signals to the one beside it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind_admin(port: int) -> socket.socket:
    """Return a socket on this machine's own address, on which all workers can listen: any of them answers.

    :raises OSError: the address is in use.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):  # Windows has none
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


@asynccontextmanager
async def admin_listener(app: ASGIApp, port: int) -> AsyncIterator[None]:
    """Serve the admin application on a port for as long as the context lasts."""
    config = uvicorn.Config(app, lifespan="off", server_header=False, access_log=False, log_config=None, proxy_headers=False)
    server = _Server(config)
    with bind_admin(port) as bound:
        running = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.gather(running, return_exceptions=True)
