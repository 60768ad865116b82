"""An HTTP/1.1 server over real sockets with scripted faults: the upstream of the tests.

Behaviours (`tests.faults.behaviours`) define what is wrong with a response. This module reads requests, chooses the
behaviour of each, and records what arrived on which connection and when that connection ended.
Times are in seconds of `time.monotonic`.
"""

import asyncio
import contextlib
import http.client
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from tests.kit.timing import SLACK
from tests.kit.workers import CLOSED_PORTS

HEAD_LIMIT = 1 << 20
READ_SIZE = 1 << 16
SEND_BUFFER = 1 << 16
BODILESS = frozenset({204, 304})
ACCEPT_TURNS = 3  # of the event loop: the transport is made, it connects, its task starts


@dataclass(slots=True, eq=False)
class Connection:
    """One accepted socket; closed when the peer closes, half-closes or resets it, or when we close it."""

    number: int
    opened_at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None
    requests: "list[Request]" = field(default_factory=list, repr=False)
    bytes_in: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def close(self) -> None:
        """Record when the connection ended."""
        self.closed_at = time.monotonic()
        self.closed.set()


@dataclass(frozen=True, slots=True)
class Request:
    """A request as received: `line` is the request line, `target` is not decoded, `path` is the target without its query."""

    line: bytes
    method: str
    target: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: Connection
    arrived_at: float


