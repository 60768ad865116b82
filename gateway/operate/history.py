"""Store the history of generations: each version with its files, in a SQLite file outside the configuration folder.

The oldest versions are deleted first.
"""

import asyncio
import errno
import hashlib
import json
import logging
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import aiosqlite

from gateway.load.read.files import Files, files_as_read

log = logging.getLogger("stepgraph.versions")

MAX_VERSIONS = 200
_TABLE = """CREATE TABLE IF NOT EXISTS versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, version TEXT NOT NULL, at REAL NOT NULL, problems INTEGER NOT NULL, files BLOB NOT NULL)"""


@dataclass(frozen=True, slots=True)
class Version:
    """A generation that has served requests: its content hash, its start, and the number of problems in its files."""

    version: str
    at: datetime
    problems: int


def default_state(folder: Path) -> Path:
    """Return the default state folder of a configuration folder: one per configuration folder, below the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = str(folder.resolve())
    # The hash keeps apart folders of the same name, such as a/config and b/config.
    return Path(state, "stepgraph", f"{folder.resolve().name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}")


class UnusableHistory(Exception):
    """The history cannot be read or written; the message says why, on one line."""


class Versions:
    """The history in a state folder. A version that becomes active again after another one is listed again."""

    def __init__(self, state: Path) -> None:
        self._path = state / "history.db"

    async def keep(self, files: Files, version: str, problems: int) -> None:
        """Add a version as :meth:`add` does. Log an error and continue: serving does not depend on the history."""
        try:
            await self.add(files, version, problems)
        except UnusableHistory as error:
            log.warning("the history of versions cannot be written", extra={"detail": str(error)})

    async def add(self, files: Files, version: str, problems: int) -> None:
        """Add a version unless it is already the latest.

        :raises UnusableHistory: it cannot be written.
        """
        packed = await asyncio.to_thread(_pack, files)
        async with self._open() as database:
            # Takes the write lock before the read: workers share the file, and two of them could otherwise insert the same version.
            await database.execute("BEGIN IMMEDIATE")
            last = await (await database.execute("SELECT version FROM versions ORDER BY id DESC LIMIT 1")).fetchone()
            if last is None or last[0] != version:
                row = (version, time.time(), problems, packed)
                await database.execute("INSERT INTO versions (version, at, problems, files) VALUES (?, ?, ?, ?)", row)
                oldest = "SELECT id FROM versions ORDER BY id DESC LIMIT -1 OFFSET ?"
                await database.execute(f"DELETE FROM versions WHERE id IN ({oldest})", (MAX_VERSIONS,))  # noqa: S608 - constant
            await database.commit()

    async def all(self) -> list[Version]:
        """Return all versions, the latest first.

        :raises UnusableHistory: it cannot be read.
        """
        if not await asyncio.to_thread(os.path.lexists, self._path):
            return []
        async with self._open() as database:
            rows = await database.execute_fetchall("SELECT version, at, problems FROM versions ORDER BY id DESC")
            return [Version(_text(version), datetime.fromtimestamp(at, UTC), int(problems)) for version, at, problems in rows]

    async def find(self, prefix: str, folder: Path) -> Files | None:
        """Return the files of the version with this hash prefix, with paths in ``folder``; None when no version or several have it.

        :raises UnusableHistory: it cannot be read.
        """
        versions = {entry.version for entry in await self.all() if entry.version.startswith(prefix)}
        if len(versions) != 1:
            return None
        (version,) = versions
        async with self._open() as database:
            query = "SELECT files FROM versions WHERE version = ? ORDER BY id DESC LIMIT 1"
            row = await (await database.execute(query, (version,))).fetchone()
            # Keep the stored hash: it covers a byte order mark, which the stored texts no longer have.
            return None if row is None else replace(files_as_read(folder, _unpack(row[0])), version=version)

    async def since_sound(self, folder: Path) -> list[Files]:
        """Return the files of the latest version without problems and of all later ones, oldest first; empty if they cannot be read."""
        try:
            async with self._open() as database:
                last = "SELECT MAX(id) FROM versions WHERE problems = 0"
                query = f"SELECT files FROM versions WHERE id >= ({last}) ORDER BY id"  # noqa: S608 - constant
                return [files_as_read(folder, _unpack(packed)) for (packed,) in await database.execute_fetchall(query)]
        except UnusableHistory:
            return []

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[aiosqlite.Connection]:
        """Open the database for a block in which it is read or written.

        :raises UnusableHistory: it cannot be opened, or the block finds that it is no history.
        """
        try:
            await asyncio.to_thread(_prepare, self._path)
            # isolation_level=None turns off sqlite3's implicit transactions, which would conflict with BEGIN IMMEDIATE.
            async with aiosqlite.connect(self._path, isolation_level=None, timeout=5) as database:
                await database.execute(_TABLE)
                yield database
        except (OSError, sqlite3.Error, zlib.error, ValueError, TypeError, OverflowError, RecursionError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise UnusableHistory(
                f"{self._path}: {reason}; move that file away, or choose another folder with --state"
            ) from error


def _prepare(path: Path) -> None:
    """Create the file if it is not there, and check that it can be opened: aiosqlite leaves a thread behind where that fails.

    :raises OSError: it cannot be opened, or is not a file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.path.lexists(path):
        path.touch()
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would block
        raise OSError(errno.EINVAL, "is not a file")
    path.open("rb").close()


def _pack(files: Files) -> bytes:
    texts = {os.path.relpath(name, files.folder): text for name, text in files.texts.items()}
    return zlib.compress(json.dumps(texts).encode())


def _unpack(packed: bytes) -> dict[str, str]:
    """Return the texts of a version by their paths in its folder.

    :raises zlib.error, ValueError, TypeError: it was not packed by ``_pack``.
    """
    texts = json.loads(zlib.decompress(packed))
    if not isinstance(texts, dict):
        raise TypeError("the files of a version are no mapping")
    if any("\0" in name or Path(name).is_absolute() or ".." in Path(name).parts for name in texts):
        raise ValueError("a version has files outside of its folder")  # a rollback would write them
    return {name: _text(text) for name, text in texts.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a version has other values than a gateway stores")
    return value
