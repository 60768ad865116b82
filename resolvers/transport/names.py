"""A host name → its addresses, looked up beside the event loop and remembered for a while."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

REMEMBERED = 30.0
"""Seconds for which addresses are used again; the operating system does not tell how long they hold."""

Found = Sequence[str] | OSError


class HostName:
    """The addresses of one host, in the order in which to try them.

    A look-up has a thread of its own, and there is one look-up at a time: neither the executor that the loop shares nor another
    name waits for a slow one, and there are no more threads than names. The thread keeps no process from ending.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._addresses: Sequence[str] = (host,) if _is_numeric(host) else ()
        self._expires_at = float("inf") if self._addresses else 0.0
        self._finding: asyncio.Future[Found] | None = None

    async def addresses(self) -> Sequence[str]:
        """Return numeric addresses; callers that ask meanwhile share one look-up.

        :raises OSError: the name has none.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._expires_at:
            return self._addresses
        if self._finding is None:
            self._finding = loop.create_future()
            threading.Thread(target=self._look_up, args=(loop,), name=f"look-up of {self._host}", daemon=True).start()
        found = await asyncio.shield(self._finding)
        if isinstance(found, OSError):
            raise found
        return found

    def forget(self) -> None:
        """Look a name up anew before its next use, because none of its addresses can be reached."""
        if not _is_numeric(self._host):
            self._expires_at = 0.0

    def _look_up(self, loop: asyncio.AbstractEventLoop) -> None:
        found: Found
        try:
            infos = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(info[4][0]) for info in infos))
        except OSError as error:
            found = error
        except UnicodeError as error:
            found = OSError(f"'{self._host}' is no host name: {error}")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._settle, found)

    def _settle(self, found: Found) -> None:
        finding, self._finding = self._finding, None
        assert finding is not None
        if not isinstance(found, OSError):
            self._addresses = found
            self._expires_at = finding.get_loop().time() + REMEMBERED
        finding.set_result(found)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
