"""The result of an import: texts by file name, counts, and what could not be expressed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.errors import StepgraphError


class ImportFault(StepgraphError):
    """The import failed. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that the configuration lacks, or has only as JSON or text: the reason and the thing."""

    reason: str
    subject: str


@dataclass(frozen=True, slots=True)
class Imported:
    """A configuration that is not written yet. ``name`` is that of the source; ``files`` has the texts by file name."""

    name: str
    files: Mapping[str, str]
    operations: int
    types: int
    links: int = 0
    left_out: tuple[Omission, ...] = ()


def by_reason(left_out: Iterable[Omission]) -> list[tuple[str, int, str]]:
    """Return each reason with its count and its first subject, the most frequent first."""
    items = tuple(left_out)
    first = {item.reason: item.subject for item in reversed(items)}  # reversed, so that the first one is set last
    return [(reason, count, first[reason]) for reason, count in Counter(item.reason for item in items).most_common()]
