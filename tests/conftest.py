"""Options of the whole suite."""

import os

import pytest

from .case_table import CaseTable


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite what is expected: blocks of tests/cases/*.md, the reference")
    parser.addoption("--cases", action="store_true", help="run the tests of the reliability cases, and print their table alone")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update") and os.environ.get("CI"):
        raise pytest.UsageError("--update rewrites what is expected, so it is refused where CI is set")
    is_alone = bool(config.getoption("--cases"))
    if is_alone:
        config.option.verbose, config.option.tbstyle, config.option.reportchars = -2, "no", "N"
    config.pluginmanager.register(CaseTable(is_alone=is_alone), "case-table")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Tell whether the expected blocks of pages are to be rewritten."""
    return bool(request.config.getoption("--update"))
