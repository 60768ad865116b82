"""The rules of ``stepgraph check --lint``: `tests/lint/*.yaml` have what each must find, at its exact place, beside what it must not.

A file begins with comments as those of `tests/invalid` do; everything in it that is not expected is sound in the eyes of all rules.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.develop.lint.finding import Finding, Severity
from gateway.develop.lint.formats import as_json, as_sarif
from gateway.develop.lint.rules.catalogue import ABOUT_IGNORES, RULES, all_rules, lint
from gateway.develop.lint.subject import LintSubject, read_subject
from gateway.load.build.build import build
from gateway.load.read.files import read_files
from resolvers import STEP_TYPES
from tests.cli.test_cli import run
from tests.kit.paths import TESTS
from tests.kit.serving import write_files

FOLDER = TESTS / "lint"
FILES = sorted(FOLDER.glob("*.yaml"))
EXPECT = re.compile(r"# expect: (?:([\w-]+\.graphql):)?(\d+):(\d+) \[([a-z/-]+)\]")


def looked_at(folder: Path) -> tuple[LintSubject, list[Finding]]:
    files = read_files(folder)
    subject = read_subject(files, build(files, STEP_TYPES, {}), STEP_TYPES)
    return subject, lint(subject, files)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_the_findings_that_it_expects_and_no_others(path: Path, tmp_path: Path) -> None:
    for part in FOLDER.glob(f"{path.stem}.*"):
        shutil.copy(part, tmp_path)
    lines = path.read_text("utf-8").splitlines()
    expected = [
        (match[1] or path.name, int(match[2]), int(match[3]), match[4]) for line in lines if (match := EXPECT.fullmatch(line))
    ]
    problems = [finding.problem for finding in looked_at(tmp_path)[1]]
    found = [(Path(item.place.file).name, item.place.line, item.place.column, item.code) for item in problems]
    assert sorted(found) == sorted(expected), "\n".join(map(str, problems))
    messages = "\n".join(problem.message for problem in problems)
    for pattern in (line.removeprefix("# says: ") for line in lines if line.startswith("# says: ")):
        assert re.search(pattern, messages), messages


def test_every_rule_has_a_file() -> None:
    assert {path.stem for path in FILES} == {rule.id for rule in (*RULES, *ABOUT_IGNORES)} | {"policy"}


def test_the_examples_are_clean() -> None:
    assert [str(finding.problem) for finding in looked_at(Path("schema_configs"))[1]] == []


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "secret-in-file.yaml", tmp_path)
    subject, findings = looked_at(tmp_path)
    told = json.dumps([as_json(findings), as_sarif(findings, all_rules(subject))])
    assert not re.search("abcdef123456|hunter22|sk_live|abc123", told)


# -- the command

WARNED = "operation: customer\nsteps:\n  - { name: a, type: value, value: { x: '{id}' } }\n"
WRONG = WARNED + "  - { name: b, type: vlaue }\n"


def test_a_warning_is_told_and_fails_where_that_is_wished(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": WARNED})
    result = run("check", tmp_path, "--lint")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"{tmp_path}/a.yaml:3:5  operation customer · step a\n" in result.stdout
    assert "[warning: untyped-step]" in result.stdout
    assert "! 1 warning, version" in result.stdout
    assert run("check", tmp_path, "--lint", "--fail-on", "warning").exit_code == 1


def test_a_clean_configuration_is_told_so(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": "operation: a\nsteps: [{ name: a, type: value, value: 1, returns: Int }]\n"})
    result = run("check", tmp_path, "--lint", "--fail-on", "info")
    assert (result.exit_code, result.stdout.partition(",")[0]) == (0, "✓ no findings")


def test_problems_come_in_every_format_with_exit_status_1(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": WRONG})
    text, as_data, sarif = (run("check", tmp_path, "--lint", "--format", form) for form in ("text", "json", "sarif"))
    assert [text.exit_code, as_data.exit_code, sarif.exit_code] == [1, 1, 1]
    assert "[unknown-step-type]" in text.stderr
    (finding,) = json.loads(as_data.stdout)["findings"]
    assert (finding["rule"], finding["line"], finding["column"]) == ("unknown-step-type", 4, 22)
    assert json.loads(sarif.stdout)["runs"][0]["results"][0]["level"] == "error"


def test_sarif_has_a_rule_for_each_result_and_a_region(tmp_path: Path) -> None:
    write_files(tmp_path, {"a b.yaml": WARNED})
    log = json.loads(run("check", tmp_path, "--lint", "--format", "sarif").stdout)
    assert (log["version"], log["$schema"].rpartition("/")[2]) == ("2.1.0", "sarif-schema-2.1.0.json")
    (sarif_run,) = log["runs"]
    (result,) = sarif_run["results"]
    rule = sarif_run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert (rule["id"], result["ruleId"], result["level"]) == ("untyped-step", "untyped-step", "warning")
    place = result["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": (tmp_path / "a b.yaml").as_uri()},
        "region": {"startLine": 3, "startColumn": 5},
    }


def test_a_relative_path_stays_relative_in_sarif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "config", {"a b.yaml": WARNED})
    monkeypatch.chdir(tmp_path)
    log = json.loads(run("check", "config", "--lint", "--format", "sarif").stdout)
    assert log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "config/a%20b.yaml"}


def test_the_severities_are_counted(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "policy.yaml", tmp_path)
    count: dict[str, Any] = json.loads(run("check", tmp_path, "--lint", "--format", "json").stdout)["count"]
    assert count == {"error": 1, "warning": 1, "info": 1}
    assert Severity.ERROR > Severity.WARNING > Severity.INFO
