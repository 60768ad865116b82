"""A number of GETs → CPU ms and requests per second of each HTTP client: `python -m tests.bench.client [--seconds 2] [--profile]`.

The upstream is a process of its own, on asyncio and httptools; where there are two cores each side gets one. Rounds of the clients
alternate, the best of each counts. aiohttp is measured where it is installed.
"""

import argparse
import asyncio
import cProfile
import importlib
import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import pstats
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import httptools
import uvloop

from resolvers.transport.http1 import Http1Transport
from resolvers.transport.httpx_transport import HttpxTransport
from resolvers.transport.transport import Limits, UpstreamRequest

CONNECTIONS = (1, 10, 100)
ROUNDS = 3
BODY_BYTES = 1_000
MAX_BYTES = 5_000_000

Get = Callable[[], Awaitable[object]]
Close = Callable[[], Awaitable[object]]
Opened = tuple[Get, Close]


class Answer(asyncio.Protocol):
    """One connection of the upstream: every request gets the same JSON."""

    response = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read requests."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer a request."""
        self.transport.write(self.response)


def serve(ready: multiprocessing.connection.Connection, core: int, size: int) -> None:
    """Serve on a free port, which is sent to the parent, until the process is ended."""
    os.sched_setaffinity(0, {core})
    body = b'{"x": "' + b"a" * (size - 9) + b'"}'
    head = "HTTP/1.1 200 OK\r\nserver: bench\r\ndate: Tue, 01 Jan 2030 00:00:00 GMT\r\ncontent-type: application/json\r\n"
    Answer.response = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def listen() -> None:
        server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0, backlog=1024)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(listen())


async def open_http1(url: str, connections: int) -> Opened:
    """Open our own client."""
    transport = Http1Transport(url, Limits(connections, MAX_BYTES))
    return (lambda: transport.send(UpstreamRequest("GET", "/posts", (), None, is_idempotent=True))), transport.aclose


async def open_httpx(url: str, connections: int) -> Opened:
    """Open the transport over httpx."""
    transport = HttpxTransport(url, Limits(connections, MAX_BYTES))
    return (lambda: transport.send(UpstreamRequest("GET", "/posts", ()))), transport.aclose


async def open_aiohttp(url: str, connections: int) -> Opened:
    """Open a session of aiohttp, with what costs it time and serves nobody here turned off."""
    aiohttp = importlib.import_module("aiohttp")  # it is no dependency
    connector = aiohttp.TCPConnector(limit=connections)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def get() -> bytes:
        async with session.get(f"{url}/posts") as response:
            return bytes(await response.read())

    return get, session.close


CLIENTS: dict[str, Callable[[str, int], Awaitable[Opened]]] = {"http1": open_http1, "httpx": open_httpx}
if importlib.util.find_spec("aiohttp"):
    CLIENTS["aiohttp"] = open_aiohttp


@dataclass(frozen=True, slots=True)
class Measured:
    """What a client did with its time."""

    requests_per_second: float
    cpu_ms: float


async def load(get: Get, connections: int, seconds: float) -> Measured:
    """Keep a number of GETs under way; the first of each connection does not count."""
    await asyncio.gather(*(get() for _ in range(connections)))
    done = 0
    started, cpu = time.perf_counter(), time.process_time()

    async def repeat() -> None:
        nonlocal done
        while time.perf_counter() - started < seconds:
            await get()
            done += 1

    await asyncio.gather(*(repeat() for _ in range(connections)))
    return Measured(done / (time.perf_counter() - started), (time.process_time() - cpu) * 1000 / done)


def measure(name: str, url: str, connections: int, seconds: float) -> Measured:
    """Run one client on an event loop of its own."""

    async def run() -> Measured:
        get, close = await CLIENTS[name](url, connections)
        try:
            return await load(get, connections, seconds)
        finally:
            await close()

    return uvloop.run(run())


def table(url: str, seconds: float) -> list[str]:
    """Return the lines of a table in markdown."""
    lines = ["| client | connections | CPU ms per GET | req/s |", "|---|---|---|---|"]
    for connections in CONNECTIONS:
        rounds = [{name: measure(name, url, connections, seconds) for name in CLIENTS} for _ in range(ROUNDS)]
        for name in CLIENTS:
            best = min((results[name] for results in rounds), key=lambda measured: measured.cpu_ms)
            lines.append(f"| {name} | {connections} | {best.cpu_ms:.3f} | {best.requests_per_second:,.0f} |")
    return lines


def profile(url: str, seconds: float) -> None:
    """Print where our own client spends its time, at 10 connections."""
    profiler = cProfile.Profile()
    profiler.runcall(measure, "http1", url, 10, seconds)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


def main() -> None:
    """Measure against an upstream of its own, and print."""
    arguments = argparse.ArgumentParser(description="CPU ms and requests per second of each HTTP client.")
    arguments.add_argument("--seconds", type=float, default=1.0)
    arguments.add_argument("--body-bytes", type=int, default=BODY_BYTES)
    arguments.add_argument("--profile", action="store_true")
    given = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    port, ready = multiprocessing.Pipe(duplex=False)
    upstream = multiprocessing.get_context("spawn").Process(target=serve, args=(ready, cores[-1], given.body_bytes), daemon=True)
    upstream.start()
    try:
        url = f"http://127.0.0.1:{port.recv()}"
        os.sched_setaffinity(0, {cores[0]})
        if given.profile:
            profile(url, given.seconds)
        else:
            print("\n".join(table(url, given.seconds)))
    finally:
        upstream.terminate()
        upstream.join()


if __name__ == "__main__":
    main()
