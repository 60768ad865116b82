"""The custom scalars that the gateway knows by name: how inputs of clients and values of upstreams are coerced (GraphQL spec 3.5, Scalars).

``scalar DateTime`` in the SDL is enough. Values stay plain data: a valid input is passed on as text (for ``BigInt``: as a number), so
that it can be used in a URL, a JSON body and a bound parameter. Any other scalar is passed through: every JSON value is valid.
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
"""The range of signed and unsigned 64-bit integers together."""
_MAX_EXACT_FLOAT = 2**53
"""The largest float up to which every whole number is exact."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """The definition of a custom scalar.

    ``read_input`` and ``read_output`` coerce a value; they return None, or raise ValueError, for a value that is not valid. A string of an
    upstream that matches ``canonical`` needs no coercion: ``read_output`` would return it unchanged.
    """

    example: str
    description: str
    specified_by: str | None
    canonical: re.Pattern[str]
    read_input: Callable[[object], object]
    read_output: Callable[[object], object]
    are_numbers_exact: bool = False
    """Whether a number literal of a document is coerced from its digits, which a float would round."""


def _date_time(value: object) -> object:
    match = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    day, clock, fraction, offset = match.groups()
    datetime.fromisoformat(f"{day}T{clock}")  # the calendar decides; it raises ValueError
    return f"{day}T{clock}{fraction or ''}{offset.upper()}"


def _output_date_time(value: object) -> object:
    """Also accept the forms of databases and Python: a blank for the T, an offset of whole hours. A time without an offset is not an instant."""
    text = value.isoformat() if isinstance(value, datetime) else value
    match = _SQL_INSTANT.fullmatch(text) if isinstance(text, str) else None
    return _date_time(f"{match[1]}T{match[2]}{match[3]}{match[4] or ':00'}" if match else text)


def _date(value: object) -> object:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return None
    return date.fromisoformat(value).isoformat()


def _output_date(value: object) -> object:
    # A datetime is also a date in Python, but its time of day would be lost.
    return _date(value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value)


def _time(value: object) -> object:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return f"{time.fromisoformat(match[1])}{match[2] or ''}"


def _output_time(value: object) -> object:
    return _time(value.isoformat() if isinstance(value, time) else value)


def _decimal(value: object) -> object:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        value = repr(value) if isinstance(value, float) else str(value)  # the shortest digits that give the same float
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


def _output_big_int(value: object) -> object:
    number = _big_int(value)
    return None if number is None else str(number)


def _uuid(value: object) -> object:
    return _output_uuid(value) if isinstance(value, str) and value.count("-") == 4 else None


def _output_uuid(value: object) -> object:
    text = str(value) if isinstance(value, UUID) else value
    return str(UUID(text)) if isinstance(text, str) and _HEX.fullmatch(text) else None


SCALARS: Mapping[str, Scalar] = {
    "DateTime": Scalar(
        "2026-01-31T12:00:00Z",
        "An instant as text: date, time and offset, such as `2026-01-31T12:00:00Z`.",
        _RFC_3339,
        # Whether the 29th to 31st exist depends on month and year: read_output decides.
        re.compile(
            r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
            r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
            re.ASCII,
        ),
        _date_time,
        _output_date_time,
    ),
    "Date": Scalar(
        "2026-01-31",
        "A day of the calendar as text, such as `2026-01-31`.",
        _RFC_3339,
        re.compile(r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])", re.ASCII),
        _date,
        _output_date,
    ),
    "Time": Scalar(
        "12:30:00",
        "A time of the day as text, without an offset, such as `12:30:00` or `12:30:00.250`.",
        _RFC_3339,
        re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?", re.ASCII),
        _time,
        _output_time,
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
        _output_uuid,
    ),
    "BigInt": Scalar(
        "9007199254740993",
        "A whole number of 64 bits as text, as not every client has such numbers; numbers are taken too.",
        None,
        re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII),
        _big_int,
        _output_big_int,
        are_numbers_exact=True,
    ),
}
"""The custom scalars by name."""


def attach_coercion(declared: GraphQLScalarType) -> None:
    """Attach coercion to a scalar that was declared in SDL, if its name is known here; fill in a missing description and ``specifiedBy``."""
    scalar = SCALARS.get(declared.name)
    if scalar is None:
        return
    declared.description = declared.description or scalar.description
    declared.specified_by_url = declared.specified_by_url or scalar.specified_by

    def input_value(value: object) -> object:
        return _coerce(scalar.read_input, value, declared.name, scalar.example)

    def input_literal(node: ConstValueNode) -> object:
        is_exact = scalar.are_numbers_exact and isinstance(node, IntValueNode | FloatValueNode)
        value = node.value if is_exact else value_from_ast_untyped(node)  # type: ignore[union-attr]
        return _coerce(scalar.read_input, value, declared.name, scalar.example, node)

    def output_value(value: object) -> object:
        return _coerce(scalar.read_output, value, declared.name, scalar.example)

    declared.extensions = {**declared.extensions, _KNOWN: True}
    declared.coerce_input_value = declared.parse_value = input_value  # type: ignore[method-assign]
    declared.coerce_input_literal = input_literal
    declared.coerce_output_value = declared.serialize = output_value  # type: ignore[method-assign]


def is_known(declared: GraphQLScalarType) -> bool:
    """Tell whether :func:`attach_coercion` has attached the coercion of this module to a scalar."""
    return _KNOWN in declared.extensions


def accepts_any_value(declared: GraphQLScalarType) -> bool:
    """Tell whether a scalar has no coercion of its own, so that it accepts any JSON value."""
    return declared.coerce_output_value is GraphQLScalarType.serialize


def _coerce(
    read: Callable[[object], object], value: object, name: str, example: str, node: ConstValueNode | None = None
) -> object:
    try:
        coerced = read(value)
    except ValueError:
        coerced = None
    if coerced is None:
        raise GraphQLError(f"{name} cannot represent {inspect(value)}; write it as in {example}.", node)
    return coerced
