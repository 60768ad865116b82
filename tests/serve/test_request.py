"""Malformed and hostile bodies: each is answered with JSON and an error code, and never with a 5xx."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.kit.serving import JSON, RESPONSE_JSON, Answer, Stage, checked, until_tasks_end

MAX_BODY = 2_000_000
CONFIG = {
    "graph.yaml": """
operation: echo
args: { text: String, number: Int, any: JSON, list: "[Int!]" }
steps:
  - { name: words, type: value, value: "{text?}", returns: String }
  - { name: given, type: value, value: { of: "{any?}" } }
""",
}
ECHO = "query($text: String, $any: JSON) { echo(text: $text, any: $any) { words given } }"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("hostile"), CONFIG) as opened:
        yield opened


def request(query: str, **parameters: object) -> bytes:
    return json.dumps({"query": query, **parameters}).encode()


NO_REQUESTS = {
    "nothing": b"",
    "a blank": b" ",
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "a text": b'"{ __typename }"',
    "an empty object": b"{}",
    "a cut object": b'{"query":',
    "two objects": b'{"query": "{ __typename }"} {}',
    "no JSON": b"query { __typename }",
    "invalid UTF-8": b'{"query": "{ __typename \xff }"}',
    "UTF-16": '{"query": "{ __typename }"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"query": "{ __typename }"}',
    "a NUL": b'{"query": "{ __typename }"}\0',
    "NaN": b'{"query": "{ __typename }", "variables": {"any": NaN}}',
    "Infinity": b'{"query": "{ __typename }", "variables": {"any": -Infinity}}',
    "half a surrogate pair in a variable": b'{"query": "{ __typename }", "variables": {"text": "\\ud800"}}',
    "half a surrogate pair in the query": b'{"query": "{ __typename } #\\udc00"}',
    "half a surrogate pair in a key": b'{"query": "{ __typename }", "variables": {"\\ud800": 1}}',
    "a number without end": b'{"query": "{ __typename }", "variables": {"any": ' + b"9" * 5_000 + b"}}",
    "a number of 5,000 digits": b'{"query": "{ __typename }", "variables": {"any": ' + b"9" * 5_000 + b"}}",
    "a long number below 1,000 brackets": b'{"query": "{ __typename }", "variables": {"any": '
    + b"[" * 1_000
    + b"9" * 30
    + b"]" * 1_000
    + b"}}",
    "100,000 brackets": b"[" * 100_000,
    "100,000 closed brackets": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "deep variables": b'{"query": "{ __typename }", "variables": {"any": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
    "no query": b'{"operationName": "A"}',
    "an empty query": request(""),
    "a null query": b'{"query": null}',
    "a list as query": b'{"query": ["{ __typename }"]}',
    "a number as operation name": request("{ __typename }", operationName=1),
    "a list as operation name": request("{ __typename }", operationName=["A"]),
    "an object as operation name": request("{ __typename }", operationName={}),
    "a list as variables": request("{ __typename }", variables=[7]),
    "a text as variables": request("{ __typename }", variables="{}"),
    "a text as extensions": request("{ __typename }", extensions="x"),
}


@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS)
@pytest.mark.case("P-02")
def test_a_body_that_is_no_request_is_refused(stage: Stage, body: bytes) -> None:
    answer = stage.run(lambda: stage.production.post(body))
    assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])
    assert "data" not in answer.body


@pytest.mark.parametrize("body", [b"[]", b"[" + request("{ __typename }") + b"]", b"[null]"])
def test_a_batch_is_refused_while_batching_is_off(stage: Stage, body: bytes) -> None:
    answer = stage.run(lambda: stage.production.post(body))
    assert (answer.status, answer.codes) == (400, ["BATCHING_NOT_ENABLED"])


HARMLESS = {
    "duplicate keys, the last of which counts": b'{"query": "{", "query": "{ __typename }"}',
    "keys that nobody knows": b'{"query": "{ __typename }", "id": 1, "": null}',
    "nulls": b'{"query": "{ __typename }", "operationName": null, "variables": null, "extensions": null}',
    "white space around it": b' \r\n\t{"query": "{ __typename }"}\n',
    "variables that nobody declared": request("{ __typename }", variables={"x": 1, "": {}, "a b": [None]}),
    "a trace that is no boolean": request("{ __typename }", extensions={"trace": "yes"}),
    "a huge integer nobody reads": request("{ __typename }", variables={"any": 2**70}),
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_what_is_odd_but_sound_is_answered(stage: Stage, body: bytes) -> None:
    answer = stage.run(lambda: stage.production.post(body))
    assert (answer.status, answer.body) == (200, {"data": {"__typename": "Query"}})


NO_DOCUMENTS = {
    "5,000 nested braces": "{" * 5_000 + "}" * 5_000,
    "5,000 nested fields": "{ echo " * 5_000 + "}" * 5_000,
    "100,000 brackets": "[" * 100_000,
    "a list value 3,000 deep": "{ echo(any: " + "[" * 3_000 + "]" * 3_000 + ") { words } }",
    "an object value 3,000 deep": "{ echo(any: " + "{a:" * 3_000 + "1" + "}" * 3_000 + ") { words } }",
    "a list type 3,000 deep": "query($x: " + "[" * 3_000 + "Int" + "]" * 3_000 + ") { __typename }",
    "inline fragments 3,000 deep": "{" + "...{" * 3_000 + "__typename" + "}" * 3_001,
    "20,000 tokens": "{ " + "a " * 20_000 + "}",
    "1 MB of comment": "#" * 1_000_000,
    "1 MB of commas": "," * 1_000_000,
    "a NUL": "{ __typename \0 }",
    "an open string": '{ echo(text: "',
    "an open block string": '{ echo(text: """',
    "a bad escape": '{ echo(text: "\\ud800") { words } }',
    "a bad wide escape": '{ echo(text: "\\u{110000}") { words } }',
    "a number that goes nowhere": "{ echo(number: 0123) { words } }",
    "only white space": " \n\t ",
    "only a byte order mark": "\ufeff",
    "an emoji": "{ 🙂 }",
}


