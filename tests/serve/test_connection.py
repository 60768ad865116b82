"""Bytes on a connection, valid or not, in one piece or many → responses in order, or an error and a close (RFC 9112), over real sockets."""

import asyncio
import contextlib
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.process.app import create_app
from gateway.serve.connections.head import RequestHead
from gateway.serve.http.asgi import GatewayApp
from tests.faults import Drip, FaultServer, Json
from tests.faults.probes import established
from tests.kit.serving import Stage, listening, write_files
from tests.kit.timing import SLACK

CONFIG = {
    "graph.yaml": """
sources: { core: { type: api, base_url: UPSTREAM, max_response_bytes: 50000000, timeout_ms: 20000 } }
defaults: { api: core }
---
server:
  header_read_timeout_ms: 700
  body_read_timeout_ms: 700
  idle_timeout_ms: 1200
  max_request_bytes: 100000
  cors: { origins: ["https://desk.example"], headers: [authorization] }
---
operation: echo
args: { text: String }
steps: [{ name: said, type: value, value: "{text}", returns: String }]
aggregation: { strategy: pick, step: said }
---
operation: slow
steps: [{ name: one, type: api, endpoint: /slow }]
aggregation: { strategy: pick, step: one }
---
operation: long
steps: [{ name: one, type: api, endpoint: /long }]
aggregation: { strategy: pick, step: one }
""",
}
LONG = 19_000_000
"""Bytes; more than the operating system buffers for a client that does not read."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("protocol"), CONFIG) as opened:
        opened.upstream.script("/slow", Json("slow", delay=0.2))
        opened.upstream.script("/long", Json("x" * LONG))
        yield opened


class Client:
    """A connection that sends arbitrary bytes and reads complete responses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: str) -> "Client":
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, *pieces: bytes, pause: float = 0.0) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
        assert headers["x-request-id"]
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(line.split()[1]), headers, json.loads(body) if body else None

    async def refused(self) -> tuple[int, str]:
        """Read an error response that closes the connection; return its status and code."""
        status, headers, body = await self.answer()
        assert headers["connection"] == "close"
        assert await self.ended() >= 0
        return status, body["errors"][0]["extensions"]["code"]

    async def ended(self) -> float:
        """Wait until the connection is closed; return the seconds that it took."""
        started = time.perf_counter()
        assert await self.reader.read() == b""
        return time.perf_counter() - started


