"""Measure what a process holds (``/proc``, Linux only), and how promptly it responds (its health check)."""

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
    """The resources of a process at one moment."""

    resident: int
    """Bytes of memory."""
    sockets: int
    files: int
    """All file descriptors, including sockets."""
    threads: int


def holdings(pid: int) -> Holdings:
    """Return the resources that a process holds now."""
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
        return os.readlink(descriptor)  # noqa: PTH115 - the target of a socket is no path
    except FileNotFoundError:
        return ""


def connections_to(port: int) -> int:
    """Count the connections of local processes to a local port."""
    return sum(remote == port for _, remote in established())


def established() -> list[tuple[int, int]]:
    """Return the local and the remote port of each end of a connection that is open, of local processes."""
    sockets = (line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:])
    return [(_port(local), _port(remote)) for _, local, remote, state, *_ in sockets if state == _ESTABLISHED]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE


def processor_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Watch:
    """Measures a gateway during an ``async with`` block: its memory, and the delay of its health check.

    The worst delay of the event loop of the test itself is measured too, because on a busy machine it is part of the other.
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
        self._tasks = [asyncio.create_task(self._measure_memory()), asyncio.create_task(self._check_health())]
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
        """The largest growth of its memory, in bytes."""
        return self.most - self.before

    @property
    def delay(self) -> float:
        """The worst delay of a health check in seconds, minus that of the event loop of the test."""
        return max(0.0, max(self.delays, default=0.0) - self.own_delay)

    async def _measure_memory(self) -> None:
        while True:
            started = time.monotonic()
            self.most = max(self.most, resident(self.pid))
            await asyncio.sleep(0.005)
            self.own_delay = max(self.own_delay, time.monotonic() - started - 0.005)

    async def _check_health(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            while True:
                started = time.monotonic()
                response = await client.get(f"{self.url}/health/live")
                self.delays.append(time.monotonic() - started)
                assert response.status_code == 200
                await asyncio.sleep(self.interval)
