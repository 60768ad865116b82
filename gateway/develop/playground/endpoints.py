"""What the playground page asks for, in development alone: plans before they run, the state of the configuration, runs, examples.

Nothing of it is there in production. What it tells of a run holds no value that a client gave (:mod:`gateway.develop.playground.runs`).
"""

import asyncio
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from gateway.answer.json_text import json_text
from gateway.contract import RequestContext
from gateway.develop.playground.examples import examples
from gateway.develop.playground.runs import RecordingGeneration, RunHistory, planned
from gateway.errors import Code, RequestError
from gateway.operate.serving import Serving
from gateway.plan.text import plan_json
from gateway.serve.http.asgi import send_error, unless_client_leaves
from gateway.serve.http.request import headers_of, posted, read_body, refuse_simple

HEARTBEAT = 15.0
"""Seconds after which a listener hears something although nothing has changed, so that both ends notice when the other is gone."""
MAX_LISTENERS = 50
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors 'none'"  # the editor sets styles of its own
)
"""What the page may load: what it came with, and nothing from anywhere else."""


class Playground:
    """The page and what it asks. ``serving`` gives the configuration that is served; once ``stopping`` is set no listener is held."""

    def __init__(self, serving: Callable[[], Serving | None], stopping: asyncio.Event) -> None:
        self._serving = serving
        self._runs = RunHistory()
        self._events = ConfigurationEvents(serving, stopping)

    def generation(self) -> RecordingGeneration | None:
        """Return what answers now, and records what it answers."""
        serving = self._serving()
        return RecordingGeneration(serving.generation, self._runs) if serving and serving.generation else None

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the page, built or plain, and of its endpoints."""
        web = Path(str(files("playground") / "web"))
        built = web / "dist"
        page = built / "index.html"

        def show(_: Request) -> Response:  # in a thread, as it reads a file
            if page.is_file():
                return HTMLResponse(page.read_bytes(), headers={"content-security-policy": POLICY, "cache-control": "no-cache"})
            return HTMLResponse((web / "plain.html").read_bytes())

        return [
            Route("/", show),
            Route("/playground/plan", self._plan, methods=["POST"]),
            Route("/playground/events", self._events),
            Route("/playground/examples", self._examples),
            Route("/playground/runs", self._list_runs),
            Route("/playground/runs/{id}", self._show_run),
            Route("/playground/runs/{id}/again", self._run_again, methods=["POST"]),
            Mount("/playground", _Built(directory=built, check_dir=False)),
        ]

    def _current(self) -> RecordingGeneration:
        generation = self.generation()
        if generation is None:
            raise RequestError(Code.INTERNAL_SERVER_ERROR, 503, {"message": "The gateway is not ready."})
        return generation

    async def _plan(self, request: Request) -> Response:
        headers = headers_of(request.scope)
        generation = self._current().generation
        asked = posted(await read_body(headers, request.receive, generation.blueprint.server.max_request_bytes), headers)
        context = RequestContext("", headers, asyncio.get_running_loop().time())
        try:
            plan, problems = planned(generation, asked, context)
        except RequestError as error:  # which is how most documents are while they are written
            return JSONResponse({"plan": None, "problems": error.errors})
        return JSONResponse({"plan": plan_json(plan, describes_pruned=True), "problems": problems})

    async def _examples(self, _: Request) -> Response:
        return JSONResponse([asdict(example) for example in examples(self._current().generation.schema)])

    async def _list_runs(self, _: Request) -> Response:
        return JSONResponse([run.summary for run in self._runs])

    async def _show_run(self, request: Request) -> Response:
        return JSONResponse(self._runs.get(request.path_params["id"]).record)

    async def _run_again(self, request: Request) -> Response:
        """RecordedRun what a run has run, with the arguments and headers that it had; the answer's own run is ``id``."""
        refuse_simple(headers_of(request.scope))
        run = self._runs.get(request.path_params["id"])
        asked = run.context
        context = RequestContext(uuid.uuid4().hex, asked.headers, asyncio.get_running_loop().time(), asked.values)
        try:
            body = await self._current().answer(run.request, context)
        except RequestError as error:
            body = {"errors": error.errors}
        return Response(json_text({"id": context.request_id, "body": body}), media_type="application/json")


class _Built(StaticFiles):
    """The files of the page."""

    async def check_config(self) -> None:
        """Take the folder as it is: before the page is built there is none, and so no file in it."""


class ConfigurationEvents:
    """The ASGI application that tells pages of the configuration's state, now and at each change, as server-sent events."""

    def __init__(self, serving: Callable[[], Serving | None], stopping: asyncio.Event) -> None:
        self._serving = serving
        self._stopping = stopping
        self._listeners = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold one listener until it leaves or the server stops."""
        if self._listeners >= MAX_LISTENERS:
            await send_error(send, 503, Code.REQUEST_LIMIT_EXCEEDED, "Too many pages are listening already.")
            return
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._listeners += 1
        try:
            await unless_client_leaves(self._tell(send), receive)
        finally:
            self._listeners -= 1

    async def _tell(self, send: Send) -> None:
        while not self._stopping.is_set() and (serving := self._serving()):
            changed = serving.changed
            await send({"type": "http.response.body", "body": _event(serving), "more_body": True})
            while not await _any((changed, self._stopping), HEARTBEAT):
                await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _event(serving: Serving) -> bytes:
    state = {"version": serving.version, "problems": [asdict(problem) for problem in serving.problems]}
    return b"event: configuration\ndata: " + orjson.dumps(state) + b"\n\n"


async def _any(events: Iterable[asyncio.Event], seconds: float) -> bool:
    """Wait until one of some events is set, or the time is over; tell whether one is."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)
