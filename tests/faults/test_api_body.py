"""Upstream responses that are malformed or too large, and what a client of the gateway gets (rows U-06 and U-08)."""

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from tests.faults import (
    Behaviour,
    CloseWithoutAnswer,
    DeepJson,
    EndlessChunked,
    Exchange,
    Garbage,
    GzipBomb,
    HeaderFlood,
    Html,
    Huge,
    InvalidJson,
    InvalidUtf8,
    Json,
    NaN,
    Raw,
    Reset,
    Status,
    Text,
    Truncate,
    WrongLength,
)
from tests.faults.pair import ask, ask_pair
from tests.kit.serving import Answer, Stage
from tests.kit.timing import SLACK

CAP = 5_000_000
"""The default of ``max_response_bytes``."""
SOCKET_BUFFERS = 2_000_000
"""Bytes that may be buffered between two sockets, with room to spare: 65 kB were observed."""
CONFIG = {
    "graph.yaml": """
sources:
  core: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, breaker: { enabled: false } }
  small: { type: api, base_url: UPSTREAM, max_response_bytes: 1000, retry: { attempts: 1 }, breaker: { enabled: false } }
defaults: { api: core }
---
operation: pair
args: { left: ID!, right: ID }
steps:
  - { name: first, type: api, endpoint: "/{left}" }
  - { name: second, type: api, endpoint: "/{right}" }
---
operation: capped
args: { path: ID! }
steps: [ { name: call, type: api, source: small, endpoint: "/{path}" } ]
""",
}


# -- malformed (U-06)

MALFORMED: dict[str, Behaviour] = {
    "html": Html(),
    "invalid-json": InvalidJson(),
    "an-empty-body": InvalidJson(b""),
    "two-values": InvalidJson(b"1 2"),
    "truncated": Truncate(),
    "truncated-chunks": Raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}"),
    "bad-chunks": Raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{}"),
    "plain-text": Text('{"x": 1}'),
    "invalid-utf-8": InvalidUtf8(),
    "utf-16": InvalidJson('{"x": 1}'.encode("utf-16")),
    "nan": NaN(),
    "infinity": NaN("-Infinity"),
    "half-a-surrogate-pair": InvalidJson(b'{"x": "\\ud800"}'),
    "129-deep": DeepJson(129),
    "130-deep-by-turns": InvalidJson(b'[{"a":' * 65 + b"1" + b"}]" * 65),
    "1000-deep": DeepJson(1_000),
    "100000-deep": DeepJson(100_000),
    "no-http": Garbage(),
    "a-status-that-is-none": Raw(b"HTTP/1.1 2xx OK\r\n\r\n{}"),
    "two-lengths": Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"),
    "a-bad-length": Raw(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}"),
    "unknown-compression": Raw(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    ),
    "no-compression": Raw(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.case("U-06")
def test_what_is_no_json_over_http_is_a_malformed_response(stage: Stage, name: str) -> None:
    answer = ask_pair(stage, name, MALFORMED[name])
    assert answer.fault == ("SUBREQUEST_MALFORMED_RESPONSE", "first", ["pair", "first"])


@pytest.mark.parametrize("behaviour", [Status(204), Status(205, headers={"content-length": "0"}), DeepJson(128), Json(None)])
def test_an_answer_without_content_or_as_deep_as_allowed_is_taken(stage: Stage, behaviour: Behaviour) -> None:
    stage.upstream.script("/sound", behaviour)
    answer = ask(stage, '{ pair(left: "sound") { first } }')
    assert answer.codes == []


@pytest.mark.parametrize("behaviour", [Reset(), CloseWithoutAnswer()])
def test_a_connection_that_ends_before_an_answer_is_an_http_error(stage: Stage, behaviour: Behaviour) -> None:
    answer = ask_pair(stage, f"ends-{type(behaviour).__name__}", behaviour, most_calls=2)  # on a kept connection it may be stale
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "first", ["pair", "first"])


def test_what_an_upstream_sends_too_much_is_no_part_of_the_next_answer(stage: Stage) -> None:
    stage.upstream.script("/excess", WrongLength(), Json("whole"))

    async def twice() -> list[Answer]:
        return [await stage.production.ask('{ pair(left: "excess") { first } }') for _ in range(2)]

    first, second = stage.run(twice)
    assert first.data == {"pair": {"first": {"x": 1}}}
    assert second.data == {"pair": {"first": "whole"}}


