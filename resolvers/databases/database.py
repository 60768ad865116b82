"""The contract between a warehouse step and the database that the URL of its source names."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resolvers.databases.sql.text import Params

Row = dict[str, object]
"""Column names → JSON values."""


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """Where a database is, and the limits for using it. ``url`` may hold a password and must never be shown or logged."""

    url: str
    folder: Path
    """The configuration folder, against which relative paths are resolved."""
    pool: int
    """The most connections, and so the most concurrent queries."""
    max_rows: int
    """The most rows of one result."""
    max_bytes: int
    """The most bytes of one result."""


class Database(ABC):
    """An open database: a bounded pool of read-only connections, which are opened on demand."""

    @abstractmethod
    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Run a query and return its rows. Cancelling the call also stops the query in the database.

        ``deadline`` is in event loop time; the caller does not wait for the rows beyond it.

        :raises StepFault: a value cannot be bound, the database refuses the query or fails, or the result is too large.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection, including those with a running query."""


class DatabaseType(ABC):
    """A kind of database: what is known without opening one."""

    @abstractmethod
    def url_mistake(self, url: str) -> tuple[str, str] | None:
        """Return what is wrong with a URL, and the code of the problem; None for a valid one. The message must not contain the URL."""

    def is_insecure(self, url: str) -> bool:
        """Tell whether a URL says that the certificate of its server is not verified."""
        return False

    def statement_mistakes(self, query: str) -> Iterator[str]:
        """Yield what a query does beyond reading that only this database knows; what holds for all is checked by ``read_statement``."""
        yield from ()

    @abstractmethod
    def open(self, location: DatabaseLocation) -> Database:
        """Return the database, without connecting."""
