"""Serve a configuration folder with a real gateway behind a real socket: in this process, or in a process of its own.

Every response that a test reads passes :func:`checked`, so that every test checks what must hold for all responses.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import uvicorn
from starlette.types import ASGIApp

from gateway.contract import StepType
from gateway.load.build.build import load
from gateway.process.app import create_app
from gateway.serve.connections.connection import GatewayProtocol
from gateway.serve.http.asgi import GatewayApp
from resolvers import STEP_TYPES
from tests.faults import FaultServer
from tests.kit.paths import CHECKOUT
from tests.kit.timing import SLACK
from tests.kit.workers import PORTS

RESPONSE_JSON = "application/graphql-response+json"
JSON = "application/json"
START_TIMEOUT = 20 + 10 * SLACK
"""Seconds that a process may take to start. It takes less than one, but the machine may be busy."""

T = TypeVar("T")


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write texts by file name to a folder, which is created, and return the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    folder.mkdir(exist_ok=True)
    return folder


def checked(response: httpx.Response) -> Any:
    """Return the JSON of a response, and check that it is one that a client may get (case P-09)."""
    assert response.status_code < 500, f"{response.status_code}: {response.text[:200]}"
    assert response.headers["x-request-id"], "an answer without a request id"
    assert response.headers["content-type"].partition(";")[0] in {JSON, RESPONSE_JSON}
    assert b"Traceback" not in response.content
    body = json.loads(response.content.decode("utf-8"), parse_constant=_refuse_constant)
    for answer in body if isinstance(body, list) else [body]:
        if "errors" in answer:
            assert answer["errors"], "an empty list of errors"
        for error in answer.get("errors", ()):
            assert isinstance(error["message"], str)
            assert error["message"].strip()
            assert error["extensions"]["code"].isupper()
            assert ("path" in error) == ("data" in answer), "a path is what tells a field's error from a request's"
    if response.status_code != 200:
        assert body.get("data") is None, "data under a status that says that there is none"
    return body


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"'{name}' is not JSON")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as the client sees it; ``seconds`` is from the first byte sent to the last byte received."""

    status: int
    headers: httpx.Headers
    body: Any
    seconds: float = 0.0

    @property
    def data(self) -> Any:
        """The data, which must be present."""
        return self.body["data"]

    @property
    def codes(self) -> list[str]:
        """The codes of all errors."""
        return [error["extensions"]["code"] for error in self.body.get("errors", ())]

    @property
    def missing(self) -> list[tuple[str, str, str]]:
        """Operation, step and reason of each entry under ``missing`` in the completeness."""
        entries = self.body["extensions"]["completeness"]["missing"]
        return [(entry["operation"], entry["step"], entry["reason"]) for entry in entries]

    @property
    def degraded(self) -> list[tuple[str, str, str]]:
        """Step, its fallback and the reason of each entry under ``degraded`` in the completeness."""
        entries = self.body["extensions"]["completeness"]["degraded"]
        return [(entry["step"], entry["served_by"], entry["reason"]) for entry in entries]

    @property
    def error(self) -> Any:
        """The only error."""
        (error,) = self.body["errors"]
        return error

    @property
    def fault(self) -> tuple[str, str, list[str | int]]:
        """Code, step and path of the only error."""
        extensions = self.error["extensions"]
        return extensions["code"], extensions["step"], self.error["path"]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway at ``url``, with an HTTP client."""

    url: str
    client: httpx.AsyncClient

    async def send(self, method: str, target: str, **request: Any) -> Answer:
        """Send any HTTP request; the response must pass :func:`checked`."""
        started = time.perf_counter()
        response = await self.client.request(method, self.url + target, **request)
        seconds = time.perf_counter() - started
        return Answer(response.status_code, response.headers, checked(response), seconds)

    async def post(self, content: bytes, accept: str = RESPONSE_JSON, **headers: str) -> Answer:
        """Post a body as JSON. Keywords are additional headers, with underscores for hyphens."""
        given = {"accept": accept, "content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", "/graphql", content=content, headers=given)

    async def ask(self, query: str, variables: Mapping[str, object] | None = None, **headers: str) -> Answer:
        """Post a query as a well-behaved client does."""
        return await self.post(json.dumps({"query": query, "variables": variables}).encode(), **headers)


class _Server(uvicorn.Server):
    """uvicorn without signal handlers, and without its tick of a tenth of a second, which would delay each shutdown."""

    async def run_until_cancelled(self, listening: socket.socket) -> None:
        with suppress(SystemExit):  # uvicorn exits so when the application fails to start
            await self._serve([listening])

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await asyncio.Event().wait()

    async def close(self) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        await self.lifespan.shutdown()


def listening_socket() -> socket.socket:
    """Return a socket that listens on a free port.

    asyncio disables Nagle's algorithm only when the socket names its protocol; with it a response may take 40 ms longer.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    return listening


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application in this event loop, behind a real socket; yield its URL."""
    config = uvicorn.Config(
        app,
        lifespan="on",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        access_log=False,
        log_config=None,
        ws="none",
        http=GatewayProtocol if isinstance(app, GatewayApp) else "auto",
    )
    with listening_socket() as bound:
        server = _Server(config)
        running = asyncio.create_task(server.run_until_cancelled(bound))
        try:
            while not server.started:
                await asyncio.wait({running}, timeout=0.002)
                assert not running.done() or server.started, "the application did not start"
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            if server.started:
                await server.close()


@asynccontextmanager
async def serving(
    folder: Path, *, is_development: bool = False, step_types: Mapping[str, StepType] = STEP_TYPES
) -> AsyncIterator[Gateway]:
    """Serve a folder in this event loop, as ``serve`` does in a process of its own."""
    await asyncio.to_thread(load, folder, step_types)  # so that a mistake in a test's configuration raises its own error
    async with (
        listening(create_app(folder, is_development=is_development, step_types=step_types)) as url,
        httpx.AsyncClient(trust_env=False, timeout=30 + 10 * SLACK, limits=httpx.Limits(max_connections=None)) as client,
    ):
        yield Gateway(url, client)


class Stage:
    """An upstream and gateways in front of it, shared by the tests of a module. Its event loop runs only while a test does.

    ``config`` maps file names to texts, with ``UPSTREAM`` in place of the upstream's URL.
    """

    def __init__(self, folder: Path, config: Mapping[str, str]) -> None:
        self._folder = folder
        self._config = config
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.upstream = FaultServer()
        self.production: Gateway
        self.development: Gateway

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            self._runner.run(self._open())
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def run(self, scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a scenario to its end, with a timeout that no working one needs."""

        async def within() -> T:
            async with asyncio.timeout(30 + 10 * SLACK):
                return await scenario()

        return self._runner.run(within())

    async def _open(self) -> None:
        await self._stack.enter_async_context(self.upstream)
        config = {name: text.replace("UPSTREAM", self.upstream.url) for name, text in self._config.items()}
        write_files(self._folder, config)
        self.production = await self._stack.enter_async_context(serving(self._folder))
        self.development = await self._stack.enter_async_context(serving(self._folder, is_development=True))


