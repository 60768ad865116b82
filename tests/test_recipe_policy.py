"""The recipe for a policy of a call, followed for one that waits before each attempt: four files, and every part of the gateway knows it."""

import json
import re
import sqlite3
from contextlib import closing

import pytest

from tests.kit.recipes import CodeCopy
from tests.kit.serving import write_files

KEYS = '''

class PauseKeys(CallPolicyKeys):
    """``pause:`` of a step or source: each attempt waits before it begins."""

    example = "pause: { ms: 5 }"

    ms: Milliseconds = 10
    """How long it waits."""

    def longest(self, seconds: float) -> float:
        """Return the time with the wait."""
        return seconds + self.ms / 1000
'''
FIELD = '''\
    pause: Annotated[PauseKeys | None, such_as({"ms": 5})] = None
    """How long an attempt waits before it begins."""
'''
CHECK = """

def _check_pause(_pause: CallPolicyKeys, _keys: StepKeys, step_type: StepType) -> Iterator[KeyProblem]:
    if step_type.source_keys is None:
        yield KeyProblem("pause", f"a step of the type '{step_type.name}' calls no source; remove it", "unused-key")
"""
MODULE = '''\
"""Pauses: an attempt waits before it begins."""

import asyncio
from dataclasses import dataclass

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.policies.policy import Policy, Series, SourceMetric, SourceState
from gateway.settings import SourceKeys
from gateway.settings.policies import PauseKeys


@dataclass(slots=True)
class Pauses:
    """How often calls to a source have paused."""

    count: int = 0


def with_pause(call: Call, step: Step, source: SourceState) -> Call:
    """Wait before each attempt."""
    keys, pauses = step.policies.get(PAUSE.name), PAUSE.of(source)
    if not isinstance(keys, PauseKeys) or pauses is None:
        return call
    seconds = keys.ms / 1000

    async def paused(inputs: Inputs, context: CallContext) -> Reply:
        pauses.count += 1
        context.events += (("pauses", asyncio.get_running_loop().time()),)
        await asyncio.sleep(seconds)
        return await call(inputs, context)

    return paused


def _pauses(_keys: SourceKeys, _source: SourceState) -> Pauses:
    return Pauses()


_COUNT = SourceMetric("stepgraph_source_pauses", "Attempts that have waited before they began.")

PAUSE: Policy[Pauses] = Policy("pause", with_pause, _pauses, (Series(_COUNT, lambda pauses: pauses.count),))
'''

CONFIG = """\
sources:
  shop: {{ type: warehouse, url: "sqlite:///shop.db"{source} }}
defaults: {{ warehouse: shop }}
---
limits: {{ trace: true }}
---
operation: order
steps:
  - {{ name: total, type: warehouse, query: SELECT 7 AS sum{step} }}
"""
QUERY = "{ order { total } }"

ANSWER = f"""
import asyncio, json
from pathlib import Path
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.operate.prometheus import metrics_text
from gateway.operate.serving import serve_folder
from resolvers import STEP_TYPES

async def main():
    async with serve_folder(Path("config"), STEP_TYPES, is_watched=False) as serving:
        for _ in range(2):
            request = RequestContext("r", {{}}, asyncio.get_running_loop().time())
            begun = serving.generation.begin(GraphQLRequest("{QUERY}", wants_trace=True), request)
            answer = json.loads(begun if isinstance(begun, bytes) else await begun())
        (node,) = answer["extensions"]["trace"]["nodes"]
        print(json.dumps([answer["data"], node, metrics_text(serving).decode()]))

asyncio.run(main())
"""


