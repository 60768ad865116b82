"""The admin listener: the state of the configuration, its reload, and metrics. A separate server that only this machine can reach."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.operate.prometheus import CONTENT_TYPE, metrics_text
from gateway.operate.serving import Serving
from gateway.serve.connections.listener import bind
from gateway.serve.http.asgi import LocalPages
from gateway.serve.http.cross_site import LocalHosts
from gateway.serve.http.error_handlers import ERROR_HANDLERS

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The group of a worker process: the process ID of its supervisor, which forwards a reload to all workers, and the number of workers."""

    supervisor: int
    size: int


def create_admin_app(serving: Serving, worker_group: WorkerGroup | None = None) -> ASGIApp:
    """Return the admin application of a process; ``worker_group`` is given if the process is one of several workers."""

    async def config(_: Request) -> Response:
        return JSONResponse(state(serving))

    async def reload(_: Request) -> Response:
        outcome = await serving.reload()
        if worker_group is not None:
            # Only one worker accepts this request; the supervisor forwards SIGHUP to the others.
            os.kill(worker_group.supervisor, signal.SIGHUP)
        return JSONResponse({"outcome": outcome, **state(serving)}, 409 if outcome in {"rejected", "failed"} else 200)

    async def metrics(_: Request) -> Response:
        return Response(metrics_text(serving), media_type=CONTENT_TYPE)

    routes = [Route("/admin/config", config), Route("/admin/reload", reload, methods=["POST"]), Route("/metrics", metrics)]
    return LocalPages(Starlette(routes=routes, exception_handlers=ERROR_HANDLERS), LocalHosts(HOST))


def state(serving: Serving) -> dict[str, object]:
    """Return the served version and the problems of the files, as JSON: an operation or link is ``current``, ``kept`` or ``left out``.

    Of overlays only those are shown that are ``kept`` or ``left out``.
    """
    blueprint = serving.generation.blueprint if serving.generation else None
    names = [f"operation {name}" for name in blueprint.operations] if blueprint else []
    # A link of an interface is a link of each of its types, with one and the same step name.
    names += dict.fromkeys(f"field {link.step.name}" for link in blueprint.links.values()) if blueprint else []
    units: dict[str, object] = {name: {"state": "current"} for name in names}
    served = {*names, *(f"overlay {one.name} of operation {one.operation}" for one in (blueprint.overlays if blueprint else ()))}
    for name, since in serving.kept.items():
        units[name] = {"state": "kept" if name in served else "left out", "since": since.isoformat(timespec="milliseconds")}
    problems = [
        {
            "place": _as_utf8(str(problem.place)),
            **{key: _as_utf8(getattr(problem, key)) for key in ("subject", "message", "code")},
        }
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


def _as_utf8(text: str) -> str:
    """Escape what UTF-8 does not have: bytes of a file name that is no UTF-8, which Python keeps as halves of surrogate pairs."""
    return text.encode("utf-8", "backslashreplace").decode()


class _Server(uvicorn.Server):
    """A uvicorn server without signal handlers: the main server of the process handles signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind_worker_port(port: int, workers: int) -> list[socket.socket]:
    """Return a socket of this worker alone, on the first free of the ``workers`` ports after ``port``; empty if none is free.

    So each worker's metrics can be scraped apart. A worker that replaces a dead one finds the port of that one free.
    """
    for number in range(port + 1, port + 1 + workers):
        with suppress(OSError, OverflowError):  # OverflowError: a number above 65535
            return [bind(HOST, number)]
    return []


@asynccontextmanager
async def admin_listener(app: ASGIApp, port: int, worker_group: WorkerGroup | None = None) -> AsyncIterator[None]:
    """Serve the admin application on a port while the context is open; a worker also listens on a port of its own."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        server_header=False,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=1,  # a client that keeps its connection must not keep the process
    )
    server = _Server(config)
    with ExitStack() as stack:
        sockets = [bind(HOST, port, is_shared=True), *(bind_worker_port(port, worker_group.size) if worker_group else ())]
        for bound in sockets:
            stack.enter_context(bound)
        running = asyncio.create_task(server.serve(sockets=sockets))
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.gather(running, return_exceptions=True)
