"""When a connection to an upstream takes a further request, and which address it leads to, over each transport."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.errors import StepFault
from resolvers.json_http import TRANSPORTS
from resolvers.transport import names
from resolvers.transport.names import ADDRESS_TTL
from resolvers.transport.transport import Limits, Transport, UpstreamRequest
from tests.faults import Exchange, FaultServer, Json
from tests.resolvers.test_transport import LIMIT, Open, get, open_transport, run

__all__ = ["open_transport"]
case = pytest.mark.case

# -- bytes that belong to no response

OWN = b'{"own": true}\n'
ALIEN = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{"alien": true}'
SURPLUS = {
    "a response": ALIEN,
    "two responses": ALIEN * 2,
    "half a head": ALIEN[:40],
    "half a body": ALIEN[:-5],
    "an interim response": b"HTTP/1.1 100 Continue\r\n\r\n" + ALIEN,
    "garbage": b"\x00\xff garbage",
    "a byte": b"x",
    "a chunk": b"5\r\nalien\r\n0\r\n\r\n",
    "a line end and a response": b"\r\n" + ALIEN,
}
FRAMED = {
    "with a length": b"content-length: 14\r\n\r\n" + OWN,
    "in chunks": b"transfer-encoding: chunked\r\n\r\n3\r\n" + OWN[:3] + b"\r\nb\r\n" + OWN[3:] + b"\r\n0\r\n\r\n",
    "with trailers": b"transfer-encoding: chunked\r\n\r\ne\r\n" + OWN + b"\r\n0\r\nx-trailer: 1\r\n\r\n",
    "empty": b"content-length: 0\r\n\r\n",
}


@dataclass(frozen=True, slots=True)
class Surplus:
    """Sends a response and more, cut into segments at places that count from the end of the response."""

    response: bytes
    surplus: bytes
    cuts: Sequence[int]

    async def answer(self, exchange: Exchange) -> None:
        """Send the segments, with time between them to arrive on their own."""
        data, start = self.response + self.surplus, 0
        for end in [*(len(self.response) + cut for cut in self.cuts), len(data)]:
            await exchange.send(data[start:end])
            await asyncio.sleep(0.01)
            start = end


CUTS: dict[str, Sequence[int]] = {"in one segment": (), "within the response": (-5,), "after the response": (0,)}


@case("A-12")
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("framed", FRAMED.values(), ids=FRAMED)
def test_bytes_that_follow_a_response_reach_nobody(open_transport: Open, framed: bytes, cuts: Sequence[int]) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> list[bytes]:
        bodies = []
        server.script("/mine", Json("mine"))
        for surplus in SURPLUS.values():
            server.script("/surplus", Surplus(b"HTTP/1.1 200 OK\r\n" + framed, surplus, cuts))
            first = await transport.send(get("/surplus"))
            assert first.body in {OWN, b""}
            if cuts == (0,):  # bytes that come later than the next request cannot be told from its response
                await asyncio.sleep(0.03)
            bodies.append((await transport.send(get("/mine"))).body)
        return bodies

    assert run(open_transport, scenario) == [b'"mine"'] * len(SURPLUS)


@case("A-12")
@pytest.mark.parametrize("status", [204, 304])
def test_a_body_where_none_may_be_reaches_nobody(open_transport: Open, status: int) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> bytes:
        server.script("/mine", Json("mine"))
        server.script("/none", Surplus(b"HTTP/1.1 %d X\r\ncontent-length: 14\r\n\r\n" % status, ALIEN, ()))
        assert (await transport.send(get("/none"))).body == b""
        return (await transport.send(get("/mine"))).body

    assert run(open_transport, scenario) == b'"mine"'


@case("A-12")
def test_a_body_after_the_answer_to_head_reaches_nobody(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> bytes:
        server.script("/mine", Json("mine"))
        server.script("/head", Surplus(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n", ALIEN, ()))
        assert (await transport.send(UpstreamRequest("HEAD", "/head", ()))).body == b""
        return (await transport.send(get("/mine"))).body

    assert run(open_transport, scenario) == b'"mine"'


# -- names whose addresses change, or are found slowly (U-22, U-23)


@dataclass(slots=True)
class Names:
    """Looks names up in a table instead of the network. A name that is not in it has the first of its addresses once it ``may_answer``."""

    table: dict[str, list[str] | OSError]
    asked: list[str] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __call__(self, host: str, *_: Any, **__: Any) -> Sequence[tuple[Any, Any, Any, str, tuple[str, int]]]:
        self.asked.append(host)
        if host not in self.table:
            self.may_answer.wait(10)
        found = self.table.get(host, ["127.0.0.1"])
        if isinstance(found, OSError):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names({})
    monkeypatch.setattr(socket, "getaddrinfo", found)
    yield found
    found.may_answer.set()


@asynccontextmanager
async def two_hosts() -> AsyncIterator[int]:
    """Serve on one port of two addresses; each answers with its address."""
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        address = writer.get_extra_info("sockname")[0].encode()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(address), address))
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.2", 0) as first:
        port = first.sockets[0].getsockname()[1]
        async with await asyncio.start_server(serve, "127.0.0.3", port):
            yield port
            await asyncio.gather(*filter(None, serving))


@case("U-22")
@pytest.mark.parametrize("callers", [1, 5])
def test_a_new_address_is_found_though_calls_never_pause(
    open_transport: Open, looked_up: Names, monkeypatch: pytest.MonkeyPatch, callers: int
) -> None:
    monkeypatch.setattr(names, "ADDRESS_TTL", 0.1)
    looked_up.table["name.test"] = ["127.0.0.2"]

    async def scenario() -> list[bytes]:
        async with asyncio.timeout(20), two_hosts() as port:
            transport = open_transport(f"http://name.test:{port}", Limits(callers, LIMIT, max_age=0.2))
            bodies: list[bytes] = []

            async def call() -> None:
                while len(set(bodies)) < 2 or bodies[-20:].count(b"127.0.0.3") < 20:
                    bodies.append((await transport.send(get())).body)
                    if len(bodies) == 10:
                        looked_up.table["name.test"] = ["127.0.0.3"]

            await asyncio.gather(*(call() for _ in range(callers)))
            await transport.aclose()
            return bodies

    bodies = asyncio.run(scenario())
    assert bodies[:5] == [b"127.0.0.2"] * 5


@case("U-22")
def test_a_new_address_is_found_within_a_minute() -> None:
    assert ADDRESS_TTL + Limits(1, 1).max_age < 60


@pytest.mark.parametrize("calls", [1, 4])
def test_a_connection_is_used_until_it_is_old(open_transport: Open, calls: int) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> int:
        server.script("/", Json(1))
        for _ in range(10):
            await asyncio.gather(*(transport.send(get()) for _ in range(calls)))
        return len(server.connections)

    assert run(open_transport, scenario) == calls


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "try again"), None], ids=["fails for now", "slow"])
def test_while_no_address_is_found_the_last_one_holds(
    open_transport: Open, looked_up: Names, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    monkeypatch.setattr(names, "ADDRESS_TTL", 0.0)
    monkeypatch.setattr(names, "REFRESH_SECONDS", 0.05)
    looked_up.table["name.test"] = ["127.0.0.2"]

    async def scenario() -> list[bytes]:
        async with asyncio.timeout(20), two_hosts() as port:
            transport = open_transport(f"http://name.test:{port}", Limits(4, LIMIT, max_age=0.0))
            bodies = [(await transport.send(get())).body]
            if error is None:
                del looked_up.table["name.test"]
            else:
                looked_up.table["name.test"] = error
            bodies += [(await transport.send(get())).body for _ in range(2)]
            await transport.aclose()
            return bodies

    assert asyncio.run(scenario()) == [b"127.0.0.2"] * 3
    assert len(looked_up.asked) >= 2


def test_a_name_that_is_gone_is_gone(open_transport: Open, looked_up: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "ADDRESS_TTL", 0.0)
    looked_up.table["name.test"] = ["127.0.0.2"]

    async def scenario() -> str:
        async with asyncio.timeout(20), two_hosts() as port:
            transport = open_transport(f"http://name.test:{port}", Limits(4, LIMIT, max_age=0.0))
            await transport.send(get())
            looked_up.table["name.test"] = socket.gaierror(socket.EAI_NONAME, "not known")
            with pytest.raises(StepFault) as caught:
                await transport.send(get())
            await transport.aclose()
            return caught.value.kind

    assert asyncio.run(scenario()) == "connect"


def test_the_next_address_is_tried_where_one_refuses(open_transport: Open, looked_up: Names) -> None:
    looked_up.table["name.test"] = ["127.0.0.4", "127.0.0.3"]

    async def scenario() -> bytes:
        async with asyncio.timeout(20), two_hosts() as port:
            transport = open_transport(f"http://name.test:{port}", Limits(4, LIMIT))
            body = (await transport.send(get())).body
            await transport.aclose()
            return body

    assert asyncio.run(scenario()) == b"127.0.0.3"


@case("U-23")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_slow_names_delay_no_healthy_source(looked_up: Names, transport: str) -> None:
    looked_up.table["healthy.test"] = ["127.0.0.1"]

    async def scenario() -> tuple[int, bool]:
        async with asyncio.timeout(20), FaultServer() as server:
            server.script("/", Json(1))
            slow = [
                TRANSPORTS[transport](server.url.replace("127.0.0.1", f"slow{number}.test"), Limits(4, LIMIT))
                for number in range(30)
            ]
            healthy = TRANSPORTS[transport](server.url.replace("127.0.0.1", "healthy.test"), Limits(4, LIMIT))
            waiting = [asyncio.create_task(source.send(get())) for source in slow]
            await asyncio.sleep(0)
            status = (await healthy.send(get())).status
            is_waiting = not any(task.done() for task in waiting)
            looked_up.may_answer.set()
            await asyncio.wait(waiting)
            for source in [*slow, healthy]:
                await source.aclose()
            return status, is_waiting

    assert asyncio.run(scenario()) == (200, True)
