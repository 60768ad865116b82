"""A pytest plugin: test reports → the table of reliability cases, with id, outcome of its tests, and seconds.

The marker ``@pytest.mark.case("U-03")`` assigns a test to a row. ``pytest --cases`` runs only such tests and prints only the table.
Where the tests run in several processes (pytest-xdist), each report carries the case ids of its test to the process that prints.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.faults.rows import MUST, ROWS

SEVERITY = ("failed", "xfailed", "skipped", "passed")
"""Outcomes from worst to best: the outcome of a row is the worst of its tests."""

PROPERTY = "case"
"""The name of the report properties that hold case ids."""


@dataclass(slots=True)
class Row:
    """The results of the tests of one row."""

    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def worst_outcome(self) -> str:
        """The worst outcome of its tests."""
        return next((outcome for outcome in SEVERITY if outcome in self.outcomes), "no test")

    def line(self, row: str) -> str:
        """Return the row as a line of the table."""
        counts = ", ".join(f"{self.outcomes[outcome]} {outcome}" for outcome in SEVERITY if outcome in self.outcomes)
        level = "must" if row in MUST else "should"
        return f"{row}  {level:6}  {self.worst_outcome:8}  {self.seconds:7.2f} s  {ROWS[row]:45}  {counts}"


class CaseTable:
    """The pytest plugin that collects the table."""

    def __init__(self, *, is_alone: bool) -> None:
        self._is_alone = is_alone
        self._rows = {row: Row() for row in ROWS}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Check the case ids and attach them to the reports; with ``--cases``, deselect tests without one."""
        for item in items:
            mistake = _mistake_of(item)
            if mistake and not hasattr(config, "workerinput"):  # pytest-xdist loses an error that a worker raises here
                raise pytest.UsageError(mistake)
            item.user_properties.extend((PROPERTY, row) for row in _case_ids(item) if row in ROWS)
        if self._is_alone:
            deselected = [item for item in items if not _case_ids(item)]
            items[:] = [item for item in items if _case_ids(item)]
            config.hook.pytest_deselected(items=deselected)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail a test with an unknown case id."""
        mistake = _mistake_of(item)
        if mistake:
            pytest.fail(mistake, pytrace=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the outcome and the seconds of a test for each of its rows."""
        for name in (str(value) for key, value in report.user_properties if key == PROPERTY):
            row = self._rows[name]
            row.seconds += report.duration
            # Setup and teardown have reports of their own, which count when they fail.
            if report.when == "call" or report.outcome != "passed":
                outcome = "xfailed" if hasattr(report, "wasxfail") and report.skipped else report.outcome
                row.outcomes[outcome] = row.outcomes.get(outcome, 0) + 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no progress of single tests with ``--cases``."""
        return (report.outcome, "", "") if self._is_alone else None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the rows that had a test; with ``--cases``, all rows."""
        shown = {name: row for name, row in self._rows.items() if row.outcomes or self._is_alone}
        if not shown:
            return
        terminalreporter.section("reliability cases")
        for name, row in shown.items():
            terminalreporter.write_line(row.line(name), red=row.worst_outcome == "failed", yellow=row.worst_outcome != "passed")
        for level in ("must", "should"):
            outcomes = [row.worst_outcome for name, row in shown.items() if (name in MUST) == (level == "must")]
            counts = ", ".join(
                f"{outcomes.count(outcome)} {outcome}" for outcome in (*SEVERITY, "no test") if outcome in outcomes
            )
            terminalreporter.write_line(f"{level}: {counts or 'none'}")


def _case_ids(item: pytest.Item) -> Sequence[str]:
    return [str(row) for marker in item.iter_markers("case") for row in marker.args]


def _mistake_of(item: pytest.Item) -> str:
    unknown = set(_case_ids(item)) - ROWS.keys()
    return f"{item.nodeid}: no such case: {', '.join(sorted(unknown))}" if unknown else ""
