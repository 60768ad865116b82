"""Our own transport beyond the contract of all: kept connections, names, addresses, time limits, and that nothing stays behind."""

import asyncio
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from gateway.errors import Code, StepFault
from resolvers.transport import http1, http1_connection
from resolvers.transport.http1 import Http1Transport
from resolvers.transport.http1_connection import UpstreamConnection
from resolvers.transport.transport import Limits, UpstreamRequest, UpstreamResponse
from tests.faults import (
    Behaviour,
    CloseWithoutAnswer,
    Exchange,
    FaultServer,
    Hang,
    Json,
    Raw,
    Reset,
    Status,
    WrongLength,
    refused_port,
)
from tests.kit.timing import SLACK

T = TypeVar("T")
LIMIT = 10_000
GET = UpstreamRequest("GET", "/", (), is_idempotent=True)
Scenario = Callable[[Http1Transport, FaultServer], Awaitable[T]]


@pytest.fixture(params=["asyncio", "uvloop"], autouse=True)
def event_loop_kind(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "uvloop":
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)


def run(scenario: Scenario[T], host: str = "127.0.0.1") -> T:
    """Run a scenario between a transport and a fault server; afterwards no socket, task or timer may be left."""

    async def between() -> T:
        async with asyncio.timeout(30), FaultServer() as server:
            transport = Http1Transport(server.url.replace("127.0.0.1", host), Limits(4, LIMIT))
            try:
                result = await scenario(transport, server)
            finally:
                await transport.aclose()
                assert (transport._open, transport._idle, transport._connecting) == (set(), [], set())
                assert transport._sweeping is None
            for connection in server.connections:
                await server.wait_closed(connection)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(between())


async def statuses(transport: Http1Transport, server: FaultServer, *behaviours: Behaviour) -> list[int]:
    """Return the statuses of one request for each behaviour, one after the other."""
    server.script("/", *behaviours)
    return [(await transport.send(GET)).status for _ in behaviours]


# -- connections that are kept


@pytest.mark.parametrize("end", [Reset(), CloseWithoutAnswer()], ids=["reset", "closed"])
def test_a_call_that_meets_the_end_of_a_kept_connection_is_sent_again(end: Behaviour) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> tuple[int, list[int]]:
        server.script("/", Json(1), end, Json(2))
        await transport.send(GET)
        return (await transport.send(GET)).status, [request.connection.number for request in server.requests]

    assert run(scenario) == (200, [1, 1, 2])


@pytest.mark.parametrize(
    ("request_", "first", "calls"),
    [(UpstreamRequest("POST", "/", (), b"{}"), Json(1), 2), (GET, Status(200, headers={"connection": "close"}), 2)],
    ids=["not-idempotent", "first-use"],
)
def test_nothing_else_is_sent_again(request_: UpstreamRequest, first: Behaviour, calls: int) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> tuple[StepFault, int]:
        server.script("/", first, CloseWithoutAnswer(), Json(2))
        await transport.send(GET)
        with pytest.raises(StepFault) as caught:
            await transport.send(request_)
        return caught.value, len(server.requests)

    fault, seen = run(scenario)
    assert (fault.code, fault.kind, seen) == (Code.SUBREQUEST_HTTP_ERROR, "reset", calls)


def test_a_call_is_sent_again_only_once_however_many_connections_are_stale() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        server.script("/", Json(1, delay=0.05))
        await asyncio.gather(*(transport.send(GET) for _ in range(3)))
        server.script("/", Reset())
        with pytest.raises(StepFault):
            await transport.send(GET)
        return len(server.requests)

    assert run(scenario) == 5


def test_half_a_response_is_not_asked_for_again() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        server.script("/", Json(1), Raw(b"HTTP/1.1 200 OK\r\ncont"), Json(2))
        await transport.send(GET)
        with pytest.raises(StepFault, match="closed before"):
            await transport.send(GET)
        return len(server.requests)

    assert run(scenario) == 2


