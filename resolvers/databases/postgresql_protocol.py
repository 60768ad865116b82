"""Bytes of a PostgreSQL connection → the driver, counted on the way.

asyncpg keeps a whole message, such as a row with a value of 100 MB, before it can be asked for anything, so that only what stands between
it and the socket can bound a result.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg


class ReceivedBytes(asyncio.Protocol):
    """Stands between a connection's transport and its driver, and aborts the connection when a statement returns too much."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._transport: asyncio.Transport = connection._transport  # noqa: SLF001 - the driver has no limit of its own
        driver = self._transport.get_protocol()
        assert isinstance(driver, asyncio.Protocol)
        self._driver = driver
        self._transport.set_protocol(self)
        self._max_bytes: int | None = None
        self.received = 0
        """Bytes since the last limit was set."""
        self.is_exceeded = False

    @contextmanager
    def limited(self, max_bytes: int) -> Iterator[None]:
        """Let no more than so many bytes in."""
        self.received = 0
        self._max_bytes = max_bytes
        try:
            yield
        finally:
            self._max_bytes = None

    def data_received(self, data: bytes) -> None:
        """Count bytes and hand them on."""
        self.received += len(data)
        if self._max_bytes is not None and self.received > self._max_bytes:
            self.is_exceeded = True
            self._transport.abort()
        else:
            self._driver.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that the connection is lost."""
        self._driver.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Hand on that the server has ended."""
        return self._driver.eof_received()

    def pause_writing(self) -> None:
        """Hand on that the server does not keep up."""
        self._driver.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the server keeps up again."""
        self._driver.resume_writing()
