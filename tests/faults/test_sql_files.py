"""A database file that is replaced, emptied and damaged below a running gateway (row S-05)."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.faults.served import Served
from tests.kit.serving import Answer
from tests.kit.timing import SLACK

case = pytest.mark.case
CONFIG = """
sources:
  db: { type: warehouse, url: "KIND:///data.db", breaker: { enabled: false } }
---
operation: numbers
args: {}
steps:
  - { name: first, type: warehouse, source: db, query: SELECT n FROM numbers }
"""
ASKED = "{ numbers { first } }"
FAILED = ("DOWNSTREAM_SERVICE_ERROR", "first", ["numbers", "first"])


@pytest.fixture(params=["sqlite", "duckdb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(kind: str, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "config").mkdir()
    make(kind, tmp_path / "config" / "data.db", 1)
    with Served(tmp_path, {"graph.yaml": CONFIG.replace("KIND", kind)}) as opened:
        yield opened


def make(kind: str, path: Path, number: int) -> None:
    new = path.with_suffix(".new")
    opened: Any = sqlite3.connect(new) if kind == "sqlite" else duckdb.connect(str(new))
    with closing(opened) as database:
        database.execute("CREATE TABLE numbers (n INTEGER, filling TEXT)")
        database.execute("INSERT INTO numbers VALUES (?, ?)", [number, "x" * 20_000])
        database.commit()
    new.replace(path)


def expect(served: Served, expected: object) -> None:
    """Keep asking, so that no connection of the pool rests, until the answer is the expected one, which takes a second at the most."""
    ends = time.monotonic() + 1 + SLACK
    while (found := result(served.ask(ASKED))) != expected:
        assert time.monotonic() < ends, found


def result(answer: Answer) -> object:
    return answer.fault if answer.codes else answer.data["numbers"]["first"]["n"]


@case("S-05")
def test_a_file_is_read_as_it_is_by_now_whatever_became_of_it(kind: str, served: Served) -> None:
    path = served.folder / "data.db"
    assert result(served.ask(ASKED)) == 1
    make(kind, path, 2)
    expect(served, 2)
    path.with_suffix(".new").touch()
    path.with_suffix(".new").replace(path)
    expect(served, FAILED)
    make(kind, path, 3)
    expect(served, 3)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    expect(served, FAILED)
    make(kind, path, 4)
    expect(served, 4)
