"""Files and folders of any name that the operating system allows, in all commands that print names (case R-14)."""

import asyncio
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from gateway.develop.playground.endpoints import _event
from gateway.errors import Place, visible
from gateway.load.read.files import read_files
from gateway.operate.admin import state
from gateway.operate.serving import serve_folder
from resolvers import STEP_TYPES
from tests.cli.test_cli import run
from tests.kit.paths import CHECKOUT

NAMES = {
    "not UTF-8": b"caf\xe9",
    "half a character": b"a\xe2\x82",
    "half of a surrogate pair": b"a\xed\xa0\x80",
    "a line break": b"a\nb",
    "a carriage return": b"a\rb",
    "a tab": b"a\tb",
    "an escape sequence": b"a\x1b[31mb",
    "the title of the window": b"a\x1b]0;b\x07",
    "an escape sequence of one byte": "a\x9b31mb".encode(),
    "the other direction": "a\u202eb".encode(),
    "markup": b"[bold]a[",
    "quotes": b"a'b\"c",
    "other letters": "\u0436\U0001f600".encode(),
}
SOUND = b"""sources: { core: { type: api, base_url: "https://core.internal" } }
---
overlay: gold
operation: o
when: { tier: gold }
steps: [{ name: a, value: 2 }]
---
context: { tier: request.headers.tier }
---
operation: o
steps: [{ name: a, type: value, value: 1 }, { name: b, type: api, source: core, endpoint: /b }]
"""
BROKEN = SOUND.replace(b"type: value, ", b"type: vlaue, ")
TEST = b"test: t\nquery: '{ o { a } }'\nexpect: { data: { o: { a: 7 } } }\n"
COMMANDS: Sequence[Sequence[str]] = (
    ("check", "DIR"),
    ("check", "DIR", "--lint"),
    ("check", "DIR", "--lint", "--format", "json"),
    ("check", "DIR", "--lint", "--format", "sarif"),
    ("blueprint", "DIR"),
    ("schema", "DIR"),
    ("plan", "DIR", "DIR/query.txt", "--context", "tier=gold"),
    ("plan", "DIR", "DIR/query.txt", "--context", "tier=gold", "--format", "json"),
    ("plan", "DIR", "DIR/missing.txt"),
    ("test", "DIR"),
    ("test", "DIR", "--format", "json"),
    ("test", "DIR", "--format", "junit"),
    ("versions", "DIR", "--state", "DIR/state"),
    ("diff", "DIR", "DIR"),
    ("diff", "none", "--config", "DIR", "--state", "DIR/state"),
    ("rollback", "none", "DIR", "--state", "DIR/state"),
    ("import", "openapi", "DIR/missing.json"),
)


def folder_of(root: Path, name: bytes, text: bytes) -> Path:
    """Write a configuration whose folder and files all have an odd name."""
    folder = os.fsencode(root) + b"/" + name
    Path(os.fsdecode(folder)).mkdir()
    for end, content in ((b".yaml", text), (b".test.yaml", TEST)):
        Path(os.fsdecode(folder + b"/" + name + end)).write_bytes(content)
    path = Path(os.fsdecode(folder))
    (path / "query.txt").write_text("{ o { a } }", "utf-8")
    return path


def assert_is_safe(text: str) -> None:
    text.encode()
    unsafe = [character for character in text if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert set(unsafe) <= {"\n"}


@pytest.mark.case("R-14")
@pytest.mark.parametrize("text", [SOUND, BROKEN], ids=["sound", "broken"])
@pytest.mark.parametrize("name", NAMES)
def test_no_command_fails_over_a_name_or_prints_what_a_terminal_obeys(name: str, text: bytes, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, NAMES[name], text)
    for command in COMMANDS:
        result = run(*(part.replace("DIR", str(folder)) for part in command))
        assert result.exit_code in {0, 1}, (command, result.output)
        assert_is_safe(result.stdout)
        assert_is_safe(result.stderr)
        lines = result.stderr.splitlines()
        assert len(lines) <= 3, (command, lines)  # a name with a line break is no second line
        if result.stdout and ("json" in command or command[0] == "blueprint"):
            json.loads(result.stdout)
        if result.stdout and "junit" in command:
            ET.fromstring(result.stdout)  # noqa: S314 - our own report
        if result.stdout and command[0] == "blueprint":
            assert visible(str(folder)) in json.loads(result.stdout)["sources"][0]["at"]


@pytest.mark.case("R-14")
@pytest.mark.parametrize("form", ["blueprint", "check"])
def test_the_command_itself_prints_a_replacement(form: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, b"caf\xe9", SOUND)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", form, os.fsencode(folder)],
        capture_output=True, cwd=CHECKOUT, env=environment, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    if form == "blueprint":
        assert re.search("caf\ufffd.yaml:1:\\d+", done.stdout.decode())


@pytest.mark.case("R-14")
@pytest.mark.parametrize("name", NAMES)
def test_a_server_tells_of_a_problem_in_a_file_of_any_name(name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = folder_of(tmp_path, NAMES[name], SOUND)
        async with serve_folder(folder, STEP_TYPES, is_watched=False) as serving:
            await asyncio.to_thread(Path(os.fsdecode(os.fsencode(folder) + b"/" + NAMES[name] + b".yaml")).write_bytes, BROKEN)
            assert await serving.apply(await asyncio.to_thread(read_files, folder)) == "rejected"
            for body in (bytes(JSONResponse(state(serving)).body), _event(serving).partition(b"data: ")[2]):
                (problem,) = json.loads(body)["problems"]
                place = problem["place"]
                assert visible(str(folder)) in (place if isinstance(place, str) else place["file"])

    asyncio.run(scenario())


@given(st.binary(max_size=12))
def test_what_is_shown_of_a_place_can_be_written_on_one_line(name: bytes) -> None:
    place = Place(os.fsdecode(name), 3, 4)
    for text in (str(place), place.in_file, place.shown().file):
        assert_is_safe(text)
        assert "\n" not in text