@dataclass(frozen=True, slots=True)
class Stray:
    """Answers, and sends some bytes more a little later."""

    data: bytes

    async def answer(self, exchange: Exchange) -> None:
        """Answer, then send the bytes that nobody asked for."""
        await Json(1).answer(exchange)
        await asyncio.sleep(0.02)
        await exchange.send(self.data)


SECOND = b"HTTP/1.1 299 Strange\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "behaviour",
    [WrongLength(), WrongLength(b"{}" + SECOND, len(SECOND)), WrongLength(b"{}garbage", 7)],
    ids=["part", "whole", "no"],
)
def test_bytes_beyond_a_response_end_its_connection(behaviour: Behaviour) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> tuple[list[int], int]:
        return await statuses(transport, server, behaviour, Json(2)), len(server.connections)

    assert run(scenario) == ([200, 200], 2)


@pytest.mark.parametrize("data", [SECOND, b"\r\n", b"x"], ids=["response", "line-end", "byte"])
def test_a_byte_that_comes_while_a_connection_is_idle_ends_it(data: bytes) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        server.script("/", Stray(data))
        await transport.send(GET)
        await server.wait_closed("/")
        return (await statuses(transport, server, Json(2)))[0]

    assert run(scenario) == 200


def test_a_byte_that_the_loop_has_not_read_yet_ends_an_idle_connection_too() -> None:
    """The stray response lies in the socket's buffer when the next request is to be sent: the loop has not run in between."""

    async def scenario(transport: Http1Transport, server: FaultServer) -> list[int]:
        await statuses(transport, server, Json(1))
        (connection,) = transport._idle
        other = threading.Thread(target=_send_at_once, args=(server, SECOND))
        other.start()
        other.join()
        found = await statuses(transport, server, Json(2))
        return [*found, len(server.connections), int(connection.is_open)]

    assert run(scenario) == [200, 2, 0]


def _send_at_once(server: FaultServer, data: bytes) -> None:
    descriptor = server._exchanges[0].writer.get_extra_info("socket").fileno()
    with socket.socket(fileno=socket.dup(descriptor)) as same:
        same.send(data)
    time.sleep(0.01)


# -- heads of responses that are known already


def response(body: bytes, *lines: str, length: int | None = None, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", "date: now", f"content-length: {len(body) if length is None else length}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Pieces:
    """Send pieces, some time apart, and keep the connection."""

    pieces: tuple[bytes, ...]
    are_sent: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, exchange: Exchange) -> None:
        try:
            for piece in self.pieces:
                await exchange.send(piece)
                await asyncio.sleep(0.004)
        finally:
            self.are_sent.set()


SAME = response(b'{"a": 1}')
PIECES = [
    *[(SAME,)] * 6,
    (response(b'{"b": 2}'),),
    (response(b'{"longer": 3}'),),
    (SAME[:30], SAME[30:]),
    (SAME[:-3], SAME[-3:]),
    (SAME + b"x",),
    (SAME + SAME,),
    (SAME, b"x"),
    (response(b"", status="100 Continue").replace(b"content-length: 0\r\n", b"") + SAME,),
    (response(b"", status="204 No Content").replace(b"content-length: 0\r\n", b""),),
    (response(b"", status="304 Not Modified", length=8),),
    (response(b'{"a": 1}', "connection: close"),),
    (response(b'{"a": 1}', "content-encoding: gzip"),),
    (response(b'{"a": 1}', "content-length: 7"),),
    (SAME.replace(b"content-length: 8", b"transfer-encoding: chunked"),),
    (SAME.replace(b"content-length: 8", b"transfer-encoding: chunked").replace(b'{"a": 1}', b'8\r\n{"a": 1}\r\n0\r\n\r\n'),),
    (response(b'{"a": 1}', status="500 Oops"),),
]


