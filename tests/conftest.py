"""Options of the whole suite."""

import os
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

from gateway.serve.admission import admission
from tests.kit.case_table import CaseTable


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite what is expected: blocks of tests/cases/*.md, the reference")
    parser.addoption("--cases", action="store_true", help="run the tests of the reliability cases, and print their table alone")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update") and os.environ.get("CI"):
        raise pytest.UsageError("--update rewrites what is expected, so it is refused where CI is set")
    if config.getoption("--update") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--update rewrites files that tests share, so it is refused with -n; run pytest --update alone")
    is_alone = bool(config.getoption("--cases"))
    if is_alone:
        config.option.verbose, config.option.tbstyle, config.option.reportchars = -2, "no", "N"
    config.pluginmanager.register(CaseTable(is_alone=is_alone), "case-table")


@pytest.fixture(autouse=True)
def blocking_calls_are_mistakes() -> Iterator[None]:
    """Raise a ``BlockingError`` where the gateway waits for a file, a socket, a lock or the clock while an event loop runs (row O-10)."""
    with blockbuster_ctx(scanned_modules=["gateway", "resolvers"]) as detector:
        detector.functions["os.getcwd"].deactivate()  # it asks no disk
        for function in detector.functions.values():
            # Once for each new connection these look for files of passwords and certificates, and for a version.
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
            function.can_block_in("redis/utils.py", "get_lib_version")
        yield


@pytest.fixture(autouse=True)
def no_load_shedding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch load shedding off in the test process, where other processes make iterations of the event loop slow."""
    monkeypatch.setattr(admission, "LONG_ITERATION", 60.0)


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Tell whether the expected blocks of pages are to be rewritten."""
    return bool(request.config.getoption("--update"))
