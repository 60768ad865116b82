"""Conversion of PostgreSQL's types: request values → bound parameters, result values → JSON.

Text, numbers and booleans are accepted as PostgreSQL accepts a literal of the type. A time without an offset is in UTC.
"""

import base64
import datetime
import decimal
import ipaddress
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from asyncpg import Range, Record
from asyncpg.types import Type

from resolvers.databases.sql.values import is_encodable, read_json, to_json

Converter = Callable[[Any], object]


class UnbindableValue(ValueError):
    """A value cannot be bound. The text completes the sentence "The value ... is not"."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One placeholder: its coercion, and whether that finds every mistake (``is_checked``), so that the server reports none."""

    coerce: Converter
    is_checked: bool


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column: its name, and the conversion of its values to JSON."""

    name: str
    read: Converter


def parameter_of(type_: Type) -> Parameter:
    """Return the coercion for a type. Values of unknown types are bound as text, which the server parses."""
    if type_.kind == "array":
        element = _COERCE.get(type_.name.removesuffix("[]"))
        return Parameter(_nullable(_list_of(element or _text)), element is not None)
    return Parameter(_nullable(_COERCE.get(type_.name, _text)), type_.name in _COERCE)


def column_of(name: str, type_: Type) -> ResultColumn:
    """Return the conversion of a column's values."""
    if type_.name.removesuffix("[]") in {"json", "jsonb"}:
        return ResultColumn(name, _json_list if type_.kind == "array" else _json)
    return ResultColumn(name, _unchanged if type_.name in _PLAIN else _to_json)


def _nullable(coerce: Converter) -> Converter:
    return lambda value: None if value is None else coerce(value)


def _list_of(coerce: Converter) -> Converter:
    def coerce_list(value: Any) -> object:
        return [None if item is None else coerce(item) for item in (value if isinstance(value, list) else [value])]

    return coerce_list


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise UnbindableValue("a text")
    text = str(value)
    if "\x00" in text or not is_encodable(text):
        raise UnbindableValue("a text that PostgreSQL can hold")
    return text


def _integer(bits: int, *, is_signed: bool = True) -> Converter:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if is_signed else (0, 2**bits)

    def coerce(value: Any) -> int:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not is_whole and not (isinstance(value, str) and _INTEGER_TEXT.fullmatch(value)):
            raise UnbindableValue("an integer")
        if not low <= int(value) < high:
            raise UnbindableValue(f"an integer of {bits} bits")
        return int(value)

    return coerce


_INTEGER_TEXT = re.compile(r"\s*[+-]?[0-9]{1,30}\s*")
_NUMBER_TEXT = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")
_TRUE = {"true", "t", "yes", "on", "1"}
_FALSE = {"false", "f", "no", "off", "0"}


def _number(create: Callable[[str], object]) -> Converter:
    def coerce(value: Any) -> object:
        if isinstance(value, int | float) or (isinstance(value, str) and len(value) < 1000 and _NUMBER_TEXT.fullmatch(value)):
            return create(str(int(value) if isinstance(value, bool) else value))
        raise UnbindableValue("a number")

    return coerce


def _boolean(value: Any) -> bool:
    word = str(value).lower()
    if not isinstance(value, bool | int | str) or word not in _TRUE | _FALSE:
        raise UnbindableValue("true or false")
    return word in _TRUE


def _parser(parse: Callable[[str], object], expected: str) -> Converter:
    def coerce(value: Any) -> object:
        try:
            if isinstance(value, str):
                return parse(value.strip())
        except (ValueError, OverflowError):
            pass
        raise UnbindableValue(expected)

    return coerce


def _in_utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)


def _zoned_time(text: str) -> datetime.time:
    time = datetime.time.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)


def _local_time(text: str) -> datetime.time:
    time = datetime.time.fromisoformat(text)
    if time.tzinfo is not None:
        raise UnbindableValue("a time")
    return time


_DURATION = re.compile(r"(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def _interval(text: str) -> datetime.timedelta:
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()[1:]):
        raise UnbindableValue("a duration")
    weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups()[1:])
    length = datetime.timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if match[1] else length


def _json_text(value: Any) -> str:
    """Return JSON text. A string must be JSON text already; any other value is serialized."""
    try:
        if not isinstance(value, str):
            return orjson.dumps(value).decode()
        orjson.loads(value)
    except (orjson.JSONDecodeError, TypeError):
        raise UnbindableValue("JSON") from None
    return value


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_COERCE: dict[str, Converter] = {
    "int2": _integer(16),
    "int4": _integer(32),
    "int8": _integer(64),
    "oid": _integer(32, is_signed=False),
    "float4": _number(float),
    "float8": _number(float),
    "numeric": _number(decimal.Decimal),
    "bool": _boolean,
    "text": _text,
    "varchar": _text,
    "bpchar": _text,
    "name": _text,
    "json": _json_text,
    "jsonb": _json_text,
    "uuid": _parser(uuid.UUID, "a UUID"),
    "date": _parser(datetime.date.fromisoformat, "a date such as 2024-05-31"),
    "time": _parser(_local_time, "a time such as 13:45:00"),
    "timetz": _parser(_zoned_time, "a time such as 13:45:00+02:00"),
    "timestamp": _parser(
        lambda text: _in_utc(datetime.datetime.fromisoformat(text)).replace(tzinfo=None), "a time such as 2024-05-31T13:45:00"
    ),
    "timestamptz": _parser(lambda text: _in_utc(datetime.datetime.fromisoformat(text)), "a time such as 2024-05-31T13:45:00Z"),
    "interval": _parser(_interval, "a duration such as P1DT12H"),
    "bytea": _parser(_bytes, "base64"),
}
# asyncpg returns these as JSON types already, so that their columns need no conversion.
_PLAIN = {"int2", "int4", "int8", "oid", "float4", "float8", "bool", "text", "varchar", "bpchar", "name"}


def _unchanged(value: object) -> object:
    return value


def _json(value: str | None) -> object:
    return None if value is None else read_json(value)


def _json_list(value: list[Any] | str | None) -> object:
    return [_json_list(item) for item in value] if isinstance(value, list) else _json(value)


def _to_json(value: object) -> object:
    """Return a value as JSON: composites as objects, ranges and network addresses as PostgreSQL writes them."""
    if isinstance(value, Record):
        return {name: _to_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, Range):
        return _range(value)
    if isinstance(value, _ADDRESSES):
        return str(value)
    return to_json(value)


_ADDRESSES = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)


def _range(value: "Range[Any]") -> str:
    if value.isempty:
        return "empty"
    lower, upper = ("" if end is None else str(_to_json(end)) for end in (value.lower, value.upper))
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"
