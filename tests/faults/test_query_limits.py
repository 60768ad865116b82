"""Requests that are too large, too deep or too expensive are rejected before any work is done for them (rows Q-01 to Q-10)."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.faults import Json
from tests.faults.probes import Watch, processor_seconds
from tests.faults.served import Served, connection, parsed, post, query_body, raw, status_of
from tests.kit.serving import wait_until
from tests.kit.timing import SLACK

case = pytest.mark.case
MAX_BODY = 2_000_000
RECEIVE_BUFFERS = 8_000_000
"""Bytes that may be buffered between a client that only writes and a gateway that does not read."""


# -- bodies


@case("Q-01")
def test_a_body_that_declares_too_much_is_refused_unread(served: Served) -> None:
    answer = parsed(served.raw(post(b"", length=MAX_BODY + 1)))
    assert (answer.status, answer.codes) == (413, ["PAYLOAD_TOO_LARGE"])


@case("Q-01")
def test_a_body_without_end_is_cut_off_and_costs_little_memory(served: Served) -> None:
    head = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    async def send() -> tuple[Watch, int, bytes]:
        async with Watch(served.pid, served.process.url) as watch, connection(served.port) as (reader, writer):
            writer.write(head)
            sent = 0
            receiving = asyncio.create_task(reader.readuntil(b"}]}"))
            while not receiving.done() and sent < 50_000_000:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
                await asyncio.sleep(0.001)
            return watch, sent, await receiving

    watch, sent, answer = served.run(send)
    assert status_of(answer) == 413
    assert b"PAYLOAD_TOO_LARGE" in answer
    assert sent < MAX_BODY + 65_536 + RECEIVE_BUFFERS
    assert watch.grown < 10_000_000


@case("Q-01")
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd"])
def test_a_compressed_body_is_refused(served: Served, encoding: str) -> None:
    answer = parsed(served.raw(post(b"\x1f\x8b\x08" + b"\0" * 1_000, f"content-encoding: {encoding}")))
    assert (answer.status, answer.codes) == (415, ["INVALID_CONTENT_TYPE_HEADER"])


# -- heads

BODY = query_body("{ __typename }")
SOUND = post(BODY)
HEADS = {
    "headers of 65,537 bytes": (post(BODY, f"x-a: {'a' * 65_537}"), 431),
    "many long headers": (post(BODY, *(f"x-{number}: {'a' * 1_000}" for number in range(70))), 431),
    "101 headers": (post(BODY, *(f"x-{number}: a" for number in range(101))), 431),
    "a URL of 16 KB": (SOUND.replace(b"/graphql", b"/graphql?" + b"a" * 16_384), 414),
    "two lengths": (post(BODY, "content-length: 1"), 400),
    "a length and chunks": (post(BODY, "transfer-encoding: chunked"), 400),
    "no host": (SOUND.replace(b"host: gateway\r\n", b""), 400),
    "two hosts": (post(BODY, "host: other"), 400),
    "a bare line feed": (SOUND.replace(b"\r\n", b"\n"), 400),
    "a blank before the colon": (post(BODY, "x-a : b"), 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}
TOLERATED = {"a bare line feed", "a blank before the colon"}
"""Heads that a parser may also accept, as long as it reads them as one request."""


@case("Q-02")
@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_too_large_or_ambiguous_is_refused(served: Served, name: str) -> None:
    request, status = HEADS[name]
    response = served.raw(request, within=5)
    assert status_of(response) in ({status, 200} if name in TOLERATED else {status})
    if status == 431:
        assert b"REQUEST_HEADER_FIELDS_TOO_LARGE" in response
    assert response.count(b"HTTP/1.1 ") == 1
    assert served.ask("{ __typename }").status == 200


@case("Q-02")
def test_a_head_just_within_the_limits_is_taken(served: Served) -> None:
    request = post(BODY, *(f"x-{number}: {'a' * 500}" for number in range(90)))
    assert parsed(served.raw(request)).data == {"__typename": "Query"}


# -- documents


def nested(depth: int) -> str:
    """Return a document of a depth; the field of the operation is the first level."""
    return "{ node " + "{ n " * (depth - 2) + "{ id }" + " }" * (depth - 2) + " }"


def nested_in_fragments(depth: int) -> str:
    """Return the same document, with a third of it in each of three fragments."""
    a, b = depth // 3, 2 * depth // 3

    def part(levels: int, inner: str) -> str:
        return "{ n " * levels + inner + " }" * levels

    return (
        f"{{ node {{ ...A }} }} fragment A on Node {part(a - 2, '{ ...B }')} "
        f"fragment B on Node {part(b - a, '{ ...C }')} fragment C on Node {part(depth - b, '{ id }')}"
    )


TOO_MUCH = {
    "2,001 tokens": ("{" + " one: __typename" * 667 + "}", "TOKEN_LIMIT_EXCEEDED"),
    "20,000 tokens": ("{" + " a" * 20_000 + "}", "TOKEN_LIMIT_EXCEEDED"),
    "1 MB of comments": ("#" + "x" * 78 + "\n" + ("#" + "x" * 78 + "\n") * 12_500 + "{ __typename }", "TOKEN_LIMIT_EXCEEDED"),
    "depth 16": (nested(16), "MAX_DEPTH_LIMIT"),
    "depth 16 through fragments": (nested_in_fragments(16), "MAX_DEPTH_LIMIT"),
    "depth 5,000": ("{ node " + "{ n " * 5_000 + "}" * 5_001, "MAX_DEPTH_LIMIT"),
    "31 aliases": ("{ constant {" + "".join(f" a{number}: one" for number in range(31)) + " } }", "MAX_ALIASES_LIMIT"),
    "31 aliases in a fragment": (
        "{ constant { ...A } } fragment A on Constant {" + "".join(f" a{number}: one" for number in range(31)) + " }",
        "MAX_ALIASES_LIMIT",
    ),
    "21 root fields": ("{" + " __typename" * 21 + "}", "MAX_ROOT_FIELDS_LIMIT"),
    "21 aliased root fields": ("{" + "".join(f" a{number}: __typename" for number in range(21)) + "}", "MAX_ROOT_FIELDS_LIMIT"),
    "21 root fields in fragments": (
        "{ ...A ...B } fragment A on Query {" + " __typename" * 11 + "} fragment B on Query {" + " __typename" * 10 + "}",
        "MAX_ROOT_FIELDS_LIMIT",
    ),
    "51 directives": ("{ __typename" + " @include(if: true)" * 51 + " }", "MAX_DIRECTIVES_LIMIT"),
    "501 fields": ("{ constant {" + " one" * 501 + " } }", "MAX_FIELDS_LIMIT"),
}
ROW_OF = {"TOKEN_LIMIT_EXCEEDED": "Q-03", "MAX_DEPTH_LIMIT": "Q-03"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=case(ROW_OF.get(code, "Q-04")), id=name) for name, (_, code) in TOO_MUCH.items()]
)
def test_a_document_of_too_much_is_refused_and_calls_nobody(served: Served, name: str) -> None:
    query, code = TOO_MUCH[name]
    before = len(served.upstream.requests)
    answer = served.ask(query)
    assert answer.status == 400
    assert code in answer.codes
    assert len(served.upstream.requests) == before


@case("Q-03", "Q-04")
@pytest.mark.parametrize(
    "query",
    [
        nested(15),
        nested_in_fragments(15),
        "{ constant {" + "".join(f" a{number}: one" for number in range(30)) + " } }",
        "{" + " __typename" * 20 + "}",
        "{ constant { one } }" + " " * 50_000,
    ],
    ids=["depth 15", "depth 15 through fragments", "30 aliases", "20 root fields", "blanks"],
)
def test_a_document_just_within_the_limits_is_answered(served: Served, query: str) -> None:
    assert "errors" not in served.ask(query).body


EXPENSIVE = {
    "nested repetitions": "{ node " + "{n{n{n{id}}}}" * 300 + " }",
    "fields side by side": "{ node {" + " n{id}" * 1_000 + " } }",
    "200 fragments": "{ node {"
    + "".join(f" ...F{number}" for number in range(200))
    + " } }"
    + "".join(f" fragment F{number} on Node {{ n {{ id n {{ id }} }} }}" for number in range(200)),
    "fields of one name below each other": "{ node {" + " n{n{n{id}}}" * 300 + " } }",
    "a chain of fragments": "{ node { ...F0 } }"
    + "".join(f" fragment F{number} on Node {{ n {{ ...F{number + 1} ...F{number + 1} }} }}" for number in range(60))
    + " fragment F60 on Node { id }",
    "fragments in a circle": "{ node { ...A } } fragment A on Node { n { ...B } } fragment B on Node { n { ...A } }",
    "many arguments": "{ constant(" + "".join(f" a{number}: 1" for number in range(600)) + ") { one } }",
    "many variables": "query(" + "".join(f" $a{number}: Int" for number in range(600)) + ") { constant { one } }",
    "many unknown fields": "{ constant {" + "".join(f" f{number}" for number in range(400)) + " } }",
    "many operations": "".join(f" query A{number} {{ __typename }}" for number in range(400)),
}


@case("Q-05")
@pytest.mark.parametrize("name", EXPENSIVE)
def test_a_small_document_that_is_dear_to_validate_is_refused_at_little_cost(served: Served, name: str) -> None:
    async def ask() -> float:
        before = processor_seconds(served.pid)
        async with Watch(served.pid, served.process.url, interval=0.005) as watch:
            for number in range(5):  # each text is different, so that none is cached
                answer = await served.gateway.ask(f"{EXPENSIVE[name]} #{number}")
                assert answer.status == 400
                assert "data" not in answer.body
        assert watch.delay < 0.1 + SLACK
        return (processor_seconds(served.pid) - before) / 5

    assert served.run(ask) < 0.05 + SLACK / 10


@case("Q-07")
@pytest.mark.parametrize(
    "query",
    [
        "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }",
        '{ __type(name: "Query") { fields { type { fields { type { fields { type { fields { name } } } } } } } } }',
        "{ __schema { types { ...A } } } fragment A on __Type { fields { type { fields { type { fields { type { fields { name } } } } } } } }",
    ],
)
def test_introspection_in_circles_is_refused(served_in_development: Served, query: str) -> None:
    answer = served_in_development.ask(query)
    assert answer.status == 400
    assert "Maximum introspection depth exceeded" in answer.body["errors"][0]["message"]


# -- cost and batches

GENEROUS = {
    "limits.yaml": "limits: { max_cost: 3, batching: 2 }",
    "graph.yaml": """
