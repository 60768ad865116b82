"""Answers as values → the JSON text that goes out."""

import json

import orjson


def json_text(value: object) -> bytes:
    """Return a value as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, which only the slower library writes
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
