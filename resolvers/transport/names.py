"""A host name → its addresses, resolved in a thread and cached for a while; on request, public addresses only. Addresses → a connection."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from gateway.errors import Code, StepFault

ADDRESS_TTL = 15.0
"""Seconds for which addresses are cached. ``getaddrinfo`` does not report the TTL of the DNS record."""
REFRESH_SECONDS = 0.25
"""How long a call waits for a look-up while it has earlier addresses: while DNS is slow or out of order, the service may well be there."""

T = TypeVar("T")

LookupResult = Sequence[str] | OSError


class HostName:
    """The addresses of one host, in the order in which to try them.

    A look-up runs in a thread of its own, one at a time per name: a slow one blocks neither the event loop's shared executor nor other
    names, and there are no more threads than names. They are daemon threads, so that a look-up that hangs does not delay the process's exit.

    With ``denies_private``, addresses that are not public are left out. Callers connect to the address that was checked and do not resolve
    the name again, so that DNS rebinding (another address at the second look-up) does not get around the check.
    """

    def __init__(self, host: str, *, denies_private: bool = False) -> None:
        self._host = host
        self._denies_private = denies_private
        self._addresses: Sequence[str] = (host,) if is_numeric(host) else ()
        self._expires_at = float("inf") if self._addresses else 0.0
        self._lookup: asyncio.Future[LookupResult] | None = None

    async def addresses(self) -> Sequence[str]:
        """Return numeric addresses; concurrent callers share one look-up.

        :raises OSError: the name cannot be resolved.
        :raises StepFault: it has private addresses only, which ``denies_private`` excludes.
        """
        resolved = await self._resolve()
        if not self._denies_private:
            return resolved
        allowed = [address for address in resolved if is_public(address)]
        if resolved and not allowed:
            raise StepFault(
                Code.SUBREQUEST_HTTP_ERROR, detail=f"'{self._host}' has private addresses alone: {', '.join(resolved)}"
            )
        return allowed

    async def _resolve(self) -> Sequence[str]:
        """Return the cached addresses, or those of a look-up."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._expires_at:
            return self._addresses
        if self._lookup is None:
            self._lookup = loop.create_future()
            threading.Thread(target=self._look_up, args=(loop,), name=f"look-up of {self._host}", daemon=True).start()
        # A wait, unlike an await, does not cancel the look-up for the others when its caller is cancelled.
        lookup = self._lookup
        await asyncio.wait([lookup], timeout=REFRESH_SECONDS if self._addresses else None)
        result = lookup.result() if lookup.done() else TimeoutError()
        if not isinstance(result, OSError):
            return result
        if self._addresses and _may_pass(result):
            return self._addresses
        raise result

    async def connect(self, dial: Callable[[str], Awaitable[T]], until: float) -> T:
        """Connect to the first address that answers; ``dial`` connects to one, ``until`` is a time of the event loop's clock.

        Each address gets an equal share of the remaining time, so that one that hangs leaves time for the next.

        :raises OSError: the name cannot be resolved, or no address can be connected to.
        :raises StepFault: as :meth:`addresses`.
        """
        loop = asyncio.get_running_loop()
        last_error = OSError("the name has no address")
        addresses = await self.addresses()
        for index, address in enumerate(addresses):
            try:
                async with asyncio.timeout((until - loop.time()) / (len(addresses) - index)):
                    return await dial(address)
            except OSError as error:  # TimeoutError is a subclass
                last_error = error
        # The addresses may have changed since the look-up: the next call resolves the name again.
        self.forget()
        raise last_error

    def forget(self) -> None:
        """Expire the cached addresses, because none of them can be reached."""
        if not is_numeric(self._host):
            self._expires_at = 0.0

    def _look_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Resolve the name, in a thread, and pass the result to the event loop."""
        result: LookupResult
        try:
            infos = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
            result = list(dict.fromkeys(str(info[4][0]) for info in infos))
        except OSError as error:
            result = error
        except UnicodeError as error:
            result = OSError(f"'{self._host}' is no host name: {error}")
        with suppress(RuntimeError):  # the event loop was closed meanwhile
            loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: LookupResult) -> None:
        lookup, self._lookup = self._lookup, None
        assert lookup is not None
        # A failure is not cached: the next call tries again.
        if not isinstance(result, OSError):
            self._addresses = result
            self._expires_at = lookup.get_loop().time() + ADDRESS_TTL
        lookup.set_result(result)  # an error is a result too: as an exception that nobody retrieves it would be logged


def _may_pass(error: OSError) -> bool:
    """Tell whether a look-up failed for the moment; that there is no such name is an answer, and lasts."""
    return isinstance(error, TimeoutError) or error.errno == socket.EAI_AGAIN


def is_public(address: str) -> bool:
    """Tell whether an address is on the public internet: neither private, loopback, link-local, reserved nor multicast.

    An IPv6 address that embeds an IPv4 address counts as that one (RFC 4291, 2.5.5.2; 6052, 2.1; 3056; 4380).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    ipv4 = _embedded_ipv4(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    if ipv4 is not None:
        return is_public(str(ipv4))
    return ip.is_global and not ip.is_multicast


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    # ``ipaddress`` takes some of these for global whatever is in them: ``64:ff9b::7f00:1`` and ``2002:7f00:1::`` lead to 127.0.0.1.
    if ip in _NAT64 or ip in _COMPATIBLE:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def is_numeric(host: str) -> bool:
    """Tell whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
