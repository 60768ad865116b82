"""The literate pages of `tests/cases`: one behaviour a page, written down as configuration, query, upstreams and what comes of it.

A page is a title sentence and fenced blocks, whose info string is their language and their role:

    yaml config       the configuration; unless it has `sources:` itself there is one api source and one graphql source, whose
                      attempts are not repeated, and one warehouse
    graphql types     the SDL beside it
    graphql query     the document; `text operation` names one of its operations
    yaml before       `wait: N`: the same request, with other `headers` if it has any, came before; this one comes N ms after
                      its answer
    json variables    and `json headers`: of the client's request
    yaml upstreams    the services, see tests/kit/scripted.py
    sql warehouse     creates and fills the warehouse

and those with what is expected, which `pytest tests/test_cases.py --update` rewrites: `json response` (of a request that is refused
as a whole: its errors and status), `text calls` (each upstream call with the virtual time of its start, its headers and body),
`text plan`, `graphql schema`, `json trace` (which asks for it). All but the response may be left out. `text xfail` has the reason why
a page is right and the product is not yet.
"""

import asyncio
import difflib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphql import print_schema

from gateway import record
from gateway.contract import RequestContext, StepType
from gateway.contract.request import GraphQLRequest
from gateway.errors import RequestError
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.plan.text import plan_text
from gateway.serve.generation.generation import Generation, open_generation
from resolvers import STEP_TYPES
from resolvers.api import Api
from resolvers.graphql import GraphQLStep
from tests.kit.scripted import BASE_URL, Upstreams
from tests.kit.virtual import run

FOLDER = Path(__file__).parent / "cases"
PAGES = sorted(FOLDER.glob("*.md"))
WIDTH = 118

GIVEN = {
    "config": "yaml",
    "types": "graphql",
    "query": "graphql",
    "operation": "text",
    "variables": "json",
    "headers": "json",
    "before": "yaml",
    "upstreams": "yaml",
    "warehouse": "sql",
    "xfail": "text",
}
EXPECTED = {"plan": "text", "schema": "graphql", "response": "json", "calls": "text", "trace": "json"}
SOURCES = f"""
sources:
  core: {{ type: api, base_url: {BASE_URL}, retry: {{ attempts: 1 }} }}
  warehouse: {{ type: warehouse, url: sqlite:///warehouse.db }}
  people: {{ type: graphql, url: {BASE_URL}/graphql, retry: {{ attempts: 1 }} }}
defaults: {{ api: core, warehouse: warehouse, graphql: people }}
"""
_BLOCK = re.compile(r"^```(\w+) (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# -- pages


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page and its blocks by role."""

    text: str
    blocks: Mapping[str, str]

    @classmethod
    def read(cls, text: str) -> "Page":
        """Read a page and refuse one that is not made as the module says: a block that nobody reads would check nothing."""
        found = _BLOCK.findall(text)
        roles = [role for _, role, _ in found]
        known = {**GIVEN, **EXPECTED}
        assert re.match(r"# [A-Z`].*[a-z0-9`)]\n\n", text), "a page begins with '# ' and a sentence"
        assert len(found) * 2 == text.count("```"), "a fence without a language and a role, or one that is not closed"
        assert [known.get(role) for role in roles] == [language for language, _, _ in found], f"unknown block among {roles}"
        assert len(set(roles)) == len(roles), f"a role stands twice among {roles}"
        assert {"config", "query", "response"} <= set(roles), "a page has at least config, query and response"
        return cls(text, {role: body for _, role, body in found})

    def data(self, role: str) -> dict[str, Any]:
        """Return the mapping of a YAML or JSON block; empty without the block."""
        data: dict[str, Any] = yaml.safe_load(self.blocks.get(role, "{}")) or {}
        return data

    def updated(self, actual: Mapping[str, str]) -> str:
        """Return the text of the page with what really came."""
        return _BLOCK.sub(lambda block: f"```{block[1]} {block[2]}\n{actual.get(block[2], block[3])}```", self.text)


def pretty(value: object, indent: int = 0) -> str:
    """Write JSON with as much on a line as fits, in the order that the value has."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or indent + len(flat) <= WIDTH:
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        heads = [f"{json.dumps(key, ensure_ascii=False)}: " for key in value]
        lines = [f"{pad}{head}{pretty(item, indent + 2)}" for head, item in zip(heads, value.values(), strict=True)]
    else:
        lines = [f"{pad}{pretty(item, indent + 2)}" for item in value]
    opening, closing_ = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(lines), " " * indent + closing_])


