"""Reports of tests → the table of reliability cases: id, how its tests ended, seconds.

A test says by ``@pytest.mark.case("U-03")`` which rows it shows; ``pytest --cases`` runs only such tests and prints only the table.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.faults.rows import MUST, ROWS

ORDER = ("failed", "xfailed", "skipped", "passed")
"""How a row ended: as the worst of its tests did."""


@dataclass(slots=True)
class Row:
    """What has become of the tests of a row."""

    endings: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ending(self) -> str:
        """The worst ending."""
        return next((ending for ending in ORDER if ending in self.endings), "no test")

    def line(self, row: str) -> str:
        """Return the row as a line of the table."""
        counts = ", ".join(f"{count} {ending}" for ending, count in self.endings.items())
        level = "must" if row in MUST else "should"
        return f"{row}  {level:6}  {self.ending:8}  {self.seconds:7.2f} s  {ROWS[row]:45}  {counts}"


class CaseTable:
    """The pytest plugin that gathers the table."""

    def __init__(self, *, is_alone: bool) -> None:
        self._is_alone = is_alone
        self._rows = {row: Row() for row in ROWS}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what shows no row, where the table is all that is asked for."""
        for item in items:
            unknown = set(_rows_of(item)) - ROWS.keys()
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: no such case: {', '.join(sorted(unknown))}")
        if self._is_alone:
            left_out = [item for item in items if not _rows_of(item)]
            items[:] = [item for item in items if _rows_of(item)]
            config.hook.pytest_deselected(items=left_out)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Count how a test ended, and its seconds, for each of its rows."""
        report = yield
        for name in _rows_of(item):
            row = self._rows[name]
            row.seconds += report.duration
            if report.when == "call" or report.outcome != "passed":
                ending = "xfailed" if hasattr(report, "wasxfail") and report.skipped else report.outcome
                row.endings[ending] = row.endings.get(ending, 0) + 1
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print nothing of the single tests, where the table is all that is asked for."""
        return (report.outcome, "", "") if self._is_alone else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the rows that had a test, or with ``--cases`` all."""
        shown = {name: row for name, row in self._rows.items() if row.endings or self._is_alone}
        if not shown:
            return
        terminalreporter.section("reliability cases")
        for name, row in shown.items():
            terminalreporter.write_line(row.line(name), red=row.ending == "failed", yellow=row.ending != "passed")
        for level in ("must", "should"):
            endings = [row.ending for name, row in shown.items() if (name in MUST) == (level == "must")]
            counts = ", ".join(f"{endings.count(ending)} {ending}" for ending in (*ORDER, "no test") if ending in endings)
            terminalreporter.write_line(f"{level}: {counts or 'none'}")


def _rows_of(item: pytest.Item) -> Sequence[str]:
    return [str(row) for marker in item.iter_markers("case") for row in marker.args]
