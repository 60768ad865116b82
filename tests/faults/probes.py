"""A process → what it holds and how promptly it answers, by ``/proc`` and its own health check: Linux alone has the former."""

import asyncio
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

_ESTABLISHED = "01"
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a process holds at one moment."""

    resident: int
    """Bytes of memory."""
    sockets: int
    files: int
    """All descriptors, sockets among them."""
    threads: int


def holdings(pid: int) -> Holdings:
    """Return what a process holds now."""
    process = Path(f"/proc/{pid}")
    targets = [_target(path) for path in (process / "fd").iterdir()]
    return Holdings(
        resident=resident(pid),
        sockets=sum(target.startswith("socket:") for target in targets),
        files=len(targets),
        threads=len(list((process / "task").iterdir())),
    )


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)  # noqa: PTH115 - what it leads to is no path
    except FileNotFoundError:
        return ""


def connections_to(port: int) -> int:
    """Count the connections of this machine's processes to a port of its own."""
    sockets = (line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    return sum(remote.endswith(f":{port:04X}") and state == _ESTABLISHED for _, _, remote, state, *_ in sockets)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE


def processor_seconds(pid: int) -> float:
    """Return the seconds that a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Watch:
    """Watches a gateway for as long as the ``async with`` block lasts: how large it gets, and how late its health check is.

    The worst delay of this process' own event loop is told beside: on a busy machine it explains the other.
    """

    pid: int
    url: str
    interval: float = 0.02
    before: int = 0
    most: int = 0
    delays: list[float] = field(default_factory=list)
    own_delay: float = 0.0
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.before = self.most = resident(self.pid)
        self._tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._knock())]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        failures = [failure for failure in ended if isinstance(failure, Exception)]
        if error is None and failures:
            raise failures[0]

    @property
    def grown(self) -> int:
        """By how many bytes it has grown at the most."""
        return self.most - self.before

    @property
    def delay(self) -> float:
        """The worst delay of a health check in seconds, without what this process was late itself."""
        return max(0.0, max(self.delays, default=0.0) - self.own_delay)

    async def _look(self) -> None:
        while True:
            started = time.monotonic()
            self.most = max(self.most, resident(self.pid))
            await asyncio.sleep(0.005)
            self.own_delay = max(self.own_delay, time.monotonic() - started - 0.005)

    async def _knock(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            while True:
                started = time.monotonic()
                response = await client.get(f"{self.url}/health/live")
                self.delays.append(time.monotonic() - started)
                assert response.status_code == 200
                await asyncio.sleep(self.interval)
