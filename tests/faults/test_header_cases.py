"""Header lines of a request: one value for each name wherever the configuration reads it, or none at all (row P-14)."""

import json
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.faults import Json
from tests.faults.served import Served
from tests.serve.test_connection import HOST, Client, head

case = pytest.mark.case

CONFIG = {
    "graph.yaml": """
sources: { core: { type: api, base_url: UPSTREAM, headers: { x-sent: "{request.headers.x-source?}" } } }
defaults: { api: core }
---
server:
  cors: { origins: ["https://desk.example"] }
  rate_limits: [ { key: 'request.headers."x-key" || request.id', limit: 2/hour } ]
---
limits: { batching: true }
---
context: { tenant: request.headers."x-tenant" }
---
operation: told
steps:
  - { name: tenant, type: value, value: "{context.tenant?}" }
  - { name: plan, type: value, value: free }
  - { name: given, type: value, value: "{request.headers.x-input?}" }
  - { name: languages, type: value, value: "{request.headers.accept-language?}" }
  - { name: cookie, type: value, value: "{request.headers.cookie?}" }
  - { name: forwarded, type: value, value: "{request.headers.x-forwarded-for?}" }
  - { name: called, type: api, endpoint: /called, headers: { x-called: "{request.headers.x-step?}" } }
---
overlay: gold
when: { tenant: a }
operation: told
steps: [ { name: plan, value: gold } ]
"""
}
QUERY = "{ told { tenant plan given languages cookie forwarded called } }"
BODY = json.dumps({"query": QUERY}).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("headers"), CONFIG) as opened:
        opened.upstream.script("/called", Json(1))
        yield opened


def posted(body: bytes, *lines: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    return head(HOST, "Content-Type: application/json", length, *lines, first="POST /graphql HTTP/1.1") + body


WAYS: dict[str, Callable[..., bytes]] = {
    "post": lambda *lines: posted(BODY, *lines),
    "asgi": lambda *lines: posted(BODY, "Origin: https://desk.example", *lines),
    "batch": lambda *lines: posted(b"[%b]" % BODY, *lines),
    "get": lambda *lines: head(
        HOST, "GraphQL-Require-Preflight: 1", *lines, first=f"GET /graphql?query={QUERY.replace(' ', '+')} HTTP/1.1"
    ),
}
every_way = pytest.mark.parametrize("way", WAYS)


def answers(server: Served, messages: Sequence[bytes]) -> list[tuple[int, object]]:
    """Send each message on a connection of its own; return statuses, and data or the code of the error."""

    async def scenario() -> list[tuple[int, object]]:
        told = []
        for message in messages:
            async with await Client.open(server.process.url) as client:
                await client.send(message)
                status, _, body = await client.answer()
                body = body[0] if isinstance(body, list) else body
                told.append((status, body["data"]["told"] if status == 200 else body["errors"][0]["extensions"]["code"]))
        return told

    return server.run(scenario)


TWICE = {
    "different": ("{}: a", "{}: b"),
    "equal": ("{}: a", "{}: a"),
    "the first empty": ("{}:", "{}: a"),
    "the last empty": ("{}: a", "{}: "),
    "in another case": ("{}: a", "{:X}: b"),
    "apart": ("{}: a", "x-other: c", "{}: b"),
    "thrice": ("{}: a", "{}: b", "{}: c"),
}


class Name(str):
    """A header name; ``{:X}`` formats it in upper case."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return self.upper() if spec == "X" else str(self)


@case("P-14")
@every_way
@pytest.mark.parametrize(
    "name", ["x-tenant", "x-key", "x-source", "x-step", "x-input", "authorization", "x-request-id", "traceparent"]
)
def test_a_header_that_is_sent_twice_is_refused(server: Served, way: str, name: str) -> None:
    before = len(server.upstream.requests)
    messages = [WAYS[way](*(line.format(Name(name)) for line in lines)) for lines in TWICE.values()]
    assert answers(server, messages) == [(400, "BAD_REQUEST")] * len(TWICE)
    assert len(server.upstream.requests) == before


@case("P-14")
@every_way
def test_a_refused_request_counts_for_no_limit(server: Served, way: str) -> None:
    twice = WAYS[way](f"x-key: {way}", "x-key: other")
    once = WAYS[way](f"x-key: {way}")
    statuses = [status for status, _ in answers(server, [twice] * 5 + [once] * 3)]
    assert statuses == [400] * 5 + [200] * 2 + [429]


@case("P-14")
@every_way
def test_white_space_around_a_value_makes_no_other_value_of_it(server: Served, way: str) -> None:
    values = ["a", " a", "a ", "  a  ", "\ta", "a\t", " \t a \t "]
    lines = [[f"{name}:{value}" for name in ("x-tenant", "x-source", "x-step", "x-input")] for value in values]
    for status, told in answers(server, [WAYS[way](*some) for some in lines]):
        assert status == 200
        assert isinstance(told, dict)
        assert (told["tenant"], told["plan"], told["given"]) == ("a", "gold", "a")
        sent = dict(server.upstream.requests[-1].headers)
        assert (sent["x-sent"], sent["x-called"]) == ("a", "a")
    keys = [WAYS[way](f"X-Key:{value.replace('a', f'white-{way}')}") for value in values]
    assert [status for status, _ in answers(server, keys)] == [200] * 2 + [429] * (len(values) - 2)


@case("P-14")
@every_way
def test_the_lines_of_a_list_are_one_list(server: Served, way: str) -> None:
    lines = ["Accept-Language: de", "Cookie: a=1", "accept-language:fr ", "X-Forwarded-For: 10.0.0.1", "Cookie: b=2"]
    ((status, told),) = answers(server, [WAYS[way](*lines, "X-Forwarded-For: 10.0.0.2")])
    assert status == 200
    assert isinstance(told, dict)
    assert (told["languages"], told["cookie"], told["forwarded"]) == ("de, fr", "a=1; b=2", "10.0.0.1, 10.0.0.2")
