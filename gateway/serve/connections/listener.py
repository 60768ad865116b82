"""Sockets to listen at, and the connections that are accepted there: for the server and the admin listener."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable

log = logging.getLogger("stepgraph.listener")

BACKLOG = 2048
"""How many connections may wait to be accepted."""


PAUSE = 1.0
"""Seconds without a new connection when the process has no file descriptor left for one."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address, which worker processes can share. Who connects waits until somebody accepts.

    :raises OSError: the address is in use, or not one of this machine's.
    """
    if not host:
        raise OSError(errno.EINVAL, "the host is empty, which would be all addresses of this machine (0.0.0.0)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the connections inherit it
        bound.bind((host, port))
        bound.listen(BACKLOG)  # only now it is certain that nobody else has the address
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


class Acceptor:
    """Accepts the connections of a listening socket.

    uvloop accepts one in each turn of the loop (libuv 1.52): with turns of 30 ms, as under load, that were 33 a second.
    """

    def __init__(self, listening: socket.socket, factory: Callable[[], asyncio.BaseProtocol], at_once: int) -> None:
        self._at_once = at_once
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._factory = factory
        self._connecting: set[asyncio.Task[object]] = set()
        self._is_closed = False
        listening.setblocking(False)
        self._resume()

    def _resume(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection could be accepted: %s", error.strerror)  # noqa: TRY400 - no trace is wanted
                self._loop.remove_reader(self._listening.fileno())
                self._loop.call_later(PAUSE, self._resume)
                return
            connection.setblocking(False)
            task: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, connection))
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: "asyncio.Task[object]") -> None:
        self._connecting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.info("a connection was lost at once: %s", error)

    def close(self) -> None:
        """Accept no more; what has been accepted goes on."""
        self._is_closed = True
        self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Wait until the last connection that was accepted has begun."""
        await asyncio.gather(*self._connecting, return_exceptions=True)


async def listen(
    listening: socket.socket, factory: Callable[[], asyncio.BaseProtocol], at_once: int
) -> Acceptor | asyncio.AbstractServer:
    """Accept the connections of a listening socket from now on, so many of them in one turn of the event loop."""
    with contextlib.suppress(NotImplementedError):  # by Windows, whose loop accepts more than one at a time itself
        return Acceptor(listening, factory, at_once)
    return await asyncio.get_running_loop().create_server(factory, sock=listening, backlog=BACKLOG)
