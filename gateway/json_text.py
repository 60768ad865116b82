"""Encode response values as JSON."""

import json
from math import isfinite

import orjson


def json_text(value: object) -> bytes:
    """Encode a value as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # orjson refuses integers of more than 64 bits
        return json.dumps(_with_finite_numbers(value), ensure_ascii=False, allow_nan=False).encode()


def _with_finite_numbers(value: object) -> object:
    """Return a value with null for what is no number of JSON, as orjson writes it."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, dict):
        return {name: _with_finite_numbers(item) for name, item in value.items()}
    return [_with_finite_numbers(item) for item in value] if isinstance(value, list | tuple) else value
