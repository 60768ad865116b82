"""Assemble the ASGI application from its parts, with the health endpoints."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.contract import StepType
from gateway.develop.playground.endpoints import Playground
from gateway.operate.admin import WorkerGroup, admin_listener, create_admin_app
from gateway.operate.serving import ServeOptions, Serving, serve_folder
from gateway.serve.admission.admission import Admission
from gateway.serve.http.asgi import GatewayApp, LocalPages
from gateway.serve.http.cross_site import LocalHosts
from gateway.serve.http.edge import Edge
from gateway.serve.http.endpoint import GraphQLEndpoint
from gateway.serve.http.error_handlers import ERROR_HANDLERS
from gateway.settings import ServerKeys
from gateway.telemetry.counters import measuring_loop_lag
from gateway.telemetry.logs import flush_logs
from gateway.telemetry.telemetry import Telemetry
from resolvers import STEP_TYPES

_DEFAULTS = ServerKeys()


def create_app(
    folder: Path,
    *,
    is_development: bool = False,
    step_types: Mapping[str, StepType] = STEP_TYPES,
    options: ServeOptions | None = None,
    admin_port: int | None = None,
    worker_group: WorkerGroup | None = None,
) -> GatewayApp:
    """Return the gateway's ASGI application for a configuration folder; with ``admin_port`` it opens an admin listener too.

    Its lifespan loads the configuration; problems end the startup with :class:`gateway.errors.ConfigurationError`. ``worker_group`` is the group
    of worker processes that this one belongs to. The server that runs the application announces its shutdown to ``edge``.
    """
    options = options or ServeOptions(is_development=is_development)
    telemetry = Telemetry(is_development=is_development)
    current: list[Serving] = []  # empty until the configuration is loaded, and again after shutdown

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with serve_folder(folder, step_types, options, telemetry=telemetry) as serving, AsyncExitStack() as stack:
            current.append(serving)
            stack.enter_context(measuring_loop_lag(telemetry.counters))
            if options.owns_process and hasattr(signal, "SIGHUP"):  # Windows has no SIGHUP
                stack.enter_context(_reload_on_sighup(serving))
            stack.push_async_callback(endpoint.rate_limiter.aclose)
            if admin_port is not None:
                await stack.enter_async_context(admin_listener(create_admin_app(serving, worker_group), admin_port, worker_group))
            yield
            current.clear()
            await serving.finish_mutations()
            edge.on_requests_ended()
        await telemetry.flush()
        flush_logs()  # a worker process ends without a word

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        status = _status(is_loaded=bool(current), edge=edge, admission=endpoint.admission)
        return JSONResponse({"status": status}, 200 if status == "ready" else 503)

    def server_keys() -> ServerKeys:
        generation = current[0].generation if current else None
        return generation.blueprint.server if generation else _DEFAULTS

    # In development the schema and all recorded runs are open to whoever reaches the server, and it has no authentication.
    hosts = LocalHosts(options.host) if is_development else None
    edge = Edge(server_keys, hosts)
    playground = Playground(lambda: current[0] if current else None, edge.stopping) if is_development else None
    current_generation = playground.generation if playground else lambda: current[0].generation if current else None
    endpoint = GraphQLEndpoint(current_generation, is_development=is_development, telemetry=telemetry)
    routes: list[BaseRoute] = [Route(path, live) for path in ("/health/live", "/live")]
    routes += [Route(path, ready) for path in ("/health/ready", "/ready")]
    if playground:
        routes += playground.routes()
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False  # a redirect would go to the host that the client named in its Host header
    return GatewayApp(LocalPages(app, hosts) if hosts else app, endpoint, edge)


def _status(*, is_loaded: bool, edge: Edge, admission: Admission) -> str:
    """Return the readiness. The state of upstreams does not count: other instances of the gateway call the same ones."""
    if not is_loaded:
        return "loading"
    if edge.is_draining:
        return "draining"
    return "overloaded" if admission.is_overloaded else "ready"


@contextmanager
def _reload_on_sighup(serving: Serving) -> Iterator[None]:
    """Check the folder for changes on SIGHUP."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, serving.check_soon)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
