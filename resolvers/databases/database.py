"""The contract between a warehouse step and the database that its source's url names."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resolvers.databases.sql.text import Params

Row = dict[str, object]
"""ResultColumn names to values, as JSON has them."""


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """Where a database is, and how much of it may be used. ``url`` may hold a password and is never shown."""

    url: str
    folder: Path
    """The configuration folder, from which relative paths begin."""
    pool: int
    max_rows: int


class Database(ABC):
    """An open database: it reads, several queries at a time, and connects when the first of them needs it."""

    @abstractmethod
    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Return the rows of a query. A query that is cancelled is stopped at the database.

        ``deadline`` is in the clock of the event loop; nobody waits for the rows after it.

        :raises StepFault: a value cannot be bound, the database refused or failed, or there are too many rows.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection, also one whose query still runs."""


class DatabaseType(ABC):
    """A kind of database: what can be known of it before it is opened."""

    @abstractmethod
    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Return what is wrong with a url, without showing it, and the code of the problem."""

    def statement_mistakes(self, query: str) -> Iterator[str]:
        """Yield what this database, beyond what all refuse, has in a query that does more than read."""
        yield from ()

    @abstractmethod
    def open(self, place: DatabaseLocation) -> Database:
        """Return the database; nothing is connected yet."""
