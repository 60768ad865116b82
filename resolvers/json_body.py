"""The body of a JSON response → its value, with limits of nesting and of the number of values.

To decode is one call of C code, during which nothing else runs: of 5 MB of empty lists it takes a second. So values are counted in the text
before they are decoded, and a large body is counted and decoded in a thread, in steps that are short for all others.
"""

import asyncio
import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import orjson

from gateway.contract.shape import Shape, ShapeMismatch
from gateway.errors import Code, StepFault
from resolvers.transport.transport import UpstreamResponse, too_large

MAX_JSON_DEPTH = 128
"""Levels of nesting that are accepted in a response."""
SMALL_BODY = 100_000
"""The bytes of a body that is always decoded at once: with at most 50,000 values that takes less than 10 ms."""
FEW_VALUES = 50_000
"""The number of values that are decoded at once whatever the size of their body."""
_PIECE = 65_536
"""Bytes that are looked at in one call of C code."""
_THREADS = ThreadPoolExecutor(2, "json")
"""The threads for large bodies. There are few, because each of them makes the event loop wait for its turn."""


async def decode(response: UpstreamResponse, max_values: int, shape: Shape | None = None) -> object:
    """Decode a JSON body, with the decoder of ``shape`` if there is one. Statuses 204 and 205 give null.

    :raises StepFault: the body is not JSON, has another content type, is nested too deep, or has more than ``max_values`` values. With a
        shape, only msgspec's own limit of depth holds, because unwanted parts are skipped without being decoded.
    """
    body = response.body
    # A value and what separates it from the next one take at least two bytes.
    if len(body) <= min(SMALL_BODY, 2 * max_values) or _most_values(body) <= min(FEW_VALUES, max_values):
        return decode_at_once(response, shape)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _decode_large, response, max_values, shape)


def decode_at_once(response: UpstreamResponse, shape: Shape | None = None) -> object:
    """Decode a small body, as :func:`decode` does."""
    if response.status in {204, 205}:
        return None
    content_type = response.headers.get("content-type", "application/json")
    if not _is_json(content_type):
        detail = f"content type '{content_type[:80]}': {response.body[:200]!r}"
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail=detail)
    if shape is not None:
        try:
            return shape.read(response.body)
        except ShapeMismatch:
            pass  # the general decoder below finds out what is wrong
    try:
        value = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail=f"{error}: {response.body[:200]!r}") from None
    # Counted in the text: walking every value would take ten times as long.
    if _may_be_deep(response.body) and _measure(response.body)[1] > MAX_JSON_DEPTH:
        raise StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE, detail=f"nested more than {MAX_JSON_DEPTH} deep")
    return value


def _decode_large(response: UpstreamResponse, max_values: int, shape: Shape | None) -> object:
    if _most_values(response.body) > max_values and _measure(response.body, max_values)[0] > max_values:
        raise too_large(f"more than {max_values} values; 'max_response_values' of the source is the limit")
    return decode_at_once(response, shape)


@functools.lru_cache(maxsize=256)
def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _most_values(body: bytes) -> int:
    """Return how many values JSON may have at most: commas and brackets in strings count too. A megabyte takes 1 ms."""
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def _measure(body: bytes, enough: int | None = None) -> tuple[int, int]:
    """Count the values of JSON and its levels, without what is in strings; stop when there are more than ``enough`` values."""
    values, depth, deepest = 1, 0, 0
    for piece in _outside_of_strings(body):
        opened, closed = piece.count(b"[") + piece.count(b"{"), piece.count(b"]") + piece.count(b"}")
        values += opened + piece.count(b",")
        if enough is not None and values > enough:
            break
        if depth + opened > deepest:
            changes = map(_CHANGES.__getitem__, piece.translate(None, _NO_BRACKETS))
            deepest = max(deepest, *accumulate(changes, initial=depth))
        depth += opened - closed
    return values, deepest


def _outside_of_strings(body: bytes) -> Iterator[bytes]:
    """Yield what is outside of the strings of JSON, piece by piece."""
    text = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    is_inside = False
    for start in range(0, len(text), _PIECE):
        parts = text[start : start + _PIECE].split(b'"')
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_CHANGES = [1 if byte in b"[{" else -1 if byte in b"]}" else 0 for byte in range(256)]
"""By how many levels each byte changes the depth."""


def _may_be_deep(body: bytes) -> bool:
    """Tell whether JSON text may be nested too deep, by tests from cheap to expensive."""
    return len(body) > 2 * MAX_JSON_DEPTH and _has_many_openers(body) and not _is_flat(body)


def _has_many_openers(body: bytes) -> bool:
    """Tell whether JSON has more opening brackets than levels are allowed. Removing them is the fastest way to count a few (3 µs for 30 kB)."""
    rest = body.replace(b"[", b"", MAX_JSON_DEPTH + 1)
    return len(body) - len(rest.replace(b"{", b"", MAX_JSON_DEPTH + 1)) > MAX_JSON_DEPTH


def _is_flat(body: bytes) -> bool:
    """Tell whether JSON is certainly not nested too deep: remove empty pairs of brackets, level by level, as long as there are many.

    Brackets inside strings make it uncertain. A megabyte takes 2 ms; walking its value takes 20. One pass may remove two levels: ``{[]}``.
    """
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(MAX_JSON_DEPTH // 2):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) - len(inner) < len(brackets) // 8:
            return not inner
        brackets = inner
    return not brackets
