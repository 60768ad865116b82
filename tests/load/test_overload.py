"""Twice the capacity of a gateway, for a minute (case O-05); the client has a process of its own, so the machine needs two processors."""

from pathlib import Path

import pytest

from tests.load.overload import Report, run


def check(report: Report, *, goodput: float) -> None:
    """Check what must hold; ``goodput`` is the part of the peak that is still answered."""
    assert report.goodput_of_peak >= goodput, report
    assert report.refused, report
    assert report.refused_without_retry_after == report.other_statuses == report.lost == 0, report
    assert report.recovered_s <= 2, report


@pytest.mark.load
def test_some_seconds_of_twice_the_capacity_leave_most_of_it(tmp_path: Path) -> None:
    check(run(tmp_path, 3), goodput=0.4)


@pytest.mark.case("O-05")
@pytest.mark.load
def test_a_minute_of_twice_the_capacity_leaves_four_fifths_of_it_and_is_soon_forgotten(tmp_path: Path) -> None:
    report = run(tmp_path, 60)
    check(report, goodput=0.8)
    assert report.refused_p50 < 50, report
