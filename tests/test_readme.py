"""The README says nothing that does not hold: its commands are run, its answers compared, its configuration loaded."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.errors import MESSAGES, Code
from gateway.load.build.build import build
from gateway.load.read.files import Files
from resolvers import STEP_TYPES
from tests.kit.demo import copy_examples, running_demo
from tests.kit.serving import wait_until

README = Path("README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
QUERIES = [block for block in SHELL if block.startswith("curl")]
POSTS = re.findall(r"```sh\n  (curl .*?)  ```", README, re.DOTALL)
ANSWERS = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
STEP = re.findall(r"```yaml\n(  - name: recentCases.*?)```", README, re.DOTALL)
CONFIGURATION = re.findall(r"```yaml\n(sources:.*?)```", README, re.DOTALL)


LINT_RULE, CASE = (re.findall(rf"```yaml\n({kind}: .*?)```", README, re.DOTALL) for kind in ("policy", "test"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, str]]:
    """Run the demo on a copy of the configuration; give its URL, the copy, and the upstream's URL."""
    folder = copy_examples(tmp_path_factory.mktemp("checkout"))
    with running_demo(folder) as (url, upstream):
        yield url, folder, upstream


def curl(block: str, url: str) -> Any:
    """Do what a curl command of the README does."""
    words = shlex.split(block)
    target = next(word for word in words if word.startswith("http"))
    headers = dict([words[words.index("-H") + 1].split(": ")])
    body = words[words.index("-d") + 1]
    answer = httpx.post(target.replace("http://127.0.0.1:8000", url), content=body, headers=headers, timeout=10)
    return json.loads(answer.text)


@pytest.mark.parametrize(("block", "expected"), list(zip(QUERIES, ANSWERS, strict=False)), ids=["first query", "partial answer"])
def test_the_answers_are_those_that_the_readme_shows(demo: tuple[str, Path, str], block: str, expected: str) -> None:
    assert curl(block, demo[0]) == json.loads(expected)


def test_the_fifth_source_arrives_while_the_demo_runs(demo: tuple[str, Path, str]) -> None:
    url, folder, _ = demo
    file = folder / "customer360" / "customer360.yaml"
    (step,) = STEP
    (query,) = QUERIES[2:]
    assert "errors" in curl(query, url)
    file.write_text(file.read_text(encoding="utf-8").replace("\naggregation:", f"\n{step}\naggregation:"), encoding="utf-8")
    wait_until(lambda: "errors" not in curl(query, url), "the schema has the field", 5)
    assert curl(query, url)["data"]["customer360"]["recentCases"][0]["id"] == "c-42-1"


def test_a_hundred_posts_with_their_users_are_two_upstream_calls(demo: tuple[str, Path, str]) -> None:
    (query,) = POSTS
    calls = f"{demo[2]}/_calls"
    before = httpx.get(calls).json()
    assert len(curl(query, demo[0])["data"]["posts"]) == 100
    after = httpx.get(calls).json()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"posts": 1, "users": 1}


PLANS = [block for block in SHELL if "stepgraph plan" in block]
PRINTED = [block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if block.startswith("plan ")]


@pytest.mark.parametrize(("block", "shown"), list(zip(PLANS, PRINTED, strict=True)), ids=["two steps", "every kind of source"])
def test_the_plan_is_the_one_that_the_readme_shows(block: str, shown: str) -> None:
    query = shlex.split(block)[1]
    command = [sys.executable, "-m", "gateway", "plan", "schema_configs", "-"]
    assert subprocess.run(command, input=query, capture_output=True, text=True, check=True).stdout == shown


def test_the_configuration_of_the_readme_is_sound() -> None:
    (configuration,) = CONFIGURATION
    types = "type Account { tier: String status: String } type Credit { tier: String limit: Int }"
    files = Files(Path(), {"readme.yaml": configuration, "types.graphql": types}, (), "readme")
    assert list(build(files, STEP_TYPES, {}).operations) == ["creditDecision"]


def test_the_overlay_of_the_readme_is_sound() -> None:
    paper = Path("schema_configs/customer360/customer360.yaml").read_text(encoding="utf-8")
    types = Path("schema_configs/customer360/types.graphql").read_text(encoding="utf-8")
    (overlay,) = re.findall(r"```yaml\n(context:.*?)```", README, re.DOTALL)
    texts = {
        "sources.yaml": CONFIGURATION[0].split("---")[0],
        "paper.yaml": paper,
        "overlay.yaml": overlay,
        "types.graphql": types,
    }
    blueprint = build(Files(Path(), texts, (), "readme"), STEP_TYPES, {})
    assert blueprint.effective("customer360", (0,)).steps["riskProfile"].timeout == 0.3


def test_every_error_code_has_its_row() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)`", README, re.MULTILINE)
    assert sorted(rows) == sorted(Code)
    assert set(MESSAGES) <= set(Code)


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = Path("Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(SHELL), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_policy_and_the_test_hold_for_the_demo(tmp_path: Path) -> None:
    folder = tmp_path / "schema_configs"
    shutil.copytree("schema_configs", folder, ignore=shutil.ignore_patterns("*.test.yaml"))
    (folder / "policy.yaml").write_text(LINT_RULE[0], encoding="utf-8")
    (folder / "readme.test.yaml").write_text(CASE[0], encoding="utf-8")
    lint, test = (
        subprocess.run([sys.executable, "-m", "gateway", *words, folder], capture_output=True, text=True, check=False)
        for words in (["check", "--lint"], ["test"])
    )
    assert lint.returncode == 0, lint.stderr
    assert "[warning: policy/core-has-fallbacks]" in lint.stdout
    assert (test.returncode, "✓ 1 test passed" in test.stdout) == (0, True), test.stdout