# -- playing a page


def play(page: Page, folder: Path) -> dict[str, str]:
    """Run a page's request in a folder of its own; return what came, by role, of those expected blocks that the page has.

    :raises AssertionError: the calls are not those that the page declares.
    """
    upstreams = Upstreams(page.data("upstreams"))
    if "warehouse" in page.blocks:
        with closing(sqlite3.connect(folder / "warehouse.db")) as database:
            database.executescript(page.blocks["warehouse"])
    random.seed(page.blocks["query"])
    actual = run(_play(page, folder, upstreams), threads="warehouse" in page.blocks)
    complaints = upstreams.complaints()
    assert not complaints, "\n".join([*complaints, "", actual["calls"], actual["response"]])
    return {role: text for role, text in actual.items() if role in page.blocks}


async def _play(page: Page, folder: Path, upstreams: Upstreams) -> dict[str, str]:
    texts = {str(folder / "case.yaml"): page.blocks["config"]}
    if "types" in page.blocks:
        texts[str(folder / "types.graphql")] = page.blocks["types"]
    if not re.search(r"^sources:", page.blocks["config"], re.MULTILINE):
        texts[str(folder / "sources.yaml")] = SOURCES
    step_types: dict[str, StepType] = {
        **STEP_TYPES,
        "api": Api(upstreams.transports),
        "graphql": GraphQLStep(upstreams.transports),
    }
    blueprint = build(Files(folder, texts, (), "case"), step_types, {})
    request = GraphQLRequest(
        page.blocks["query"],
        page.blocks.get("operation", "").strip() or None,
        page.data("variables"),
        wants_trace="trace" in page.blocks,
    )
    async with open_generation(blueprint, step_types, is_development=True) as generation:
        # The document is known already, from a request whose conditions were all the other way round.
        others = {name: not value for name, value in request.variables.items() if isinstance(value, bool)}
        if others:
            _plan(generation, record.replace(request, variables={**request.variables, **others}))
        if "before" in page.blocks:
            before = page.data("before")
            await _answer(generation, request, _context(before.get("headers", page.data("headers"))))
            await asyncio.sleep(before["wait"] / 1000)
        arrived_at = asyncio.get_running_loop().time()
        body = await _answer(generation, request, _context(page.data("headers")))
        # What the answer left behind gets a (virtual) millisecond to notice that it was cancelled.
        await asyncio.sleep(0.001)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"still running after the answer: {left}"
        trace = body.get("extensions", {}).pop("trace", None)
        if not body.get("extensions", True):
            del body["extensions"]
        return {
            "response": pretty(body) + "\n",
            "calls": upstreams.as_text(arrived_at),
            "trace": pretty(trace) + "\n",
            "schema": print_schema(generation.schema) + "\n",
            "plan": _plan(generation, request) if "plan" in page.blocks else "",
        }


def _context(headers: Mapping[str, str]) -> RequestContext:
    return RequestContext("case", headers, asyncio.get_running_loop().time())


async def _answer(generation: Generation, request: GraphQLRequest, context: RequestContext) -> dict[str, Any]:
    try:
        return await generation.answer(request, context)
    except RequestError as error:
        return {"errors": error.errors, "status": error.status}


def _plan(generation: Generation, request: GraphQLRequest) -> str:
    document = generation.read(request.query)
    definition = document.definition(request.operation_name, is_read_only=False)
    return plan_text(generation.plans.plan(definition, definition.variables(request.variables)).plan) + "\n"


