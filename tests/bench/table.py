"""Results → markdown: a table for each case, and the bars with the values that they have."""

from collections.abc import Iterator, Mapping

from tests.bench.cases import BARS, CASES, OURS, SHARED, Bar, Case, ratio
from tests.bench.measure import Key, Result

Results = Mapping[Key, Result | str]


def case_table(case: Case, results: Results) -> str:
    """Return the table of a case; the ratios say how many times the server's rate ours is, and how many times our CPU time it needs."""
    lines = [
        f"### {case.title}",
        "",
        "| server | connections | our req/s are | its CPU is | req/s | p50 ms | p99 ms | CPU ms | upstream calls | RSS MiB | wrong |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for connections in case.connections:
        ours = results.get((case.name, connections, case.servers[0]))
        for name in case.servers:
            result = results.get((case.name, connections, name))
            if isinstance(result, Result):
                lines.append(_row(name, connections, result, ours))
            elif result:
                lines.append(f"| {name} | {connections} | {result} |||||||||")
    return "\n".join(lines)


def _row(name: str, connections: int, result: Result, ours: Result | str | None) -> str:
    ratios = ("", "")
    if isinstance(ours, Result) and ours is not result and result.rate and ours.cpu_ms:
        ratios = (f"{ours.rate / result.rate:.2f} x", f"{result.cpu_ms / ours.cpu_ms:.2f} x")
    cells = (
        name,
        connections,
        *ratios,
        f"{result.rate:,.0f}",
        f"{result.p50_ms:.2f}",
        f"{result.p99_ms:.2f}",
        f"{result.cpu_ms:.3f}",
        f"{result.calls:.2f}",
        f"{result.resident_mib:.0f}",
        result.wrong or "",
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def numbers(results: Results) -> dict[str, float]:
    """Return the numbers that bars are about, by name."""
    return dict(_numbers({key: result for key, result in results.items() if isinstance(result, Result)}))


def _numbers(results: Mapping[Key, Result]) -> Iterator[tuple[str, float]]:
    ideals = {case.name: case.ideal_ms for case in CASES}
    for (case, connections, server), result in results.items():
        if server not in {OURS, SHARED}:
            continue
        for (other_case, other_connections, rival), other in results.items():
            if (other_case, other_connections) == (case, connections) and rival != server and other.rate:
                yield ratio(case, connections, server, rival), result.rate / other.rate
        yield f"{case} at {connections}: CPU ms per query", result.cpu_ms
        if ideal := ideals[case]:
            yield f"{case}: p50 over its {'sum' if case == 'chain' else 'slowest call'}, ms", result.p50_ms - ideal
        ten = results.get((case, 10, server))
        if connections == 100 and ten:
            yield f"{case}: requests per second at 100 / at 10", result.rate / ten.rate


def bar_table(values: Mapping[str, float]) -> str:
    """Return the bars with their values; those that were not measured have none."""
    lines = ["### Bars", "", "| what | measured | must | moonshot | holds |", "|---|--:|--:|--:|---|"]
    lines += [_bar_row(bar, values.get(bar.number)) for bar in BARS]
    held = sum(bar.number in values and bar.holds(values[bar.number]) for bar in BARS)
    measured = sum(bar.number in values for bar in BARS)
    return "\n".join([*lines, "", f"{held} of {measured} bars hold; {len(BARS) - measured} were not measured."])


def _bar_row(bar: Bar, value: float | None) -> str:
    sign = "≤" if bar.is_ceiling else "≥"
    measured = "" if value is None else f"{value:.3g}"
    holds = "not measured" if value is None else "yes" if bar.holds(value) else f"no ({value / bar.must:.2f} of it)"
    moonshot = "" if bar.moonshot is None else f"{bar.moonshot:g}"
    return f"| {bar.number} | {measured} | {sign} {bar.must:g} | {moonshot} | {holds} |"
