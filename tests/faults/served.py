"""A configuration → a gateway process (``serve`` in production mode) with a fault server as its upstream."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from tests.faults.server import FaultServer
from tests.kit.serving import Answer, Gateway, Process, checked, free_port, serve_command, write_files

T = TypeVar("T")


class Served:
    """A fault server with a gateway process in front of it, shared by several tests. Its event loop runs only while a test uses it.

    ``config`` has the configuration files by name, with ``UPSTREAM`` in place of the URL of the fault server.
    """

    def __init__(self, folder: Path, config: Mapping[str, str], arguments: Sequence[str] = (), **environment: str) -> None:
        self.folder = folder / "config"
        self.config = config
        self.upstream = FaultServer()
        self.process: Process
        self.gateway: Gateway
        self.admin = ""
        self.workers = int(arguments[1]) if "--workers" in arguments[:1] else 0
        """The number of workers; 0 without the option."""
        self.limit = 120.0
        """Seconds that a scenario may take."""
        self._root = folder
        self._arguments = arguments
        self._environment = environment
        self._runner = asyncio.Runner()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._stack.callback(self._runner.close)
        try:
            self._runner.run(self.upstream.__aenter__())
            self._stack.callback(lambda: self._runner.run(self.upstream.__aexit__(None, None, None)))
            self.write(self.config)
            admin_port = free_port()
            self.admin = f"http://127.0.0.1:{admin_port}"
            arguments = ["--admin-port", str(admin_port), *self._arguments]
            self.process = self._stack.enter_context(serve_command(self._root, self.folder, *arguments, **self._environment))
            client = httpx.AsyncClient(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None))
            self._stack.callback(lambda: self._runner.run(client.aclose()))
            self.gateway = Gateway(self.process.url, client)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.process.popen.pid

    @property
    def port(self) -> int:
        """The port that the gateway listens on."""
        port = urlsplit(self.process.url).port
        assert port is not None
        return port

    def write(self, config: Mapping[str, str]) -> None:
        """Write configuration files."""
        write_files(self.folder, {name: text.replace("UPSTREAM", self.upstream.url) for name, text in config.items()})

    def run(self, scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a scenario to its end; fail after ``limit`` seconds."""

        async def within() -> T:
            async with asyncio.timeout(self.limit):
                return await scenario()

        return self._runner.run(within())

    def ask(self, query: str, variables: Mapping[str, object] | None = None, **headers: str) -> Answer:
        """Send a query as a well-behaved client does."""
        return self.run(lambda: self.gateway.ask(query, variables, **headers))

    def send(self, method: str, target: str, **request: Any) -> Answer:
        """Send any HTTP request with a JSON response."""
        return self.run(lambda: self.gateway.send(method, target, **request))

    def raw(self, *pieces: bytes, within: float = 15.0) -> bytes:
        """Send bytes on a new connection, and return what is received until the gateway closes it or the time is over."""
        return self.run(lambda: raw(self.port, *pieces, within=within))

    def get(self, target: str, **headers: str) -> httpx.Response:
        """Send a GET for a path of the gateway; the response may be anything."""
        return self.run(lambda: self.gateway.client.get(self.process.url + target, headers=headers))

    def metric(self, start: str) -> float:
        """Sum the samples of the metrics whose lines begin with a text."""
        text = self.run(lambda: self.gateway.client.get(f"{self.admin}/metrics")).text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start))

    def logged(self, request_id: str, count: int = 1, within: float = 3.0) -> list[dict[str, Any]]:
        """Return the log records of a request as soon as there are ``count`` of them, or when the time is over."""
        give_up = time.monotonic() + within
        while True:
            lines = [line for line in self.process.stderr.splitlines() if request_id in line]
            if len(lines) >= count or time.monotonic() > give_up:
                return [json.loads(line) for line in lines]
            time.sleep(0.02)


async def raw(port: int, *pieces: bytes, within: float = 15.0) -> bytes:
    """Send bytes, and return what is received until the other side closes or the time is over."""
    received = b""
    async with connection(port) as (reader, writer):
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(within):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                while data := await reader.read(65_536):
                    received += data
    return received


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection to a local port, and close it at the end of the block."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Task[T]"]:
    """Run a coroutine in the background of the block. At the end it is cancelled, so that a failing test leaves nothing behind."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def post(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """Return the bytes of a complete GraphQL request with ``Connection: close``."""
    head = [
        "POST /graphql HTTP/1.1",
        "host: gateway",
        "connection: close",
        "content-type: application/json",
        "accept: application/graphql-response+json",
        f"content-length: {len(body) if length is None else length}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def query_body(query: str, **parameters: object) -> bytes:
    """Return the body of a request."""
    return json.dumps({"query": query, **parameters}).encode()


def parsed(response: bytes) -> Answer:
    """Parse and check the first response in some bytes."""
    head, _, rest = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = httpx.Headers([(name, value) for name, _, value in (line.partition(b": ") for line in lines)])
    content = rest[: int(headers["content-length"])]
    whole = httpx.Response(int(status.split()[1]), headers=headers, content=content)
    return Answer(whole.status_code, whole.headers, checked(whole))


def status_of(response: bytes) -> int:
    """Return the status of the first response in some bytes."""
    assert response.startswith(b"HTTP/1.1 "), response[:100]
    return int(response.split(b" ", 2)[1])
