"""Many clients at once, each on its own connection. With httpx they would cost seconds of CPU in the test itself."""

import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.faults.served import query_body

MAX_IDLE = 8.0
"""Seconds after which a client opens a new connection, before the gateway closes the old one as idle."""


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A response that is parsed as little as possible; ``content`` is its body in bytes."""

    status: int
    head: bytes
    content: bytes
    seconds: float
    ended_at: float

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)

    @property
    def codes(self) -> list[str]:
        """The codes of all errors."""
        return [error["extensions"]["code"] for error in self.body.get("errors", ())]

    def header(self, name: str) -> str:
        """Return the value of a header; an empty string if it is missing."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:])
        return next((value.strip().decode("latin-1") for key, _, value in lines if key.strip().lower() == name.encode()), "")


class Client:
    """A client with one connection, which is kept alive, and opened again when it is lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def send(self, request: bytes) -> RawResponse:
        """Send a request and read its response.

        :raises ConnectionError: the gateway does not listen, or closes before it has responded.
        """
        started = time.monotonic()
        if self._streams is not None and started - self._used_at > MAX_IDLE:
            await self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            content = await reader.readexactly(_length(head))
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError) as error:
            await self.close()
            if isinstance(error, asyncio.IncompleteReadError):
                raise ConnectionResetError("closed before an answer") from None
            raise
        ended = self._used_at = time.monotonic()
        if b"connection: close" in head.lower():
            await self.close()
        return RawResponse(int(head[9:12]), head, content, ended - started, ended)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0])


def request(query: str, *lines: str, **parameters: object) -> bytes:
    """Return the bytes of a complete GraphQL request that keeps the connection alive."""
    body = query_body(query, **parameters)
    head = [
        "POST /graphql HTTP/1.1",
        "host: gateway",
        "content-type: application/json",
        "accept: application/graphql-response+json",
        f"content-length: {len(body)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


async def all_at_once(port: int, requests: Iterable[bytes]) -> list[RawResponse]:
    """Send all requests at once, each on its own connection."""

    async def ask(content: bytes) -> RawResponse:
        async with Client(port) as client:
            return await client.send(content)

    async with asyncio.TaskGroup() as group:  # with gather, the others would go on when one fails
        tasks = [group.create_task(ask(content)) for content in requests]
    return [task.result() for task in tasks]


@dataclass(slots=True)
class Tally:
    """The results of many requests."""

    answers: list[RawResponse] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    """Requests without a response, by the kind of failure."""

    @property
    def statuses(self) -> Counter[int]:
        """The number of responses by status."""
        return Counter(answer.status for answer in self.answers)

    def percentile(self, share: float, status: int = 200) -> float:
        """Return the seconds that a share of the responses with a status do not exceed."""
        return percentile([answer.seconds for answer in self.answers if answer.status == status], share)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)] if ordered else math.nan


async def closed_loop(port: int, clients: int, count: int, make: Callable[[int], bytes]) -> Tally:
    """Have some clients ask ``count`` times in all, each its next as soon as it has an answer."""
    numbers, tally = iter(range(count)), Tally()

    async def work() -> None:
        async with Client(port) as client:
            for number in numbers:
                await _ask(client, make(number), tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(work())
    return tally


async def open_loop(
    port: int, rate: float, seconds: float, make: Callable[[int], bytes], max_clients: int = 2_000, tally: Tally | None = None
) -> Tally:
    """Send requests at a steady rate, however long responses take. At most ``max_clients`` are in flight; any more count as ``not sent``."""
    tally, idle = tally or Tally(), list[Client]()
    tasks = set[asyncio.Task[None]]()
    started, number = time.monotonic(), 0

    async def ask(client: Client, content: bytes) -> None:
        await _ask(client, content, tally)
        idle.append(client)

    while (now := time.monotonic() - started) < seconds:
        while number < rate * now:
            if len(tasks) >= max_clients:
                tally.lost["not sent"] += 1
            else:
                task = asyncio.create_task(ask(idle.pop() if idle else Client(port), make(number)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            number += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    for client in idle:
        await client.close()
    return tally


async def _ask(client: Client, content: bytes, tally: Tally) -> None:
    try:
        tally.answers.append(await client.send(content))
    except ConnectionError as error:
        tally.lost[type(error).__name__] += 1
