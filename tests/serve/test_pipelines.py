"""Requests that do not wait for the answers before them (pipelining, RFC 9112, 9.3.2): in any mixture, and cut into segments anywhere."""

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from gateway.serve.connections.connection import GatewayProtocol
from tests.faults import Json, Status
from tests.kit.serving import Stage
from tests.kit.timing import SLACK
from tests.serve.test_connection import HOST, Client, head, is_established, post, read_all

CONFIG = {
    "graph.yaml": """
sources: { core: { type: api, base_url: UPSTREAM }, other: { type: api, base_url: UPSTREAM } }
defaults: { api: core }
---
server: { idle_timeout_ms: 1200, header_read_timeout_ms: 5000, cors: { origins: ["https://desk.example"] } }
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
operation: broken
steps: [{ name: one, type: api, source: other, endpoint: /broken }]
aggregation: { strategy: pick, step: one }
---
operation: big
steps: [{ name: one, type: value, value: BIG }]
aggregation: { strategy: pick, step: one }
""".replace("BIG", "x" * 90_000),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("pipelines"), CONFIG) as opened:
        opened.upstream.script("/slow", Json("slow", delay=0.03))
        opened.upstream.script("/broken", Status(500))
        yield opened


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what its answer is: a status and, where that is known exactly, the body."""

    sent: bytes
    status: int
    body: Any = None
    is_head: bool = False


OFFERS = [
    ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ("Connection: upgrade", "Upgrade: TLS/1.0"),
    ("Connection: keep-alive, Upgrade", "Upgrade: foo/2, websocket , h2c"),
    (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
    ("Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade"),
    ("Upgrade: h2c",),
]


def chunked(query: str, choose: random.Random, *lines: str) -> bytes:
    body = json.dumps({"query": query}).encode()
    at = choose.randrange(1, len(body))
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:at], body[at:]))
    return (
        head(HOST, "Content-Type: application/json", "Transfer-Encoding: chunked", *lines, first="POST /graphql HTTP/1.1")
        + pieces
        + b"0\r\n\r\n"
    )


def asked(number: int, choose: random.Random) -> Asked:
    """Return a random request whose answer is known."""
    identity = f"x-request-id: {number}"
    offer = choose.choice(OFFERS) if choose.random() < 0.3 else ()
    origin = ("Origin: https://desk.example",) if choose.random() < 0.15 else ()
    lines = (identity, *offer, *origin)
    text = "y" * choose.choice([1, 10, 5_000, 40_000]) if choose.random() < 0.1 else str(number)
    query = f'{{ echo(text: "{text}") }}'
    echoed = {"data": {"echo": text}}
    makers: list[Callable[[], Asked]] = [
        lambda: Asked(post(query, *lines), 200, echoed),
        lambda: Asked(post('{ echo(text: "same") }'), 200, {"data": {"echo": "same"}}),
        lambda: Asked(chunked(query, choose, *lines), 200, echoed),
        lambda: Asked(post("{ slow }", *lines), 200, {"data": {"slow": "slow"}}),
        lambda: Asked(post("{ broken }", *lines), 200),
        lambda: Asked(post("{ none }", *lines), 200),
        lambda: Asked(post("{"), 200),
        lambda: Asked(head(HOST, *lines), 200, {"status": "live"}),
        lambda: Asked(head(HOST, identity, *offer, first="HEAD /health/live HTTP/1.1"), 200, is_head=True),
        lambda: Asked(head(HOST, *lines, first="GET /none HTTP/1.1"), 404),
        lambda: Asked(head(HOST, *lines, "Content-Length: 5", first="POST /none HTTP/1.1") + b"12345", 404),
        lambda: Asked(head(HOST, *lines, "Content-Length: 5", first="PUT /graphql HTTP/1.1") + b"12345", 405),
        lambda: Asked(
            head(HOST, *lines, "GraphQL-Require-Preflight: 1", first=f'GET /graphql?query={{echo(text:"{number}")}} HTTP/1.1'),
            200,
            {"data": {"echo": str(number)}},
        ),
    ]
    return choose.choice(makers)()


def segments(data: bytes, choose: random.Random) -> Iterator[bytes]:
    """Cut bytes anywhere: whole, into a few pieces, or into many."""
    count = choose.choice([0, 0, 1, 3, 20, 60])
    ends = sorted(choose.randrange(1, len(data)) for _ in range(count))
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        if start < end:
            yield data[start:end]


async def answers_to(client: Client, requests: Sequence[Asked]) -> None:
    """Read the answers to requests, and check that each is that of its request."""
    for request in requests:
        lines = (await client.reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:-2])
        body = b"" if request.is_head else await client.reader.readexactly(int(headers["content-length"]))
        assert lines[0].startswith(f"http/1.1 {request.status} "), (request, lines[0], body)
        assert "connection" not in headers
        if request.body is not None:
            assert json.loads(body) == request.body
        sent = request.sent.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        assert headers["x-request-id"] == (sent or headers["x-request-id"])


@pytest.mark.parametrize("seed", range(25))
def test_any_requests_in_any_segments_get_their_answers_in_order(stage: Stage, seed: int) -> None:
    choose = random.Random(seed)
    requests = [asked(number, choose) for number in range(choose.choice([5, 40, 300]))]
    data = b"".join(request.sent for request in requests)

    async def scenario() -> None:
        async with await Client.open(stage.production.url) as client:
            sending = asyncio.create_task(client.send(*segments(data, choose), pause=0.001))
            await answers_to(client, requests)
            await sending
            last = Asked(post('{ echo(text: "last") }'), 200, {"data": {"echo": "last"}})
            await client.send(last.sent)
            await answers_to(client, [last])

    stage.run(scenario)


@pytest.mark.parametrize("seed", range(12))
def test_requests_that_are_damaged_on_the_way_are_no_defect(stage: Stage, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    choose = random.Random(seed)

    def damaged() -> bytes:
        data = bytearray(b"".join(asked(number, choose).sent for number in range(40)))
        for _ in range(choose.choice([1, 2, 5])):
            data[choose.randrange(len(data))] = choose.randrange(256)
        return bytes(data[: choose.randrange(10, len(data))])

    async def scenario(data: bytes) -> bytes:
        async with await Client.open(stage.production.url) as client:
            reading = asyncio.create_task(read_all(client.reader))
            with contextlib.suppress(OSError):
                await client.send(*segments(data, choose), pause=0.001)
                client.writer.write_eof()
            return await reading

    for _ in range(8):
        received = stage.run(partial(scenario, damaged()))
        assert received.count(b"HTTP/1.1 500") == 0
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("offer", OFFERS, ids=lambda lines: lines[-1])
def test_what_is_wrong_with_a_request_that_makes_an_offer_is_told(stage: Stage, offer: tuple[str, ...]) -> None:
    lines = ("Content-Type: application/json", *offer)
    wrong = {
        head(HOST, "Transfer-Encoding: chunked", *lines, first="POST /graphql HTTP/1.1") + b"zz\r\n": 400,
        head(HOST, "Content-Length: 3000000", *lines, first="POST /graphql HTTP/1.1"): 413,
        head(HOST, "Host: other", *lines, first="POST /graphql HTTP/1.1"): 400,
        head(HOST, *lines, first="GET evil HTTP/1.1"): 400,
    }

    async def scenario(sent: bytes) -> int:
        async with await Client.open(stage.production.url) as client:
            await client.send(sent)
            return (await client.refused())[0]

    for sent, status in wrong.items():
        assert stage.run(partial(scenario, sent)) == status


def test_a_connection_is_idle_after_its_last_answer(stage: Stage) -> None:
    requests = [Asked(post("{ slow }"), 200), *[Asked(post('{ echo(text: "a") }'), 200)] * 2_000]

    async def scenario() -> float:
        async with await Client.open(stage.production.url) as client:
            sending = asyncio.create_task(client.send(b"".join(request.sent for request in requests)))
            await answers_to(client, requests)
            await sending
            return await client.ended()

    assert 1.0 < stage.run(scenario) < 1.2 + 0.5 + SLACK


@pytest.mark.parametrize("first", ["{ slow }", "{ __typename }"])
def test_sound_requests_before_one_that_is_not_are_answered(stage: Stage, first: str) -> None:
    requests = [Asked(post(first), 200), *[Asked(post('{ echo(text: "a") }'), 200)] * 20]

    async def scenario() -> bytes:
        async with await Client.open(stage.production.url) as client:
            await client.send(b"".join(request.sent for request in requests) + b"\x00\r\n\r\n" + requests[0].sent)
            await answers_to(client, requests[:-1])
            return await client.reader.read()

    assert stage.run(scenario).endswith(b'{"data":{"echo":"a"}}')


def test_a_client_that_reads_no_answers_is_not_read_from(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """90,000 bytes for each request of 100: what has no room in the buffer of the connection is not even begun."""
    protocols: list[GatewayProtocol] = []
    made = GatewayProtocol.connection_made

    def connection_made(self: GatewayProtocol, transport: asyncio.Transport) -> None:
        protocols.append(self)
        made(self, transport)

    monkeypatch.setattr(GatewayProtocol, "connection_made", connection_made)

    async def scenario() -> tuple[int, int, int]:
        async with await Client.open(stage.production.url) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio has it for transports that read
            requests = [Asked(post("{ big }"), 200)] * 5_000
            data = b"".join(request.sent for request in requests)
            sending = asyncio.create_task(client.send(data))
            (protocol,) = protocols
            async with asyncio.timeout(5):
                while not protocol.flow.write_paused:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            kept = protocol.transport.get_write_buffer_size(), len(protocol.unread), len(protocol.pipeline)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await answers_to(client, requests[:200])
            sending.cancel()
            return kept

    buffered, unread, waiting = stage.run(scenario)
    assert buffered < 1_000_000
    assert unread < 600_000
    assert waiting < 1_000


@pytest.mark.parametrize("last", [(), ("Connection: close",)], ids=["kept", "closed"])
@pytest.mark.parametrize("count", [1, 40, 4_000])
def test_a_client_that_reads_no_answers_is_let_go(stage: Stage, count: int, last: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(10):
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.writer.write(post("{ big }") * count + post("{ big }", *last) + b"\x00" * (count % 3))
            while is_established(client):  # noqa: ASYNC110 - the kernel has no event for it
                await asyncio.sleep(0.05)

    stage.run(scenario)


@pytest.mark.parametrize("before", [0, 1, 20])
def test_a_client_is_told_to_go_on_with_a_body_when_it_is_its_turn(stage: Stage, before: int) -> None:
    asking = post('{ echo(text: "b") }', "Expect: 100-continue")
    lines, _, body = asking.partition(b"\r\n\r\n")

    async def scenario() -> None:
        async with await Client.open(stage.production.url) as client, asyncio.timeout(10):
            await client.send(post("{ slow }") * before + lines + b"\r\n\r\n")
            await answers_to(client, [Asked(post("{ slow }"), 200, {"data": {"slow": "slow"}})] * before)
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            await answers_to(client, [Asked(asking, 200, {"data": {"echo": "b"}})])

    stage.run(scenario)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("connection", ["close, Upgrade", "Upgrade, close", "upgrade"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_an_offer_on_a_connection_that_is_to_end_is_ignored(stage: Stage, version: str, connection: str, is_cut: bool) -> None:
    sent = post('{ echo(text: "a") }', f"Connection: {connection}", "Upgrade: h2c").replace(
        b"HTTP/1.1", f"HTTP/{version}".encode()
    )
    at = sent.index(b"\r\n\r\n") + 4

    async def scenario() -> list[str]:
        async with await Client.open(stage.production.url) as client:
            await client.send(*([sent[:at], sent[at:]] if is_cut else [sent]), pause=0.001)
            return (await client.reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")

    lines = stage.run(scenario)
    assert lines[0].startswith("http/1.1 200 ")
    assert ("connection: close" in lines) is (version == "1.0" or "close" in connection)
