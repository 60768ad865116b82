"""Overlays: changes of an operation for requests whose context matches."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import Place


@dataclass(frozen=True, slots=True)
class Patch:
    """One value that an overlay sets: its path of keys, the value, and its place in the file. An added step is one patch."""

    path: tuple[str, ...]
    value: object
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Changes of an operation for requests whose context has, for each key of ``when``, one of the listed values (as text)."""

    name: str
    operation: str
    place: Place
    when: Mapping[str, frozenset[str]]
    patches: tuple[Patch, ...]


def condition_text(value: object) -> str:
    """Return a scalar as the text that conditions compare, which is how a header would write it."""
    # Python writes True, but YAML and headers write true.
    return str(value).lower() if isinstance(value, bool) else str(value)