@pytest.mark.parametrize("query", NO_DOCUMENTS.values(), ids=NO_DOCUMENTS)
@pytest.mark.case("Q-03")
def test_a_text_that_is_no_document_is_refused_before_long(stage: Stage, query: str) -> None:
    answer = stage.run(lambda: stage.production.ask(query))
    assert answer.status == 400
    assert set(answer.codes) <= {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "MAX_DEPTH_LIMIT", "TOKEN_LIMIT_EXCEEDED"}
    assert "data" not in answer.body
    assert len(json.dumps(answer.body)) < 50_000
    assert answer.seconds < 5


def chain_of_fragments(length: int) -> str:
    """Return a query whose fragments each spread the next."""
    fragments = "".join(f"fragment F{number} on Query {{ ...F{number + 1} }} " for number in range(length))
    return f"{{ ...F0 }} {fragments} fragment F{length} on Query {{ __typename }}"


def test_a_long_chain_of_fragments_is_answered_or_refused(stage: Stage) -> None:
    answer = stage.run(lambda: stage.production.ask(chain_of_fragments(1_500)))
    assert (answer.status, answer.codes) == (400, ["TOKEN_LIMIT_EXCEEDED"])


def test_fragments_that_spread_each_other_in_a_circle_are_refused(stage: Stage) -> None:
    query = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    assert set(stage.run(lambda: stage.production.ask(query)).codes) == {"GRAPHQL_VALIDATION_FAILED"}


VALUES = {
    "an integer of 70 bits": str(2**70),
    "the first integer below 64 bits": str(-(2**63) - 1),
    "an integer of 5,000 digits": "9" * 5_000,
    "a float beyond all floats": "1e999",
    "nothing but zeros": "-0.0e-999",
    "a list 200 deep": "[" * 200 + "]" * 200,
    "a list 300 deep": "[" * 300 + "]" * 300,
    "an object 300 deep": "{a:" * 300 + "1" + "}" * 300,
    "a text with a NUL": '"\\u0000"',
    "an enum value": "RED",
}


