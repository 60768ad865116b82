"""A history file that is no history (case R-15): the commands tell it in a line, and a server goes on without it."""

import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from gateway.operate.history import _TABLE
from tests.cli.test_cli import run
from tests.kit.serving import Process, serve_command, wait_until, write_files
from tests.operate.test_serving import BASE

SOUND = {"base.yaml": BASE}
Row = tuple[object, object, object, object]


def packed(files: object) -> bytes:
    return zlib.compress(json.dumps(files).encode())


def rows(*values: Row) -> Callable[[Path], None]:
    """Return a function that writes a history with these rows, whatever they are."""

    def write(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute(_TABLE.replace(" NOT NULL", ""))
            database.executemany("INSERT INTO versions (version, at, problems, files) VALUES (?, ?, ?, ?)", values)
            database.commit()

    return write


def other_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE versions (x INTEGER)")
        database.commit()


def cut_off(path: Path) -> None:
    rows(*((f"abc{number}", number, 0, os.urandom(400)) for number in range(100)))(path)
    os.truncate(path, 9000)


def scrambled(path: Path) -> None:
    rows(*((f"abc{number}", number, 0, os.urandom(400)) for number in range(100)))(path)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("version abc\n" * 200, "utf-8"),
    "a short text": lambda path: path.write_text("abc", "utf-8"),
    "zeros": lambda path: path.write_bytes(b"\0" * 8192),
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a link to nowhere": lambda path: path.symlink_to("/nowhere/history.db"),
    "a link to itself": lambda path: path.symlink_to(path),
    "another table": other_table,
    "cut off": cut_off,
    "scrambled": scrambled,
    "a version that is no text": rows((b"abc", 1.0, 0, packed(SOUND))),
    "a time that is a text": rows(("abc", "yesterday", 0, packed(SOUND))),
    "a time beyond all years": rows(("abc", 1e300, 0, packed(SOUND))),
    "no number of problems": rows(("abc", 1.0, None, packed(SOUND))),
}
UNPACKABLE: dict[str, Row] = {
    "no files": ("abc", 1.0, 0, None),
    "files that are a text": ("abc", 1.0, 0, "text"),
    "files that are not packed": ("abc", 1.0, 0, b"junk"),
    "files that are cut off": ("abc", 1.0, 0, packed(SOUND)[:-9]),
    "files that are not JSON": ("abc", 1.0, 0, zlib.compress(b"{")),
    "files that are a list": ("abc", 1.0, 0, packed([1])),
    "files nested without end": ("abc", 1.0, 0, zlib.compress(b"[" * 200_000)),
    "a file that is a number": ("abc", 1.0, 0, packed({"a.yaml": 1})),
    "a file outside of the folder": ("abc", 1.0, 0, packed({"../outside.yaml": BASE})),
    "a file outside of every folder": ("abc", 1.0, 0, packed({"/tmp/outside.yaml": BASE})),  # noqa: S108 - must not be written
    "a name that is none": ("abc", 1.0, 0, packed({"a\0.yaml": BASE})),
    "a text that cannot be written": ("abc", 1.0, 0, packed({"a.yaml": "\ud800"})),
}
COMMANDS = {
    "versions": ("versions", "CONFIG"),
    "diff": ("diff", "abc", "--config", "CONFIG"),
    "diff of two": ("diff", "abc", "abd", "--config", "CONFIG"),
    "rollback": ("rollback", "abc", "CONFIG", "--yes"),
}


def told(tmp_path: Path, command: str) -> str:
    """Run a command that must fail and change nothing, and return the one line that it says."""
    config = write_files(tmp_path / "config", SOUND)
    arguments = [str(config) if part == "CONFIG" else part for part in COMMANDS[command]]
    result = run(*arguments, "--state", str(tmp_path / "state"))
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert {path.name: path.read_text("utf-8") for path in config.iterdir()} == SOUND
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == []
    return line


def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "history.db"


@pytest.mark.case("R-15")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("junk", UNREADABLE)
def test_a_history_that_is_none_is_told_in_a_line(junk: str, command: str, tmp_path: Path) -> None:
    path = state(tmp_path)
    UNREADABLE[junk](path)
    line = told(tmp_path, command)
    assert str(path) in line
    assert "--state" in line


@pytest.mark.case("R-15")
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "versions"])
@pytest.mark.parametrize("junk", UNPACKABLE)
def test_a_version_that_was_not_kept_by_a_gateway_is_told_in_a_line(junk: str, command: str, tmp_path: Path) -> None:
    path = state(tmp_path)
    rows(UNPACKABLE[junk])(path)
    assert str(path) in told(tmp_path, command)


@pytest.mark.case("R-15")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_file_is_an_empty_history(command: str, tmp_path: Path) -> None:
    state(tmp_path).touch()
    assert "version" in told(tmp_path, command)


@pytest.mark.case("R-15")
def test_a_rollback_writes_nothing_where_the_present_files_cannot_be_kept(tmp_path: Path) -> None:
    path = state(tmp_path)
    rows(("abc", 1.0, 0, packed({"base.yaml": BASE.replace("value: 1", "value: 2")})))(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER full BEFORE INSERT ON versions BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    config = write_files(tmp_path / "config", SOUND)
    result = run("rollback", "abc", str(config), "--yes", "--state", str(tmp_path / "state"))
    assert result.exit_code == 1
    assert "disk full" in result.stderr
    assert (config / "base.yaml").read_text("utf-8") == BASE


@pytest.fixture(params=["text", "a folder", "a pipe", "another table", "scrambled"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Process, Path]]:
    UNREADABLE[request.param](state(tmp_path))
    config = write_files(
        tmp_path / "config", {**SOUND, "reload.yaml": "reload: { poll_ms: 100 }\n---\nserver: { drain_delay_ms: 0 }"}
    )
    with serve_command(tmp_path, config, "--state", str(tmp_path / "state")) as process:
        yield process, config


@pytest.mark.case("R-15")
def test_a_server_goes_on_without_its_history(served: tuple[Process, Path]) -> None:
    process, config = served

    def value() -> int:
        body = httpx.post(f"{process.url}/graphql", json={"query": "{ base { value } }"}, trust_env=False).json()
        return int(body["data"]["base"]["value"])

    def complaints() -> int:
        return process.stderr.count("history of versions cannot be written")

    assert value() == 1
    wait_until(lambda: complaints() == 1, "a line about the history")
    write_files(config, {"base.yaml": BASE.replace("value: 1", "value: 2")})
    wait_until(lambda: value() == 2, "the change")
    wait_until(lambda: complaints() == 2, "a line about the history at the change")
    assert "Traceback" not in process.stderr
    assert process.stop()[0] == 0
