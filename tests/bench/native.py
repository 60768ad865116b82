"""The C programs next to this module → a mock upstream that runs, and loads with their latencies."""

import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import LOAD_CORE, pinned

HERE = Path(__file__).parent
CACHE = HERE / ".cache"


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator counted: whole answers, those not as expected, connections lost; latencies in microseconds."""

    requests: int
    seconds: float
    wrong: int
    broken: int
    p50_us: float
    p99_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Mock:
    """The mock upstream."""

    url: str

    def reset(self) -> None:
        """Begin to count calls anew."""
        self._get("/reset")

    def calls(self) -> int:
        """Return how many calls there were since the reset."""
        return int(json.loads(self._get("/stats"))["calls"])

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=5) as response:  # noqa: S310 - our own server
            return bytes(response.read())


def compiled(name: str) -> Path:
    """Return the program of a C file, compiled when there is none or the source is newer."""
    source, program = HERE / "native" / f"{name}.c", CACHE / name
    newest = max(path.stat().st_mtime for path in (source, HERE / "native" / "http.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        CACHE.mkdir(exist_ok=True)
        warnings = ["-Wall", "-Wextra", "-Wno-format-overflow"]
        subprocess.run(["gcc", "-O2", *warnings, "-o", str(program), str(source)], check=True)
    return program


@contextmanager
def running_mock() -> Iterator[Mock]:
    """Run the mock upstream on the load's core."""
    with subprocess.Popen(pinned([str(compiled("mock")), "0"], LOAD_CORE), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Mock(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Target:
    """What a load is put on: a port and path, the request's body and the answer that it must have."""

    port: int
    path: str
    body: bytes
    answer: bytes


def put_load(target: Target, connections: int, seconds: float, *, requests: int = 0, first: int = 0) -> Load:
    """Post the body until the seconds or the requests (0: no limit) are over; ``first`` is the first number put for ``@@@@@@@@@``."""
    with tempfile.TemporaryDirectory() as folder:
        body, answer = Path(folder, "body"), Path(folder, "answer")
        body.write_bytes(target.body)
        answer.write_bytes(target.answer)
        numbers = (target.port, target.path, connections, seconds, requests, first)
        command = [str(compiled("load")), *(str(number) for number in numbers), str(body), str(answer)]
        done = subprocess.run(pinned(command, LOAD_CORE), check=True, capture_output=True, text=True, timeout=seconds + 30)
    return Load(**json.loads(done.stdout))