@dataclass(slots=True)
class Exchange:
    """A request that waits for its response, and the socket to write it to."""

    request: Request
    writer: asyncio.StreamWriter
    keep_alive: bool
    bytes_sent: int = 0

    async def send(self, data: bytes) -> None:
        """Send bytes unchanged; return when the operating system has accepted all of them."""
        self.bytes_sent += len(data)
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)  # a write that fits into the socket's buffer does not yield to other tasks

    async def stream(self, status: int, headers: Mapping[str, str], pieces: Iterable[bytes], interval: float = 0.0) -> None:
        """Send a head with these headers and `connection`, then the pieces, each after `interval` seconds.

        No piece is sent where HTTP allows no body: in the answer to HEAD, and with 204 and 304.
        """
        connection = "keep-alive" if self.keep_alive else "close"
        await self.send(_head(status, {"connection": connection, **headers}))
        if self.request.method == "HEAD" or status in BODILESS:
            return
        for piece in pieces:
            await asyncio.sleep(interval)
            await self.send(piece)

    async def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a valid response; `content-length` is added where the status allows it."""
        length = {} if status in BODILESS else {"content-length": str(len(body))}
        await self.stream(status, {**length, **headers}, [body])

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.keep_alive = False
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Behaviour(Protocol):
    """How one request is answered; cancelled when the peer disconnects or the server closes."""

    async def answer(self, exchange: Exchange) -> None:
        """Send a response on the exchange; set its `keep_alive` to false to close the connection afterwards."""


@dataclass(frozen=True, slots=True)
class NotScripted:
    """Answer 404, as for every path without a script."""

    async def answer(self, exchange: Exchange) -> None:
        """Answer without a body."""
        await exchange.reply(404, {}, b"")


class FaultServer:
    """An HTTP/1.1 server on an ephemeral port of 127.0.0.1, optionally with TLS, that responds as scripted and records what it receives.

    Leaving the `async with` block closes every connection, and raises an ExceptionGroup if a peer sent anything
    other than HTTP/1.1 or a behaviour failed.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.url = ""
        self._tls = tls
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self._scripts: dict[str, deque[Behaviour]] = {}
        self._exchanges: list[Exchange] = []
        self._arrival = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._listener: asyncio.Server

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024, ssl=self._tls)
        listening = self._listener.sockets[0]
        # Accepted sockets inherit it: a peer that does not read is sent 0.4 MB, with Linux's default 4 MB.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{listening.getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await _stop_accepting(self._listener)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._listener.wait_closed()
        if self._failures:
            raise BaseExceptionGroup("the fault server failed", self._failures)

    def script(self, path: str, *behaviours: Behaviour) -> None:
        """Answer the requests to a path with these behaviours in turn, the last one repeating.

        `path` is compared with the path on the wire: percent-encoded, without the query. A new script
        replaces the old one.
        """
        if not behaviours:
            raise ValueError(f"the script of '{path}' is empty; name at least one behaviour")
        self._scripts[path] = deque(behaviours)

    def forget(self) -> None:
        """Discard the records of requests and of closed connections."""
        self.requests.clear()
        self._exchanges.clear()
        self.connections = [connection for connection in self.connections if connection.closed_at is None]
        for connection in self.connections:
            connection.requests.clear()

    def count(self, path: str) -> int:
        """Count the requests that arrived for a path."""
        return sum(request.path == path for request in self.requests)

    def bytes_sent(self, path: str) -> int:
        """Sum the bytes, heads included, that were handed to the operating system in answer to a path.

        The peer has read less by what the two socket buffers hold and at most one piece more.
        """
        return sum(exchange.bytes_sent for exchange in self._exchanges if exchange.request.path == path)

    async def wait_requests(self, path: str, count: int = 1, timeout: float = 1.0 + SLACK) -> None:  # noqa: ASYNC109 - as below
        """Wait until a path has had `count` requests; raise AssertionError after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self.count(path) < count:
                    self._arrival.clear()
                    await self._arrival.wait()
        except TimeoutError:
            raise AssertionError(f"'{path}' got {self.count(path)} of {count} requests within {timeout} s") from None

    async def wait_closed(self, which: Connection | str, timeout: float = 1.0 + SLACK) -> None:  # noqa: ASYNC109 - tests read best with it
        """Wait until a connection, or each one that carried a request for a path, is closed.

        Raise AssertionError if one is still open after `timeout` seconds, or if the path had no request.
        """
        connections = [which] if isinstance(which, Connection) else self._connections_of(which)
        try:
            async with asyncio.timeout(timeout):
                for connection in connections:
                    await connection.closed.wait()
        except TimeoutError:
            raise AssertionError(f"connection {connection.number} is still open after {timeout} s") from None

    def _connections_of(self, path: str) -> list[Connection]:
        connections = [request.connection for request in self.requests if request.path == path]
        if not connections:
            raise AssertionError(f"no request for '{path}' arrived")
        return connections

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve_connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._failures.append(failure)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it: whichever task ends first cancels the other."""
        connection = Connection(number=len(self.connections) + 1)
        self.connections.append(connection)
        # With a limit of 0, drain() waits until everything is sent. asyncio's TLS treats an empty buffer as one that has reached a limit of 0.
        writer.transport.set_write_buffer_limits(high=1 if self._tls else 0)
        inbox = asyncio.StreamReader(limit=HEAD_LIMIT)
        try:
            async with asyncio.TaskGroup() as both:
                listening = both.create_task(_listen(reader, inbox, connection))
                answering = both.create_task(self._answer_all(inbox, writer, connection))
                listening.add_done_callback(lambda _: answering.cancel())
                answering.add_done_callback(lambda _: listening.cancel())
        finally:
            writer.transport.abort()  # everything to be sent is drained; nobody reads the rest
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            connection.close()

    async def _answer_all(self, inbox: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
        keep_alive = True
        with contextlib.suppress(ConnectionError):
            while keep_alive:
                exchange = await _next_exchange(inbox, writer, connection)
                self._record(exchange)
                await self._next_behaviour(exchange.request.path).answer(exchange)
                keep_alive = exchange.keep_alive

    def _record(self, exchange: Exchange) -> None:
        self._exchanges.append(exchange)
        self.requests.append(exchange.request)
        exchange.request.connection.requests.append(exchange.request)
        self._arrival.set()

    def _next_behaviour(self, path: str) -> Behaviour:
        script = self._scripts.get(path)
        if script is None:
            return NotScripted()
        return script.popleft() if len(script) > 1 else script[0]


def refused_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens.

    It is outside the ranges that Linux and the tests assign, so that nothing that starts later gets it.
    """
    for port in CLOSED_PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("every port that is to be closed is taken")


async def _stop_accepting(listener: asyncio.Server) -> None:
    """Close the listener after every connection that is being accepted has its task.

    If it is closed while accepting one, asyncio logs an error and leaves the socket open.
    """
    asyncio.get_running_loop().remove_reader(listener.sockets[0])
    for _ in range(ACCEPT_TURNS):
        await asyncio.sleep(0)
    listener.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _listen(reader: asyncio.StreamReader, inbox: asyncio.StreamReader, connection: Connection) -> None:
    """Pass on what the peer sends until it ends the connection, also while a response is being sent."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(READ_SIZE):
            connection.bytes_in += len(data)
            inbox.feed_data(data)


async def _next_exchange(inbox: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> Exchange:
    start, *lines = (await inbox.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    method, target, version = _split_request_line(start)
    pairs = [line.split(":", 1) for line in lines]
    headers = [(name.lower(), value.strip()) for name, value in pairs]
    body = await _read_body(inbox, dict(headers))
    path = target.partition("?")[0]
    request = Request(start.encode("latin-1"), method, target, path, headers, body, connection, arrived_at=time.monotonic())
    keep_alive = version == "HTTP/1.1" and "close" not in dict(headers).get("connection", "").lower()
    return Exchange(request, writer, keep_alive)


def _split_request_line(line: str) -> list[str]:
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise ValueError(f"'{line}' is no request line of HTTP/1.1")
    return parts


async def _read_body(inbox: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunked(inbox)
    return await inbox.readexactly(int(headers.get("content-length", "0")))


async def _read_chunked(inbox: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await inbox.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await inbox.readexactly(size)
        await inbox.readexactly(2)
    while await inbox.readuntil(b"\r\n") != b"\r\n":
        pass  # a trailer
    return bytes(body)