@pytest.mark.parametrize("literal", VALUES.values(), ids=VALUES)
def test_a_json_argument_written_in_the_query_comes_back_or_is_refused(stage: Stage, literal: str) -> None:
    answer = stage.run(lambda: stage.production.ask(f"{{ echo(any: {literal}) {{ given }} }}"))
    assert answer.status in {200, 400}
    assert answer.codes or "of" in answer.data["echo"]["given"]


@pytest.mark.parametrize("depth", [100, 253, 300, 1_020])
def test_a_deep_json_variable_comes_back_or_is_refused(stage: Stage, depth: int) -> None:
    content = b'{"query": "%s", "variables": {"any": %s}}' % (ECHO.encode(), b"[" * depth + b"]" * depth)
    assert stage.run(lambda: stage.production.post(content)).status in {200, 400}


@pytest.mark.parametrize("text", ["", "\0", "\u2028", "\U0001f600", "\uffff", "</script>", "x" * 100_000, "\x7f\x1b[31m"])
def test_any_text_comes_back_as_it_was_sent(stage: Stage, text: str) -> None:
    answer = stage.run(lambda: stage.production.ask(ECHO, {"text": text, "any": {text: text}}))
    assert answer.data == {"echo": {"words": text, "given": {"of": {text: text}}}}


# -- sizes


def test_a_body_of_the_largest_size_is_taken(stage: Stage) -> None:
    body = request("{ __typename }").ljust(MAX_BODY)
    assert stage.run(lambda: stage.production.post(body)).status == 200


def test_a_body_that_declares_too_much_is_refused_unread(stage: Stage) -> None:
    async def declare() -> Answer:
        return await raw_post(stage, b"content-length: %d" % (MAX_BODY + 1), [])

    answer = stage.run(declare)
    assert (answer.status, answer.codes) == (413, ["PAYLOAD_TOO_LARGE"])


@pytest.mark.case("Q-01")
def test_a_chunked_body_is_refused_once_it_is_too_large(stage: Stage) -> None:
    """The end of the body is never sent: a response shows that the gateway does not wait for it."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    async def stream() -> Answer:
        return await raw_post(stage, b"transfer-encoding: chunked", [chunk] * (MAX_BODY // 0x10000 + 1))

    answer = stage.run(stream)
    assert (answer.status, answer.codes) == (413, ["PAYLOAD_TOO_LARGE"])


def test_a_chunked_body_of_sound_size_is_taken(stage: Stage) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in request("{ __typename }"):
            yield bytes([byte])

    answer = stage.run(
        lambda: stage.production.send(
            "POST", "/graphql", content=pieces(), headers={"content-type": JSON, "accept": RESPONSE_JSON}
        )
    )
    assert answer.status == 200


@pytest.mark.parametrize("length", ["9" * 25, "9" * 5_000])
def test_an_absurd_content_length_is_no_5xx(stage: Stage, length: str) -> None:
    async def declare() -> bytes:
        reader, writer = await connect(stage)
        writer.write(head(stage, b"content-length: " + length.encode()))
        async with asyncio.timeout(5):
            line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    assert stage.run(declare).split()[1] in {b"400", b"413"}


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(stage: Stage) -> None:
    async def leave() -> None:
        before = len(asyncio.all_tasks())
        _, writer = await connect(stage)
        writer.write(head(stage, b"content-length: 1000") + b'{"query": "{')
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
        await until_tasks_end(before, 5)

    stage.run(leave)


def head(stage: Stage, length: bytes) -> bytes:
    host = urlsplit(stage.production.url).netloc.encode()
    lines = [b"POST /graphql HTTP/1.1", b"host: " + host, b"content-type: application/json", length]
    return b"\r\n".join([*lines, b"accept: application/graphql-response+json", b"", b""])


async def connect(stage: Stage) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", urlsplit(stage.production.url).port)


async def raw_post(stage: Stage, length: bytes, pieces: list[bytes]) -> Answer:
    """Send a POST with any Content-Length, and read one response."""
    reader, writer = await connect(stage)
    writer.write(head(stage, length))
    for piece in pieces:
        writer.write(piece)
    async with asyncio.timeout(10):
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = httpx.Headers([(name, value) for name, _, value in (line.partition(b": ") for line in lines if line)])
        content = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    response = httpx.Response(int(status.split()[1]), headers=headers, content=content)
    return Answer(response.status_code, response.headers, checked(response))


# -- properties

PROPERTY = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # the explaining phase traces every line, at ten times the cost
)
SOUND = request(
    'query A($x: JSON) { echo(any: $x, text: "a") { words given } }', operationName="A", variables={"x": {"a": [1, None]}}
)
WORDS = "{ } ( ) [ ] : ! $ @ = | & , # ... query fragment on Query echo words any text $x 1 -0 1e9 true null __typename __schema"
TOKENS = st.sampled_from([*WORDS.split(" "), '"a"', '"' * 3, "@skip(if: true)", "\\", "\ufeff", "\n", "\0"])
TEXT = st.text(st.characters(codec=None), max_size=20)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Draw a valid body in which bytes are replaced, removed or repeated."""
    body = bytearray(SOUND)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 8)))
        body[start:end] = draw(st.binary(max_size=4) | st.just(bytes(body[start:end]) * 2))
    return bytes(body)


