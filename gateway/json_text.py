"""Encode response values as JSON."""

import json

import orjson


def json_text(value: object) -> bytes:
    """Encode a value as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # orjson refuses integers of more than 64 bits
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
