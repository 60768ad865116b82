"""Options of the whole suite."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite what is expected: blocks of tests/cases/*.md, the reference")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update") and os.environ.get("CI"):
        raise pytest.UsageError("--update rewrites what is expected, so it is refused where CI is set")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Tell whether the expected blocks of pages are to be rewritten."""
    return bool(request.config.getoption("--update"))
