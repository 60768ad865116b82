"""What clients send on one connection, as bytes: pipelines, offers of other protocols, targets that are none (rows P-11 to P-13)."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import Json
from tests.faults.probes import resident
from tests.faults.served import Served, in_background
from tests.kit.timing import SLACK
from tests.serve.test_connection import HOST, Client, head, post
from tests.serve.test_pipelines import OFFERS

case = pytest.mark.case

CONFIG = {
    "graph.yaml": """
sources: { core: { type: api, base_url: UPSTREAM } }
defaults: { api: core }
---
server: { idle_timeout_ms: 1000, drain_delay_ms: 0 }
---
operation: hello
steps: [ { name: v, type: value, value: 1 } ]
---
operation: waits
steps: [ { name: v, type: api, endpoint: /waits } ]
"""
}
HELLO = post("{ hello { v } }")
WAITS = post("{ waits { v } }")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path, CONFIG) as opened:
        opened.upstream.script("/waits", Json(2, delay=0.5))
        yield opened


async def numbers(client: Client, count: int) -> list[int]:
    answers = [await client.answer() for _ in range(count)]
    assert {status for status, _, _ in answers} == {200}
    return [value["v"] for _, _, body in answers for value in body["data"].values()]


@case("P-11")
@pytest.mark.parametrize("count", [300, 2_000])
def test_answers_behind_one_that_waits_come_in_order_and_leave_an_idle_connection(server: Served, count: int) -> None:
    async def scenario() -> tuple[list[int], float]:
        async with await Client.open(server.process.url) as client:
            async with in_background(client.send(WAITS + HELLO * count)):
                answers = await numbers(client, count + 1)
            return answers, await client.ended()

    answers, idle = server.run(scenario)
    assert answers == [2, *[1] * count]
    assert 0.9 < idle < 1.0 + 0.5 + SLACK


@case("P-11")
@pytest.mark.parametrize("count", [300, 2_000])
def test_a_server_that_ends_answers_what_was_sent_before_and_waits_no_longer(server: Served, count: int) -> None:
    async def scenario() -> tuple[list[int], float]:
        async with await Client.open(server.process.url) as client:
            async with in_background(client.send(WAITS + HELLO * count)):
                await server.upstream.wait_requests("/waits")
                server.process.popen.terminate()
                answers = await numbers(client, count + 1)
            return answers, await client.ended()

    answers, seconds = server.run(scenario)
    started = time.monotonic()
    assert server.process.popen.wait(10) == 0
    assert answers == [2, *[1] * count]
    assert seconds + time.monotonic() - started < 1.0 + SLACK


MANY = {
    "health": head(HOST),
    "none": head("Host:", first="GET / HTTP/1.1"),
    "answered at once": HELLO,
    "behind one that waits": WAITS + head("Host:", first="GET / HTTP/1.1") * 10_000,
}


@pytest.mark.load
@case("P-11")
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "deaf"])
@pytest.mark.parametrize("name", MANY)
def test_clients_that_send_as_much_as_they_can_neither_hold_others_up_nor_fill_the_memory(
    server: Served, name: str, *, reads: bool
) -> None:
    data = MANY[name] * (1_000_000 // len(MANY[name]) + 1)

    async def hostile() -> None:
        async with await Client.open(server.process.url) as client:
            if not reads:
                client.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio has it for transports that read
            reading = asyncio.create_task(client.reader.read())
            with contextlib.suppress(ConnectionError):
                await client.send(data)
            await asyncio.wait([reading])

    async def scenario() -> tuple[float, int]:
        before, slowest, most = resident(server.pid), 0.0, 0

        async def crowd() -> None:
            await asyncio.gather(*(hostile() for _ in range(20)))

        async with in_background(crowd()):
            for _ in range(150):
                started = time.perf_counter()
                assert (await server.gateway.ask("{ hello { v } }")).data == {"hello": {"v": 1}}
                slowest, most = max(slowest, time.perf_counter() - started), max(most, resident(server.pid))
                await asyncio.sleep(0.01)
        return slowest, most - before

    slowest, growth = server.run(scenario)
    assert growth < 40_000_000
    assert slowest < 0.25 + SLACK


ONE = post("{ constant { one } }")
BODY = ONE.partition(b"\r\n\r\n")[2]
CHUNKED = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, BODY[:5], len(BODY) - 5, BODY[5:])


def cut(message: bytes, at: int) -> list[bytes]:
    return [message[:at], message[at:]]


@case("P-12")
@pytest.mark.parametrize("offer", OFFERS, ids=lambda lines: lines[0 if len(lines) == 1 else 1])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_an_offer_of_another_protocol_is_ignored(served: Served, offer: tuple[str, ...], *, is_chunked: bool) -> None:
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(BODY)}"
    lines = head(HOST, "Content-Type: application/json", length, *offer, first="POST /graphql HTTP/1.1")
    message = lines + (CHUNKED if is_chunked else BODY)
    end = message.index(b"\r\n\r\n") + 4
    ways = [[message], cut(message, end), cut(message, end + 7), cut(message, 40), [bytes([byte]) for byte in message]]

    async def scenario() -> None:
        async with await Client.open(served.process.url) as client:
            for pieces in [*ways, [message * 3, message[:-4], message[-4:]]]:
                await client.send(*pieces, pause=0.001 if len(pieces) < 5 else 0)
            for _ in range(len(ways) + 4):
                status, headers, body = await client.answer()
                assert (status, body["data"], "connection" in headers) == (200, {"constant": {"one": 1}}, False)

    served.run(scenario)


@case("P-12")
def test_an_offer_with_a_get_and_for_other_pages_is_ignored_too(served: Served) -> None:
    async def scenario() -> list[int]:
        async with await Client.open(served.process.url) as client:
            get = head(HOST, "GraphQL-Require-Preflight: 1", *OFFERS[0], first="GET /graphql?query={constant{one}} HTTP/1.1")
            await client.send(get + head(HOST, *OFFERS[3]) + get)
            return [(await client.answer())[0] for _ in range(3)]

    assert served.run(scenario) == [200, 200, 200]


@case("P-12")
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_may_prefer_http_2(served: Served) -> None:
    command = ["curl", "-s", "-i", "--http2", "-H", "Content-Type: application/json", "-d", '{"query": "{ constant { one } }"}']
    done = subprocess.run([*command, f"{served.process.url}/graphql"], capture_output=True, timeout=30, check=True)
    assert done.stdout.startswith(b"HTTP/1.1 200 ")
    assert done.stdout.endswith(b'{"data":{"constant":{"one":1}}}')


TARGETS = [
    "evil:443",
    "evil",
    "evil:99999",
    "*",
    "http://evil:99999/",
    "http://evil:port/x",
    "http://:80/",
    "http://",
    "http:///x",
    "http://[::1/",
    "http://[::1]:80/none",
    "http://user:password@evil/none",
    "http://evil",
    "http://evil?x=1",
    "https://evil.example/none",
    "ftp://evil/x",
    "javascript:alert(1)",
    "//evil/x",
    "/none#fragment",
    "/%",
    "/%zz",
    "/%00",
    "/%ff%fe",
    "/..%2f..%2fetc/passwd",
    "/\u00e9",
    "/none?\u00e9",
    "/" + "\x7f",
    "/" + "x" * 5_000,
    "?x",
    "#",
    ":80",
    "graphql",
    "/graphql:80",
    "/graphql/",
    "/graphql;x",
    "/graphql\\",
]
METHODS = ["CONNECT", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "PROPFIND", "FOO"]


@case("P-13")
@pytest.mark.parametrize("method", METHODS)
def test_a_target_that_is_none_is_refused_and_no_defect(served: Served, method: str) -> None:
    async def answer(target: str) -> bytes:
        async with await Client.open(served.process.url) as client:
            lines = ["Host: evil:443", "Content-Length: 0", "Connection: close"]
            await client.send("\r\n".join([f"{method} {target} HTTP/1.1", *lines]).encode() + b"\r\n\r\n")
            return await client.reader.read()

    async def all_answers() -> list[bytes]:
        return list(await asyncio.gather(*map(answer, TARGETS)))

    before = len(served.process.stderr)
    answers = served.run(all_answers)
    served.ask("{ refused { call } }", x_request_id=f"after-{method}")
    assert served.logged(f"after-{method}")
    for target, received in zip(TARGETS, answers, strict=True):
        lines, _, body = received.partition(b"\r\n\r\n")
        status = int(lines.split()[1])
        assert status in ({400, 405, 501} if method == "CONNECT" else {400, 404, 405, 501}), (target, lines)
        if method != "HEAD" or status != 404:
            assert json.loads(body)["errors"][0]["extensions"]["code"], target
    logged = [json.loads(line) for line in served.process.stderr[before:].splitlines()]
    assert [line for line in logged if line["level"] not in {"info", "warning"}] == []


@case("P-13")
@pytest.mark.parametrize("target", ["http://gateway/graphql", "HTTP://gateway:80/graphql", "https://[::1]/graphql"])
def test_a_target_may_be_a_whole_url(served: Served, target: str) -> None:
    message = ONE.replace(b"POST /graphql", b"POST " + target.encode())

    async def scenario() -> tuple[int, object]:
        async with await Client.open(served.process.url) as client:
            await client.send(message)
            status, _, body = await client.answer()
            return status, body["data"]

    assert served.run(scenario) == (200, {"constant": {"one": 1}})
