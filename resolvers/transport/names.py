"""A host name → its addresses, looked up beside the event loop and remembered for a while; where that is asked for, public ones alone."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

from gateway.errors import Code, StepFault

REMEMBERED = 30.0
"""Seconds for which addresses are used again; the operating system does not tell how long they hold."""

Found = Sequence[str] | OSError


class HostName:
    """The addresses of one host, in the order in which to try them.

    A look-up has a thread of its own, and there is one look-up at a time: neither the executor that the loop shares nor another
    name waits for a slow one, and there are no more threads than names. The thread keeps no process from summary.

    With ``denies_private`` addresses that are not public are left out. What is connected to is an address and not the name once more, so
    that a name which leads elsewhere at a second look-up gains nothing by that.
    """

    def __init__(self, host: str, *, denies_private: bool = False) -> None:
        self._host = host
        self._denies_private = denies_private
        self._addresses: Sequence[str] = (host,) if is_numeric(host) else ()
        self._expires_at = float("inf") if self._addresses else 0.0
        self._finding: asyncio.Future[Found] | None = None

    async def addresses(self) -> Sequence[str]:
        """Return numeric addresses; callers that ask meanwhile share one look-up.

        :raises OSError: the name has none.
        :raises StepFault: it has none that may be connected to.
        """
        found = await self._found()
        if not self._denies_private:
            return found
        allowed = [address for address in found if is_public(address)]
        if found and not allowed:
            raise StepFault(Code.SUBREQUEST_HTTP_ERROR, detail=f"'{self._host}' has private addresses alone: {', '.join(found)}")
        return allowed

    async def _found(self) -> Sequence[str]:
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
        if not is_numeric(self._host):
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


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet: neither private, loopback, link-local, reserved nor multicast.

    An IPv6 address that stands for an IPv4 address is taken for that one (RFC 4291, 2.5.5.2; 6052, 2.1; 3056; 4380).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _inner(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _inner(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64 or ip in _COMPATIBLE:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_numeric(host: str) -> bool:
    """Tell whether a host is an address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
