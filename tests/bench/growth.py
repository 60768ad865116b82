"""What grows → what it costs: operations, rows, nodes of a plan, slow calls, requests, workers."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cases import NUMBER, POST
from tests.bench.generated import many_operations, many_steps, wide_query
from tests.bench.measure import Bench, Sample, target
from tests.bench.observed import LAG_PATH
from tests.bench.processes import SERVER_CORE, Server, free_port, running
from tests.bench.servers import PLAIN, observed_command, serve_command

STEPS = (1, 10, 50, 100, 200)


@dataclass(frozen=True, slots=True)
class Section:
    """A table, as markdown, and the numbers of it that bars are about."""

    text: str
    numbers: dict[str, float]


def body(query: str, **variables: object) -> bytes:
    """Return the body of a request; a variable that is `NUMBER` is another one each time."""
    return json.dumps({"query": query, "variables": variables}).replace(f'"{NUMBER}"', NUMBER).encode()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
    """Return a markdown table."""
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", "|" + "--:|" * len(columns)]
    lines += [f"| {' | '.join(f'{cell:,.3g}' if isinstance(cell, float) else f'{cell:,}' for cell in row)} |" for row in rows]
    return "\n".join(lines)


@contextmanager
def serving(bench: Bench, folder: Path, *options: str, core: int | None = SERVER_CORE) -> Iterator[Server]:
    """Serve a folder on its own."""
    port = free_port()
    with running(serve_command(folder, port, *options), port, {"MOCK_URL": bench.mock.url}, core=core) as server:
        yield server


def cpu_ms(taken: Sample) -> float:
    """Return the CPU time of a query."""
    return taken.cpu_seconds * 1000 / max(1, taken.load.requests)


def steady(bench: Bench, server: Server, asked: bytes, connections: int) -> Sample:
    """Return what a load shows after a first one that warms the server up."""
    aim = target(server, asked)
    bench.sample(server, aim, connections, bench.seconds * 0.2)
    return bench.sample(server, aim, connections, bench.seconds)


def operations(bench: Bench) -> Section:
    """Measure the start and the queries of configurations of 10 to 5,000 operations."""
    rows: list[tuple[float, ...]] = []
    for count in (10, 100, 1000, 5000):
        bench.tell(f"{count:,} operations")
        folder = many_operations(bench.folder, count)
        began = time.monotonic()
        with serving(bench, folder) as server:
            start = time.monotonic() - began
            first = first_query_ms(server, count)
            asked = body("query q($id: Int!) { op5(id: $id) { one { id name } } }", id=NUMBER)
            taken = steady(bench, server, asked, 10)
            rows.append((count, start, start * 1000 / count, first, cpu_ms(taken), server.resident_mib()))
    columns = ("operations", "start s", "start ms each", "first query ms", "CPU ms per query", "RSS MiB")
    return Section(
        table("Operations", columns, rows),
        {
            "5,000 operations: start, s": rows[-1][1],
            "5,000 operations: first query of a new operation, ms": rows[-1][3],
            "5,000 operations: CPU per query over that at 10": rows[-1][4] / rows[0][4],
        },
    )


def first_query_ms(server: Server, count: int) -> float:
    """Return the median latency of queries for operations that nobody has asked for before."""
    latencies = []
    for number in range(1, count, max(1, count // 20)):
        asked = body(f"{{ op{number}(id: 1) {{ one {{ id }} two {{ name }} }} }}")
        began = time.perf_counter()
        server.post(asked)
        latencies.append((time.perf_counter() - began) * 1000)
    return statistics.median(latencies)


def rows(bench: Bench) -> Section:
    """Measure answers of 10 to 10,000 rows."""
    found: list[tuple[float, ...]] = []
    with serving(bench, PLAIN) as server:
        for count in (10, 100, 1000, 10_000):
            bench.tell(f"{count:,} rows")
            taken = steady(bench, server, body("query rows($n: Int!) { rows(n: $n) { id userId title } }", n=count), 1)
            found.append((count, cpu_ms(taken), cpu_ms(taken) * 1000 / count, taken.load.p50_us / 1000, taken.resident_mib))
    return Section(table("Rows", ("rows", "CPU ms per query", "CPU µs per row", "p50 ms", "RSS MiB"), found), {})


def nodes(bench: Bench) -> Section:
    """Measure plans of 1 to 200 nodes, a call each, in chains of ten abreast."""
    found: list[tuple[float, ...]] = []
    with serving(bench, many_steps(bench.folder, STEPS)) as server:
        for count in STEPS:
            bench.tell(f"a plan of {count} nodes")
            taken = steady(bench, server, body(wide_query(count), id=NUMBER), 1)
            each = cpu_ms(taken) * 1000 / count
            found.append((count, cpu_ms(taken), each, taken.load.p50_us / 1000, taken.calls / max(1, taken.load.requests)))
    return Section(
        table("Nodes of a plan", ("nodes", "CPU ms per query", "CPU µs per node", "p50 ms", "calls per query"), found), {}
    )


def slow(bench: Bench) -> Section:
    """Measure 1,000 queries at once, each of which waits a second for its own call, and for how long the event loop was held."""
    bench.tell("1,000 slow calls")
    port = free_port()
    command = observed_command(PLAIN, port)
    with running(command, port, {"MOCK_URL": bench.mock.url}) as server:
        aim = target(server, body("query slow($n: Int!) { slow(n: $n) { id name } }", n=NUMBER))
        found: list[tuple[float, ...]] = []
        for count in (100, 1000):
            worst_lag_ms(server)
            taken = bench.sample(server, aim, count, 30, requests=count)
            found.append(
                (count, taken.load.seconds - 1, worst_lag_ms(server), taken.load.wrong + taken.load.broken, cpu_ms(taken))
            )
    columns = ("calls of 1 s", "s over ideal", "loop lag ms", "wrong", "CPU ms per query")
    return Section(
        table("Slow calls at once", columns, found),
        {
            "1,000 slow calls: s over ideal": found[-1][1],
            "1,000 slow calls: loop lag, ms": found[-1][2],
            "1,000 slow calls: not answered": found[-1][3],
        },
    )


def worst_lag_ms(server: Server) -> float:
    """Return the longest time that the event loop was held since this was last asked."""
    return float(Server(server.pid, server.port, LAG_PATH).post(b"{}")[1])


def memory(bench: Bench) -> Section:
    """Measure a worker's memory when it is warm, and again after many requests of several kinds."""
    total = 100_000 if bench.seconds >= 1 else 10_000
    kinds = (
        body("query thin($id: Int!) { thing(id: $id) { id name } }", id=NUMBER),
        body("{ version }"),
        body(f"query feed($n: Int!) {{ feed(n: $n) {POST} }}", n=NUMBER),
    )
    with serving(bench, PLAIN) as server:
        fresh = server.resident_mib()
        aims = [target(server, kind) for kind in kinds]
        for aim in aims:
            bench.sample(server, aim, 10, 60, requests=total // 50)
        warm = server.resident_mib()
        for share, aim in zip((0.6, 0.3, 0.1), aims, strict=True):
            bench.tell(f"memory over {total * share:,.0f} requests")
            bench.sample(server, aim, 10, 120, requests=int(total * share))
        after = server.resident_mib()
    growth = (after / warm - 1) * 100
    columns = ("requests", "at start MiB", "warm MiB", "afterwards MiB", "growth %")
    return Section(
        table("Memory of a worker", columns, [(total, fresh, warm, after, growth)]),
        {"memory of a worker, MiB": after, "memory over all requests, growth in %": growth},
    )


def workers(bench: Bench) -> Section:
    """Measure two workers beside one, on all cores; mock and load share them."""
    found: list[tuple[float, ...]] = []
    for count in (1, 2):
        bench.tell(f"{count} workers")
        with serving(bench, PLAIN, "--workers", str(count), core=None) as server:
            taken = steady(bench, server, body(f"{{ posts {POST} }}"), 20)
            busy = taken.cpu_seconds / max(taken.load.seconds, 1e-6)
            found.append((count, taken.load.requests / max(taken.load.seconds, 1e-6), busy, taken.load.p99_us / 1000))
    times = found[1][1] / found[0][1]
    return Section(table("Workers", ("workers", "req/s", "cores busy", "p99 ms"), found), {"2 workers over 1": times})
