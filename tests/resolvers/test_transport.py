"""The contract of a transport, over real sockets: one request in, one response or one fault out.

What a socket cannot be made to do (the library's rarer errors) is played by pytest-httpx.
"""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import brotli
import httpx
import pytest
import uvloop
from backports import zstd
from pytest_httpx import HTTPXMock

from gateway.errors import Code, StepFault
from resolvers.json_http import TRANSPORTS
from resolvers.transport.httpx_transport import HttpxTransport
from resolvers.transport.transport import Limits, Transport, UpstreamRequest, UpstreamResponse
from tests.faults import (
    Behaviour,
    CloseWhenIdle,
    CloseWithoutAnswer,
    Delay,
    Drip,
    EndlessChunked,
    Exchange,
    FaultServer,
    Garbage,
    GzipBomb,
    Hang,
    HangAfterHeaders,
    HeaderFlood,
    Huge,
    Json,
    Raw,
    Redirect,
    Request,
    Reset,
    Status,
    Truncate,
    refused_port,
)

T = TypeVar("T")
Open = Callable[[str, Limits], Transport]
LIMIT = 10_000


@pytest.fixture(params=[*TRANSPORTS, "http1 on uvloop"])
def open_transport(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Give each implementation, and ours on the event loop of the server as well."""
    transport, _, loop = request.param.partition(" on ")
    if loop:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield TRANSPORTS[transport]
    asyncio.set_event_loop_policy(None)


Scenario = Callable[[Transport, FaultServer], Awaitable[T]]


def run(open_transport: Open, scenario: Scenario[T], connections: int = 4, base: str = "") -> T:
    """Run a scenario between a transport and a fault server; afterwards no connection and no task may be left."""

    async def between() -> T:
        async with asyncio.timeout(30), FaultServer() as server:
            transport = open_transport(server.url + base, Limits(connections, LIMIT))
            try:
                result = await scenario(transport, server)
            finally:
                await transport.aclose()
            for connection in server.connections:
                await server.wait_closed(connection)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    return asyncio.run(between())


def get(target: str = "/", *headers: tuple[str, str]) -> UpstreamRequest:
    return UpstreamRequest("GET", target, headers)


def answer_to(open_transport: Open, behaviour: Behaviour, request: UpstreamRequest | None = None) -> UpstreamResponse:
    async def scenario(transport: Transport, server: FaultServer) -> UpstreamResponse:
        server.script("/", behaviour)
        return await transport.send(request or get())

    return run(open_transport, scenario)


def fault_of(open_transport: Open, behaviour: Behaviour) -> StepFault:
    with pytest.raises(StepFault) as caught:
        answer_to(open_transport, behaviour)
    return caught.value


def request_as_sent(open_transport: Open, request: UpstreamRequest, base: str = "") -> Request:
    async def scenario(transport: Transport, server: FaultServer) -> Request:
        await transport.send(request)
        return server.requests[0]

    return run(open_transport, scenario, base=base)


# -- requests


def test_a_request_is_sent_as_it_was_given(open_transport: Open) -> None:
    sent = request_as_sent(
        open_transport, UpstreamRequest("POST", "/a%2Fb/c?x=1&x=%26", [("x-a", "b"), ("x-a", "c")], b'{"y": 1}')
    )
    assert (sent.method, sent.target, sent.body) == ("POST", "/a%2Fb/c?x=1&x=%26", b'{"y": 1}')
    assert [value for name, value in sent.headers if name == "x-a"] == ["b", "c"]


@pytest.mark.parametrize("target", ["/%2e%2e/x", "/a%00b", "/a;b=c,d", "/a//b/", "/?a=%20+&a", "/'(x)!*", "/%C3%A9", "/a:b@c"])
def test_a_target_is_not_normalized(open_transport: Open, target: str) -> None:
    assert request_as_sent(open_transport, get(target)).target == target


@pytest.mark.parametrize("base", ["/v1", "/v1/"])
def test_a_target_is_appended_to_the_path_of_the_base_url(open_transport: Open, base: str) -> None:
    assert request_as_sent(open_transport, get("/x"), base).target == "/v1/x"


def test_a_request_has_no_header_that_nobody_wants(open_transport: Open) -> None:
    sent = request_as_sent(open_transport, get("/", ("x-a", "b")))
    assert {name for name, _ in sent.headers} - {"connection"} == {"host", "accept", "accept-encoding", "x-a"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"])
def test_every_method_is_sent_with_or_without_a_body(open_transport: Open, method: str) -> None:
    assert request_as_sent(open_transport, UpstreamRequest(method, "/", [])).method == method
    assert request_as_sent(open_transport, UpstreamRequest(method, "/", [], b"{}")).body == b"{}"


# -- responses


def test_a_response_has_a_status_lower_case_headers_and_a_body(open_transport: Open) -> None:
    response = answer_to(open_transport, Json({"x": 1}, status=418, headers={"X-Upper": "Value"}))
    assert (response.status, response.body) == (418, b'{"x": 1}')
    assert response.headers["x-upper"] == "Value"
    assert response.headers["content-type"] == "application/json"


def test_heads_and_bodies_share_a_connection(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> tuple[list[bytes], int]:
        server.script("/", Json({"x": 1}))
        bodies = [
            (await transport.send(UpstreamRequest(method, "/", []))).body for method in ("HEAD", "GET", "HEAD", "HEAD", "GET")
        ]
        return bodies, len(server.connections)

    assert run(open_transport, scenario) == ([b"", b'{"x": 1}', b"", b"", b'{"x": 1}'], 1)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_may_have_a_length_and_an_encoding(open_transport: Open, status: int) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> tuple[int, bytes, int]:
        server.script("/", Headed(status, {"content-length": "7", "content-encoding": "gzip"}), Json(1))
        response = await transport.send(get())
        return response.status, response.body, (await transport.send(get())).status

    assert run(open_transport, scenario) == (status, b"", 200)


def test_head_of_something_compressed_has_no_body(open_transport: Open) -> None:
    response = answer_to(open_transport, Compressed("gzip", gzip.compress(b"{}")), UpstreamRequest("HEAD", "/", []))
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("status", [204, 205, 304, 404, 500, 599])
def test_every_status_is_a_response(open_transport: Open, status: int) -> None:
    assert answer_to(open_transport, Status(status)).status == status


def test_the_answer_to_head_has_no_body(open_transport: Open) -> None:
    assert answer_to(open_transport, Json({"x": 1}), UpstreamRequest("HEAD", "/", [])).body == b""


def test_a_redirect_is_a_response(open_transport: Open) -> None:
    response = answer_to(open_transport, Redirect("/elsewhere"))
    assert (response.status, response.headers["location"]) == (302, "/elsewhere")


@pytest.mark.parametrize("early", [b"100 Continue", b"103 Early Hints\r\nlink: </x>"])
def test_what_precedes_a_response_is_skipped(open_transport: Open, early: bytes) -> None:
    raw = b"HTTP/1.1 %s\r\n\r\nHTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\n\r\n{}" % early
    response = answer_to(open_transport, Raw(raw))
    assert (response.status, response.headers, response.body) == (200, {"x-a": "1", "content-length": "2"}, b"{}")


def test_a_body_without_length_ends_with_its_connection(open_transport: Open) -> None:
    assert answer_to(open_transport, Raw(b"HTTP/1.1 200 OK\r\n\r\n{}")).body == b"{}"


def test_a_chunked_body_is_put_together(open_transport: Open) -> None:
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nx-trailer: 1\r\n\r\n"
    assert answer_to(open_transport, Raw(raw)).body == b"{}"


@dataclass(frozen=True, slots=True)
class Headed:
    """Answers a head and nothing after it."""

    status: int
    headers: Mapping[str, str]

    async def answer(self, exchange: Exchange) -> None:
        """Answer the head."""
        await exchange.stream(self.status, self.headers, ())


def test_white_space_around_a_header_is_no_part_of_it(open_transport: Open) -> None:
    response = answer_to(open_transport, Raw(b"HTTP/1.1 200 OK\r\nX-A: \t a b \t\r\nx-b:\r\ncontent-length: 0\r\n\r\n"))
    assert response.headers == {"x-a": "a b", "x-b": "", "content-length": "0"}


class Compressed:
    """Answers bytes under a ``content-encoding``."""

    def __init__(self, encoding: str, body: bytes) -> None:
        self.encoding = encoding
        self.body = body

    async def answer(self, exchange: Exchange) -> None:
        """Answer the bytes."""
        await exchange.reply(200, {"content-encoding": self.encoding}, self.body)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
}


@pytest.mark.parametrize("encoding", [*COMPRESS, "GZIP", "identity"])
def test_a_compressed_body_is_decompressed(open_transport: Open, encoding: str) -> None:
    body = COMPRESS.get(encoding.lower(), bytes)(b"{}")
    assert answer_to(open_transport, Compressed(encoding, body)).body == b"{}"


@pytest.mark.parametrize("encoding", [*COMPRESS, "gzip, br", "compress"])
@pytest.mark.parametrize(
    "body", [b"{}", b"", gzip.compress(b"{}", mtime=0)[:-4], zstd.compress(b"{}")[:-1], brotli.compress(b"{}")[:-1]]
)
def test_a_body_that_cannot_be_decompressed_is_malformed(open_transport: Open, encoding: str, body: bytes) -> None:
    assert fault_of(open_transport, Compressed(encoding, body)).code is Code.SUBREQUEST_MALFORMED_RESPONSE


def test_a_zstandard_body_that_wants_more_memory_than_http_allows_is_malformed(open_transport: Open) -> None:
    magic, descriptor, last_block = b"\x28\xb5\x2f\xfd", b"\x00", b"\x11\x00\x00{}"
    within, beyond = (magic + descriptor + bytes([(exponent - 10) << 3]) + last_block for exponent in (23, 24))
    assert zstd.decompress(beyond) == b"{}"
    assert answer_to(open_transport, Compressed("zstd", within)).body == b"{}"
    assert fault_of(open_transport, Compressed("zstd", beyond)).code is Code.SUBREQUEST_MALFORMED_RESPONSE


@pytest.mark.parametrize("encoding", COMPRESS)
def test_the_limit_counts_what_comes_out_of_compression(open_transport: Open, encoding: str) -> None:
    compress = COMPRESS[encoding]
    assert answer_to(open_transport, Compressed(encoding, compress(b" " * LIMIT))).body == b" " * LIMIT
    fault = fault_of(open_transport, Compressed(encoding, compress(b" " * (LIMIT + 1))))
    assert fault.code is Code.SUBREQUEST_RESPONSE_TOO_LARGE


def test_a_compressed_body_may_come_in_chunks(open_transport: Open) -> None:
    body = gzip.compress(b'{"x": 1}')
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    raw = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert answer_to(open_transport, Raw(raw)).body == b'{"x": 1}'


def test_a_body_may_come_byte_by_byte(open_transport: Open) -> None:
    assert answer_to(open_transport, Drip(0.001, b'{"slow": true}')).body == b'{"slow": true}'


# -- faults

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: %s\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ResetWithin:
    """Sends the beginning of a response, then a reset."""

    data: bytes

    async def answer(self, exchange: Exchange) -> None:
        """Send the bytes; reset when they have arrived."""
        await exchange.send(self.data)
        await asyncio.sleep(0.02)
        exchange.reset()


@pytest.mark.parametrize(
    ("behaviour", "code", "kind"),
    [
        (Reset(), Code.SUBREQUEST_HTTP_ERROR, "reset"),
        (CloseWithoutAnswer(), Code.SUBREQUEST_HTTP_ERROR, "reset"),
        (Truncate(), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Garbage(), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Raw(b"HTTP/1.1 200 OK\r\ncontent-le"), Code.SUBREQUEST_HTTP_ERROR, "reset"),
        (Raw(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Raw(b"HTTP/1.1 2xx OK\r\n\r\n"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Raw(LENGTH % b"1\r\ncontent-length: 2" + b"{}"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Raw(LENGTH % b"-1" + b"{}"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Raw(CHUNKED + b"5\r\n{}"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (Raw(CHUNKED + b"xyz\r\n{}"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
        (ResetWithin(LENGTH % b"9" + b"{"), Code.SUBREQUEST_HTTP_ERROR, "reset"),
        (ResetWithin(b"HTTP/1.1 200 OK\r\n\r\n{"), Code.SUBREQUEST_HTTP_ERROR, "reset"),
        (Huge(LIMIT + 1), Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
        (Huge(300_000_000, with_length=False), Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
        (EndlessChunked(), Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
        (GzipBomb(10_000_000), Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
        (HeaderFlood(300_000), Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
        (HeaderFlood(300_000, line_bytes=300_000), Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
    ],
    ids=["reset", "closed", "truncated", "garbage", "half-a-head", "bad-header", "bad-status", "two-lengths", "bad-length",
         "half-a-chunk", "bad-chunk", "reset-in-body", "reset-in-endless-body", "declared", "undeclared", "endless", "gzip-bomb",
         "header-flood", "long-header"],
)  # fmt: skip
def test_a_fault_has_a_code_and_a_kind_to_choose_by(open_transport: Open, behaviour: Behaviour, code: Code, kind: str) -> None:
    fault = fault_of(open_transport, behaviour)
    assert (fault.code, fault.kind, fault.message) == (code, kind, None)
    assert fault.detail


def test_nobody_at_the_port_is_a_fault_of_connecting(open_transport: Open) -> None:
    async def connect() -> None:
        transport = open_transport(f"http://127.0.0.1:{refused_port()}", Limits(1, LIMIT))
        try:
            await transport.send(get())
        finally:
            await transport.aclose()

    with pytest.raises(StepFault) as caught:
        asyncio.run(connect())
    assert (caught.value.code, caught.value.kind) == (Code.SUBREQUEST_HTTP_ERROR, "connect")


# -- private addresses (I-05)


def answer_from(open_transport: Open, host: str) -> tuple[object, int, str]:
    """Ask a server of this machine by a name, where only public addresses are allowed: the answer or its fault, and what arrived."""

    async def ask() -> tuple[object, int, str]:
        async with asyncio.timeout(20), FaultServer() as server:
            server.script("/", Json(1))
            transport = open_transport(server.url.replace("127.0.0.1", host), Limits(1, LIMIT, denies_private=True))
            try:
                result: object = (await transport.send(get())).body
            except StepFault as fault:
                result = fault
            finally:
                await transport.aclose()
            hosts = [dict(request.headers)["host"].partition(":")[0] for request in server.requests]
            return result, len(server.connections), "".join(hosts)

    return asyncio.run(ask())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"])
def test_where_only_public_addresses_are_allowed_nobody_of_this_machine_is_connected_to(open_transport: Open, host: str) -> None:
    fault, connections, _ = answer_from(open_transport, host)
    assert isinstance(fault, StepFault)
    assert (fault.code, fault.kind, connections) == (Code.SUBREQUEST_HTTP_ERROR, "", 0)
    assert "private" in fault.detail


def test_an_address_that_is_allowed_is_connected_to_under_the_name_that_leads_there(
    open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.transport.names.is_public", lambda address: address == "127.0.0.1")
    assert answer_from(open_transport, "localhost") == (b"1", 1, "localhost")


# -- connections


def test_connections_are_used_again(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> int:
        server.script("/", Json(1), Status(404), Json([]))
        for _ in range(5):
            await transport.send(get())
        return len(server.connections)

    assert run(open_transport, scenario) == 1


def test_there_are_no_more_connections_than_calls_at_once(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> int:
        server.script("/", Json(1, delay=0.02))
        places = asyncio.Semaphore(3)

        async def send() -> None:
            async with places:
                await transport.send(get())

        await asyncio.gather(*(send() for _ in range(9)))
        return len(server.connections)

    assert run(open_transport, scenario, connections=3) == 3


def test_an_idle_connection_that_the_upstream_has_closed_is_not_used(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> list[int]:
        server.script("/", CloseWhenIdle(Json(1)))
        statuses = []
        for _ in range(3):
            statuses.append((await transport.send(get())).status)
            await server.wait_closed("/")
        return statuses

    assert run(open_transport, scenario) == [200, 200, 200]


@pytest.mark.parametrize(
    "behaviour", [Hang(), HangAfterHeaders(), Delay(5, Json(1)), Drip(5)], ids=["hangs", "half", "late", "drips"]
)
def test_a_cancelled_request_closes_its_connection(open_transport: Open, behaviour: Behaviour) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> None:
        server.script("/", behaviour)
        sending = asyncio.create_task(transport.send(get()))
        await server.wait_requests("/")
        sending.cancel()
        await asyncio.wait({sending})
        assert sending.cancelled()
        await server.wait_closed("/")
        server.script("/", Json(1))
        assert (await transport.send(get())).status == 200

    run(open_transport, scenario, connections=1)


def test_a_request_may_be_cancelled_in_any_turn_of_the_loop(open_transport: Open) -> None:
    """Connecting and sending take several turns; a cancellation in any of them gives the place back."""

    async def keeps_its_place(turns: int, server: FaultServer) -> bool:
        transport = open_transport(server.url, Limits(1, LIMIT))
        sending = asyncio.create_task(transport.send(get("/hanging")))
        for _ in range(turns):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait({sending}, timeout=1)
        try:
            async with asyncio.timeout(1):
                return (await transport.send(get())).status == 200
        except TimeoutError:
            return False
        finally:
            await transport.aclose()

    async def scenario(_: Transport, server: FaultServer) -> list[int]:
        server.script("/", Json(1))
        server.script("/hanging", Hang())
        return [turns for turns in range(24) if not await keeps_its_place(turns, server)]

    assert run(open_transport, scenario) == []


def test_a_request_that_is_cancelled_twice_closes_its_connection(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> None:
        server.script("/", Hang())
        sending = asyncio.create_task(transport.send(get()))
        await server.wait_requests("/")
        sending.cancel()
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait({sending})
        await server.wait_closed("/")
        server.script("/", Json(1))
        assert (await transport.send(get())).status == 200

    run(open_transport, scenario, connections=1)


def test_a_response_that_is_too_large_gives_its_place_back(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> None:
        server.script("/", Json("x" * LIMIT), Json(1))
        with pytest.raises(StepFault):
            await transport.send(get())
        assert (await transport.send(get())).status == 200

    run(open_transport, scenario, connections=1)


def test_a_cookie_is_not_kept(open_transport: Open) -> None:
    async def scenario(transport: Transport, server: FaultServer) -> list[str]:
        server.script("/", Json(1, headers={"set-cookie": "session=1; Path=/"}))
        for _ in range(2):
            await transport.send(get())
        return [name for name, _ in server.requests[1].headers]

    assert "cookie" not in run(open_transport, scenario)


# -- errors of httpx that no socket shows on demand

URL = "http://upstream.test"
ERRORS = [
    (httpx.ConnectTimeout("slow"), Code.GATEWAY_TIMEOUT, "connect"),
    (httpx.ConnectError("no route to host"), Code.SUBREQUEST_HTTP_ERROR, "connect"),
    (httpx.ConnectError("certificate verify failed"), Code.SUBREQUEST_HTTP_ERROR, "connect"),
    (httpx.ReadTimeout("slow"), Code.GATEWAY_TIMEOUT, "timeout"),
    (httpx.PoolTimeout("full"), Code.GATEWAY_TIMEOUT, "timeout"),
    (httpx.ReadError("reset"), Code.SUBREQUEST_HTTP_ERROR, "reset"),
    (httpx.WriteError("broken pipe"), Code.SUBREQUEST_HTTP_ERROR, "reset"),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), Code.SUBREQUEST_HTTP_ERROR, "reset"),
    (httpx.RemoteProtocolError("illegal status line"), Code.SUBREQUEST_MALFORMED_RESPONSE, ""),
    (httpx.LocalProtocolError("illegal header value"), Code.SUBREQUEST_HTTP_ERROR, ""),
    (httpx.UnsupportedProtocol("ftp"), Code.SUBREQUEST_HTTP_ERROR, ""),
    (httpx.ProxyError("no"), Code.SUBREQUEST_HTTP_ERROR, ""),
]


def send_once(request: UpstreamRequest) -> UpstreamResponse:
    async def send() -> UpstreamResponse:
        transport = HttpxTransport(URL, Limits(1, LIMIT))
        try:
            return await transport.send(request)
        finally:
            await transport.aclose()

    return asyncio.run(send())


@pytest.mark.parametrize(("error", "code", "kind"), ERRORS, ids=lambda value: str(value)[:30])
def test_every_error_of_httpx_is_a_fault(httpx_mock: HTTPXMock, error: Exception, code: Code, kind: str) -> None:
    httpx_mock.add_exception(error)
    with pytest.raises(StepFault) as caught:
        send_once(get())
    assert (caught.value.code, caught.value.kind) == (code, kind)
    assert str(error) in caught.value.detail
    assert type(error).__name__ in caught.value.detail


def test_httpx_adds_no_header_of_its_own(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json={})
    send_once(UpstreamRequest("POST", "/x?y=%2F", [("x-a", "b")], b"{}"))
    (sent,) = httpx_mock.get_requests()
    assert (sent.method, str(sent.url)) == ("POST", f"{URL}/x?y=%2F")
    assert set(sent.headers) == {"host", "accept", "accept-encoding", "x-a", "content-length"}
    assert sent.extensions["timeout"] == {"connect": 1.0, "read": None, "write": None, "pool": None}


def test_a_header_that_is_repeated_in_a_response_is_one(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(headers=[("x-a", "1"), ("X-A", "2"), ("set-cookie", "a=b")])
    response = send_once(get())
    assert response.headers["x-a"] == "1, 2"
    assert all(name == name.lower() for name in response.headers)
