"""The writer of log lines: JSON or columns, from a thread of its own, without blocking the caller."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.telemetry.logs import LineWriter, render_columns, render_json
from tests.kit.paths import CHECKOUT
from tests.kit.serving import wait_until

RECORD: dict[str, Any] = {"step": "a", "request_id": "r1", "operations": ("o",), "errors": {"X": 1}}


@contextmanager
def writing(**options: int) -> Iterator[tuple[LineWriter, int]]:
    """Yield a writer of JSON, and the reading end of the pipe that it writes to."""
    reading, written = os.pipe()
    writer = LineWriter(render_json(), written, **options)
    try:
        yield writer, reading
    finally:
        os.close(reading)  # ends a write that blocks
        writer.close()
        os.close(written)


def record(message: str = "step failed", **extra: object) -> logging.LogRecord:
    result = logging.LogRecord("stepgraph.engine", logging.WARNING, "", 0, message, None, None)
    vars(result).update(extra)
    return result


def read_lines(reading: int) -> list[str]:
    return os.read(reading, 1_000_000).decode().splitlines()


def test_a_record_is_a_line_of_json_with_everything_that_it_was_given() -> None:
    with writing() as (writer, reading):
        writer.handle(record(**RECORD))
        writer.flush()
        (line,) = read_lines(reading)
    fields = json.loads(line)
    assert fields.pop("timestamp").endswith("+00:00")
    assert fields == {
        "level": "warning",
        "event": "step failed",
        "logger": "stepgraph.engine",
        "step": "a",
        "request_id": "r1",
        "operations": ["o"],
        "errors": {"X": 1},
    }


@pytest.mark.parametrize("value", ["line\nbreak", "\x1b[2Jcleared", "half \ud800 of a pair", object(), float("nan"), 2**70])
def test_no_value_forges_a_line_or_keeps_one_from_being_written(value: object) -> None:
    with writing() as (writer, reading):
        writer.handle(record(value=value))
        writer.handle(record("next"))
        writer.flush()
        first, second = read_lines(reading)
    assert json.loads(first)["event"] in {"step failed", "a log line could not be made"}
    assert json.loads(second)["event"] == "next"
    assert "\x1b" not in first


@pytest.mark.parametrize("value", ["line\nbreak", "\x1b[2Jcleared"])
def test_for_people_too_no_value_moves_the_cursor(value: str) -> None:
    line = render_columns(has_colors=False)(
        {"timestamp": "2026-01-01T00:00:00+00:00", "level": "info", "event": "x", "value": value}
    )
    assert line.isprintable()
    assert "value=" in line


def test_an_exception_has_its_traceback() -> None:
    error = ValueError("why")
    failed = record(exc_info=(ValueError, error, None))
    with writing() as (writer, reading):
        writer.handle(failed)
        writer.flush()
        (line,) = read_lines(reading)
    assert json.loads(line)["exception"].endswith("ValueError: why")


def test_while_nobody_reads_whoever_logs_goes_on_and_what_has_no_room_is_counted() -> None:
    with writing(max_queued=1000) as (writer, reading):
        slowest = 0.0
        for _ in range(20_000):
            began = time.perf_counter()
            writer.handle(record(padding="x" * 100))
            slowest = max(slowest, time.perf_counter() - began)
        assert slowest < 1.0  # a blocking write would never return
        assert 10_000 < writer.dropped < 20_000
        lines_read: list[str] = []
        reader = threading.Thread(target=lambda: lines_read.extend(_all_lines(reading)))
        reader.start()
        wait_until(lambda: any("dropped" in line for line in lines_read), "the number of dropped lines", 10)
        reported = sum(json.loads(line)["count"] for line in lines_read if "log lines dropped" in line)
        assert reported == writer.dropped
        assert len([line for line in lines_read if "padding" in line]) == 20_000 - reported


def _all_lines(reading: int) -> Iterator[str]:
    """Yield whole lines up to the one that reports dropped lines."""
    rest = b""
    while True:
        rest += os.read(reading, 100_000)
        *lines, rest = rest.split(b"\n")
        for line in lines:
            yield line.decode()
        if any(b"log lines dropped" in line for line in lines):
            return


def test_the_last_lines_are_written_before_the_process_ends() -> None:
    code = (
        "import logging; from gateway.telemetry.logs import configure_logging; configure_logging(is_development=False);"
        "[logging.getLogger('stepgraph.x').warning('line', extra={'number': n}) for n in range(3000)]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True, cwd=CHECKOUT)
    assert [json.loads(line)["number"] for line in done.stderr.splitlines()] == list(range(3000))


def test_a_process_whose_log_nobody_reads_ends_all_the_same() -> None:
    code = (
        "import logging; from gateway.telemetry.logs import configure_logging; configure_logging(is_development=False);"
        "[logging.getLogger('stepgraph.x').warning('x' * 1000) for _ in range(3000)]"
    )
    reading, written = os.pipe()
    try:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], stderr=written, timeout=30, check=True, cwd=CHECKOUT)
        assert time.monotonic() - began < 20
    finally:
        os.close(reading)
        os.close(written)