@pytest.mark.parametrize("seed", range(6))
def test_a_response_whose_head_is_known_already_is_read_as_any_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[bool] = []
    match_known_head = UpstreamConnection._match_known_head

    async def told(transport: Http1Transport, request: UpstreamRequest) -> tuple[object, ...]:
        try:
            async with asyncio.timeout(20):
                found = await transport.send(request)
        except StepFault as fault:
            return fault.code, fault.kind
        except TimeoutError:
            return ("timeout",)
        return found.status, found.headers, found.body

    async def scenario(transport: Http1Transport, server: FaultServer) -> list[tuple[object, ...]]:
        choose, found = random.Random(seed), []
        for _ in range(40):
            pieces = Pieces(choose.choice(PIECES))
            server.script("/", pieces)
            method = choose.choice(["GET", "GET", "GET", "HEAD"])
            found.append((method, *await told(transport, UpstreamRequest(method, "/", (), is_idempotent=True))))
            await pieces.are_sent.wait()
            await asyncio.sleep(0.01)
        return found

    def noted(self: UpstreamConnection, size: int) -> bool:
        known.append(match_known_head(self, size))
        return known[-1]

    monkeypatch.setattr(UpstreamConnection, "_match_known_head", noted)
    found = run(scenario)
    assert sum(known) > 5
    monkeypatch.setattr(UpstreamConnection, "_match_known_head", lambda *_: False)
    assert found == run(scenario)


def test_of_heads_that_are_never_the_same_only_some_are_kept() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        for number in range(http1_connection.MAX_KNOWN_HEADS + 10):
            server.script("/", Pieces((response(b"1", f"x-request-id: {number}"),)))
            await transport.send(GET)
        return len(transport._state.heads)

    assert 0 < run(scenario) <= http1_connection.MAX_KNOWN_HEADS


def test_a_connection_is_closed_when_the_server_says_so() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        await statuses(transport, server, *[Status(200, headers={"connection": "close"})] * 3)
        return len(server.connections)

    assert run(scenario) == 3


@pytest.mark.parametrize(("promised", "connections"), [("timeout=0", 2), ("timeout=60, max=100", 1), ("max=5", 1)])
def test_the_time_that_a_server_keeps_a_connection_is_respected(promised: str, connections: int) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        await statuses(transport, server, *[Status(200, headers={"keep-alive": promised})] * 2)
        return len(server.connections)

    assert run(scenario) == connections


def test_connections_that_nobody_uses_are_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(http1_connection, "IDLE_SECONDS", 0.1)

    async def scenario(transport: Http1Transport, server: FaultServer) -> tuple[int, Any]:
        server.script("/", Json(1, delay=0.02))
        await asyncio.gather(*(transport.send(GET) for _ in range(3)))
        await server.wait_closed("/")
        await asyncio.sleep(0.01)
        return len(transport._idle), transport._sweeping

    assert run(scenario) == (0, None)


def test_the_connection_that_was_used_last_is_used_next() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        server.script("/", Json(1, delay=0.02))
        await asyncio.gather(*(transport.send(GET) for _ in range(3)))
        before = len(server.requests)
        for _ in range(4):
            await transport.send(GET)
        return len({request.connection.number for request in server.requests[before:]})

    assert run(scenario) == 1


# -- responses that only our own parser's limits stop