sources: { core: { type: api, base_url: UPSTREAM } }
defaults: { api: core }
---
operation: posts
args: { first: Int }
steps: [ { name: list, type: api, endpoint: /posts, returns: "[Post]" } ]
aggregation: { strategy: pick, step: list }
---
operation: post
steps: [ { name: one, type: api, endpoint: /post, returns: Post } ]
aggregation: { strategy: pick, step: one }
---
field: Post.author
returns: JSON
step: { type: api, endpoint: "/authors/{parent.id}" }
""",
    "types.graphql": "type Post { id: ID! }",
}


@pytest.fixture(scope="module")
def generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("generous"), GENEROUS) as opened:
        opened.upstream.script("/post", Json({"id": 1}))
        opened.upstream.script("/posts", Json([{"id": 1}]))
        opened.upstream.script("/authors/1", Json("Ada"))
        yield opened


@case("Q-08")
def test_a_query_that_would_make_too_many_calls_is_refused(generous: Served) -> None:
    before = len(generous.upstream.requests)
    answer = generous.ask("{ posts { author } }")
    assert (answer.status, answer.codes) == (400, ["COST_ESTIMATED_TOO_EXPENSIVE"])
    assert len(generous.upstream.requests) == before
    assert generous.ask("{ post { author } }").data == {"post": {"author": "Ada"}}
    generous.write({"limits.yaml": "limits: { max_cost: 3, batching: 2, mode: measure }"})
    wait_until(lambda: "data" in generous.ask("{ posts { author } }").body, "the limit only measures")
    generous.write(GENEROUS)
    wait_until(lambda: "data" not in generous.ask("{ posts { author } }").body, "the limit holds again")


@case("P-10")
def test_batches_are_answered_up_to_their_limit_and_each_entry_counts(generous: Served) -> None:
    async def ask(count: int) -> httpx.Response:
        content = b"[" + b",".join([query_body("{ post { id } }")] * count) + b"]"
        headers = {"content-type": "application/json", "accept": "application/graphql-response+json"}
        return await generous.gateway.client.post(f"{generous.process.url}/graphql", content=content, headers=headers)

    answers = generous.run(lambda: ask(2))
    assert (answers.status_code, answers.json()) == (200, [{"data": {"post": {"id": "1"}}}] * 2)
    refused = generous.run(lambda: ask(3))
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (422, "BATCH_LIMIT_EXCEEDED")


# -- slow clients


async def drip(port: int, first: bytes, byte: bytes) -> float:
    """Send the start of a request, then a byte every five seconds; return the seconds until the gateway closes the connection."""
    started = time.monotonic()
    async with connection(port) as (reader, writer):
        writer.write(first)
        receiving = asyncio.create_task(reader.read())
        while not receiving.done() and time.monotonic() - started < 25:
            await asyncio.wait({receiving}, timeout=5)
            writer.write(byte)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    return time.monotonic() - started


async def idle(port: int, request: bytes) -> float:
    """Send a request or nothing, then stay idle; return the seconds until the gateway closes the connection."""
    started = time.monotonic()
    async with connection(port) as (reader, writer):
        writer.write(request)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(25):
                while await reader.read(65_536):
                    started = time.monotonic()
    return time.monotonic() - started


@case("Q-10")
def test_clients_that_send_slowly_or_nothing_are_closed_in_time_and_nobody_else_notices(served: Served) -> None:
    """Heads and bodies that never arrive, and connections without a request."""

    async def disturb() -> tuple[list[float], list[float], Watch]:
        head, body = post(BODY, length=1_000).split(b"\r\n\r\n")
        begun = [(head, b"a"), (head + b"\r\n\r\n" + body, b" ")] * 50
        kept = post(BODY).replace(b"connection: close\r\n", b"")
        async with Watch(served.pid, served.process.url) as watch:
            slow = asyncio.gather(*(drip(served.port, *pieces) for pieces in begun))
            quiet = asyncio.gather(*(idle(served.port, request) for request in [b"", kept] * 20))
            return list(await slow), list(await quiet), watch

    slow, quiet, watch = served.run(disturb)
    assert max(slow) < 12 + SLACK
    assert max(quiet) < 16 + SLACK
    assert min(quiet) > 5
    assert watch.delay < 0.1 + SLACK


@case("Q-10")
def test_a_request_in_pieces_is_answered(served: Served) -> None:
    async def send() -> bytes:
        request = post(BODY)
        async with connection(served.port) as (reader, writer):
            for start in range(0, len(request), 7):
                writer.write(request[start : start + 7])
                await asyncio.sleep(0.001)
            return await reader.read(65_536)

    assert status_of(served.run(send)) == 200
    assert status_of(served.run(lambda: raw(served.port, SOUND))) == 200
