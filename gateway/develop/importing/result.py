"""What an import gives back: texts by file name, how much is in them, and what could not be expressed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.errors import StepgraphError


class ImportFault(StepgraphError):
    """Nothing can be imported; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Omission:
    """One thing that the configuration does not have, or has only as JSON or text: why, and what it is."""

    reason: str
    subject: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A configuration that is not written yet. ``name`` is the source's; ``files`` are texts by name."""

    name: str
    files: Mapping[str, str]
    operations: int
    types: int
    links: int = 0
    left_out: tuple[Omission, ...] = ()


def by_reason(left_out: Iterable[Omission]) -> list[tuple[str, int, str]]:
    """Return each reason, how often it holds, and the first thing that it holds for; the most frequent first."""
    items = tuple(left_out)
    first = {item.reason: item.subject for item in reversed(items)}
    return [(reason, count, first[reason]) for reason, count in Counter(item.reason for item in items).most_common()]