SETTINGS, CHECKS, POLICIES = "gateway/settings/policies.py", "gateway/load/check/policies.py", "gateway/run/policies/__init__.py"
PAUSE = "gateway/run/policies/pause.py"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> CodeCopy:
    """Copy the code and give it a policy `pause`."""
    code = CodeCopy(tmp_path_factory.mktemp("pause"))
    code.add(SETTINGS, KEYS, after='given the one without it."""\n        return seconds\n')
    code.add(SETTINGS, FIELD, after='those of one attempt must come before ``retry``, which repeats it."""\n\n')
    code.add(SETTINGS, FIELD, after='for all calls to it, or as the default of steps without their own."""\n\n')
    code.add(CHECKS, CHECK, after='"hedge-not-read")\n')
    code.add(CHECKS, ', "pause": _check_pause', after='"hedge": _check_hedge')
    code.add(PAUSE, MODULE)
    code.add(POLICIES, "from gateway.run.policies.pause import PAUSE\n", after="import HEDGE\n")
    code.add(POLICIES, ", PAUSE", after="BREAKER, ATTEMPT")
    return code


def folder_of(code: CodeCopy, name: str, *, step: str = "", source: str = "") -> str:
    write_files(code.folder / name, {"a.yaml": CONFIG.format(step=step, source=source)})
    return name


def test_a_policy_touches_its_settings_its_check_its_module_and_the_order(code: CodeCopy) -> None:
    assert code.touched() == {SETTINGS, CHECKS, PAUSE, POLICIES}


def test_a_policy_is_taken_at_a_step_and_at_a_source(code: CodeCopy) -> None:
    done = code.run("check", folder_of(code, "sound", step=", pause: { ms: 5 }", source=", pause: {}"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_in_a_policy_are_told_with_their_places(code: CodeCopy) -> None:
    folder = folder_of(code, "mistaken", step=", pause: { msx: 5 }")
    text = "operation: o\nsteps: [{ name: a, type: value, value: 1, pause: { ms: 5 } }]"
    write_files(code.folder / folder, {"b.yaml": text})
    done = code.run("check", folder)
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "a.yaml:9:70  operation order · step total · pause\n  unknown key 'msx'; did you mean 'ms'?" in told
    assert "b.yaml:2:50  operation o · step a · pause\n  a step of the type 'value' calls no source; remove it" in told


def test_the_plan_and_the_view_show_the_policy_that_holds_for_a_step(code: CodeCopy) -> None:
    folder = folder_of(code, "shown", source=", pause: { ms: 5 }")
    write_files(code.folder, {"q.graphql": QUERY})
    plan = json.loads(code.run("plan", folder, "q.graphql", "--format", "json").stdout)
    assert plan["operations"][0]["nodes"][0]["pause"] == {"ms": 5}
    view = json.loads(code.run("blueprint", folder).stdout)
    assert view["sources"][0]["pause"] == view["steps"][0]["pause"] == {"ms": 5}
    assert view["steps"][0]["worst_case_ms"] == 2 * (1000 + 5) + 50, "two attempts with their pauses, and the wait between them"


def test_a_change_of_a_policy_is_told(code: CodeCopy) -> None:
    old, new = (folder_of(code, f"of-{ms}", step=f", pause: {{ ms: {ms} }}") for ms in (5, 25))
    assert "order: total: pause { ms: 5 } → { ms: 25 }" in code.run("diff", old, new).stdout


def test_a_policy_is_in_the_reference(code: CodeCopy) -> None:
    page = code.run("reference").stdout
    assert page.count("| `pause` | [`pause:`](#pause) |  | How long an attempt waits before it begins. |") == 2
    assert re.search(r"^\| `ms` \| a whole number of milliseconds.* \| `10` \| How long it waits\. \|$", page, re.MULTILINE)


def test_a_call_pauses_and_metrics_and_the_trace_tell_of_it(code: CodeCopy) -> None:
    folder = folder_of(code, "config", step=", pause: { ms: 5 }")
    with closing(sqlite3.connect(code.folder / folder / "shop.db")) as shop:
        shop.execute("CREATE TABLE orders (sum)")
    data, node, metrics = json.loads(code.python(ANSWER))
    assert data == {"order": {"total": {"sum": 7}}}
    assert node["run_ms"] >= 5
    assert len(node["pauses_ms"]) == 1
    assert 'stepgraph_source_pauses_total{source="shop"} 2.0' in metrics
