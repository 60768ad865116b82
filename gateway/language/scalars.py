"""The custom scalars that the gateway knows by name: what a client may send, what an upstream may give, and what stands in the answer.

``scalar DateTime`` in the SDL is enough. Values stay plain data: an input goes on as the text (for ``BigInt``: the number) that it was
checked to be, so that it can stand in a URL, a JSON body and a bound parameter. Of a scalar that is not here nothing is known, and any
JSON value passes. GraphQL spec 3.5 (Scalars).
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from graphql import ConstValueNode, FloatValueNode, GraphQLError, GraphQLScalarType, IntValueNode, value_from_ast_untyped
from graphql.pyutils import inspect

_RFC_3339 = "https://www.rfc-editor.org/rfc/rfc3339"
_RFC_9562 = "https://www.rfc-editor.org/rfc/rfc9562"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = re.compile(r"(\d\d:\d\d:\d\d)(\.\d{1,6})?", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
_SQL_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d)(:\d\d)?", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,999})(\.\d{1,1000})?([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,19})", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_KNOWN = "stepgraph.scalar"
_MIN_BIG_INT, _MAX_BIG_INT = -(2**63), 2**64 - 1
_MAX_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class Scalar:
    """What is known of a scalar.

    ``read_input`` and ``read_output`` return the value that goes on, or None when it is none of the scalar's. A text that ``certain``
    matches is right in an answer as it is.
    """

    example: str
    description: str
    specified_by: str | None
    certain: re.Pattern[str]
    read_input: Callable[[object], object]
    read_output: Callable[[object], object]
    are_numbers_exact: bool = False
    """Whether a number of a document is read from its digits."""


def _date_time(value: object) -> object:
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, clock, fraction, offset = match.groups()
    datetime.fromisoformat(f"{day}T{clock}")  # the calendar decides; it raises ValueError
    return f"{day}T{clock}{fraction or ''}{offset.upper()}"


def _given_date_time(value: object) -> object:
    """Read what databases and Python have as well: a blank for the T, whole hours of offset. A time without an offset is no instant."""
    text = value.isoformat() if isinstance(value, datetime) else value
    match = _SQL_INSTANT.fullmatch(text) if isinstance(text, str) else None
    return _date_time(f"{match[1]}T{match[2]}{match[3]}{match[4] or ':00'}" if match else text)


def _date(value: object) -> object:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    return date.fromisoformat(value).isoformat()


def _given_date(value: object) -> object:
    return _date(value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value)


def _time(value: object) -> object:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return f"{time.fromisoformat(match[1])}{match[2] or ''}"


def _given_time(value: object) -> object:
    return _time(value.isoformat() if isinstance(value, time) else value)


def _decimal(value: object) -> object:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = repr(value) if isinstance(value, float) else str(value)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return None
    return format(Decimal(value), "f")


def _big_int(value: object) -> object:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) <= _MAX_EXACT_FLOAT:
        value = int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and _MIN_BIG_INT <= value <= _MAX_BIG_INT else None  # type: ignore[operator]


def _given_big_int(value: object) -> object:
    number = _big_int(value)
    return None if number is None else str(number)


def _uuid(value: object) -> object:
    return _given_uuid(value) if isinstance(value, str) and value.count("-") == 4 else None


def _given_uuid(value: object) -> object:
    text = str(value) if isinstance(value, UUID) else value
    return str(UUID(text)) if isinstance(text, str) and _HEX.fullmatch(text) else None


SCALARS: Mapping[str, Scalar] = {
    "DateTime": Scalar(
        "2026-01-31T12:00:00Z",
        "An instant as text: date, time and offset, such as `2026-01-31T12:00:00Z`.",
        _RFC_3339,
        # The days from the 29th on are left to the calendar.
        re.compile(
            r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
            r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
            re.ASCII,
        ),
        _date_time,
        _given_date_time,
    ),
    "Date": Scalar(
        "2026-01-31",
        "A day of the calendar as text, such as `2026-01-31`.",
        _RFC_3339,
        re.compile(r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])", re.ASCII),
        _date,
        _given_date,
    ),
    "Time": Scalar(
        "12:30:00",
        "A time of the day as text, without an offset, such as `12:30:00` or `12:30:00.250`.",
        _RFC_3339,
        re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?", re.ASCII),
        _time,
        _given_time,
    ),
    "Decimal": Scalar(
        "12.50",
        "An exact decimal number as text, such as `12.50`; numbers are taken too.",
        None,
        re.compile(r"-?(0|[1-9]\d{0,999})(\.\d{1,1000})?", re.ASCII),
        _decimal,
        _decimal,
        are_numbers_exact=True,
    ),
    "UUID": Scalar(
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "A UUID as text in lower case with hyphens.",
        _RFC_9562,
        re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        _uuid,
        _given_uuid,
    ),
    "BigInt": Scalar(
        "9007199254740993",
        "A whole number of 64 bits as text, as not every client has such numbers; numbers are taken too.",
        None,
        re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII),
        _big_int,
        _given_big_int,
        are_numbers_exact=True,
    ),
}
"""By name."""


def equip(declared: GraphQLScalarType) -> None:
    """Give a scalar that was declared in SDL, and that is known by its name, its coercion and whatever it does not say of itself."""
    scalar = SCALARS.get(declared.name)
    if scalar is None:
        return
    declared.description = declared.description or scalar.description
    declared.specified_by_url = declared.specified_by_url or scalar.specified_by

    def input_value(value: object) -> object:
        return _checked(scalar.read_input, value, declared.name, scalar.example)

    def input_literal(node: ConstValueNode) -> object:
        is_exact = scalar.are_numbers_exact and isinstance(node, IntValueNode | FloatValueNode)
        value = node.value if is_exact else value_from_ast_untyped(node)  # type: ignore[union-attr]
        return _checked(scalar.read_input, value, declared.name, scalar.example, node)

    def output_value(value: object) -> object:
        return _checked(scalar.read_output, value, declared.name, scalar.example)

    declared.extensions = {**declared.extensions, _KNOWN: True}
    declared.coerce_input_value = declared.parse_value = input_value  # type: ignore[method-assign]
    declared.coerce_input_literal = input_literal
    declared.coerce_output_value = declared.serialize = output_value  # type: ignore[method-assign]


def is_known(declared: GraphQLScalarType) -> bool:
    """Tell whether a scalar has the coercion of this module."""
    return _KNOWN in declared.extensions


def passes_anything(declared: GraphQLScalarType) -> bool:
    """Tell whether nothing is known of a scalar, so that any JSON value is one of its values."""
    return declared.coerce_output_value is GraphQLScalarType.serialize


def _checked(
    read: Callable[[object], object], value: object, name: str, example: str, node: ConstValueNode | None = None
) -> object:
    try:
        found = read(value)
    except ValueError:
        found = None
    if found is None:
        raise GraphQLError(f"{name} cannot represent {inspect(value)}; write it as in {example}.", node)
    return found
