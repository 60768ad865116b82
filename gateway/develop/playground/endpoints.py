"""The HTTP endpoints of the playground page: plans without a run, the state of the configuration, recorded runs, examples.

They exist only in development mode. A recorded run is shown without the values that the client sent
(:mod:`gateway.develop.playground.runs`).
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from gateway.contract import RequestContext
from gateway.develop.playground.examples import examples
from gateway.develop.playground.runs import RecordingGeneration, RunHistory, plan_request
from gateway.errors import Code, RequestError
from gateway.json_text import json_text
from gateway.operate.serving import Serving
from gateway.plan.text import plan_json
from gateway.serve.http.asgi import cancel_on_disconnect, send_error
from gateway.serve.http.request import decode_headers, parse_post, read_body, refuse_cross_site
from gateway.serve.http.response import not_ready

HEARTBEAT = 15.0
"""Seconds between comments on an idle event stream, so that both ends notice when the other is gone."""
MAX_LISTENERS = 50
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: it loads its own files and nothing from other origins. The editor sets styles of its own."""
PAGE_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # a shared link has the query in it
    "cache-control": "no-cache",
}


class Playground:
    """The page and its endpoints. ``serving`` returns the served configuration; ``stopping`` ends all event streams."""

    def __init__(self, serving: Callable[[], Serving | None], stopping: asyncio.Event) -> None:
        self._serving = serving
        self._runs = RunHistory()
        self._events = ConfigurationEvents(serving, stopping)

    def generation(self) -> RecordingGeneration | None:
        """Return the active generation, wrapped so that it records its runs; None while nothing is loaded."""
        serving = self._serving()
        return RecordingGeneration(serving.generation, self._runs) if serving and serving.generation else None

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the page and its endpoints. Without a built page (``dist``) a plain one is served."""
        web = Path(str(files("playground") / "web"))
        built = web / "dist"
        page = built / "index.html"

        def show(_: Request) -> Response:  # not async: Starlette then runs it in a thread, and it reads a file
            return HTMLResponse((page if page.is_file() else web / "plain.html").read_bytes(), headers=PAGE_HEADERS)

        def show_script(_: Request) -> Response:
            return FileResponse(web / "plain.js", media_type="text/javascript", headers=PAGE_HEADERS)

        return [
            Route("/", show),
            Route("/playground/plain.js", show_script),
            Route("/playground/plan", self._plan, methods=["POST"]),
            Route("/playground/events", self._events),
            Route("/playground/examples", self._examples),
            Route("/playground/runs", self._list_runs),
            Route("/playground/runs/{id}", self._show_run),
            Route("/playground/runs/{id}/again", self._run_again, methods=["POST"]),
            Mount("/playground", _BuiltFiles(directory=built, check_dir=False)),
        ]

    def _current(self) -> RecordingGeneration:
        generation = self.generation()
        if generation is None:
            raise not_ready()
        return generation

    async def _plan(self, request: Request) -> Response:
        headers = decode_headers(request.scope)
        generation = self._current().generation
        body = await read_body(headers, request.receive, generation.blueprint.server.max_request_bytes)
        graphql_request = parse_post(body, headers)
        context = RequestContext("", headers, asyncio.get_running_loop().time())
        try:
            plan, problems = plan_request(generation, graphql_request, context)
        except RequestError as error:  # status 200: the page asks while the user types, so most documents are incomplete
            return JSONResponse({"plan": None, "problems": error.errors})
        return JSONResponse({"plan": plan_json(plan, describes_pruned=True), "problems": problems})

    async def _examples(self, _: Request) -> Response:
        return JSONResponse([asdict(example) for example in examples(self._current().generation.schema)])

    async def _list_runs(self, _: Request) -> Response:
        return JSONResponse([run.summary for run in self._runs])

    async def _show_run(self, request: Request) -> Response:
        return JSONResponse(self._runs.get(request.path_params["id"]).record)

    async def _run_again(self, request: Request) -> Response:
        """Execute the request of a recorded run again, with its variables and headers; ``id`` in the response is the new run."""
        refuse_cross_site(decode_headers(request.scope))  # against CSRF: it may be a mutation
        run = self._runs.get(request.path_params["id"])
        recorded = run.context
        context = RequestContext(uuid.uuid4().hex, recorded.headers, asyncio.get_running_loop().time(), recorded.values)
        try:
            body = await self._current().answer(run.request, context)
        except RequestError as error:
            body = {"errors": error.errors}
        return Response(json_text({"id": context.request_id, "body": body}), media_type="application/json")


class _BuiltFiles(StaticFiles):
    """The files of the built page."""

    async def check_config(self) -> None:
        """Do nothing: Starlette's check fails if the folder does not exist, as before the page is built."""


class ConfigurationEvents:
    """An ASGI application that sends the configuration's state to pages, now and at each change, as server-sent events."""

    def __init__(self, serving: Callable[[], Serving | None], stopping: asyncio.Event) -> None:
        self._serving = serving
        self._stopping = stopping
        self._listeners = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one event stream until the client disconnects or the server stops."""
        if self._listeners >= MAX_LISTENERS:
            await send_error(send, 503, Code.REQUEST_LIMIT_EXCEEDED, "Too many pages are listening already.")
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._listeners += 1
        try:
            await cancel_on_disconnect(self._send_events(send), receive)
        finally:
            self._listeners -= 1

    async def _send_events(self, send: Send) -> None:
        while not self._stopping.is_set() and (serving := self._serving()):
            # Taken before the state is sent: a change in between sets this event, and is not missed.
            changed = serving.changed
            await send({"type": "http.response.body", "body": _event(serving), "more_body": True})
            while not await _any((changed, self._stopping), HEARTBEAT):
                await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _event(serving: Serving) -> bytes:
    state = {
        "version": serving.version,
        "problems": [asdict(replace(problem, place=problem.place.shown())) for problem in serving.problems],
    }
    return b"event: configuration\ndata: " + orjson.dumps(state) + b"\n\n"


async def _any(events: Iterable[asyncio.Event], seconds: float) -> bool:
    """Wait until one of the events is set or the time is over; return whether one is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
