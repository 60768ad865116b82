"""One file, one mistake: `tests/invalid/*.yaml`, each with the place and the code of the problems that it must give.

A file begins with comments: `# expect: LINE:COL [code]` for each problem (a sibling SDL file stands before the line:
`# expect: name.graphql:LINE:COL [code]`), `# says: REGEX` for what its messages must tell, `# xfail: REASON` while the
product does not do it yet, and one sentence that names the mistake.
"""

import ast
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import command_line
from gateway.develop.lint.rules.catalogue import RULES
from gateway.errors import ConfigurationError, Problem
from gateway.load.build.build import load
from resolvers import STEP_TYPES
from tests.loading import test_build as test_rules
from tests.loading import test_read as test_source
from tests.telemetry import test_tracing

FOLDER = Path(__file__).parent / "invalid"
ROOT = Path(__file__).parent.parent
FILES = sorted(FOLDER.glob("*.yaml"))

EXPECT = re.compile(r"# expect: (?:(?P<file>[\w-]+\.graphql):)?(?P<line>\d+):(?P<column>\d+) \[(?P<code>[a-z0-9-]+)\]")
# Words of the libraries underneath: someone who writes YAML knows no dictionaries, instances, validation or None.
LIBRARY_WORDS = re.compile(r"\b(dictionary|instance of|valid (string|integer|list|boolean)|validation|None|True|False|\w+Keys)\b")


@dataclass(frozen=True)
class Header:
    """The comments that a file begins with."""

    problems: frozenset[tuple[str, int, int, str]]
    says: tuple[str, ...]
    xfail: str | None
    sentence: str


def read_header(path: Path) -> Header:
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith("# ")]
    found = [match for line in lines if (match := EXPECT.fullmatch(line))]
    says = [line.removeprefix("# says: ") for line in lines if line.startswith("# says: ")]
    xfail = next((line.removeprefix("# xfail: ") for line in lines if line.startswith("# xfail: ")), None)
    sentence = lines[len(found) + len(says) + (xfail is not None)]
    problems = ((match["file"] or path.name, int(match["line"]), int(match["column"]), match["code"]) for match in found)
    return Header(frozenset(problems), tuple(says), xfail, sentence)


HEADERS = {path.stem: read_header(path) for path in FILES}


CASES = [
    pytest.param(name, marks=[pytest.mark.xfail(strict=True, reason=header.xfail)] if header.xfail else [], id=name)
    for name, header in HEADERS.items()
]


def alone(name: str, folder: Path) -> Path:
    """Copy a file, and its types if it has any, into a folder of their own."""
    for path in FOLDER.glob(f"{name}.*"):
        shutil.copy(path, folder)
    return folder


def problems_of(folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, STEP_TYPES, {})
    return caught.value.problems


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_reported_at_its_place_with_its_code_and_words_that_help(name: str, tmp_path: Path) -> None:
    header = HEADERS[name]
    problems = problems_of(alone(name, tmp_path))
    found = [(Path(item.place.file).name, item.place.line, item.place.column, item.code) for item in problems]
    assert sorted(found) == sorted(header.problems), "\n".join(map(str, problems))
    words = "\n".join(problem.message for problem in problems)
    for expected in header.says:
        assert re.search(expected, words, re.IGNORECASE), f"nothing about {expected!r} in: {words}"
    for problem in problems:
        assert problem.subject.strip()
        assert problem.message.strip()
        assert "\n" not in f"{problem.subject}{problem.message}"
        assert not LIBRARY_WORDS.search(problem.message), problem.message


def test_there_are_enough_files_and_each_says_what_its_mistake_is() -> None:
    assert len(FILES) >= 45
    for name, header in HEADERS.items():
        assert header.problems, name
        assert header.says, name
        assert re.fullmatch(r"# [A-Z].*\.", header.sentence), name


def test_every_sdl_file_belongs_to_a_configuration() -> None:
    assert {path.stem for path in FOLDER.glob("*.graphql")} <= {path.stem for path in FILES}


# What one text file in a folder cannot show, and the test that shows it.
SHOWN_ELSEWHERE = {
    "missing-package": test_tracing.test_without_the_extra_tracing_is_a_problem_of_the_configuration,
    "no-folder": test_source.test_a_folder_that_is_not_there_is_a_problem,
    "no-operation": test_rules.test_a_folder_without_an_operation_is_a_problem_of_the_folder,
    "unreadable-file": test_source.test_a_file_that_cannot_be_read_is_a_problem_and_the_others_are_read,
    "file-too-large": test_source.test_a_file_of_more_than_10_mb_is_a_problem,
    "not-utf8": test_source.test_a_file_that_is_not_utf8_is_a_problem,
    "scalar-too-large": test_source.test_a_text_of_more_than_100000_characters_is_a_problem,
}
NOT_CODES = {
    "x-tenant",
    "idempotency-key",
    "utf-8-sig",
    "content-length",
    "content-type",
    "x-request-deadline-ms",
    "core-has-fallbacks",
    "keep-alive",
    "cache-control",
    "max-age",
    "no-cache",
    "no-store",
    "set-cookie",
    "s-maxage",
    "retry-after",
    "transfer-encoding",
}


def codes_in_source() -> set[str]:
    """Every text of the source that looks like a code: words with hyphens between them."""
    texts = {"cycle"}
    for path in (
        *(ROOT / "gateway/load").rglob("*.py"),
        *(ROOT / "gateway/settings").glob("*.py"),
        *(ROOT / "resolvers").glob("*.py"),
    ):
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        texts |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"[a-z]+(-[a-z0-9]+)+|cycle", text)} - NOT_CODES


def test_every_code_has_a_file_that_shows_it() -> None:
    shown = {code for header in HEADERS.values() for *_, code in header.problems} | {rule.id for rule in RULES}
    assert codes_in_source() - shown == SHOWN_ELSEWHERE.keys()


@pytest.mark.parametrize("name", ["step-misspelt-key", "sdl-syntax", "cycle"])
def test_the_command_check_prints_every_place_and_exits_with_1(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(command_line(), ["check", str(alone(name, tmp_path))])
    assert result.exit_code == 1
    for problem in problems_of(tmp_path):
        assert f"{problem.place}  " in result.stderr
        assert f"{problem.message}  [{problem.code}]" in result.stderr
    assert result.stdout == ""


def test_the_command_works_as_a_module_and_keeps_brackets_of_messages(tmp_path: Path) -> None:
    alone("args-not-a-type", tmp_path)
    command = [sys.executable, "-m", "gateway", "check", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{tmp_path}/args-not-a-type.yaml:6:14" in done.stderr
    assert "'[ID!' is not a GraphQL type" in done.stderr
    assert "Traceback" not in done.stderr
