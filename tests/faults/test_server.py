"""Every behaviour does on the wire what its name says, and the server records what it received."""

import asyncio
import contextlib
import gzip
import itertools
import json
import socket
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults import (
    Behaviour,
    CloseWhenIdle,
    CloseWithoutAnswer,
    DeepJson,
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
    Html,
    Huge,
    InvalidJson,
    InvalidUtf8,
    Json,
    NaN,
    Raw,
    Redirect,
    Reset,
    Status,
    Text,
    Truncate,
    WrongLength,
    refused_port,
)
from tests.kit.timing import SLACK

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: FaultServer) -> Streams:
    return await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port)


async def send(writer: asyncio.StreamWriter, request_line: str, *headers: str, body: bytes = b"") -> None:
    head = "\r\n".join([f"{request_line} HTTP/1.1", "host: test", *headers, "", ""])
    writer.write(head.encode() + body)
    await writer.drain()


async def read_response(reader: asyncio.StreamReader) -> bytes:
    """Read one response that has a Content-Length, and return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(headers_of(head)["content-length"]))


async def close_connection(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await writer.wait_closed()


def headers_of(response: bytes) -> dict[str, str]:
    lines = response.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


def whole_answer(behaviour: Behaviour, method: str = "GET") -> bytes:
    """Return all bytes that answer one request with ``Connection: close``."""

    async def ask() -> bytes:
        async with FaultServer() as server:
            server.script("/", behaviour)
            reader, writer = await connect(server)
            await send(writer, f"{method} /", "connection: close")
            answer = await reader.read()
            await close_connection(writer)
            return answer

    return asyncio.run(ask())


def run(scenario: Callable[[FaultServer], Awaitable[None]]) -> None:
    """Run a scenario against a new server, and check that no task outlives the server."""

    async def check() -> None:
        async with asyncio.timeout(5.0), FaultServer() as server:
            await scenario(server)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(check())


def test_json_is_answered_with_its_status_and_headers() -> None:
    answer = whole_answer(Json({"x": 1}, status=201, headers={"X-Trace": "t1"}))
    assert answer.startswith(b"HTTP/1.1 201 Created\r\n")
    assert headers_of(answer) == {
        "connection": "close",
        "content-length": "8",
        "content-type": "application/json",
        "x-trace": "t1",
    }
    assert json.loads(body_of(answer)) == {"x": 1}


def test_a_header_of_the_script_replaces_ours_whatever_its_case() -> None:
    assert headers_of(whole_answer(Json(1, headers={"Content-Type": "text/x"})))["content-type"] == "text/x"


def test_json_refuses_to_be_made_of_nan() -> None:
    with pytest.raises(ExceptionGroup, match="the fault server failed"):
        whole_answer(Json(float("nan")))


@pytest.mark.parametrize("behaviour", [Json({}, delay=0.05), Delay(0.05, Json({}))])
def test_a_delayed_answer_comes_after_its_delay(behaviour: Behaviour) -> None:
    started = time.monotonic()
    answer = whole_answer(behaviour)
    assert time.monotonic() - started >= 0.05
    assert body_of(answer) == b"{}"


def test_text_is_answered_with_its_type_and_status() -> None:
    answer = whole_answer(Text("grüße", content_type="text/csv", status=203))
    assert answer.startswith(b"HTTP/1.1 203 ")
    assert headers_of(answer)["content-type"] == "text/csv"
    assert body_of(answer).decode() == "grüße"


def test_html_is_answered_as_a_page_with_status_200() -> None:
    answer = whole_answer(Html())
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert headers_of(answer)["content-type"].startswith("text/html")
    assert body_of(answer).startswith(b"<!doctype html>")


def test_a_status_is_answered_with_an_empty_body_or_the_given_one() -> None:
    assert whole_answer(Status(503)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert headers_of(whole_answer(Status(503)))["content-length"] == "0"
    answer = whole_answer(Status(429, b"slow down", {"Retry-After": "1"}))
    assert (headers_of(answer)["retry-after"], body_of(answer)) == ("1", b"slow down")


def test_a_status_unknown_to_python_is_answered_too() -> None:
    assert whole_answer(Status(599)).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_no_content_length(status: int) -> None:
    answer = whole_answer(Status(status, b"ignored"))
    assert "content-length" not in headers_of(answer)
    assert body_of(answer) == b""


def test_a_redirect_names_its_location_verbatim() -> None:
    answer = whole_answer(Redirect("http://169.254.169.254/latest", status=307))
    assert answer.startswith(b"HTTP/1.1 307 ")
    assert headers_of(answer)["location"] == "http://169.254.169.254/latest"
    assert whole_answer(Redirect("file:///etc/passwd")).startswith(b"HTTP/1.1 302 ")


def test_raw_bytes_and_garbage_are_sent_verbatim_and_then_the_connection_closes() -> None:
    assert whole_answer(Raw(b"HTTP/1.1 200 OK\nx")) == b"HTTP/1.1 200 OK\nx"
    assert whole_answer(Garbage()) == Garbage().data
    assert not Garbage().data.startswith(b"HTTP/")


@pytest.mark.parametrize("behaviour", [Raw(b"HTTP/1.1 200 OK\r\n\r\n"), Garbage(), Truncate()])
def test_an_unsound_answer_closes_a_connection_that_the_peer_would_keep(behaviour: Behaviour) -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", behaviour)
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert await reader.read() != b""
        await server.wait_closed("/")
        await close_connection(writer)

    run(scenario)


def test_invalid_json_is_no_json() -> None:
    answer = whole_answer(InvalidJson())
    assert headers_of(answer)["content-type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        json.loads(body_of(answer))


def test_invalid_utf8_is_json_but_for_its_encoding() -> None:
    body = body_of(whole_answer(InvalidUtf8()))
    with pytest.raises(UnicodeDecodeError):
        body.decode()
    assert json.loads(body.decode("latin-1")) == {"x": "ÿþ"}


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_nan_is_written_as_the_token_that_json_does_not_have(token: str) -> None:
    assert body_of(whole_answer(NaN(token))) == f'{{"x": {token}}}'.encode()


def test_deep_json_is_nested_to_its_depth() -> None:
    assert body_of(whole_answer(DeepJson(3))) == b"[[[]]]"
    assert body_of(whole_answer(DeepJson(100_000))) == b"[" * 100_000 + b"]" * 100_000


def test_a_header_flood_has_about_the_asked_size() -> None:
    answer = whole_answer(HeaderFlood(300_000))
    head = answer.partition(b"\r\n\r\n")[0]
    assert 300_000 <= len(head) < 300_500
    assert body_of(answer) == b'{"x": 1}'
    assert len(headers_of(whole_answer(HeaderFlood(20_000, line_bytes=20)))) >= 1_000


def test_a_gzip_bomb_is_small_on_the_wire_and_large_when_unpacked() -> None:
    answer = whole_answer(GzipBomb(5_000_000))
    assert headers_of(answer)["content-encoding"] == "gzip"
    assert len(body_of(answer)) < 10_000
    assert len(json.loads(gzip.decompress(body_of(answer)))) == 5_000_000 - 2


def test_a_truncated_answer_is_shorter_than_it_promised() -> None:
    answer = whole_answer(Truncate(b'{"x": 1}', missing=7))
    assert headers_of(answer)["content-length"] == "15"
    assert body_of(answer) == b'{"x": 1}'


def test_a_wrong_length_is_smaller_than_the_body_and_the_connection_stays_open() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", WrongLength(b'{"x": 1}HTTP/', excess=5), Json(2))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert await read_response(reader) == b'{"x": 1}'
        assert await reader.readexactly(5) == b"HTTP/"
        await send(writer, "GET /")
        assert await read_response(reader) == b"2"
        await close_connection(writer)

    run(scenario)


@pytest.mark.parametrize("with_length", [True, False])
def test_a_huge_answer_is_a_json_string_of_exactly_its_size(with_length: bool) -> None:
    answer = whole_answer(Huge(1_000_000, with_length=with_length))
    assert headers_of(answer).get("content-length") == ("1000000" if with_length else None)
    assert len(body_of(answer)) == 1_000_000
    assert len(json.loads(body_of(answer))) == 1_000_000 - 2


def test_a_huge_answer_without_length_ends_with_the_connection() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Huge(10, with_length=False))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        answer = await reader.read()
        assert headers_of(answer)["connection"] == "close"
        assert body_of(answer) == b'"aaaaaaaa"'
        await close_connection(writer)

    run(scenario)


@pytest.mark.parametrize("behaviour", [Huge(300_000_000), Huge(300_000_000, with_length=False), EndlessChunked()])
def test_a_stream_stops_when_the_peer_closes_and_its_bytes_are_counted(behaviour: Behaviour) -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", behaviour)
        reader, writer = await connect(server)
        await send(writer, "GET /")
        await reader.readexactly(500_000)
        await close_connection(writer)
        await server.wait_closed("/", timeout=0.5)
        sent = server.bytes_sent("/")
        assert 500_000 <= sent < 20_000_000
        await asyncio.sleep(0.02)
        assert server.bytes_sent("/") == sent

    run(scenario)


def test_a_slow_reader_gets_the_whole_answer_before_the_connection_closes() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Huge(20_000_000))
        reader, writer = await connect(server)
        await send(writer, "GET /", "connection: close")
        received = 0
        while piece := await reader.read(1 << 20):
            received += len(piece)
            await asyncio.sleep(0.001)
        assert received == server.bytes_sent("/") > 20_000_000
        await close_connection(writer)

    run(scenario)


def test_a_stream_waits_for_a_peer_that_does_not_read() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Huge(300_000_000))
        _, writer = await connect(server)
        await send(writer, "GET /")
        await asyncio.sleep(0.1)
        assert 0 < server.bytes_sent("/") < 2_000_000
        await close_connection(writer)

    run(scenario)


def test_an_endless_chunked_answer_is_a_string_without_end_in_sound_chunks() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", EndlessChunked(interval=0.001))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert headers_of(await reader.readuntil(b"\r\n\r\n"))["transfer-encoding"] == "chunked"
        chunks = []
        for _ in range(5):
            size = int(await reader.readline(), 16)
            chunks.append(await reader.readexactly(size))
            assert await reader.readexactly(2) == b"\r\n"
        assert chunks[0] == b'"'
        assert set(b"".join(chunks[1:])) == set(b"a")
        await close_connection(writer)

    run(scenario)


@pytest.mark.parametrize("behaviour", [Huge(300_000_000), EndlessChunked(), DeepJson(5), Drip(0.5)])
def test_the_answer_to_head_has_no_body(behaviour: Behaviour) -> None:
    assert body_of(whole_answer(behaviour, "HEAD")) == b""


def test_the_answer_to_head_tells_the_length_that_get_would_have() -> None:
    assert headers_of(whole_answer(DeepJson(5), "HEAD"))["content-length"] == "10"


def test_a_hang_reads_the_request_and_answers_nothing() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Hang())
        reader, writer = await connect(server)
        await send(writer, "POST /", "content-length: 3", body=b"abc")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), timeout=0.05)
        assert server.requests[0].body == b"abc"
        assert server.bytes_sent("/") == 0
        await close_connection(writer)

    run(scenario)


def test_a_hang_after_headers_sends_the_head_and_no_byte_of_the_body() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", HangAfterHeaders(content_length=7))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert headers_of(await reader.readuntil(b"\r\n\r\n"))["content-length"] == "7"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), timeout=0.05)
        await close_connection(writer)

    run(scenario)


def test_a_drip_sends_one_byte_per_interval() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Drip(0.02, b"abcd"))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert headers_of(await reader.readuntil(b"\r\n\r\n"))["content-length"] == "4"
        pieces, times = [], [time.monotonic()]
        for _ in range(4):
            pieces.append(await reader.read(100))
            times.append(time.monotonic())
        assert pieces == [b"a", b"b", b"c", b"d"]
        assert min(after - before for before, after in itertools.pairwise(times)) > 0.01
        await close_connection(writer)

    run(scenario)


def test_a_reset_is_seen_as_a_reset() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Reset())
        reader, writer = await connect(server)
        await send(writer, "GET /")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await server.wait_closed("/")
        writer.close()

    run(scenario)


def test_a_close_without_answer_is_seen_as_a_plain_end() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", CloseWithoutAnswer())
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert await reader.read() == b""
        await server.wait_closed("/")
        await close_connection(writer)

    run(scenario)


def test_close_when_idle_promises_keep_alive_and_closes_after_the_answer() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", CloseWhenIdle(Json({"x": 1})))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        answer = await reader.read()
        assert headers_of(answer)["connection"] == "keep-alive"
        assert body_of(answer) == b'{"x": 1}'
        await close_connection(writer)

    run(scenario)


def test_a_request_that_meets_a_closing_connection_is_not_answered_nor_recorded() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", CloseWhenIdle(Json(1), after=0.03), Json(2))
        reader, writer = await connect(server)
        await send(writer, "GET /")
        assert await read_response(reader) == b"1"
        await send(writer, "GET /")
        assert await reader.read() == b""
        assert server.count("/") == 1
        (connection,) = server.connections
        assert connection.closed_at is not None
        assert connection.closed_at - server.requests[0].arrived_at >= 0.03
        await close_connection(writer)

    run(scenario)


def test_a_script_is_followed_in_turn_and_its_last_behaviour_repeats() -> None:
    async def scenario(server: FaultServer) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            server.script("/b", Status(503), Status(502), Json([1]))
            statuses = [(await client.get(f"{server.url}/b?try={number}")).status_code for number in range(5)]
            assert statuses == [503, 502, 200, 200, 200]
            server.script("/b", Status(418))
            assert (await client.get(f"{server.url}/b")).status_code == 418

    run(scenario)


def test_an_empty_script_is_refused() -> None:
    with pytest.raises(ValueError, match="the script of '/a' is empty"):
        FaultServer().script("/a")


def test_an_unscripted_path_is_answered_404_and_recorded() -> None:
    async def scenario(server: FaultServer) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{server.url}/nowhere")).status_code == 404
            assert server.count("/nowhere") == 1
            assert server.count("/elsewhere") == 0

    run(scenario)


def test_a_request_is_recorded_as_it_stood_on_the_wire() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/a%2Fb", Json(1))
        reader, writer = await connect(server)
        started = time.monotonic()
        await send(writer, "PUT /a%2Fb?x=%2e", "X-One: 1", "x-one:  2 ", "content-length: 2", body=b"hi")
        await read_response(reader)
        (request,) = server.requests
        assert (request.method, request.target, request.path) == ("PUT", "/a%2Fb?x=%2e", "/a%2Fb")
        assert request.headers == [
            ("host", "test"),
            ("x-one", "1"),
            ("x-one", "2"),
            ("content-length", "2"),
        ]
        assert request.body == b"hi"
        assert started <= request.arrived_at <= time.monotonic()
        assert request.connection is server.connections[0]
        await close_connection(writer)

    run(scenario)


def test_chunked_request_bodies_are_read_with_extensions_and_trailers() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Json(1))
        reader, writer = await connect(server)
        chunks = b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-trailer: 1\r\n\r\n"
        await send(writer, "POST /", "Transfer-Encoding: chunked", body=chunks)
        await read_response(reader)
        await send(writer, "GET /")
        await read_response(reader)
        assert [request.body for request in server.requests] == [b"abc0123456789", b""]
        await close_connection(writer)

    run(scenario)


def test_requests_share_a_connection_that_is_kept_alive() -> None:
    async def scenario(server: FaultServer) -> None:
        reader, writer = await connect(server)
        sent = 0
        for path in ("/a", "/b"):
            await send(writer, f"GET {path}")
            sent += len(f"GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
            await read_response(reader)
        (connection,) = server.connections
        assert [request.path for request in connection.requests] == ["/a", "/b"]
        assert connection.bytes_in == sent
        assert connection.closed_at is None
        await close_connection(writer)

    run(scenario)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/a", Json("a", delay=0.01))
        server.script("/b", Json("b"))
        reader, writer = await connect(server)
        await send(writer, "GET /a")
        await send(writer, "GET /b")
        assert [await read_response(reader), await read_response(reader)] == [b'"a"', b'"b"']
        await close_connection(writer)

    run(scenario)


@pytest.mark.parametrize("request_line", ["GET / HTTP/1.1\r\nConnection: close", "GET / HTTP/1.0"])
def test_a_connection_closes_after_the_answer_where_the_peer_wants_it(request_line: str) -> None:
    async def scenario(server: FaultServer) -> None:
        reader, writer = await connect(server)
        writer.write(f"{request_line}\r\n\r\n".encode())
        assert headers_of(await reader.read())["connection"] == "close"
        await server.wait_closed("/")
        await close_connection(writer)

    run(scenario)


def test_connections_are_numbered_and_timed() -> None:
    async def scenario(server: FaultServer) -> None:
        for _ in range(2):
            reader, writer = await connect(server)
            await send(writer, "GET /")
            await read_response(reader)
            await close_connection(writer)
        await server.wait_closed("/")
        assert [connection.number for connection in server.connections] == [1, 2]
        first = server.connections[0]
        assert first.closed_at is not None
        assert first.opened_at <= first.requests[0].arrived_at <= first.closed_at

    run(scenario)


def test_the_close_of_a_peer_is_seen_at_once_while_an_answer_is_under_way() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Hang())
        _, writer = await connect(server)
        await send(writer, "GET /")
        await server.wait_requests("/")
        with pytest.raises(AssertionError, match=r"connection 1 is still open after 0\.02 s"):
            await server.wait_closed("/", timeout=0.02)
        left = time.monotonic()
        await close_connection(writer)
        await server.wait_closed(server.requests[0].connection, timeout=0.5 + SLACK)
        closed_at = server.connections[0].closed_at
        assert closed_at is not None
        assert left <= closed_at < left + 0.1 + SLACK

    run(scenario)


def test_the_reset_of_a_peer_is_a_close() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Hang())
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port)) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            await server.wait_requests("/")
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await server.wait_closed("/")

    run(scenario)


def test_waiting_for_the_close_of_a_path_without_requests_fails() -> None:
    async def scenario(server: FaultServer) -> None:
        with pytest.raises(AssertionError, match="no request for '/a' arrived"):
            await server.wait_closed("/a")

    run(scenario)


def test_requests_can_be_waited_for() -> None:
    async def scenario(server: FaultServer) -> None:
        _, writer = await connect(server)
        waiting = asyncio.create_task(server.wait_requests("/", count=2))
        await send(writer, "GET /")
        await send(writer, "GET /")
        await waiting
        with pytest.raises(AssertionError, match=r"'/' got 2 of 3 requests within 0\.02 s"):
            await server.wait_requests("/", count=3, timeout=0.02)
        await close_connection(writer)

    run(scenario)


def test_a_server_closes_fast_while_its_behaviours_wait() -> None:
    async def scenario() -> None:
        server = FaultServer()
        async with server:
            writers = [(await connect(server))[1]]
            for path, behaviour in (("/a", Hang()), ("/b", Delay(60, Json(1))), ("/c", EndlessChunked())):
                server.script(path, behaviour)
                writers.append((await connect(server))[1])
                await send(writers[-1], f"GET {path}")
                await server.wait_requests(path)
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 0.1 + SLACK
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert [connection.closed_at is None for connection in server.connections] == [False] * 4
        for writer in writers:
            writer.transport.abort()
        with pytest.raises(ConnectionRefusedError):
            await connect(server)

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_that_arrives_while_the_server_closes_is_closed_too(turns: int) -> None:
    async def scenario() -> None:
        async with FaultServer() as server:
            peer = socket.create_connection(("127.0.0.1", urlsplit(server.url).port))
            for _ in range(turns):  # of the event loop, for each stage of accepting
                await asyncio.sleep(0)
        with peer:
            await asyncio.sleep(0.01)
            peer.settimeout(0.1)
            with contextlib.suppress(ConnectionResetError):
                assert peer.recv(1) == b""

    asyncio.run(scenario())


def test_a_failure_in_a_test_passes_through_the_server_unchanged() -> None:
    async def scenario(server: FaultServer) -> None:
        raise KeyError(server.url)

    with pytest.raises(KeyError, match="http://127"):
        run(scenario)


def test_a_peer_that_does_not_speak_http_fails_the_test() -> None:
    async def scenario(server: FaultServer) -> None:
        reader, writer = await connect(server)
        writer.write(b"GET /a b HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        await close_connection(writer)

    with pytest.raises(ExceptionGroup) as failure:
        run(scenario)
    assert failure.group_contains(ValueError, match="'GET /a b HTTP/1.1' is no request line")


def test_a_behaviour_can_be_written_in_the_test_and_see_its_request() -> None:
    class Echo:
        async def answer(self, exchange: Exchange) -> None:
            await exchange.reply(200, {}, exchange.request.target.encode())

    assert body_of(whole_answer(Echo())) == b"/"


def test_many_connections_at_once_are_served() -> None:
    async def scenario(server: FaultServer) -> None:
        server.script("/", Json(1, delay=0.05))
        peers = await asyncio.gather(*(connect(server) for _ in range(200)))
        for _, writer in peers:
            await send(writer, "GET /")
        bodies = await asyncio.gather(*(read_response(reader) for reader, _ in peers))
        assert (len(bodies), set(bodies)) == (200, {b"1"})
        for _, writer in peers:
            await close_connection(writer)

    run(scenario)


def test_a_refused_port_refuses() -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", refused_port()))
