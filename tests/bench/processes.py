"""Commands → server processes on a core of their own, with their CPU time and memory from /proc."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CAN_PIN = shutil.which("taskset") is not None and len(os.sched_getaffinity(0)) > 1
SERVER_CORE, LOAD_CORE = sorted(os.sched_getaffinity(0))[:2] if CAN_PIN else (None, None)
START_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")


class DidNotStartError(Exception):
    """A server ended, or did not answer in time; its message is the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs; what is told of it includes its child processes."""

    pid: int
    port: int
    path: str = "/graphql"

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Send one request and return the status and the body of its answer."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own server
                return int(response.status), bytes(response.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, in user and kernel."""
        return sum(sum(int(field) for field in _stat(pid)[11:13]) for pid in self.pids()) / _TICKS

    def resident_mib(self) -> float:
        """Return the resident memory of the largest of its processes: the worker."""
        return max(_resident_kib(pid) for pid in self.pids()) / 1024

    def pids(self) -> list[int]:
        """Return the process and its children's, theirs too."""
        found = [self.pid]
        for pid in found:  # grows while it is read
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii") if Path(f"/proc/{pid}").exists() else ""
            found.extend(int(child) for child in children.split())
        return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat that follow the name, which may have blanks in it."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def pinned(command: Sequence[str], core: int | None) -> list[str]:
    """Return a command that runs on one core, where the machine allows that."""
    return list(command) if core is None else ["taskset", "--cpu-list", str(core), *command]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str],
    *,
    core: int | None = SERVER_CORE,
    probe: bytes | None = None,
) -> Iterator[Server]:
    """Run a server until it answers the probe (left out: a GraphQL query) with JSON; end it on the way out.

    :raises DidNotStartError: it did not.
    """
    log = Path(f"/tmp/stepgraph-bench-{os.getpid()}-{port}.log")  # noqa: S108 - removed below
    with log.open("wb") as out:
        process = subprocess.Popen(
            pinned(command, core),
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        server = Server(process.pid, port)
        _wait_until_up(server, process, log, probe or json.dumps({"query": "{ __typename }"}).encode())
        yield server
    finally:
        process.terminate()
        time.sleep(0.2)
        process.terminate()  # at once, and not after a time in which nothing new comes
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.unlink()


def _wait_until_up(server: Server, process: "subprocess.Popen[bytes]", log: Path, probe: bytes) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if server.post(probe)[0] != 503:  # which is what a server says that is not ready
                return
        time.sleep(0.01)
    raise DidNotStartError(" ".join(log.read_text("utf-8", "replace").split())[-300:] or "no answer")
