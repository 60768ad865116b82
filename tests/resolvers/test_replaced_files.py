"""Database files that are replaced, emptied, overwritten, moved and linked elsewhere while a source uses them."""

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.errors import Code, StepFault
from resolvers.databases import database_type
from resolvers.databases import duckdb_instance as duckdb_module
from resolvers.databases import sqlite as sqlite_module
from resolvers.databases.database import Database, DatabaseLocation
from tests.kit.databases import run_with_timeout

QUERY = "SELECT n FROM numbers ORDER BY n"
KINDS = ["sqlite", "duckdb"]
Found = list[dict[str, object]] | str
"""Rows, or the code of a fault."""


@pytest.fixture(autouse=True)
def _check_with_every_query(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sqlite_module, duckdb_module):
        monkeypatch.setattr(module, "_CHECK_EVERY", 0.0)


class Place:
    """A path of a database, and what may become of it. The path is a link into one of two folders."""

    def __init__(self, kind: str, root: Path) -> None:
        self.kind = kind
        self.root = root
        self.path = root / "current" / "data.db"
        for name in ("blue", "green"):
            (root / name).mkdir()
            self.make(root / name / "data.db", 1)
        (root / "current").symlink_to(root / "blue")

    def make(self, path: Path, number: int) -> None:
        opened: Any = sqlite3.connect(path) if self.kind == "sqlite" else duckdb.connect(str(path))
        with closing(opened):
            opened.execute("CREATE TABLE numbers (n INTEGER, filling TEXT)")
            opened.execute("INSERT INTO numbers VALUES (?, ?)", [number, "x" * 20_000])
            opened.commit()

    def replace(self, number: int) -> None:
        self.make(self.root / "new.db", number)
        (self.root / "new.db").replace(self.path)

    def empty(self, number: int) -> None:
        (self.root / "empty.db").touch()
        (self.root / "empty.db").replace(self.path)

    def truncate(self, number: int) -> None:
        self.path.write_bytes(b"")

    def overwrite(self, number: int) -> None:
        """Write over all pages but the first, which tells versions apart, or over everything."""
        content = self.path.read_bytes() if self.path.exists() else b""
        kept = 4096 if number % 2 else 0
        self.path.write_bytes(content[:kept] + random.Random(number).randbytes(max(0, len(content) - kept)))

    def remove(self, number: int) -> None:
        self.path.unlink(missing_ok=True)

    def link_elsewhere(self, number: int) -> None:
        link, target = self.root / "current", self.root / ("blue", "green")[number % 2]
        link.unlink()
        link.symlink_to(target)

    def move_away(self, number: int) -> None:
        """Take the folder away, and put another in its place."""
        (self.root / f"gone-{number}").mkdir()
        folder = self.path.parent.resolve()
        folder.replace(self.root / f"gone-{number}" / "folder")
        folder.mkdir()

    def as_found_by_a_new_process(self) -> Found:
        """Return what somebody finds who has not read the file before; DuckDB is asked for a copy, because it knows its files by name."""
        copy = self.root / "copy.db"
        copy.unlink(missing_ok=True)
        try:
            shutil.copyfile(self.path, copy)
            opened: Any = sqlite3.connect(copy) if self.kind == "sqlite" else duckdb.connect(str(copy), read_only=True)
            with closing(opened):
                return [{"n": n} for (n,) in opened.execute(QUERY).fetchall()]
        except (OSError, sqlite3.Error, duckdb.Error):
            return Code.DOWNSTREAM_SERVICE_ERROR


EVENTS: list[Callable[[Place, int], None]] = [
    Place.replace,
    Place.empty,
    Place.truncate,
    Place.overwrite,
    Place.remove,
    Place.link_elsewhere,
    Place.move_away,
]


async def found(database: Database) -> Found:
    try:
        return await database.select(QUERY, (), asyncio.get_running_loop().time() + 10)
    except StepFault as fault:
        return fault.code


def follow(place: Place, events: Iterator[Callable[[Place, int], None]]) -> None:
    """After each event, compare what the source finds with what a new process finds."""

    async def run() -> None:
        opener = database_type(place.kind)
        assert opener is not None
        database = opener.open(DatabaseLocation(f"{place.kind}:///current/data.db", place.root, 2, 100, 5_000_000))
        try:
            for rows in await asyncio.gather(found(database), found(database)):
                assert rows == [{"n": 1}]
            for number, event in enumerate(events, 2):
                event(place, number)
                expected = place.as_found_by_a_new_process()
                for _ in range(3):  # each connection of the pool
                    assert await found(database) == expected, (number, event)
        finally:
            await database.aclose()

    run_with_timeout(run())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_what_becomes_of_a_file_is_seen_and_a_sound_file_is_read_again(
    kind: str, event: Callable[[Place, int], None], tmp_path: Path
) -> None:
    follow(Place(kind, tmp_path), iter([event, Place.replace, event, event, Place.replace]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_events_is_followed(kind: str, seed: int, tmp_path: Path) -> None:
    events = random.Random(seed).choices([*EVENTS, Place.replace, Place.replace], k=12)
    follow(Place(kind, tmp_path), iter(events))


def test_a_pipe_in_the_place_of_a_file_holds_up_no_query_after_it_is_gone(tmp_path: Path) -> None:
    place = Place("duckdb", tmp_path)

    async def scenario() -> None:
        opener = database_type("duckdb")
        assert opener is not None
        database = opener.open(DatabaseLocation("duckdb:///current/data.db", tmp_path, 2, 100, 5_000_000))
        place.path.unlink()
        os.mkfifo(place.path)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await found(database)
        place.replace(7)
        assert await found(database) == [{"n": 7}]
        await database.aclose()

    run_with_timeout(scenario())
