"""Case O-05 by hand: a gateway of its own, its peak, twice as much, and the time after. ``python -m tests.load.overload [seconds]``."""

import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from tests.kit.serving import Process, serve_command, write_files
from tests.load.open_loop import Client, Measured, percentile

AT_ONCE = 32
"""How many requests at a time show the peak."""
OPEN = 500
"""How many connections the clients keep open, from the first measurement on: in a storm of new ones the machine would be measured, and not the
gateway; and a request on one of many costs a third more than on one of a few."""
WINDOW = 0.25
"""Seconds over which a median is taken on the way back."""
ROWS = [{"id": number, "name": f"row {number}", "parts": [{"code": part} for part in range(5)]} for number in range(64)]
"""So many that an answer costs the gateway what one of the benchmark's does for which it asks two upstreams (0.2 ms)."""
CONFIG = {
    "types.graphql": "type Row { id: ID! name: String parts: [Part!]! }\ntype Part { code: Int! }\n",
    "graph.yaml": f"operation: rows\nsteps: [ {{ name: list, type: value, returns: '[Row!]', value: {json.dumps(ROWS)} }} ]\n"
    "aggregation: { strategy: pick, step: list }\n",
}
BODY = json.dumps({"query": "{ rows { id name parts { code } again: parts { a: code b: code c: code } } }"}).encode()


@dataclass(frozen=True, slots=True)
class Report:
    """What twice the capacity does. Times in milliseconds, but ``recovered_s``."""

    peak_rps: float
    peak_p50: float
    offered_rps: float
    goodput_rps: float
    goodput_of_peak: float
    goodput_by_cpu: float
    """The same by the processor time that the gateway had, which others may have taken from it meanwhile."""
    overload_p50: float
    refused: int
    refused_p50: float
    refused_p99: float
    refused_without_retry_after: int
    other_statuses: int
    lost: int
    unsent: int
    normal_p50: float
    recovered_s: float


async def measure(process: Process, seconds: float) -> Report:
    """Measure a gateway that does nothing else."""
    client = Client(process.url, BODY)
    await client.open(OPEN)
    await client.closed_loop(AT_ONCE, 1)
    began = cpu_seconds(process)
    peak = await client.closed_loop(AT_ONCE, min(10.0, seconds / 4))
    peak_cpu = cpu_seconds(process) - began
    normal = await client.open_loop(peak.goodput / 2, min(5.0, seconds / 4))
    began = cpu_seconds(process)
    over = await client.open_loop(2 * peak.goodput, seconds)
    over_cpu = cpu_seconds(process) - began
    ended = time.perf_counter()
    after = await client.open_loop(peak.goodput / 2, 4)
    await client.close()
    refused = [answer.seconds * 1000 for answer in over.of(503)]
    return Report(
        peak_rps=peak.goodput,
        peak_p50=peak.median_seconds * 1000,
        offered_rps=2 * peak.goodput,
        goodput_rps=over.goodput,
        goodput_of_peak=over.goodput / peak.goodput,
        goodput_by_cpu=len(over.of(200)) / over_cpu * peak_cpu / len(peak.of(200)),
        overload_p50=over.median_seconds * 1000,
        refused=len(refused),
        refused_p50=percentile(refused, 0.5),
        refused_p99=percentile(refused, 0.99),
        refused_without_retry_after=sum(not answer.retry_after for answer in over.of(503)),
        other_statuses=len(over.answers) - len(refused) - len(over.of(200)),
        lost=over.lost + after.lost,
        unsent=over.unsent,
        normal_p50=normal.median_seconds * 1000,
        recovered_s=recovered(after, ended, normal.median_seconds),
    )


def cpu_seconds(process: Process) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{process.popen.pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def recovered(after: Measured, ended: float, normal: float) -> float:
    """Return the seconds until the median of a window is normal again: no more than twice what it was, and 5 ms."""
    good = sorted(after.of(200), key=lambda answer: answer.at)
    for step in range(int(after.seconds / WINDOW)):
        begins = ended + step * WINDOW
        window = [answer.seconds for answer in good if begins <= answer.at < begins + WINDOW]
        if window and percentile(window, 0.5) <= 2 * normal + 0.005:
            return step * WINDOW
    return float("inf")


def run(folder: Path, seconds: float) -> Report:
    """Start a gateway, measure it, and stop it."""
    with serve_command(folder, write_files(folder / "config", CONFIG)) as process:
        gc.disable()  # the client keeps every answer; to walk them all would hold it up, and be taken for the gateway's slowness
        try:
            return uvloop.run(measure(process, seconds))
        finally:
            gc.enable()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        for name, value in asdict(run(Path(made), float(sys.argv[1]) if len(sys.argv) > 1 else 60)).items():
            sys.stdout.write(f"{name:28} {value:10.2f}\n")
