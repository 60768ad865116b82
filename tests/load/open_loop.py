"""A client that sends requests at a rate of its own, whether the answers come or not, as clients of the world do; and one that does not."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import cast
from urllib.parse import urlsplit

MAX_CONNECTIONS = 1000
"""How many connections a client opens, as those who keep them open do not open any number."""


@dataclass(slots=True)
class Answered:
    """One answer: when it was asked for (seconds on the client's clock), how long it took, and its status."""

    at: float
    seconds: float
    status: int
    retry_after: bool


@dataclass(slots=True)
class Measured:
    """What a client has seen in ``seconds``: ``lost`` requests had no answer, ``unsent`` ones no connection to go on."""

    seconds: float = 0.0
    answers: list[Answered] = field(default_factory=list)
    lost: int = 0
    unsent: int = 0

    def of(self, status: int) -> list[Answered]:
        """Return the answers of a status."""
        return [answer for answer in self.answers if answer.status == status]

    @property
    def goodput(self) -> float:
        """Answers with 200 in a second."""
        return len(self.of(200)) / self.seconds

    @property
    def median_seconds(self) -> float:
        """How long an answer with 200 takes."""
        return median(answer.seconds for answer in self.of(200))


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of all lies; 0 where there is none."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


class _Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self.asked_at = 0.0
        self.is_asking = False
        self._received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has another base

    def ask(self, request: bytes) -> None:
        self.asked_at, self.is_asking, self._received = time.perf_counter(), True, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length: ") + 16
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self.is_asking = False
        answer = Answered(self.asked_at, time.perf_counter() - self.asked_at, int(head[9:12]), b"retry-after:" in head.lower())
        self.client.answered(self, answer)

    def connection_lost(self, _: Exception | None) -> None:
        self.client.lost(self)


class Client:
    """Connections to one server; those that are free are used first."""

    def __init__(self, url: str, body: bytes) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self._host, self._port = address.hostname, address.port
        head = f"POST /graphql HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._connections: set[_Connection] = set()
        self._free: deque[_Connection] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._is_closed_loop = False
        self._count = 0
        self.measured = Measured()

    async def _open(self, *, asks: bool = True) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self.measured.lost += 1
        else:
            self._connections.add(connection)
            if asks:
                connection.ask(self._request)
            else:
                self._free.append(connection)

    async def open(self, count: int) -> None:
        """Open so many connections ahead, as those who call often keep them open."""
        self._count += count
        for _ in range(count):
            await self._open(asks=False)

    def ask(self) -> None:
        """Send one request."""
        if self._free:
            self._free.popleft().ask(self._request)
            return
        if self._count >= MAX_CONNECTIONS:
            self.measured.unsent += 1
            return
        self._count += 1
        task = asyncio.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def answered(self, connection: _Connection, answer: Answered) -> None:
        """Note an answer, and go on where one request follows the other."""
        self.measured.answers.append(answer)
        self._free.append(connection)
        if self._is_closed_loop:
            self._free.popleft().ask(self._request)

    def lost(self, connection: _Connection) -> None:
        """Note that a connection has ended."""
        self.measured.lost += connection.is_asking
        self._count -= 1
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    async def close(self) -> None:
        """End all connections; what is under way on them is not counted any more."""
        self._begin()
        await asyncio.gather(*self._opening)
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.sleep(0.2)

    async def closed_loop(self, connections: int, seconds: float) -> Measured:
        """Send so many requests at a time, each when one before it is answered, over all connections in turn."""
        self._is_closed_loop = True
        self._begin()
        for _ in range(connections):
            self.ask()
        await asyncio.sleep(seconds)
        self._is_closed_loop = False
        measured = self._ended(seconds)
        await asyncio.sleep(0.2)
        return measured

    async def open_loop(self, rate: float, seconds: float) -> Measured:
        """Send so many requests a second, in ticks of a millisecond or as long as the machine makes them."""
        self._begin()
        started, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - started) < seconds:
            due = int(now * rate)
            for _ in range(due - sent):
                self.ask()
            sent = due
            await asyncio.sleep(0.001)
        return self._ended(seconds)

    def _begin(self) -> None:
        self.measured = Measured()

    def _ended(self, seconds: float) -> Measured:
        self.measured.seconds = seconds
        return self.measured
