"""The command: `python -m tests.bench [--quick] [--only posts,thin] [--rivals mercurius,tailcall] [--seconds 3] [--json FILE]`."""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.cases import CASES, OURS, SHARED, Case
from tests.bench.growth import Section, memory, nodes, operations, rows, slow, workers
from tests.bench.guards import guards
from tests.bench.measure import Bench, Key, Result, measure
from tests.bench.native import running_mock
from tests.bench.planning import planning
from tests.bench.processes import CAN_PIN
from tests.bench.servers import RECIPES, running_servers
from tests.bench.stages import stages
from tests.bench.table import bar_table, case_table, numbers

SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "stages": stages,
    "planning": planning,
    "operations": operations,
    "rows": rows,
    "nodes": nodes,
    "slow": slow,
    "memory": memory,
    "workers": workers,
    "guards": guards,
}
NAMES = [*(case.name for case in CASES), *SECTIONS]


def main() -> None:
    """Run what the command line asks for, and print it as markdown."""
    options = read_options()
    began = time.monotonic()
    head = heading()
    print(head)
    with running_mock() as mock, tempfile.TemporaryDirectory() as folder:
        bench = Bench(mock, options.seconds, Path(folder), sys.stderr)
        results = run_cases(bench, [case for case in CASES if case.name in options.only], options.rivals)
        values = numbers(results)
        for section in (SECTIONS[name](bench) for name in SECTIONS if name in options.only):
            print(f"{section.text}\n", flush=True)
            values.update(section.numbers)
    print(bar_table(values))
    if options.json:
        kept = [{"key": key, "result": asdict(found) if isinstance(found, Result) else found} for key, found in results.items()]
        options.json.write_text(json.dumps({"heading": head, "results": kept, "numbers": values}, indent=1), "utf-8")
    print(f"\n{time.monotonic() - began:.0f} seconds in all.")


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the gateway beside its rivals.")
    parser.add_argument("--quick", action="store_true", help="short loads, for a first look")
    parser.add_argument("--seconds", type=float, help="of load on each server, case and number of connections")
    parser.add_argument("--only", type=_names, default=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rivals", type=_names, default=[""], help="the beginnings of their names; left out: all")
    parser.add_argument("--json", type=Path, help="a file for all numbers")
    options = parser.parse_args()
    options.seconds = options.seconds or (0.4 if options.quick else 3)
    return options


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def run_cases(bench: Bench, cases: list[Case], rivals: list[str]) -> dict[Key, Result | str]:
    """Run the servers that the cases need side by side, measure case by case, and print each table."""
    needed = {name for case in cases for name in case.servers}
    names = [name for name in RECIPES if name in needed and (name in {OURS, SHARED} or name.startswith(tuple(rivals)))]
    results: dict[Key, Result | str] = {}
    with running_servers(names, bench) as (servers, missing):
        for name, reason in missing.items():
            print(f"- **{name}** is missing: {reason}")
        for case in cases:
            results.update(measure(bench, case, servers))
            print(f"\n{case_table(case, results)}\n", flush=True)
    return results


def heading() -> str:
    """Return when and where this is measured, and how busy the machine is."""
    model = next((line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine())
    pinning = "server on one core, mock and load on another" if CAN_PIN else "not pinned"
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"## {when}, {os.cpu_count()} cores of {model}, {pinning}, load average {os.getloadavg()[0]:.1f}\n"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
