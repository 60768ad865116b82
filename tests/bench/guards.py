"""What it costs that every request is guarded and told of: the gateway beside itself without all that, load by load in turns."""

import statistics
import sys
from pathlib import Path

from tests.bench.cases import CASES
from tests.bench.growth import Section, cpu_ms, table
from tests.bench.measure import Bench, target
from tests.bench.processes import free_port, running
from tests.bench.servers import PLAIN, serve_command

ROUNDS = 6
CONNECTIONS = 10
ASKED = ("posts", "thin", "version")


def unguarded_command(folder: Path, port: int) -> list[str]:
    """Return the command that serves without guards."""
    return [sys.executable, "-m", "tests.bench.unguarded", str(folder), str(port)]


def guards(bench: Bench) -> Section:
    """Measure the CPU time of queries with and without guards."""
    ports = free_port(), free_port()
    environment = {"MOCK_URL": bench.mock.url}
    found: list[tuple[float, ...]] = []
    names: list[str] = []
    with (
        running(serve_command(PLAIN, ports[0]), ports[0], environment) as guarded,
        running(unguarded_command(PLAIN, ports[1]), ports[1], environment) as bare,
    ):
        for case in CASES:
            if case.name not in ASKED:
                continue
            bench.tell(f"guards, {case.title}")
            aims = [(server, target(server, case.body())) for server in (guarded, bare)]
            taken: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for index, (server, aim) in enumerate(aims):
                    taken[index].append(cpu_ms(bench.sample(server, aim, CONNECTIONS, bench.seconds / 2)))
            with_guards, without = (statistics.median(times) for times in taken)
            names.append(case.title)
            found.append((with_guards * 1000, without * 1000, with_guards / without))
    lines = table("Guards", ("CPU µs with", "without", "with / without"), found).splitlines()
    lines[2:] = [f"| {head} {line}" for head, line in zip(("query", "---", *names), lines[2:], strict=True)]
    return Section("\n".join(lines), {"guards: CPU with over without, posts + user": found[0][2]})
