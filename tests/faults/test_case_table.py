"""The table of the reliability cases: every row has a test, and the table shows its result."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.faults.rows import MUST, ROWS, SHOULD
from tests.kit.paths import TESTS

MARKED = re.compile(r'\bcase\(((?:"[A-Z]-\d\d"(?:, )?)+)\)')
SAMPLE = """
import pytest

@pytest.mark.case("U-03")
def test_holds(): pass

@pytest.mark.case("U-03", "U-04")
def test_fails(): assert False

@pytest.mark.case("U-06")
@pytest.mark.xfail(strict=False)
def test_is_expected_to_fail(): assert False

@pytest.mark.case("U-07")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_holds_thrice(number): pass

def test_of_something_else(): assert False
"""


def test_every_row_has_a_test() -> None:
    texts = [path.read_text("utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    shown = {row for text in texts for match in MARKED.finditer(text) for row in re.findall(r"[A-Z]-\d\d", match[1])}
    assert ROWS.keys() - shown == set()


def test_rows_are_told_apart_by_what_must_and_what_should_hold() -> None:
    assert MUST.keys().isdisjoint(SHOULD)
    assert len(ROWS) == 104


def run(
    folder: Path, sample: str, *arguments: str, environment: Mapping[str, str] = os.environ
) -> "subprocess.CompletedProcess[str]":
    """Run some tests with the hooks of this suite, in a separate process."""
    (folder / "conftest.py").write_text("from tests.conftest import pytest_addoption, pytest_configure\n", "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = case: a row\n", "utf-8")
    (folder / "test_sample.py").write_text(sample, "utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(TESTS.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


PROCESSES = pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "several processes"])


@PROCESSES
def test_the_table_tells_how_the_tests_of_each_row_ended(tmp_path: Path, processes: list[str]) -> None:
    output = run(tmp_path, SAMPLE, "--cases", *processes).stdout.splitlines()
    lines = {line[:4]: line for line in output if re.match(r"[A-Z]-\d\d ", line)}
    assert lines.keys() == ROWS.keys()
    endings = {"U-03": "failed", "U-04": "failed", "U-06": "xfailed", "U-07": "passed", "U-08": "no test"}
    for row, ending in endings.items():
        assert lines[row].startswith(f"{row}  must    {ending} ")
    assert lines["U-03"].endswith(" 1 failed, 1 passed")
    assert lines["U-07"].endswith(" 3 passed")
    assert lines["U-19"].startswith("U-19  should  no test")
    assert not any("test_" in line or "assert" in line for line in output)


def test_without_the_option_only_rows_that_had_a_test_are_told(tmp_path: Path) -> None:
    output = run(tmp_path, SAMPLE).stdout
    assert re.findall(r"^[A-Z]-\d\d", output, re.MULTILINE) == ["U-03", "U-04", "U-06", "U-07"]
    assert "test_of_something_else" in output


@PROCESSES
def test_a_row_that_is_not_there_is_a_mistake(tmp_path: Path, processes: list[str]) -> None:
    done = run(tmp_path, SAMPLE.replace("U-07", "U-99"), *processes)
    assert done.returncode == (1 if processes else 4)
    assert "no such case: U-99" in done.stdout + done.stderr


def test_what_is_expected_is_not_rewritten_by_several_processes(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = run(tmp_path, SAMPLE, "--update", "-n", "2", environment=environment)
    assert (done.returncode, done.stdout) == (4, "")
    assert "run pytest --update alone" in done.stderr
