"""Values of every database: checks before binding, and conversion of results to JSON.

Results are written as GraphQL scalars of their kind: numerics and UUIDs as text, dates and times in ISO 8601, intervals as ISO 8601
durations, binary as base64. Integers of more than 64 bits are text.
"""

import base64
import datetime
import decimal
import uuid
from collections.abc import Callable, Iterable, Mapping

from gateway.errors import Code, StepFault

MAX_INTEGER = 2**63
"""The first integer that is too large for 64 bits."""


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
    """Counts the bytes of a result while it is read: of texts in UTF-8 and of binary values; 8 for any other value."""

    __slots__ = ("_left", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes

    def add(self, row: Iterable[object]) -> None:
        """Count a row.

        :raises StepFault: the result is too large.
        """
        for value in row:
            if isinstance(value, str):
                self._left -= len(value) if value.isascii() else len(value.encode())
            else:
                self._left -= len(value) if isinstance(value, bytes) else 8
        if self._left < 0:
            raise too_many_bytes(self._max_bytes)


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
