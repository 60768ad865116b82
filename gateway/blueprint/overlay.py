"""Overlays: changes of an operation for requests of some contexts."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import Place


@dataclass(frozen=True, slots=True)
class Patch:
    """One value that an overlay sets: its path as people write it, and where it stands. An added step is one patch."""

    path: tuple[str, ...]
    value: object
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Changes of an operation for requests whose context has, for each key of ``when``, one of its values (as text)."""

    name: str
    operation: str
    place: Place
    when: Mapping[str, frozenset[str]]
    patches: tuple[Patch, ...]


def condition_text(value: object) -> str:
    """Write a scalar as conditions are compared: as a header would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