@PROPERTY
@given(body=st.binary(max_size=300) | mutations())
@pytest.mark.case("Q-11")
def test_no_bytes_make_a_5xx(stage: Stage, body: bytes) -> None:
    assert stage.run(lambda: stage.production.post(body)).status in {200, 400, 403}


@PROPERTY
@given(parameters=st.dictionaries(st.sampled_from(["query", "operationName", "variables", "extensions", "id"]), VALUE))
@pytest.mark.case("Q-11")
def test_no_json_makes_a_5xx(stage: Stage, parameters: dict[str, object]) -> None:
    assert stage.run(lambda: stage.production.post(json.dumps(parameters).encode())).status == 400


@PROPERTY
@given(tokens=st.lists(TOKENS, max_size=30), variables=st.dictionaries(st.sampled_from("xyz"), VALUE), mode=st.booleans())
@pytest.mark.case("Q-11")
def test_no_document_makes_a_5xx(stage: Stage, tokens: list[str], variables: dict[str, object], mode: bool) -> None:
    gateway = stage.development if mode else stage.production
    content = request(" ".join(tokens), variables=variables)
    assert stage.run(lambda: gateway.post(content)).status in {200, 400, 403}


@PROPERTY
@given(target=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=80))
@pytest.mark.case("Q-11")
def test_no_query_string_makes_a_5xx(stage: Stage, target: str) -> None:
    async def get() -> int:
        return (await stage.development.send("GET", httpx.URL(f"/graphql?query={target}").raw_path.decode())).status

    assert stage.run(get) in {200, 400, 403, 405}


@PROPERTY
@given(
    accept=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
    | st.lists(st.sampled_from([JSON, RESPONSE_JSON, "*/*", ";", ",", "q=", "1", "0", "=", "nan", "inf", '"']), max_size=8).map(
        "".join
    ),
    content_type=st.sampled_from([JSON, f"{JSON};", f"{JSON};charset", f"{JSON};charset=", ";", "", f'{JSON};charset="utf-8'])
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(str.strip),
)
@pytest.mark.case("Q-11")
def test_no_headers_make_a_5xx(stage: Stage, accept: str, content_type: str) -> None:
    answer = stage.run(lambda: stage.production.post(SOUND, accept=accept, content_type=content_type))
    assert answer.status in {200, 406, 415}
