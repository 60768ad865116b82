"""Numbers from code, command line or JSON in, a checked `Behaviour` of one demo service out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import TypeGuard

MAX_DELAY_MS = 60_000


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_number(name: str, value: object, most: int) -> None:
    if not (_is_number(value) and 0 <= value <= most):  # NaN is in no range
        raise ValueError(f"'{name}' must be a number from 0 to {most}")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How slow one service is, and which share of its answers is a 503; out of range is a ValueError."""

    delay_ms: float
    failure_rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no service can do, in words for the person who typed it."""
        _check_number("delay_ms", self.delay_ms, MAX_DELAY_MS)
        _check_number("failure_rate", self.failure_rate, 1)


DEFAULTS: Mapping[str, Behaviour] = MappingProxyType(
    {
        "accounts": Behaviour(30),
        "transactions": Behaviour(50),
        "fraud": Behaviour(20),
        "credit": Behaviour(20),
        "cases": Behaviour(40),
        "disputes": Behaviour(25),
        "posts": Behaviour(20),
        "users": Behaviour(20),
        "catalog": Behaviour(30),
    }
)


def check_service(service: str) -> None:
    """Raise a ValueError that names the nearest service, or all of them, unless `service` is one."""
    if service in DEFAULTS:
        return
    near = get_close_matches(service, DEFAULTS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(DEFAULTS)}"
    raise ValueError(f"unknown service '{service}'; {hint}")


def change_behaviour(current: Behaviour, change: object) -> Behaviour:
    """Apply decoded JSON (`delay_ms`, `failure_rate` or both); anything else is a ValueError."""
    if not isinstance(change, dict) or not change or not change.keys() <= {"delay_ms", "failure_rate"}:
        raise ValueError('expected a JSON object with one or both of {"delay_ms": 1500, "failure_rate": 1.0}')
    return replace(current, **change)


def parse_setting(text: str) -> tuple[str, float]:
    """Split `accounts=200` from the command line into service and number; a ValueError says what is wrong."""
    service, equals, number = text.partition("=")
    if not equals:
        raise ValueError(f"'{text}' has no '='; write it as accounts=200")
    check_service(service)
    try:
        return service, float(number)
    except ValueError:
        raise ValueError(f"'{number}' is not a number; write it as {service}=200") from None
