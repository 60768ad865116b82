"""Whatever bytes come to the server's socket, they are answered or the connection is closed: never a 5xx, a traceback or a hang."""

import asyncio
import re
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.probes import holdings
from tests.faults.served import Served, connection, post, query_body, status_of
from tests.fuzz import budget
from tests.kit.timing import SLACK

CONFIG = {
    "graph.yaml": "operation: constant\nargs: { any: JSON }\nsteps: [ { name: one, type: value, value: { of: '{any?}' } } ]\n"
}
SOUND = [
    post(query_body("query($x: JSON) { constant(any: $x) { one } }", variables={"x": [1, None]}), "x-request-id: a"),
    b"GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nhost: a\r\ngraphql-require-preflight: 1\r\n\r\n",
    b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n",
    b"OPTIONS /graphql HTTP/1.1\r\nhost: a\r\norigin: http://b\r\naccess-control-request-method: POST\r\n\r\n",
    post(b'1a\r\n{"query":"{ __typename }"}\r\n0\r\n\r\n').replace(b"content-length: 37", b"transfer-encoding: chunked"),
    b"HEAD /graphql HTTP/1.0\r\n\r\n",
]
PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b":",
            b"\xff",
            b"%",
            b"%00",
            b"..",
            b"//",
            b"?",
            b"#",
            b"\x7f",
            b"\xe2\x80\xa8",
        ),
        *(
            b"content-length: 5\r\n",
            b"content-length: -1\r\n",
            b"content-length: 99999999999999999999\r\n",
            b"expect: 100-continue\r\n",
        ),
        *(b"transfer-encoding: chunked\r\n", b"transfer-encoding: gzip, chunked\r\n", b"upgrade: h2c\r\nconnection: upgrade\r\n"),
        *(
            b"upgrade: websocket\r\nconnection: upgrade\r\n",
            b"host: b\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
        ),
        *(
            b"0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"x" * 5_000,
            b"a: b\r\n" * 200,
            b"CONNECT a:1 HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01",
        ),
    ]
)
ALLOWED_5XX = {501, 505}
"""What HTTP itself has for methods, encodings and versions that a server has not."""


@st.composite
def tampered(draw: st.DrawFn) -> bytes:
    """Draw one or several requests in which some bytes are replaced, left out, doubled or moved."""
    content = bytearray(b"".join(draw(st.lists(st.sampled_from(SOUND), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        end = at + draw(st.sampled_from([0, 0, 1, 4, 20]))
        there = draw(st.integers(0, len(content)))
        new = draw(st.one_of(PIECES, st.binary(max_size=4), st.just(bytes(content[there : there + 30])), st.just(b"")))
        content[at:end] = new
    return bytes(content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("wire"), CONFIG) as opened:
        yield opened


async def answered(port: int, content: bytes) -> bytes:
    """Send bytes, say that there are no more, and return all that comes."""
    received = b""
    async with connection(port) as (reader, writer):
        try:
            writer.write(content)
            writer.write_eof()
            async with asyncio.timeout(5 + SLACK):
                while data := await reader.read(65_536):
                    received += data
        except ConnectionError:
            pass
    return received


def check(received: bytes) -> None:
    for status in re.findall(rb"HTTP/1\.1 (\d+) ", received):
        assert int(status) < 500 or int(status) in ALLOWED_5XX, received[:500]
    if received:
        assert status_of(received) >= 100
    assert b"Traceback" not in received


def test_what_is_tampered_with_is_sound_before(served: Served) -> None:
    statuses = [status_of(served.run(partial(answered, served.port, content))) for content in SOUND]
    assert statuses == [200, 200, 200, 405, 200, 405]


@pytest.mark.case("Q-02", "Q-11")
@budget(400)
@given(st.one_of(tampered(), st.binary(max_size=200)))
def test_no_bytes_make_a_5xx_or_a_hang(served: Served, content: bytes) -> None:
    check(served.run(lambda: answered(served.port, content)))


def test_afterwards_the_gateway_answers_as_before_and_has_told_of_no_defect(served: Served) -> None:
    assert served.ask("{ __typename }").data == {"__typename": "Query"}
    assert "Traceback" not in served.process.stderr
    assert holdings(served.pid).sockets < 30
