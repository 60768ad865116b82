"""Values of every database: checks before binding, and conversion of results to JSON.

Results are written as GraphQL scalars of their kind: numerics and UUIDs as text, dates and times in ISO 8601, intervals as ISO 8601
durations, binary as base64. Integers of more than 64 bits are text.
"""

import base64
import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import orjson

from gateway.errors import Code, StepFault

MAX_INTEGER = 2**63
"""The first integer that is too large for 64 bits."""
MAX_DEPTH = 128
"""How deep the value of a JSON column may be nested, as in the response of an HTTP source."""


def parameter_fault(name: object, reason: str) -> StepFault:
    """Return the fault of a value that cannot be bound; ``reason`` completes "The value of the query parameter 'id' is not ..."."""
    message = f"The value of the query parameter '{name}' is not {reason}."
    return StepFault(Code.BAD_USER_INPUT, message=message, detail=message)


def is_encodable(value: str) -> bool:
    """Tell whether a string can be encoded in UTF-8; a lone surrogate cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def too_many_rows(max_rows: int) -> StepFault:
    """Return the fault of a result with more rows than a source may return."""
    return StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {max_rows} rows")


def too_many_bytes(max_bytes: int) -> StepFault:
    """Return the fault of a result with more bytes than a source may return."""
    return StepFault(Code.SUBREQUEST_RESPONSE_TOO_LARGE, detail=f"more than {max_bytes} bytes")


class ResultSize:
    """Counts the bytes of a result while it is read: of texts in UTF-8 and of binary values; 8 for any other value.

    Rows are first counted in bulk by the characters of their texts, of which none has more than four bytes. Only where that is too much
    they are counted one value after the other, which takes four times as long. Lists and objects, ``is_flat=False``, are always counted so.
    """

    __slots__ = ("_exact", "_is_flat", "_max_bytes", "_most", "_uncounted")

    def __init__(self, max_bytes: int, *, is_flat: bool = True) -> None:
        self._max_bytes = max_bytes
        self._is_flat = is_flat
        self._exact = 0
        self._most = 0
        self._uncounted: list[Sequence[object]] = []

    def add(self, rows: Sequence[Sequence[object]]) -> None:
        """Count rows.

        :raises StepFault: the result is too large.
        """
        self._uncounted += rows
        self._most += 4 * sum(map(len, filter(_has_length, chain.from_iterable(rows)))) + 8 * sum(map(len, rows))  # type: ignore[arg-type]
        if self._most > self._max_bytes or not self._is_flat:
            self._exact += sum(map(_size, chain.from_iterable(self._uncounted)))
            self._uncounted.clear()
            self._most = self._exact
            if self._exact > self._max_bytes:
                raise too_many_bytes(self._max_bytes)


def _has_length(value: object) -> bool:
    return type(value) is str or type(value) is bytes


def _size(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list | tuple):
        return sum(map(_size, value))
    return sum(map(_size, (*value, *value.values()))) if isinstance(value, dict) else 8


def read_json(text: str) -> object:
    """Return the value of a JSON column.

    :raises ValueError: the text is not JSON, or nested deeper than a response may be.
    """
    value = orjson.loads(text)
    if text.count("[") + text.count("{") > MAX_DEPTH:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [child for parent in level if isinstance(parent, list | dict) for child in _children(parent)]
        if any(isinstance(value, list | dict) for value in level):
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
    return value


def _children(parent: "list[object] | dict[str, object]") -> Iterable[object]:
    return parent.values() if isinstance(parent, dict) else parent


def to_json(value: object) -> object:
    """Return a value as JSON data.

    :raises TypeError: the type has no JSON form.
    """
    kind = type(value)
    if value is None or kind in _PLAIN:
        return value
    if isinstance(value, int):
        return value if -MAX_INTEGER <= value < MAX_INTEGER else str(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    writer = next((writer for type_, writer in _WRITERS if isinstance(value, type_)), None)
    if writer is None:
        raise TypeError(kind.__name__)
    return writer(value)


def _duration(value: datetime.timedelta) -> str:
    """Return an ISO 8601 duration of days and seconds, such as P1DT2H3M4.5S."""
    sign = "-" if value < datetime.timedelta() else ""
    whole = abs(value)
    hours, rest = divmod(whole.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{whole.microseconds:06d}".rstrip("0") if whole.microseconds else ""
    clock = "".join(f"{amount}{unit}" for amount, unit in ((hours, "H"), (minutes, "M")) if amount)
    clock += f"{seconds}{fraction}S" if seconds or fraction else ""
    days = f"{whole.days}D" if whole.days else ""
    return f"{sign}P{days}{'T' if clock else ''}{clock}" if days or clock else "PT0S"


_PLAIN = {str, float, bool}
_WRITERS: tuple[tuple[type, Callable[..., object]], ...] = (
    (str, str),
    (float, float),
    (decimal.Decimal, lambda value: format(value, "f")),
    (uuid.UUID, str),
    (datetime.datetime, datetime.datetime.isoformat),
    (datetime.date, datetime.date.isoformat),
    (datetime.time, datetime.time.isoformat),
    (datetime.timedelta, _duration),
    (bytes, lambda value: base64.b64encode(value).decode()),
)
