"""A gateway process and a faulty upstream, with the times and sizes of the reliability cases (rows U-01 to U-10, and their log lines)."""

import asyncio
import time
from functools import partial

import pytest

from tests.faults import (
    Behaviour,
    BrotliBomb,
    CloseWithoutAnswer,
    DeepJson,
    Delay,
    Drip,
    EndlessChunked,
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
    Reset,
    Status,
    Text,
    Truncate,
    WrongLength,
    ZstandardBomb,
)
from tests.faults.probes import Watch
from tests.faults.served import Served
from tests.kit.serving import Answer
from tests.kit.timing import SLACK

case = pytest.mark.case
CAP = 5_000_000
SOCKET_BUFFERS = 2_000_000
"""Bytes that may be buffered between two sockets, with room to spare."""


def pair(path: str, operation: str = "pair") -> str:
    return f'{{ {operation}(left: "{path}", right: "quick") {{ first second }} }}'


async def ask_pair(served: Served, path: str, behaviour: Behaviour, operation: str = "pair") -> Answer:
    """Query a faulty step together with a sound one, which must be answered."""
    served.upstream.script(f"/{path}", behaviour)
    answer = await served.gateway.ask(pair(path, operation))
    assert (answer.status, answer.data) == (200, {operation: {"first": None, "second": "quick"}})
    assert served.upstream.count(f"/{path}") >= 1
    return answer


@case("U-01")
def test_a_required_step_that_is_refused_leaves_other_operations_whole(served: Served) -> None:
    answer = served.ask('{ refusedStrict { call } pair(left: "quick") { first } constant { one } }')
    assert answer.status == 200
    assert answer.data == {"refusedStrict": None, "pair": {"first": "quick"}, "constant": {"one": 1}}
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "call", ["refusedStrict"])
    assert answer.seconds < 0.1 + SLACK


@case("U-02")
def test_an_optional_step_that_is_refused_is_null_or_what_its_fallback_gives(served: Served) -> None:
    served.upstream.script("/spare", Json({"spare": True}))
    answer = served.ask("{ refused { call } refusedRescued { call } }")
    assert answer.data == {"refused": {"call": None}, "refusedRescued": {"call": {"spare": True}}}
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "call", ["refused", "call"])
    assert answer.degraded == [("call", "spare", "SUBREQUEST_HTTP_ERROR")]


LATE: dict[str, Behaviour] = {
    "hangs": Hang(),
    "hangs-after-headers": HangAfterHeaders(),
    "drips": Drip(1.0),
    "drips-fast": Drip(0.01, b'{"slow": "' + b"x" * 1_000 + b'"}'),
    "comes-late": Delay(5, Json(1)),
    "chunks-without-end": EndlessChunked(0.2),
}


@case("U-03")
def test_late_steps_are_cut_at_their_timeout_and_their_sockets_closed(served: Served) -> None:
    async def ask_all() -> None:
        answers = await asyncio.gather(*(ask_pair(served, name, behaviour, "impatient") for name, behaviour in LATE.items()))
        answered = time.monotonic()
        for name, answer in zip(LATE, answers, strict=True):
            assert answer.fault == ("GATEWAY_TIMEOUT", "first", ["impatient", "first"]), name
            assert 0.5 <= answer.seconds < 0.6 + SLACK
            await served.upstream.wait_closed(f"/{name}", 0.1 + SLACK)
        for request in served.upstream.requests:
            if request.path[1:] in LATE:
                assert (request.connection.closed_at or 0.0) - answered < 0.1 + SLACK

    served.run(ask_all)


@case("U-04")
def test_a_chain_is_cut_at_the_deadline_and_what_is_finished_is_given(served: Served) -> None:
    for number in (1, 2, 3):
        served.upstream.script(f"/chain/{number}", Json({"next": number + 1}, delay=0.4))
    answer = served.ask("{ chain { one two three } constant { one } }")
    assert answer.data == {"chain": {"one": {"next": 2}, "two": {"next": 3}, "three": None}, "constant": {"one": 1}}
    assert answer.fault == ("GATEWAY_TIMEOUT", "three", ["chain", "three"])
    assert 1.0 <= answer.seconds < 1.1 + SLACK
    served.run(lambda: served.upstream.wait_closed("/chain/3", 0.1 + SLACK))


MALFORMED: dict[str, Behaviour] = {
    "html": Html(),
    "invalid-json": InvalidJson(),
    "empty": InvalidJson(b""),
    "truncated": Truncate(),
    "too-short-a-length": WrongLength(b'{"x": "cut"}', excess=3),
    "plain-text": Text('{"x": 1}'),
    "invalid-utf-8": InvalidUtf8(),
    "nan": NaN(),
    "infinity": NaN("Infinity"),
    "100000-deep": DeepJson(100_000),
    "129-deep": DeepJson(129),
    "garbage": Garbage(),
    "two-lengths": Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"),
    "cut-chunks": Raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}"),
    "no-gzip": Raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"),
}


@case("U-06")
def test_what_is_no_json_is_a_malformed_response_and_the_reply_is_sound(served: Served) -> None:
    async def ask_all() -> None:
        answers = await asyncio.gather(*(ask_pair(served, f"bad-{name}", one) for name, one in MALFORMED.items()))
        for name, answer in zip(MALFORMED, answers, strict=True):
            assert answer.fault == ("SUBREQUEST_MALFORMED_RESPONSE", "first", ["pair", "first"]), name

    served.run(ask_all)


