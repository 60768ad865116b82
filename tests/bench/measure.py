"""Servers and cases → samples: short loads on one server after the other, round after round, so that a busy moment hits them all."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TextIO

from tests.bench.cases import NUMBER, Case
from tests.bench.native import Load, Mock, Target, put_load
from tests.bench.processes import Server

ROUNDS = 3
WARM_UP = 0.1
"""Of the seconds of a measurement, before it."""
Key = tuple[str, int, str]
"""Case, connections, server."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements of a run have in common. ``seconds`` is how long each load lasts, ``progress`` where its course is told."""

    mock: Mock
    seconds: float
    folder: Path
    progress: TextIO
    firsts: Iterator[int] = field(default_factory=lambda: count(100_000_000, 1_000_000))
    """The first number of each load: no load has a number of another."""

    def tell(self, text: str) -> None:
        """Say what is being measured."""
        print(text, "…", file=self.progress, flush=True)

    def sample(self, server: Server, aim: Target, connections: int, seconds: float, requests: int = 0) -> "Sample":
        """Put a load on a server and return what it took."""
        self.mock.reset()
        before = server.cpu_seconds()
        load = put_load(aim, connections, seconds, requests=requests, first=next(self.firsts))
        return Sample(load, server.cpu_seconds() - before, self.mock.calls(), server.resident_mib())


@dataclass(frozen=True, slots=True)
class Sample:
    """What one load showed."""

    load: Load
    cpu_seconds: float
    calls: int
    resident_mib: float


@dataclass(frozen=True, slots=True)
class Result:
    """What all rounds of a case showed of a server. Rates and latencies are medians of the rounds."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    calls: float
    resident_mib: float
    wrong: int

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Result":
        """Return the result of some rounds."""
        requests = max(1, sum(sample.load.requests for sample in samples))
        return cls(
            rate=statistics.median(sample.load.requests / max(sample.load.seconds, 1e-6) for sample in samples),
            p50_ms=statistics.median(sample.load.p50_us for sample in samples) / 1000,
            p99_ms=statistics.median(sample.load.p99_us for sample in samples) / 1000,
            cpu_ms=sum(sample.cpu_seconds for sample in samples) * 1000 / requests,
            calls=sum(sample.calls for sample in samples) / requests,
            resident_mib=samples[-1].resident_mib,
            wrong=sum(sample.load.wrong + sample.load.broken for sample in samples),
        )


def data_of(answer: bytes) -> object:
    """Return the data of a GraphQL answer, None when there is none."""
    try:
        return json.loads(answer).get("data")
    except (ValueError, AttributeError):
        return None


def target(server: Server, body: bytes) -> Target:
    """Return a target whose answer is what the server says now; a body that varies has the same answer whatever its number."""
    _, answer = server.post(body.replace(NUMBER.encode(), b"999999999"))
    return Target(server.port, server.path, body, answer)


def measure(bench: Bench, case: Case, servers: Mapping[str, Server]) -> Iterator[tuple[Key, Result | str]]:
    """Yield the result of each server and number of connections, or what is wrong with its answer."""
    asked = {name: servers[name] for name in case.servers if name in servers}
    aims = {name: target(server, case.body()) for name, server in asked.items()}
    expected = next((data_of(aim.answer) for aim in aims.values()), None)
    right = {name: aim for name, aim in aims.items() if data_of(aim.answer) == expected and expected is not None}
    for connections in case.connections:
        bench.tell(f"{case.title}, {connections} connections")
        samples: dict[str, list[Sample]] = {name: [] for name in right}
        for name, aim in right.items():
            bench.sample(asked[name], aim, connections, bench.seconds * WARM_UP)
        for _ in range(ROUNDS):
            for name, aim in right.items():
                samples[name].append(bench.sample(asked[name], aim, connections, bench.seconds / ROUNDS))
        yield from (((case.name, connections, name), Result.of(taken)) for name, taken in samples.items())
        for name in aims.keys() - right.keys():
            yield (case.name, connections, name), f"another answer: {aims[name].answer[:80]!r}"