def test_a_second_response_that_nobody_asked_for_is_no_answer_to_the_next_request(stage: Stage) -> None:
    stage.upstream.script("/smuggled", TwoResponses(), Json("sound"))

    async def twice() -> list[Answer]:
        return [await stage.production.ask('{ pair(left: "smuggled") { first } }') for _ in range(2)]

    first, second = stage.run(twice)
    assert first.data == {"pair": {"first": "own"}}
    assert second.data == {"pair": {"first": "sound"}}


class TwoResponses:
    """Send two complete responses to one request and keep the connection, as a confused upstream does."""

    async def answer(self, exchange: Exchange) -> None:
        response = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        await exchange.send(response % (5, b'"own"') + response % (9, b'"strange"'))


# -- sizes (U-08)

TOO_LARGE: dict[str, Behaviour] = {
    "declared": Huge(300_000_000),
    "undeclared": Huge(300_000_000, with_length=False),
    "endless-chunks": EndlessChunked(),
    "gzip-bomb": GzipBomb(100_000_000),
    "one-byte-too-many": Huge(CAP + 1),
}


class Memory(threading.Thread):
    """Measures how much the memory of this process grows, which runs the gateway and the upstream too."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = resident_bytes()
        self.has_ended = threading.Event()

    def run(self) -> None:
        while not self.has_ended.is_set():
            self.most = max(self.most, resident_bytes())
            time.sleep(0.002)

    def end(self) -> int:
        self.has_ended.set()
        self.join()
        return self.most - self.before


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.case("U-08")
def test_a_body_beyond_the_limit_is_not_read_to_its_end(stage: Stage, name: str) -> None:
    lag = 0.0

    async def watch() -> None:
        nonlocal lag
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.005)
            lag = max(lag, time.perf_counter() - started - 0.005)

    async def ask_watched() -> Answer:
        stage.upstream.script(f"/{name}", TOO_LARGE[name])
        watcher = asyncio.create_task(watch())
        answer = await stage.production.ask(f'{{ pair(left: "{name}", right: "quick") {{ first second }} }}')
        watcher.cancel()
        await stage.upstream.wait_closed(f"/{name}")
        return answer

    memory = Memory()
    memory.start()
    answer = stage.run(ask_watched)
    grown = memory.end()
    assert answer.data == {"pair": {"first": None, "second": "quick"}}
    assert answer.fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "first", ["pair", "first"])
    assert stage.upstream.bytes_sent(f"/{name}") < CAP + 65_536 + SOCKET_BUFFERS
    assert grown < 30_000_000
    assert lag < 0.25 + SLACK


@pytest.mark.parametrize(
    "behaviour", [Huge(CAP), Huge(CAP, with_length=False), GzipBomb(CAP)], ids=["declared", "undeclared", "gzip"]
)
def test_a_body_of_the_largest_size_is_taken(stage: Stage, behaviour: Behaviour) -> None:
    stage.upstream.script("/largest", behaviour)
    answer = ask(stage, '{ pair(left: "largest") { first } }')
    assert answer.data == {"pair": {"first": "a" * (CAP - 2)}}


def test_a_source_sets_its_own_limit(stage: Stage) -> None:
    stage.upstream.script("/1000", Huge(1_000))
    stage.upstream.script("/1001", Huge(1_001))
    assert ask(stage, '{ capped(path: "1000") { call } }').codes == []
    assert ask(stage, '{ capped(path: "1001") { call } }').fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "call", ["capped", "call"])


@pytest.mark.case("U-08")
def test_a_flood_of_headers_is_too_large(stage: Stage) -> None:
    answer = ask_pair(stage, "flood", HeaderFlood(300_000))
    assert answer.fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "first", ["pair", "first"])


def test_one_long_header_is_too_large(stage: Stage) -> None:
    answer = ask_pair(stage, "long-header", HeaderFlood(300_000, line_bytes=300_000))
    assert answer.fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "first", ["pair", "first"])