def test_one_hundred_headers_are_taken_and_one_more_is_not() -> None:
    def with_headers(count: int) -> Raw:
        lines = b"".join(b"x-%d: 1\r\n" % number for number in range(count - 1))
        return Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + lines + b"\r\n")

    assert run(lambda transport, server: statuses(transport, server, with_headers(100))) == [200]
    with pytest.raises(StepFault) as caught:
        run(lambda transport, server: statuses(transport, server, with_headers(101)))
    assert caught.value.code is Code.SUBREQUEST_RESPONSE_TOO_LARGE


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (CHUNKED + b"0\r\n" + b"x-trailer: 1\r\n" * 100_000, Code.SUBREQUEST_RESPONSE_TOO_LARGE),
        (CHUNKED + b"1;" + b"x" * 300_000 + b"\r\n", Code.SUBREQUEST_RESPONSE_TOO_LARGE),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, Code.SUBREQUEST_RESPONSE_TOO_LARGE),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n{}", Code.SUBREQUEST_MALFORMED_RESPONSE),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Code.SUBREQUEST_MALFORMED_RESPONSE),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}", Code.SUBREQUEST_MALFORMED_RESPONSE),
        (b"HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", Code.SUBREQUEST_MALFORMED_RESPONSE),
    ],
    ids=["trailers", "chunk-extension", "continues", "upgrade", "two-lengths", "transfer-encoding", "version"],
)  # fmt: skip
def test_what_no_sound_server_sends_is_a_fault(raw: bytes, code: Code) -> None:
    with pytest.raises(StepFault) as caught:
        run(lambda transport, server: statuses(transport, server, Raw(raw)))
    assert (caught.value.code, caught.value.kind) == (code, "")


# -- ends


def test_closing_the_pool_ends_every_exchange_at_once() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> list[str]:
        server.script("/", Hang())
        sending = [asyncio.create_task(transport.send(GET)) for _ in range(3)]
        await server.wait_requests("/", 3)
        await transport.aclose()
        await server.wait_closed("/", 0.5)
        faults = await asyncio.gather(*sending, return_exceptions=True)
        return [fault.kind for fault in faults if isinstance(fault, StepFault)]

    assert run(scenario) == ["reset"] * 3


@dataclass(frozen=True, slots=True)
class SlowNames:
    """Looks names up like the operating system, the one that is slow only when it may."""

    slow: str
    may_answer: threading.Event
    asked: list[str]

    def __call__(self, host: str, *arguments: Any, **keywords: Any) -> Sequence[tuple[Any, Any, Any, str, tuple[str, int]]]:
        self.asked.append(host)
        if host == self.slow:
            self.may_answer.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    found = SlowNames("slow.test", threading.Event(), [])
    monkeypatch.setattr(socket, "getaddrinfo", found)
    yield found
    found.may_answer.set()


def test_closing_the_pool_ends_what_is_being_connected(names: SlowNames) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> str:
        sending = asyncio.create_task(transport.send(GET))
        await asyncio.sleep(0.02)
        await transport.aclose()
        with pytest.raises(StepFault) as caught:
            await sending
        return caught.value.kind

    assert run(scenario, "slow.test") == "connect"


def test_a_pool_leaves_no_descriptor_open() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> None:
        for behaviour in (Json(1), Reset(), WrongLength(), Hang()):
            server.script("/", behaviour)
            sending = [asyncio.create_task(transport.send(GET)) for _ in range(4)]
            await asyncio.wait(sending, timeout=0.05)
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)
            for task in sending:
                assert task.cancelled() or task.exception() or isinstance(task.result(), UpstreamResponse)

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    run(scenario)
    before = descriptors()
    for _ in range(3):
        run(scenario)
    assert descriptors() == before


# -- names and addresses


def test_a_name_is_looked_up_once_for_all_who_ask_and_remembered(names: SlowNames) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> list[str]:
        server.script("/", Status(200, headers={"connection": "close"}))
        await asyncio.gather(*(transport.send(GET) for _ in range(4)))
        await transport.send(GET)
        return [value for name, value in server.requests[0].headers if name == "host"]

    (host,) = run(scenario, "name.test")
    assert host.startswith("name.test:")
    assert names.asked == ["name.test"]


def test_a_slow_name_delays_no_other(names: SlowNames) -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> tuple[int, bool, int]:
        server.script("/", Json(1))
        slow = Http1Transport(server.url.replace("127.0.0.1", "slow.test"), Limits(4, LIMIT))
        threads = threading.active_count()
        waiting = [asyncio.create_task(slow.send(GET)) for _ in range(50)]
        await asyncio.sleep(0)
        status = (await transport.send(GET)).status
        is_waiting = not any(task.done() for task in waiting)
        more_threads = threading.active_count() - threads
        for task in waiting[1:]:
            task.cancel()
        names.may_answer.set()
        assert (await waiting[0]).status == 200
        await slow.aclose()
        await asyncio.wait(waiting)
        return status, is_waiting, more_threads

    status, is_waiting, more_threads = run(scenario, "other.test")
    assert (status, is_waiting) == (200, True)
    assert more_threads <= 2