# -- processes


@dataclass(slots=True)
class Process:
    """The command in a process of its own, which leads its own session and process group."""

    popen: "subprocess.Popen[bytes]"
    url: str
    output: Path
    errors: Path
    children: "dict[int, bytes]" = field(default_factory=dict)
    """Its descendants at the time of ``stop``: command lines by process id."""

    def stop(self, sent: signal.Signals = signal.SIGTERM, within: float = 10.0) -> tuple[int, float]:
        """Send a signal to the process, not to its children; return its exit status and the seconds until it ended."""
        started = time.perf_counter()
        self.children = children_of(self.popen.pid)
        self.popen.send_signal(sent)
        return self.popen.wait(within), time.perf_counter() - started

    @property
    def stdout(self) -> str:
        """Its standard output so far."""
        return self.output.read_text("utf-8")

    @property
    def stderr(self) -> str:
        """Its standard error so far."""
        return self.errors.read_text("utf-8")


def free_port() -> int:
    """Return a free port of this test process, below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def command(folder: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    """Run ``python -m gateway`` with these arguments and ``--port``; kill what is left of it on exit.

    Its output goes to files in ``folder``.
    """
    port = free_port()
    output, errors = folder / f"stdout-{port}", folder / f"stderr-{port}"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        popen = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments, "--port", str(port)],
            stdout=stdout,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            cwd=CHECKOUT,
            env={**os.environ, "XDG_STATE_HOME": str(folder / "state"), **environment},
            start_new_session=True,
        )
    process = Process(popen, f"http://127.0.0.1:{port}", output, errors)
    try:
        yield process
    finally:
        for pid, command_line in (process.children | children_of(popen.pid)).items():
            if command_line_of(pid) == command_line:  # the operating system may have reused the process id
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


@contextmanager
def serve_command(folder: Path, config: Path, *arguments: str, **environment: str) -> Iterator[Process]:
    """Run ``serve`` with a configuration and wait until it is ready."""
    with command(folder, "serve", str(config), *arguments, **environment) as process:
        wait_until_ready(process)
        yield process


def wait_until_ready(process: Process) -> None:
    """Wait until a gateway answers its health check; fail with its standard error when it exits instead."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        assert process.popen.poll() is None, f"it ended with {process.popen.returncode}: {process.stderr}"
        with suppress(httpx.HTTPError):
            if httpx.get(f"{process.url}/health/ready", trust_env=False, timeout=5).status_code == 200:
                return
        time.sleep(0.02)
    raise AssertionError(f"not ready after {START_TIMEOUT} s: {process.stderr}")


def run_command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m gateway`` to completion, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, **environment},
    )


def children_of(pid: int) -> dict[int, bytes]:
    """Return the command lines of all descendants of a process, by process id."""
    descendants: dict[int, bytes] = {}
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()):
            descendants |= {child: command_line_of(child), **children_of(child)}
    return descendants


def command_line_of(pid: int) -> bytes:
    """Return the command line of a process; empty when it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def wait_until(condition: Callable[[], bool], what: str, within: float = 5.0) -> None:
    """Wait until a condition holds; fail with ``what`` after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.01)


async def until(condition: Callable[[], Awaitable[bool]], within: float) -> None:
    """Wait until a condition holds, while the event loop runs.

    :raises TimeoutError: it does not hold within so many seconds.
    """
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - the condition changes outside this code, where no event is set
            await asyncio.sleep(0.01)


async def until_tasks_end(count: int, within: float) -> None:
    """Wait until at most ``count`` tasks are left in the event loop, in which gateways and fault servers run."""

    async def condition() -> bool:
        return len(asyncio.all_tasks()) <= count

    await until(condition, within)
