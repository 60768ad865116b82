"""What a person sees of problems: on a terminal the own line with a caret, in a pipe two plain lines a problem."""

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from gateway.cli.report import MAX_WIDTH, read_lines, report
from gateway.errors import ConfigurationError, Place, Problem
from gateway.load.build.build import load
from resolvers import STEP_TYPES


def seen(problems: Sequence[Problem], width: int = 100, *, is_terminal: bool = True, styles: bool = False) -> str:
    console = Console(file=io.StringIO(), record=True, force_terminal=is_terminal, width=width, highlight=False)
    report(problems, console)
    return console.export_text(styles=styles)


def problem(file: Path | str, line: int, column: int, message: str = "unknown reference 'x'") -> Problem:
    return Problem(Place(str(file), line, column), "operation one", message, "unknown-reference")


def excerpt(folder: Path, text: str, column: int, width: int = 60) -> tuple[str, str]:
    """Return the line and the caret's line that are shown of a problem, without the gutter."""
    file = folder / "a.yaml"
    file.write_bytes(text.encode())
    _, line, caret, *_ = seen([problem(file, 1, column)], width).split("\n")
    assert (line[:7], caret[:7]) == ("   1 │ ", "     │ ")
    return line[7:], caret[7:]


def test_a_terminal_shows_the_line_with_a_caret_and_the_code_at_the_right(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("steps:\n    endpoint: /transactions/{custmer_id}\n", encoding="utf-8")
    found = problem("c.yaml", 2, 15, "unknown reference 'custmer_id'; did you mean 'customer_id'?")
    found = Problem(Place(str(file), 2, 15), found.subject, found.message, found.code)
    assert seen([found]).replace(str(tmp_path), "schema_configs") == (
        "schema_configs/c.yaml:2:15  operation one\n"
        "   2 │     endpoint: /transactions/{custmer_id}\n"
        "     │               ^\n"
        "  unknown reference 'custmer_id'; did you mean 'customer_id'?                    [unknown-reference]\n"
        "\n"
        "✗ 1 problem\n"
    )


def test_the_readme_shows_what_the_terminal_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path("README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```text\n\$ stepgraph check\n(.*?)```", readme, re.DOTALL)
    folder = tmp_path / "schema_configs"
    for path in Path("schema_configs").rglob("*"):
        if path.suffix in {".yaml", ".graphql"}:
            target = folder / path.relative_to("schema_configs")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    mistaken = folder / "customer360" / "servicing.yaml"
    text = mistaken.read_text(encoding="utf-8").replace("/accounts/{customer_id}", "/accounts/{custmer_id}")
    mistaken.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        load(Path("schema_configs"), STEP_TYPES, {})
    assert seen(raised.value.problems) == shown


def test_a_pipe_gets_two_plain_lines_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("key: value\n", encoding="utf-8")
    found = [problem(file, 1, 6), problem(file, 1, 1, "x" * 300)]
    assert seen(found, 80, is_terminal=False) == f"{found[0]}\n{found[1]}\n✗ 2 problems\n"


def test_the_command_writes_the_plain_form_into_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("operatoin: one\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "gateway", "check", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    place = f"{tmp_path / 'a.yaml'}:1:1"
    assert (
        done.stderr
        == f"{place}  document\n  unknown kind of document; did you mean 'operation'?  [unknown-document]\n✗ 1 problem\n"
    )


def test_the_caret_is_red_where_there_is_colour(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("key: value\n", encoding="utf-8")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    report([problem(file, 1, 6)], console)
    printed = console.file
    assert isinstance(printed, io.StringIO)
    assert "\x1b[1;31m^\x1b[0m" in printed.getvalue()


def test_markup_in_the_users_words_is_text(tmp_path: Path) -> None:
    line, _ = excerpt(tmp_path, "key: '[red]x[/red]'", 6)
    assert line == "key: '[red]x[/red]'"
    assert "[bold]y[/]" in seen([problem(tmp_path, 1, 1, "unknown key '[bold]y[/]'")])


@pytest.mark.parametrize(
    ("text", "column", "before"),
    [
        ("key: value", 6, "key: "),
        ("key: value", 1, ""),
        ("a:\tvalue", 4, "a:  "),
        ("\t\tx: 1", 3, "        "),
        ("日本語: 値段", 6, "日本語: "),
        ("é: e\u0301: value", 8, "é: e\u0301: "),
        ("👍: x", 4, "👍: "),
    ],
)
def test_the_caret_is_under_its_place_with_tabs_and_wide_characters(tmp_path: Path, text: str, column: int, before: str) -> None:
    line, caret = excerpt(tmp_path, text, column)
    assert line.startswith(before)
    assert caret == " " * cell_len(before) + "^"


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("at", [0, 3, 25, 150, 290, 297])
@pytest.mark.parametrize("letters", ["x", "字"])
def test_a_long_line_is_cut_around_the_caret(tmp_path: Path, width: int, at: int, letters: str) -> None:
    text = letters * at + "*" + letters * (300 - at)
    line, caret = excerpt(tmp_path, text, at + 1, width)
    assert cell_len(line) <= width - 7
    assert cell_len(line[: line.index("*")]) == len(caret) - 1
    assert cell_len(line) >= (width - 7) // 2, "the room is used"
    assert line.startswith("…") or at < width
    assert line.endswith("…") or at > 300 - width


def test_a_wide_terminal_does_not_pull_the_code_away_from_its_message(tmp_path: Path) -> None:
    lines = seen([problem(tmp_path, 1, 1)], 300).splitlines()
    assert cell_len(lines[1]) == MAX_WIDTH


def test_a_long_message_is_broken_at_its_words_under_its_indent(tmp_path: Path) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    _, *lines, code, _, _, _ = seen([problem(tmp_path, 1, 1, words)], 60).split("\n")
    assert all(line.startswith("  word") and len(line) <= 60 for line in lines)
    assert " ".join(line.strip() for line in [*lines, code.removesuffix("[unknown-reference]")]).strip() == words
    assert code.endswith("[unknown-reference]")


@pytest.mark.parametrize("character", ["\x1b", "\r", "\x00", "\u202e", "\u2066", "\u200b", "\x9b"])
def test_no_character_of_a_file_can_steer_the_terminal(tmp_path: Path, character: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"key{character}: value", encoding="utf-8", newline="")
    for is_terminal in (True, False):
        found = Problem(Place(str(file), 1, 1), f"operation a{character}b", f"unknown key 'a{character}b'", "unknown-key")
        assert character not in seen([found], is_terminal=is_terminal)


def test_a_message_stays_on_its_line_in_a_pipe() -> None:
    found = problem("no-such-file.yaml", 1, 1, "unknown key 'a\nb'")
    assert len(seen([found], is_terminal=False).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [("folder", None), ("missing.yaml", None), ("empty.yaml", b""), ("blank.yaml", b"   \n")],
)
def test_where_there_is_no_line_only_the_message_is_shown(tmp_path: Path, name: str, content: bytes | None) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    elif name == "folder":
        file.mkdir()
    shown = seen([problem(file, 1, 1)])
    assert "│" not in shown
    assert "unknown reference 'x'" in shown


def test_a_place_beyond_the_end_of_a_file_or_a_line_is_no_mistake_of_the_report(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("key: value", encoding="utf-8")
    assert "│" not in seen([problem(file, 7, 1)])
    assert "     │           ^\n" in seen([problem(file, 1, 99)])


def test_a_file_that_is_not_utf8_is_shown_at_its_first_such_byte(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b'a: 1\nname: "caf\xe9"\n')
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, STEP_TYPES, {})
    shown = seen(raised.value.problems)
    assert '   2 │ name: "caf\ufffd"\n     │           ^\n  is not UTF-8; save it as UTF-8' in shown


def test_lines_are_counted_as_yaml_and_sdl_count_them(tmp_path: Path) -> None:
    text = "one\r\ntwo\rthree\x85four\u2028five\x0csix"
    for name, count in (("a.yaml", 5), ("a.graphql", 3)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        lines = read_lines(str(tmp_path / name))
        assert len(lines) == count
        assert lines[0] == "one"
