"""Headers of clients have one value wherever the configuration reads it, and headers of calls one that can be sent (rows P-14 and I-13)."""

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


PLACES = {
    "step": 'endpoint: /told, headers: { x-value: "{value}" }',
    "cookie": 'endpoint: /told, headers: { cookie: "session={value}; a=b" }',
    "authorization": 'endpoint: /told, headers: { authorization: "Bearer {value}" }',
    "many": 'endpoint: /told, headers: { a: "{value}", b: "{value}", c: "{value}" }',
    "query": 'endpoint: /told, query: { value: "{value}" }',
    "path": 'endpoint: "/told/{value}"',
    "endpoint": 'endpoint: "/told?value={value}"',
}


def values_config() -> str:
    sources = [
        f"  {source}: {{ type: api, base_url: UPSTREAM, breaker: {{ enabled: false }}, transport: {source} }}"
        for source in ("http1", "httpx")
    ]
    operations = [
        f"---\noperation: {place}_{source}\nargs: {{ value: String! }}\n"
        f"steps: [ {{ name: called, type: api, source: {source}, {text} }} ]\n"
        for place, text in PLACES.items()
        for source in ("http1", "httpx")
    ]
    return "\n".join(["sources:", *sources, *operations])


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("values"), {"graph.yaml": values_config()}) as opened:
        opened.upstream.script("/told", Json(1))
        yield opened


UNUSABLE = {
    "long": "x" * 70_000,
    "longer than a head": "x" * 400_000,
    "long words": "x y" * 30_000,
    "beyond Latin-1": "a\u0100",
    "a smile": "\U0001f600",
    "a line break": "a\r\nx-evil: 1",
    "a line feed": "a\nb",
    "NUL": "a\0",
    "escape": "a\x1b[0m",
    "delete": "\x7f",
    "full width": "\uff41",
}
LONG = {name for name in UNUSABLE if "long" in name}
REFUSED = {
    **{place: set(UNUSABLE) for place in PLACES},
    "query": LONG,
    "endpoint": LONG,
    "path": UNUSABLE.keys() - {"beyond Latin-1", "a smile", "full width"},
}
"""The values that each place cannot have. In a path and a query the others are percent-encoded."""


@case("I-13")
@pytest.mark.parametrize("source", ["http1", "httpx"])
@pytest.mark.parametrize("place", PLACES)
def test_a_value_that_cannot_be_sent_is_refused_before_any_call(values: Served, place: str, source: str) -> None:
    query = f"query($value: String!) {{ {place}_{source}(value: $value) {{ called }} }}"
    for name in sorted(REFUSED[place]):
        before = len(values.upstream.requests)
        answer = values.ask(query, {"value": UNUSABLE[name]})
        assert (answer.status, answer.codes) == (200, ["BAD_USER_INPUT"]), name
        assert len(values.upstream.requests) == before
        assert len(json.dumps(answer.body)) < 1_000


SENT = {"words": "a b", "Latin-1": "\u00e9\u00ff", "a tab": "a\tb", "5,000 characters": "x" * 5_000, "signs": '~!@#$%^&*()"<>,;='}


@case("I-13")
@pytest.mark.parametrize("source", ["http1", "httpx"])
def test_any_other_value_is_sent_as_it_is(values: Served, source: str) -> None:
    for value in SENT.values():
        answer = values.ask(f"query($value: String!) {{ step_{source}(value: $value) {{ called }} }}", {"value": value})
        assert answer.data == {f"step_{source}": {"called": 1}}
        assert dict(values.upstream.requests[-1].headers)["x-value"] == value


@case("I-13")
def test_the_bytes_of_a_header_are_passed_on_unchanged(server: Served) -> None:
    ((status, _),) = answers(server, [WAYS["post"]("x-step: BYTES").replace(b"BYTES", b"\xc3\xa9\xff")])
    assert status == 200
    assert dict(server.upstream.requests[-1].headers)["x-called"].encode("latin-1") == b"\xc3\xa9\xff"


@case("I-13")
@every_way
def test_a_header_of_a_client_that_is_too_long_for_a_source_is_not_sent(server: Served, way: str) -> None:
    before = len(server.upstream.requests)
    ((status, told),) = answers(server, [WAYS[way](f"x-source: {'x' * 30_000}")])
    assert (status, told["called"] if isinstance(told, dict) else told) == (200, None)
    assert len(server.upstream.requests) == before
