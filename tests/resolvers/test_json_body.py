"""JSON bodies: how many values and levels a text has, and what happens with too many."""

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.contract.shape import Shape
from gateway.errors import Code, StepFault
from resolvers import json_body
from resolvers.json_body import FEW_VALUES, MAX_JSON_DEPTH, SMALL_BODY, decode, decode_at_once
from resolvers.transport.transport import UpstreamResponse

TEXTS = st.text(st.sampled_from(list('a,[]{}"\\\n:é😀')), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=40,
)


def levels(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (1 if isinstance(value, dict | list) else 0) + max(map(levels, below), default=0)


def count(value: Any) -> int:
    """Count values as they are counted in the text: one more for each list and object with anything in it."""
    below = list(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return 1 + sum(map(count, below)) + (1 if isinstance(value, dict | list) and not below else 0)


@settings(max_examples=300)
@given(VALUES, st.booleans(), st.integers(1, 9))
@example(["\\", '"', '\\"', "[[["], True, 1)
def test_values_and_levels_are_those_outside_of_strings(value: Any, is_ascii: bool, piece: int) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":")).encode()
    original, json_body._PIECE = json_body._PIECE, piece
    try:
        values, deepest = json_body._measure(text)
    finally:
        json_body._PIECE = original
    assert deepest == levels(value)
    assert values == count(value)
    assert values <= json_body._most_values(text)
    assert decode_at_once(UpstreamResponse(200, {}, text)) == value


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}"), ('[1,{"[":', "}]"), ("[[],", "]")])
@pytest.mark.parametrize("filling", ["", "[]," * 300, '"[[[[]]",' * 300, '"\\"[",' * 300])
@pytest.mark.parametrize("size", [0, SMALL_BODY])
def test_the_deepest_body_is_accepted_and_a_deeper_one_is_not(brackets: tuple[str, str], filling: str, size: int) -> None:
    def body(times: int) -> bytes:
        return f"[{filling}{json.dumps('x' * size)},{brackets[0] * times}0{brackets[1] * times}]".encode()

    deepest = max(times for times in range(MAX_JSON_DEPTH) if levels(json.loads(body(times))) <= MAX_JSON_DEPTH)
    assert asyncio.run(decode(UpstreamResponse(200, {}, body(deepest)), 100_000)) == json.loads(body(deepest))
    with pytest.raises(StepFault) as raised:
        asyncio.run(decode(UpstreamResponse(200, {}, body(deepest + 1)), 100_000))
    assert raised.value.code is Code.SUBREQUEST_MALFORMED_RESPONSE


@pytest.mark.parametrize("item", ["1", "{}", "[]", '""', "[[]]", '{"a":1}', '"a,b"', "null", '"[{,"'])
@pytest.mark.parametrize("limit", [5, 1000, FEW_VALUES, 2 * FEW_VALUES])
def test_as_many_values_as_allowed_are_decoded_and_more_are_not(item: str, limit: int) -> None:
    of_one = count(json.loads(item))
    fitting = (limit - 1) // of_one
    text = f"[{','.join([item] * fitting)}]".encode()
    assert asyncio.run(decode(UpstreamResponse(200, {}, text), limit)) == [json.loads(item)] * fitting
    text = f"[{','.join([item] * (limit + 1))}]".encode()
    with pytest.raises(StepFault) as raised:
        asyncio.run(decode(UpstreamResponse(200, {}, text), limit))
    assert raised.value.code is Code.SUBREQUEST_RESPONSE_TOO_LARGE
    assert "max_response_values" in raised.value.detail


def test_commas_and_brackets_in_texts_are_no_values() -> None:
    texts = ["one, two, [three], {four}, " * 10_000]
    assert asyncio.run(decode(UpstreamResponse(200, {}, json.dumps(texts).encode()), 10)) == texts


def test_a_large_body_is_decoded_by_its_shape_as_well() -> None:
    many = [1] * 100_000
    shape = Shape(tuple[int, ...], {})
    assert asyncio.run(decode(UpstreamResponse(200, {}, json.dumps(many).encode()), 1_000_000, shape)) == tuple(many)


NESTED = "[" * (MAX_JSON_DEPTH - 1) + "]" * (MAX_JSON_DEPTH - 1)
FIVE_MB = {
    "nested": NESTED,
    "objects": "{}",
    "numbers": "1",
    "lists": "[]",
    "texts": '""',
    "lists of objects": "[{}]",
    "objects of one": '{"a":1}',
}


@pytest.mark.parametrize("kind", FIVE_MB)
def test_five_megabytes_of_tiny_values_are_refused_in_no_time(kind: str) -> None:
    item = FIVE_MB[kind]
    body = f"[{','.join([item] * (5_000_000 // (len(item) + 1)))}]".encode()
    began = time.process_time()
    with pytest.raises(StepFault) as raised:
        asyncio.run(decode(UpstreamResponse(200, {}, body), 450_000))
    assert raised.value.code is Code.SUBREQUEST_RESPONSE_TOO_LARGE
    assert time.process_time() - began < 0.5  # 50 ms as a rule; decoding them takes up to a second