def difference(expected: Mapping[str, str], actual: Mapping[str, str]) -> str:
    """Return the blocks that differ, line by line: ``-`` is what the page expects, ``+`` what came."""
    return "\n\n".join(
        "\n".join(difflib.unified_diff(expected[role].splitlines(), text.splitlines(), f"expected {role}", role, lineterm=""))
        for role, text in actual.items()
        if expected[role] != text
    )


def _parameter(path: Path) -> Any:
    xfail = re.search(r"^```text xfail\n(.*?)\n```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return pytest.param(path, id=path.stem, marks=pytest.mark.xfail(reason=xfail[1], strict=True) if xfail else ())


@pytest.mark.parametrize("path", [_parameter(path) for path in PAGES])
def test_page(path: Path, tmp_path: Path, update: bool) -> None:
    page = Page.read(path.read_text("utf-8"))
    actual = play(page, tmp_path)
    if update and "xfail" not in page.blocks:
        path.write_text(page.updated(actual), "utf-8")
        return
    differs = difference(page.blocks, actual)
    assert not differs, f"\n{differs}"


# -- the pages' own machinery

SAMPLE = """# A sample page

```yaml config
operation: sample
args: {}
steps:
  - { name: a, type: api, endpoint: /a }
```

```graphql query
{ sample { a } }
```

```yaml upstreams
GET /a: { json: 1, delay: 20 }
```

```json response
{"data": {"sample": {"a": 1}}}
```

```text calls
GET /a @0
```
"""


def test_there_are_pages() -> None:
    assert len(PAGES) >= 45


def test_a_page_that_says_what_comes_has_no_difference(tmp_path: Path) -> None:
    page = Page.read(SAMPLE)
    actual = play(page, tmp_path)
    assert difference(page.blocks, actual) == ""
    assert page.updated(actual) == SAMPLE


def test_a_difference_shows_the_lines_and_an_update_writes_them(tmp_path: Path) -> None:
    page = Page.read(SAMPLE.replace("/a @0", "/a @1"))
    actual = play(page, tmp_path)
    assert difference(page.blocks, actual) == "--- expected calls\n+++ calls\n@@ -1 +1 @@\n-GET /a @1\n+GET /a @0"
    assert page.updated(actual) == SAMPLE


@pytest.mark.parametrize(
    ("upstreams", "complaint"),
    [
        ("{}", "called but not declared: GET /a"),
        ("{ GET /a: { json: 1 }, GET /b: { json: 1 } }", r"declared but not called: GET /b \(1 left\)"),
        ("GET /a: { json: 1, times: 3 }", r"declared but not called: GET /a \(2 left\)"),
        ("GET /a: { jsno: 1 }", "unknown keys of an answer"),
        ("GET /a: { fault: conect }", "unknown fault"),
    ],
)
def test_calls_other_than_the_declared_ones_fail_a_page(upstreams: str, complaint: str, tmp_path: Path) -> None:
    page = Page.read(SAMPLE.replace("GET /a: { json: 1, delay: 20 }", upstreams))
    with pytest.raises(AssertionError, match=complaint):
        play(page, tmp_path)


@pytest.mark.parametrize(
    ("written", "instead"),
    [("# A sample", "A sample"), ("text calls", "text cals"), ("text calls", "calls"), ("json response", "text response")],
)
def test_a_page_with_a_block_that_would_check_nothing_is_refused(written: str, instead: str) -> None:
    with pytest.raises(AssertionError):
        Page.read(SAMPLE.replace(written, instead))


def test_an_update_is_refused_where_ci_is_set() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--update", "--collect-only", __file__]
    done = subprocess.run(
        command, check=False, env={**os.environ, "CI": "true"}, cwd=FOLDER.parents[1], capture_output=True, text=True
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "refused where CI is set" in done.stderr


def test_the_clock_jumps_over_timers_and_waits_for_threads() -> None:
    async def wait() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(3600)
        try:
            async with asyncio.timeout(60):
                await asyncio.to_thread(time.sleep, 0.005)
        except TimeoutError:
            return loop.time(), True
        return loop.time(), False

    began = time.monotonic()
    assert run(wait(), threads=True) == (3600, False)
    assert time.monotonic() - began < 60