def test_a_name_that_takes_too_long_is_a_fault_of_connecting(names: SlowNames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECT_TIMEOUT", 0.05)
    with pytest.raises(StepFault) as caught:
        run(lambda transport, _: transport.send(GET), "slow.test")
    assert (caught.value.code, caught.value.kind) == (Code.GATEWAY_TIMEOUT, "connect")


def test_a_name_that_does_not_exist_is_a_fault_of_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(StepFault) as caught:
        run(lambda transport, _: transport.send(GET), "nowhere.test")
    assert (caught.value.code, caught.value.kind) == (Code.SUBREQUEST_HTTP_ERROR, "connect")


def test_the_next_address_is_tried_where_one_does_not_answer(names: SlowNames) -> None:
    """127.0.0.2 refuses, 127.0.0.1 answers."""

    async def scenario(transport: Http1Transport, server: FaultServer) -> list[int]:
        return await statuses(transport, server, Json(1))

    assert run(scenario, "name.test") == [200]


def test_a_server_that_does_not_accept_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is full, so that the operating system leaves a further connection without an answer."""
    monkeypatch.setattr(http1, "CONNECT_TIMEOUT", 0.1)

    async def connect() -> StepFault:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, socket.socket() as first:
            first.connect(listening.getsockname())
            transport = Http1Transport(f"http://127.0.0.1:{listening.getsockname()[1]}", Limits(1, LIMIT))
            with pytest.raises(StepFault) as caught:
                await transport.send(GET)
            await transport.aclose()
            return caught.value

    fault = asyncio.run(connect())
    assert (fault.code, fault.kind) == (Code.GATEWAY_TIMEOUT, "connect")


def test_a_request_to_an_ipv6_address_names_it_in_brackets() -> None:
    async def ask() -> tuple[int, bytes, int]:
        heads: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "::1", 0)
        port = server.sockets[0].getsockname()[1]
        transport = Http1Transport(f"http://[::1]:{port}/base", Limits(1, LIMIT))
        response = await transport.send(GET)
        await transport.aclose()
        server.close()
        await server.wait_closed()
        return response.status, heads[0], port

    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    status, head, port = asyncio.run(ask())
    assert status == 200
    assert head.startswith(b"GET /base/ HTTP/1.1\r\nhost: [::1]:%d\r\n" % port)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.test", "a.test"),
        ("http://a.test:80", "a.test"),
        ("https://a.test:443/v1", "a.test"),
        ("https://a.test:80", "a.test:80"),
        ("http://bücher.test:8080", "xn--bcher-kva.test:8080"),
    ],
)
def test_the_host_is_named_with_its_port_where_that_is_not_the_usual_one(url: str, host: str) -> None:
    message = Http1Transport(url, Limits(1, LIMIT))._message(GET).decode()
    assert f"\r\nhost: {host}\r\n" in message


def test_delays_of_small_writes_are_off() -> None:
    async def scenario(transport: Http1Transport, server: FaultServer) -> int:
        await statuses(transport, server, Json(1))
        (connection,) = transport._idle
        return int(connection._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    assert run(scenario) != 0


def test_a_refused_connection_is_a_fault_at_once() -> None:
    async def connect() -> float:
        started = time.monotonic()
        with pytest.raises(StepFault):
            await Http1Transport(f"http://127.0.0.1:{refused_port()}", Limits(1, LIMIT)).send(GET)
        return time.monotonic() - started

    assert asyncio.run(connect()) < 0.5 + SLACK
