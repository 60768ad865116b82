"""Listening sockets, and how their connections are accepted."""

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
"""Seconds without accepting when it has failed, as for lack of a file descriptor: the socket stays readable, so the loop would spin."""


def bind(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket that listens on an address and that worker processes can inherit. Clients can connect; they wait to be accepted.

    Several processes can listen on a shared address, and the system picks one of them for each connection.

    :raises OSError: the address is in use or is not one of this machine, or the host is empty.
    """
    if not host:
        raise OSError(errno.EINVAL, "the host is empty, which would be all addresses of this machine (0.0.0.0)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared and hasattr(socket, "SO_REUSEPORT"):  # Windows has none
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the connections inherit it
        bound.bind((host, port))
        bound.listen(BACKLOG)  # two sockets with SO_REUSEADDR can both be bound; only listen() excludes the other one
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


class Acceptor:
    """Accepts the connections of a listening socket, several in one iteration of the event loop.

    uvloop's own server accepts one connection per iteration (libuv 1.52): with iterations of 30 ms, as under load, that is 33 a second.
    """

    def __init__(self, listening: socket.socket, factory: Callable[[], asyncio.BaseProtocol], max_accepts: int) -> None:
        self._max_accepts = max_accepts
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._factory = factory
        # asyncio keeps only weak references to tasks, and wait_closed() waits for these.
        self._connecting: set[asyncio.Task[object]] = set()
        self._is_closed = False
        listening.setblocking(False)
        self._resume()

    def _resume(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(self._max_accepts):
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
        """Stop accepting. Connections that were accepted stay open."""
        self._is_closed = True
        self._loop.remove_reader(self._listening.fileno())

    async def wait_closed(self) -> None:
        """Wait until every accepted connection has its protocol."""
        await asyncio.gather(*self._connecting, return_exceptions=True)


async def listen(
    listening: socket.socket, factory: Callable[[], asyncio.BaseProtocol], max_accepts: int
) -> Acceptor | asyncio.AbstractServer:
    """Start to accept the connections of a listening socket, at most ``max_accepts`` of them in one iteration of the event loop."""
    # The event loop of Windows has no add_reader, and accepts several connections at a time itself.
    with contextlib.suppress(NotImplementedError):
        return Acceptor(listening, factory, max_accepts)
    return await asyncio.get_running_loop().create_server(factory, sock=listening, backlog=BACKLOG)
