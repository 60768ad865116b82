"""A key in, always the same draw out: made-up data without a state, an order or a seed to pass around.

`hashlib` rather than `random`, whose choices may change with the version of Python; and since each field
draws by its own key, adding a field leaves all the others as they were.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

Option = TypeVar("Option")

SALT = "demo-32088"  # so chosen that customers 1, 7 and 42 have rows in every list


def draw_fraction(*key: str | int) -> float:
    """Draw a number from 0 (included) to 1 (excluded), evenly spread over keys."""
    digest = sha256("/".join((SALT, *map(str, key))).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # 48 bits: a float holds them exactly


def draw_between(low: int, high: int, *key: str | int) -> int:
    """Draw a whole number from `low` to `high`, both included."""
    return low + int(draw_fraction(*key) * (high - low + 1))


def draw_one(options: Sequence[Option], *key: str | int) -> Option:
    """Draw one of the options, each as likely as the others."""
    return options[draw_between(0, len(options) - 1, *key)]


def draw_some(options: Sequence[Option], share: float, *key: str | int) -> list[Option]:
    """Keep each option with the chance `share`, in their order."""
    return [option for place, option in enumerate(options) if draw_fraction(*key, place) < share]