def post(query: str, *lines: str, version: str = "1.1") -> bytes:
    body = json.dumps({"query": query}).encode()
    head = [
        f"POST /graphql HTTP/{version}",
        "Host: gateway",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def head(*lines: str, first: str = "GET /health/live HTTP/1.1") -> bytes:
    return "\r\n".join([first, *lines]).encode() + b"\r\n\r\n"


ECHO = post('{ echo(text: "a") }')
ECHO_BODY = ECHO.partition(b"\r\n\r\n")[2]
HOST = "Host: gateway"
REFUSED = {
    "a head that is too large": (head(HOST, f"x-filler: {'y' * 65_537}"), 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
    "the same for GraphQL": (post("{ __typename }", f"x-filler: {'y' * 65_537}"), 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
    "a head in many headers": (head(HOST, *[f"x-{n}: {'y' * 900}" for n in range(80)]), 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
    "101 headers": (head(HOST, *[f"x-{n}: y" for n in range(100)]), 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
    "a head without end": (head(HOST)[:-2] + b"x: " + b"y" * 200_000, 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
    "a long URL": (head(HOST, first=f"GET /graphql?query={'x' * 16_384} HTTP/1.1"), 414, "URI_TOO_LONG"),
    "a URL without end": (b"GET /" + b"x" * 200_000, 414, "URI_TOO_LONG"),
    "no host": (head(), 400, "BAD_REQUEST"),
    "two hosts": (head(HOST, "Host: other"), 400, "BAD_REQUEST"),
    "a host with a blank": (head("Host: gate way"), 400, "BAD_REQUEST"),
    "a host with a name before it": (head("Host: user@gateway"), 400, "BAD_REQUEST"),
    "a host with a path": (head("Host: gateway/graphql"), 400, "BAD_REQUEST"),
    "a host that is not ASCII": (head("Host: g\u00e4teway"), 400, "BAD_REQUEST"),
    "HTTP/2 on a line": (head(HOST, first="GET /health/live HTTP/2.0"), 400, "BAD_REQUEST"),
    "HTTP/0.9": (head(HOST, first="GET /health/live HTTP/0.9"), 400, "BAD_REQUEST"),
    "two lengths": (post("{ __typename }", "Content-Length: 5"), 400, "BAD_REQUEST"),
    "two ways to tell the length": (post("{ __typename }", "Transfer-Encoding: chunked"), 400, "BAD_REQUEST"),
    "a length that is none": (head(HOST, "Content-Length: -1", first="POST /graphql HTTP/1.1"), 400, "BAD_REQUEST"),
    "a coding that is not known here": (
        head(HOST, "Transfer-Encoding: gzip, chunked", first="POST /graphql HTTP/1.1") + b"0\r\n\r\n",
        400,
        "BAD_REQUEST",
    ),
    "a chunk that is none": (head(HOST, "Transfer-Encoding: chunked", first="POST /graphql HTTP/1.1") + b"zz\r\n", 400, "BAD_REQUEST"),
    "a line that is none": (b"\x16\x03\x01 hello\r\n\r\n", 400, "BAD_REQUEST"),
    "a folded header": (head(HOST, "x: 1", " 2"), 400, "BAD_REQUEST"),
    "a header with a NUL": (head(HOST, "x: a\0b"), 400, "BAD_REQUEST"),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "BAD_REQUEST"),
    "a body that declares too much": (head(HOST, "Content-Length: 100001", first="POST /graphql HTTP/1.1"), 413, "PAYLOAD_TOO_LARGE"),
    "a chunked body of too much": (
        head(HOST, "Transfer-Encoding: chunked", first="POST /graphql HTTP/1.1") + b"10000\r\n" + b"x" * 65_536 + b"\r\n10000\r\n" + b"x" * 65_536,
        413,
        "PAYLOAD_TOO_LARGE",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_sound_message_is_refused_and_the_connection_ends(stage: Stage, sent: bytes, status: int, code: str) -> None:
    async def scenario() -> tuple[int, str]:
        async with await Client.open(stage.production.url) as client:
            await client.send(sent)
            return await client.refused()

    assert stage.run(scenario) == (status, code)


def test_a_client_that_goes_on_sending_can_read_why_it_was_refused(stage: Stage) -> None:
    async def scenario() -> tuple[int, str]:
        async with await Client.open(stage.production.url) as client:
            await client.send(head(HOST, "Content-Length: 3000000", first="POST /graphql HTTP/1.1"))
            await client.send(*[b"x" * 65_536] * 20, pause=0.005)
            return await client.refused()

    assert stage.run(scenario) == (413, "PAYLOAD_TOO_LARGE")


SLOW = {
    "its head": (ECHO[:30], ECHO[30:60], 408),
    "its first byte": (b"P", b"O", 408),
    "its body": (ECHO[:-10], ECHO[-10:-5], 408),
    "a body that is for nobody": (head(HOST, "Content-Length: 9", first="POST /none HTTP/1.1"), b"x", 404),
}


@pytest.mark.parametrize(("first", "then", "status"), SLOW.values(), ids=SLOW)
def test_a_client_that_is_too_slow_with_a_part_is_told_so(stage: Stage, first: bytes, then: bytes, status: int) -> None:
    async def scenario() -> tuple[int, float]:
        async with await Client.open(stage.production.url) as client:
            started = time.perf_counter()
            await client.send(first)
            await asyncio.sleep(0.3)
            await client.send(then)
            answered, _, _ = await client.answer()
            if answered == 404:
                assert b"408" in await client.reader.read()
            else:
                await client.ended()
            return answered, time.perf_counter() - started

    answered, seconds = stage.run(scenario)
    assert answered == status
    assert 0.6 < seconds < 0.7 + 0.5 + SLACK


def test_a_connection_without_a_request_is_closed_without_a_word(stage: Stage) -> None:
    async def scenario() -> tuple[float, float]:
        async with await Client.open(stage.production.url) as fresh, await Client.open(stage.production.url) as used:
            await used.send(ECHO)
            assert (await used.answer())[0] == 200
            return await fresh.ended(), await used.ended()

    fresh, used = stage.run(scenario)
    assert 0.6 < fresh < 1.2 + SLACK
    assert fresh + used > 1.1


@pytest.mark.parametrize(
    "host",
    [
        "",
        "gateway.example",
        "gateway:8000",
        "10.0.0.1:80",
        "[::1]",
        "[fe80::1]:8000",
        "a_b.c-d",
        "x:",
        "gateway ",
        "\tgateway:80\t",
    ],
)
def test_a_host_may_be_a_name_or_an_address_with_a_port(stage: Stage, host: str) -> None:
    async def scenario() -> int:
        async with await Client.open(stage.production.url) as client:
            await client.send(head(f"Host: {host}"))
            return (await client.answer())[0]

    assert stage.run(scenario) == 200


def test_a_message_may_come_byte_by_byte(stage: Stage) -> None:
    async def scenario() -> Any:
        async with await Client.open(stage.production.url) as client:
            for _ in range(2):
                await client.send(*(ECHO[at : at + 1] for at in range(len(ECHO))))
                status, _, body = await client.answer()
                assert status == 200
            return body

    assert stage.run(scenario) == {"data": {"echo": "a"}}


def test_requests_that_do_not_wait_for_their_answers_get_them_in_order(stage: Stage) -> None:
    async def scenario() -> list[Any]:
        async with await Client.open(stage.production.url) as client:
            await client.send(post("{ slow }") + ECHO + head(HOST) + post("{ slow }") + ECHO[:40])
            await client.send(ECHO[40:], pause=0.05)
            answers = [await client.answer() for _ in range(5)]
            assert all(status == 200 for status, _, _ in answers)
            return [body.get("data", body) for _, _, body in answers]

    assert stage.run(scenario) == [{"slow": "slow"}, {"echo": "a"}, {"status": "live"}, {"slow": "slow"}, {"echo": "a"}]


AGAIN = post('{ echo(text: "a") }', "x-request-id: again")
ASKED = head(HOST, "x-request-id: again", "graphql-require-preflight: 1", first='GET /graphql?query={echo(text:"b")} HTTP/1.1')
PIECES = [
    *[AGAIN, ASKED] * 4,
    AGAIN.replace(b'\\"a', b'\\"c'),
    AGAIN.replace(b"gateway", b"another"),
    AGAIN.replace(b": again", b": twice"),
    AGAIN * 2,
    ASKED + AGAIN,
    AGAIN + b"\r\n",
    b"\r\n" + AGAIN,
    b"\r\n",
    b"\r\n\r\n",
    AGAIN[:30],
    AGAIN[30:],
    AGAIN[:-1],
    AGAIN[-1:],
    AGAIN.replace(b"\r\n\r\n", b"\n\n"),
    AGAIN.replace(b"Length: ", b"Length: 0"),
    ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    ASKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    head(HOST),
    b"\x00",
]


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Read until the other side closes or resets the connection."""
    received = b""
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            received += piece
    return received


@pytest.mark.parametrize("seed", range(12))
def test_a_head_that_is_known_already_is_read_as_any_other(stage: Stage, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    known = []
    is_known = RequestHead.matches

    async def received(pieces: list[bytes]) -> bytes:
        async with await Client.open(stage.production.url) as client:
            reading = asyncio.create_task(read_all(client.reader))
            with contextlib.suppress(OSError):
                for piece in pieces:
                    await client.send(piece, pause=0.003)
                client.writer.write_eof()
            return await reading

    async def scenario(choose: random.Random) -> list[bytes]:
        responses = []
        for _ in range(6):
            first = choose.choice([AGAIN, ASKED])
            responses.append(await received([first, first, *choose.choices(PIECES, k=6), first]))
        return [re.sub(rb"(x-request-id: )[0-9a-f]{32}", rb"\1-", received_bytes) for received_bytes in responses]

    def matches(self: RequestHead, message: bytes) -> bool:
        known.append(is_known(self, message))
        return known[-1]

    monkeypatch.setattr(RequestHead, "matches", matches)
    responses = stage.run(lambda: scenario(random.Random(seed)))
    assert sum(known) >= 6
    monkeypatch.setattr(RequestHead, "matches", lambda *_: False)
    assert responses == stage.run(lambda: scenario(random.Random(seed)))


@pytest.mark.parametrize(
    "rubbish", [b"\x00 rubbish\r\n\r\n", head(), post("{ slow }", "Content-Length: 5"), b"GET /" + b"x" * 70_000]
)
def test_an_answer_is_whole_although_rubbish_follows_its_request(stage: Stage, rubbish: bytes) -> None:
    async def scenario() -> Any:
        async with await Client.open(stage.production.url) as client:
            await client.send(post("{ slow }") + rubbish)
            status, _, body = await client.answer()
            rest = await client.reader.read()
            assert rest == b"" or b" 414 " in rest  # where it is too long to be seen together with the request
            return status, body

    assert stage.run(scenario) == (200, {"data": {"slow": "slow"}})


def test_a_second_request_that_is_too_slow_does_not_spoil_the_first(stage: Stage) -> None:
    async def scenario() -> list[int]:
        async with await Client.open(stage.production.url) as client:
            await client.send(post("{ slow }") + ECHO[:20])
            return [(await client.answer())[0], (await client.answer())[0]]

    assert stage.run(scenario) == [200, 408]


@pytest.mark.parametrize(
    "length", [f"Content-Length: {len(ECHO_BODY)}", "Transfer-Encoding: chunked"], ids=["declared", "chunked"]
)
def test_the_body_of_a_second_request_may_come_after_the_first_answer(stage: Stage, length: str) -> None:
    second = head(HOST, "Content-Type: application/json", length, first="POST /graphql HTTP/1.1")
    body = ECHO_BODY if "Content" in length else b"%x\r\n%s\r\n0\r\n\r\n" % (len(ECHO_BODY), ECHO_BODY)

    async def scenario() -> list[Any]:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(5):
            await client.send(post("{ slow }") + post("{ __typename }") + second + body[:5])
            answers = [(await client.answer())[2] for _ in range(2)]
            await client.send(body[5:])
            return [*answers, (await client.answer())[2]]

    assert stage.run(scenario) == [{"data": {"slow": "slow"}}, {"data": {"__typename": "Query"}}, {"data": {"echo": "a"}}]


def test_a_second_request_whose_body_does_not_come_is_told_so_after_the_first_answer(stage: Stage) -> None:
    async def scenario() -> tuple[int, str]:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(5):
            await client.send(post("{ slow }") + ECHO[:-5])
            assert (await client.answer())[0] == 200
            return await client.refused()

    assert stage.run(scenario) == (408, "REQUEST_TIMEOUT")


def test_many_requests_at_once_are_no_head_that_is_too_large(stage: Stage) -> None:
    async def scenario() -> set[int]:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(30):
            sending = asyncio.create_task(client.send(ECHO * 3_000))
            statuses = {(await client.answer())[0] for _ in range(3_000)}
            await sending
            return statuses

    assert stage.run(scenario) == {200}


def test_trailers_are_dropped(stage: Stage) -> None:
    chunked = head(HOST, "Content-Type: application/json", "Transfer-Encoding: chunked", first="POST /graphql HTTP/1.1")
    whole = chunked + b"%x\r\n%s\r\n0\r\nx-request-id: trailer\r\n\r\n" % (len(ECHO_BODY), ECHO_BODY)

    async def scenario() -> list[tuple[int, bool]]:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(5):
            await client.send(whole, whole)
            return [
                (status, headers["x-request-id"] == "trailer") for status, headers, _ in [await client.answer() for _ in range(2)]
            ]

    assert stage.run(scenario) == [(200, False), (200, False)]


ENDLESS = {
    "trailers": b"%x\r\n%s\r\n0\r\n" % (len(ECHO_BODY), ECHO_BODY) + b"x: y\r\n" * 50_000,
    "a trailer": b"%x\r\n%s\r\n0\r\nx: " % (len(ECHO_BODY), ECHO_BODY) + b"y" * 300_000,
    "an extension of a chunk": b"5;" + b"x" * 300_000,
    "extensions of small chunks": (b"1;" + b"x" * 1_000 + b"\r\n \r\n") * 300,
}


@pytest.mark.parametrize("path", ["/graphql", "/none"])
@pytest.mark.parametrize("rest", ENDLESS.values(), ids=ENDLESS)
def test_what_frames_a_body_is_no_larger_than_a_head_and_a_body_may_be(stage: Stage, path: str, rest: bytes) -> None:
    chunked = head(HOST, "Content-Type: application/json", "Transfer-Encoding: chunked", first=f"POST {path} HTTP/1.1")

    async def scenario() -> bytes:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):
                await client.send(chunked, *(rest[start : start + 50_000] for start in range(0, len(rest), 50_000)), pause=0.02)
            return await client.reader.read()

    assert b"PAYLOAD_TOO_LARGE" in stage.run(scenario)


def test_a_client_that_asks_first_whether_to_send_a_body_is_told(stage: Stage) -> None:
    async def scenario() -> Any:
        async with await Client.open(stage.production.url) as client:
            asking = post('{ echo(text: "b") }', "Expect: 100-continue")
            at = asking.index(b"\r\n\r\n") + 4
            await client.send(asking[:at])
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(asking[at:])
            return (await client.answer())[2]

    assert stage.run(scenario) == {"data": {"echo": "b"}}


@pytest.mark.parametrize("asks", [post("{ slow }", version="1.0"), post("{ slow }", "Connection: close")], ids=["1.0", "close"])
def test_a_connection_that_is_not_kept_ends_with_its_answer(stage: Stage, asks: bytes) -> None:
    async def scenario() -> tuple[int, str]:
        async with await Client.open(stage.production.url) as client:
            await client.send(asks)
            status, headers, _ = await client.answer()
            await client.ended()
            return status, headers["connection"]

    assert stage.run(scenario) == (200, "close")


@pytest.mark.parametrize("path", ["/graphql", "/", "/none"])
def test_no_other_protocol_is_spoken_and_an_offer_of_one_is_ignored(stage: Stage, path: str) -> None:
    upgrade = (
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )

    async def scenario() -> int:
        async with await Client.open(stage.production.url) as client:
            await client.send(head(HOST, *upgrade, first=f"GET {path} HTTP/1.1"))
            status, headers, _ = await client.answer()
            assert "connection" not in headers
            await client.send(b"\x81\x05hello" * 10)
            assert await client.refused() == (400, "BAD_REQUEST")
            return status

    assert stage.run(scenario) in {400, 404}


def is_established(client: Client) -> bool:
    """Tell whether the server's end of a connection is open. Its closing does not reach a client that does not read."""
    ports = client.writer.get_extra_info("peername")[1], client.writer.get_extra_info("sockname")[1]
    return ports in established()


def test_a_client_that_does_not_read_is_let_go_and_one_that_reads_slowly_is_served(stage: Stage) -> None:
    async def scenario() -> tuple[int, int]:
        async with await Client.open(stage.production.url) as deaf, await Client.open(stage.production.url) as slow:
            deaf.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio has it for transports that read
            await deaf.send(post("{ long }"))
            await slow.send(post("{ long }"))
            got = len(await slow.reader.readuntil(b"\r\n\r\n"))
            for _ in range(5):
                got += len(await slow.reader.readexactly(LONG // 10))
                await asyncio.sleep(0.6)
            got += len(await slow.reader.readexactly(LONG // 2))
            async with asyncio.timeout(20):
                while is_established(deaf):  # noqa: ASYNC110 - the kernel has no event for it
                    await asyncio.sleep(0.05)
            deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]
            left = 0
            with contextlib.suppress(ConnectionError):
                while piece := await deaf.reader.read(1_000_000):
                    left += len(piece)
            return got, left

    got, left = stage.run(scenario)
    assert got >= LONG
    assert left < LONG


def test_pages_of_other_sites_may_ask_where_their_origin_is_written(stage: Stage) -> None:
    async def scenario() -> list[tuple[int, str | None]]:
        answers = []
        for origin in ("https://desk.example", "https://evil.example"):
            async with await Client.open(stage.production.url) as client:
                await client.send(post("{ __typename }", f"Origin: {origin}"))
                status, headers, body = await client.answer()
                assert body == {"data": {"__typename": "Query"}}
                answers.append((status, headers.get("access-control-allow-origin")))
                asks = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, content-type")
                await client.send(head(HOST, f"Origin: {origin}", *asks, first="OPTIONS /graphql HTTP/1.1"))
                line = (await client.reader.readuntil(b"\r\n\r\n")).decode()
                answers.append((int(line.split()[1]), "https://desk.example" if f"allow-origin: {origin}" in line else None))
        return answers

    assert stage.run(scenario) == [(200, "https://desk.example"), (200, "https://desk.example"), (200, None), (400, None)]


def test_a_page_that_may_not_ask_is_told_as_any_other_client(stage: Stage) -> None:
    async def scenario() -> list[tuple[int, str]]:
        answers = []
        for method, origin in (("POST", "https://evil.example"), ("DELETE", "https://desk.example")):
            async with await Client.open(stage.production.url) as client:
                asks = (f"Origin: {origin}", f"Access-Control-Request-Method: {method}")
                await client.send(head(HOST, *asks, first="OPTIONS /graphql HTTP/1.1"))
                status, headers, body = await client.answer()
                assert headers["content-type"] == "application/json; charset=utf-8"
                assert "Disallowed CORS" in body["errors"][0]["message"]
                answers.append((status, body["errors"][0]["extensions"]["code"]))
        return answers

    assert stage.run(scenario) == [(400, "BAD_REQUEST"), (400, "BAD_REQUEST")]


def test_no_origin_may_ask_where_none_is_written(tmp_path: Path) -> None:
    async def scenario() -> dict[str, str]:
        folder = write_files(tmp_path, {"graph.yaml": "operation: a\nsteps: [{ name: b, type: value, value: 1 }]\n"})
        async with listening(create_app(folder)) as url, await Client.open(url) as client:
            await client.send(post("{ __typename }", "Origin: https://desk.example"))
            return (await client.answer())[1]

    headers = asyncio.run(scenario())
    assert not [name for name in headers if name.startswith("access-control")]


def test_a_server_that_is_about_to_end_lets_each_connection_have_one_more_answer(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[int, str]]:
        async with FaultServer() as upstream:
            upstream.script("/slow", Json("slow", delay=0.2))
            folder = write_files(tmp_path, {"graph.yaml": CONFIG["graph.yaml"].replace("UPSTREAM", upstream.url)})
            gateway_app = create_app(folder)
            assert isinstance(gateway_app, GatewayApp)
            answers = []
            async with listening(gateway_app) as url:
                for asks in (ECHO, post("{ slow }"), head(HOST)):
                    async with await Client.open(url) as client:
                        gateway_app.edge.is_draining = False
                        await client.send(ECHO)
                        assert "connection" not in (await client.answer())[1]
                        gateway_app.edge.is_draining = True
                        await client.send(asks)
                        status, headers, _ = await client.answer()
                        await client.ended()
                        answers.append((status, headers["connection"]))
            return answers

    assert asyncio.run(scenario()) == [(200, "close")] * 3


def test_200_slow_heads_are_closed_and_others_are_served_meanwhile(stage: Stage) -> None:
    async def scenario() -> float:
        async with contextlib.AsyncExitStack() as opened:
            crowd = []
            for _ in range(200):
                crowd.append(await opened.enter_async_context(await Client.open(stage.production.url)))
                crowd[-1].writer.write(ECHO[:10])
            started = time.perf_counter()
            async with await Client.open(stage.production.url) as client:
                for _ in range(20):
                    await client.send(ECHO)
                    assert (await client.answer())[0] == 200
            served = time.perf_counter() - started
            statuses = [(await client.answer())[0] for client in crowd]
            assert statuses == [408] * 200
        return served

    assert stage.run(scenario) < 1.5 + SLACK


def test_an_upstream_that_drips_is_no_reason_to_call_the_client_slow(stage: Stage) -> None:
    stage.upstream.script("/slow", Drip(0.15, b'"dripped"'))

    async def scenario() -> Any:
        async with await Client.open(stage.production.url) as client:
            await client.send(post("{ slow }"))
            return (await client.answer())[2]

    try:
        assert stage.run(scenario) == {"data": {"slow": "dripped"}}
    finally:
        stage.upstream.script("/slow", Json("slow", delay=0.2))
