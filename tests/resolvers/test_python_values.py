"""Values of Python functions that JSON cannot have: the failure of their step, as nothing can be done once a response is being written."""

import math
from typing import Any

import orjson
import pytest

from gateway.json_text import json_text
from resolvers.python_call import to_json_data

HALF = "\ud800"
HUGE = 10**5000


class Text(str):
    """A text of a class of its own."""

    __slots__ = ()


class Number(int):
    """A number of a class of its own."""


UNWRITABLE = [HALF, Text(f"é{HALF}"), HUGE, -HUGE, Number(HUGE), {HALF: 1}, {HUGE: 1}]
WRITABLE = ["é", "\U0001f600", "", 10**4000, -(2**70), 2**64, True, None, 1.5, math.nan, -math.inf]


@pytest.mark.parametrize(
    "place", [lambda value: value, lambda value: [1, value], lambda value: {"a": {"b": (value,)}}], ids=["", "list", "deep"]
)
@pytest.mark.parametrize("number", range(len(UNWRITABLE)))
def test_what_cannot_be_written_fails_where_it_comes_from(number: int, place: Any) -> None:
    with pytest.raises(ValueError, match=r"surrogates not allowed|limit .* for integer string conversion"):
        to_json_data(place(UNWRITABLE[number]))


@pytest.mark.parametrize("one", range(len(WRITABLE)))
@pytest.mark.parametrize("other", range(len(WRITABLE)))
def test_what_passes_can_be_written_beside_whatever_else_passes(one: int, other: int) -> None:
    """Whole numbers beyond 64 bits are written by another library than all else, which must agree about numbers that JSON has not."""
    pair = to_json_data({"a": WRITABLE[one], "b": [WRITABLE[other]]})
    text = json_text(pair)
    assert b"NaN" not in text
    assert b"Infinity" not in text
    alone = [json_text(to_json_data(WRITABLE[number])) for number in (one, other)]
    assert b"".join(text.split(b" ")) == b'{"a":' + alone[0] + b',"b":[' + alone[1] + b"]}"
    assert orjson.loads(json_text("é")) == "é"