@case("U-06")
def test_no_content_is_null_without_an_error(served: Served) -> None:
    served.upstream.script("/no-content", Status(204))
    assert served.ask('{ pair(left: "no-content", right: "quick") { first second } }').body == {
        "data": {"pair": {"first": None, "second": "quick"}}
    }


UNREACHABLE: dict[str, Behaviour] = {
    "reset": Reset(),
    "closed": CloseWithoutAnswer(),
    "500": Status(500),
    "redirect": Status(302),
}


@case("U-06")
@pytest.mark.parametrize("name", UNREACHABLE)
def test_what_ends_before_an_answer_is_an_http_error(served: Served, name: str) -> None:
    answer = served.run(lambda: ask_pair(served, f"ends-{name}", UNREACHABLE[name]))
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "first", ["pair", "first"])


SOUND = {"number": 1, "name": "a", "size": "SMALL", "tags": ["t"], "inner": {"text": "x"}}
MISFITS: dict[str, tuple[dict[str, object], dict[str, object] | None, list[str | int]]] = {
    "text-for-a-number": ({"number": "x"}, {"number": None}, ["number"]),
    "a-list-for-an-object": ({"inner": [1]}, {"inner": None}, ["inner"]),
    "a-missing-field-that-must-be": ({"name": None}, None, ["name"]),
    "outside-the-enum": ({"size": "HUGE"}, {"size": None}, ["size"]),
    "a-null-item": ({"tags": ["t", None]}, {"tags": None}, ["tags", 1]),
    "an-object-for-a-text": ({"inner": {"text": {"a": 1}}}, {"inner": {"text": None}}, ["inner", "text"]),
    "too-large-a-number": ({"number": 2**31}, {"number": None}, ["number"]),
    "a-fraction-for-a-number": ({"number": 1.5}, {"number": None}, ["number"]),
}


@case("U-07")
@pytest.mark.parametrize("name", MISFITS)
def test_a_value_of_the_wrong_type_is_null_by_the_rules_of_graphql(served: Served, name: str) -> None:
    given, expected, path = MISFITS[name]
    served.upstream.script(f"/{name}", Json({**SOUND, **given}))
    answer = served.ask(f'{{ typed(path: "{name}") {{ item {{ number name size tags inner {{ text }} }} beside }} }}')
    item = None if expected is None else {**SOUND, **expected}
    assert (answer.status, answer.data) == (200, {"typed": {"item": item, "beside": "quick"}})
    assert answer.fault == ("RESPONSE_VALIDATION_FAILED", "item", ["typed", "item", *path])


TOO_LARGE: dict[str, Behaviour] = {
    "300-mb": Huge(300_000_000),
    "300-mb-undeclared": Huge(300_000_000, with_length=False),
    "endless-chunks": EndlessChunked(),
    "gzip-bomb": GzipBomb(300_000_000),
    "brotli-bomb": BrotliBomb(),
    "zstandard-bomb": ZstandardBomb(300_000_000),
    "header-flood": HeaderFlood(300_000),
    "one-long-header": HeaderFlood(300_000, line_bytes=300_000),
}


@case("U-08")
def test_answers_beyond_the_cap_are_not_read_to_their_end_and_hold_up_nobody(served: Served) -> None:
    async def ask(name: str, behaviour: Behaviour) -> tuple[Watch, Answer]:
        served.upstream.script(f"/{name}", behaviour)
        async with Watch(served.pid, served.process.url) as watch:
            answer = await served.gateway.ask(f'{{ long(path: "{name}") {{ call }} constant {{ one }} }}')
            await served.upstream.wait_closed(f"/{name}", 1 + SLACK)
            return watch, answer

    for name, behaviour in TOO_LARGE.items():
        watch, answer = served.run(partial(ask, name, behaviour))
        result = (answer.data, answer.codes)
        assert result == ({"long": {"call": None}, "constant": {"one": 1}}, ["SUBREQUEST_RESPONSE_TOO_LARGE"]), name
        assert served.upstream.bytes_sent(f"/{name}") < CAP + 65_536 + SOCKET_BUFFERS
        assert watch.grown < 30_000_000
        assert watch.delay < 0.1 + SLACK


@case("U-10")
def test_only_what_may_be_repeated_is_and_only_for_what_may_pass(served: Served) -> None:
    served.upstream.script("/flaps", Status(503), Status(503), Json("third time lucky"))
    assert served.ask('{ repeated(path: "flaps") { get } }').data == {"repeated": {"get": "third time lucky"}}
    assert served.upstream.count("/flaps") == 3
    for status in (400, 401, 403, 404, 429):
        served.upstream.script(f"/repeated-{status}", Status(status, headers={"retry-after": "0"}))
        answer = served.ask(f'{{ repeated(path: "repeated-{status}") {{ get }} }}')
        assert answer.error["extensions"]["http"] == {"status": status}
        assert served.upstream.count(f"/repeated-{status}") == 1
    for step, calls in (("post", 1), ("put", 3)):
        served.upstream.script(f"/{step}-503", Status(503))
        served.ask(f'{{ repeated(path: "{step}-503") {{ {step} }} }}')
        assert served.upstream.count(f"/{step}-503") == calls
    served.upstream.script("/changed-503", Status(503))
    served.ask('mutation { change(path: "changed-503") { post } }')
    assert served.upstream.count("/changed-503") == 1
