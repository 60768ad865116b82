"""Functions that raise what should end a process, a task or an event loop: it is the failure of their step, and of nothing else (O-14)."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.language.python_types import load_object
from tests.faults.breaking import HARMLESS, KINDS, LOOP_KINDS
from tests.faults.served import Served
from tests.kit.serving import Stage, checked, serve_command, wait_until, write_files
from tests.kit.timing import SLACK
from tests.process.test_process import serving_children

WAYS = ("in_thread", "in_task", "at_once", "returned")
SOON = 2.0 + SLACK
"""Seconds within which a field fails; the timeout of its step is far beyond."""
SOUND = "{ name: sound, type: value, value: 1 }"


def _step(way: str, keys: str = "", name: str = "broken", inputs: str = 'kind: "{kind}"') -> str:
    call = f'call: "tests.faults.breaking:{way}", inputs: {{ {inputs} }}, timeout_ms: 60000'
    return f"{{ name: {name}, type: python, returns: JSON, {call}{', ' if keys else ''}{keys} }}"


STEPS = {
    "chain": ["STEP"],
    "required": ["STEP", SOUND],
    "chained": [SOUND, "STEP depends_on: [sound]"],
    "scheduled": ["STEP", "OTHER", SOUND],
    "scheduledRequired": ["STEP", "OTHER", SOUND],
    "constantFallback": ["STEP fallback: [ { value: 7 } ]"],
    "stepFallback": ["STEP fallback: [ { step: sound } ]", SOUND],
    "retried": ["STEP idempotent: true, retry: { attempts: 3 }"],
    "cached": ["STEP idempotent: true, cache: { ttl_ms: 60000 }"],
    "shared": ["STEP idempotent: true"],
}
"""The steps of an operation by the place that the one which fails has in its plan."""


def _steps(way: str, steps: list[str]) -> str:
    written = [
        _step(way, step.removeprefix("STEP").strip())
        if step.startswith("STEP")
        else _step(way, name="other")
        if step == "OTHER"
        else step
        for step in steps
    ]
    return f"steps: [ {', '.join(written)} ]\n"


def _documents(way: str) -> Iterator[str]:
    arguments = "args: { kind: String! }\ndeadline_ms: 60000\n"
    for name, steps in STEPS.items():
        required = "aggregation: { required_steps: [broken] }\n" if "equired" in name else ""
        yield f"operation: {name}_{way}\n{arguments}{required}{_steps(way, steps)}"
    yield f"operation: changed_{way}\nkind: mutation\n{arguments}{_steps(way, ['STEP', 'OTHER', SOUND])}"
    link = _step(way, "batch: { key: id, match: id, max: 2 }", inputs='kind: "{kind}", ids: "{keys}"')
    yield f"field: Item.{way}\nargs: {{ kind: String! }}\nreturns: JSON\nstep: {link.replace('name: broken, ', '').replace('returns: JSON, ', '')}\n"


ITEMS = """
operation: items
deadline_ms: 60000
steps: [ { name: all, type: value, value: [ { id: 1 }, { id: 2 }, { id: 3 } ], returns: "[Item!]" } ]
aggregation: { strategy: pick, step: all }
"""
CONFIG = {
    "graph.yaml": "---\n".join([ITEMS, *(document for way in WAYS for document in _documents(way))]),
    "types.graphql": "type Item { id: ID! }",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("breaking"), CONFIG) as stage:
        yield stage


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.case("O-14")
def test_whatever_a_function_raises_is_the_failure_of_its_field_at_once(stage: Stage, kind: str, way: str) -> None:
    """Each place of a plan in one request, so that one failure that reaches another field, or holds it up, is seen."""
    selected = {"shared": "broken", "stepFallback": "broken", "constantFallback": "broken"}
    parts = [f'{name}: {name}_{way}(kind: "{kind}") {{ broken {_others(name)} }}' for name in STEPS if name not in selected]
    parts += [f'{name}: {name}_{way}(kind: "{kind}") {{ {fields} }}' for name, fields in selected.items()]

    async def scenario() -> None:
        started = time.perf_counter()
        answer = await stage.production.ask(f'{{ {" ".join(parts)} twice: shared_{way}(kind: "{kind}") {{ broken }} }}')
        assert time.perf_counter() - started < SOON
        data = answer.data
        assert data["required"] is None
        assert data["scheduledRequired"] is None
        assert data["chained"] == {"broken": None, "sound": 1}
        assert data["scheduled"] == {"broken": None, "other": None, "sound": 1}
        assert data["constantFallback"] == {"broken": 7}
        assert data["stepFallback"] == {"broken": 1}
        assert data["chain"] == data["retried"] == data["cached"] == data["shared"] == data["twice"] == {"broken": None}
        assert set(answer.codes) == {"INTERNAL_SERVER_ERROR"}
        assert "secret" not in str(answer.body)

    stage.run(scenario)


def _others(name: str) -> str:
    return {"chained": "sound", "scheduled": "other sound", "scheduledRequired": "other sound", "required": "sound"}.get(name, "")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.case("O-14")
def test_a_link_and_a_mutation_end_like_any_other_step(stage: Stage, kind: str, way: str) -> None:
    async def scenario() -> None:
        items, changed = await asyncio.gather(
            stage.production.ask(f'{{ items {{ id {way}(kind: "{kind}") }} }}'),
            stage.production.ask(f'mutation {{ changed_{way}(kind: "{kind}") {{ broken other sound }} }}'),
        )
        assert items.data == {"items": [{"id": str(number), way: None} for number in (1, 2, 3)]}
        assert changed.data == {f"changed_{way}": {"broken": None, "other": None, "sound": 1}}
        assert set(items.codes + changed.codes) == {"INTERNAL_SERVER_ERROR"}

    stage.run(scenario)


@pytest.mark.parametrize(("way", "kind"), list(itertools.product(WAYS, HARMLESS)))
def test_an_object_that_is_json_is_read_as_json_without_its_own_methods(stage: Stage, way: str, kind: str) -> None:
    async def scenario() -> None:
        answer = await stage.production.ask(f'{{ chain_{way}(kind: "{kind}") {{ broken }} }}')
        assert answer.body == {"data": {f"chain_{way}": {"broken": "text"}}}

    stage.run(scenario)


# -- a process of its own: what a coroutine does to the event loop, and to the process

PROCESS = {
    "graph.yaml": """
operation: loop
args: { kind: String! }
deadline_ms: 60000
steps: [ { name: step, type: python, call: "tests.faults.breaking:on_loop", inputs: { kind: "{kind}" }, timeout_ms: 60000, returns: Int } ]
---
operation: stubborn
steps: [ { name: step, type: python, call: "tests.faults.breaking:ignore_cancellation", timeout_ms: 200, returns: Int } ]
---
operation: death
args: { status: Int! }
steps: [ { name: step, type: python, call: "tests.faults.breaking:die", inputs: { status: "{status}" }, returns: Int } ]
---
operation: exit
args: { kind: String! }
steps: [ { name: step, type: python, call: "tests.faults.breaking:in_task", inputs: { kind: "{kind}" }, returns: Int } ]
---
operation: hanging
steps: [ { name: step, type: api, endpoint: "/slow", timeout_ms: 20000 } ]
---
operation: constant
steps: [ { name: step, type: value, value: 1 } ]
---
server: { drain_delay_ms: 0 }
---
sources: { core: { type: api, base_url: UPSTREAM } }
defaults: { api: core }
"""
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("loop"), PROCESS) as served:
        yield served


@pytest.mark.parametrize("kind", LOOP_KINDS)
@pytest.mark.case("O-14")
def test_a_coroutine_that_stops_its_event_loop_fails_alone(served: Served, kind: str) -> None:
    async def scenario() -> None:
        others = [asyncio.create_task(served.gateway.ask("{ constant { step } }")) for _ in range(20)]
        answer = await served.gateway.ask(f'{{ loop(kind: "{kind}") {{ step }} }}')
        assert answer.data == {"loop": {"step": None}}
        assert answer.codes == ["INTERNAL_SERVER_ERROR"]
        assert answer.seconds < SOON
        assert [other.data for other in await asyncio.gather(*others)] == [{"constant": {"step": 1}}] * 20
        assert served.process.popen.poll() is None

    served.run(scenario)


def test_a_coroutine_that_ignores_its_cancellation_does_not_hold_up_its_request(served: Served) -> None:
    async def scenario() -> None:
        answer = await served.gateway.ask("{ stubborn { step } }")
        assert answer.codes == ["GATEWAY_TIMEOUT"]
        assert answer.seconds < SOON

    served.run(scenario)


@pytest.mark.parametrize("status", [0, 3])
@pytest.mark.case("O-14")
def test_a_worker_that_ends_with_any_status_is_replaced(tmp_path: Path, status: int) -> None:
    config = write_files(tmp_path / "config", {"graph.yaml": PROCESS["graph.yaml"].replace("UPSTREAM", "http://127.0.0.1:1")})
    with serve_command(tmp_path, config, "--workers", "2") as process:
        for _ in range(2):  # each of them in turn, so that the oldest is among them
            before = set(serving_children(process))
            for kind in ("exit", "interrupt", "own", "dying"):
                answer = httpx.post(
                    f"{process.url}/graphql", json={"query": f'{{ exit(kind: "{kind}") {{ step }} }}'}, trust_env=False
                )
                assert checked(answer)["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
            assert set(serving_children(process)) == before
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(f"{process.url}/graphql", json={"query": f"{{ death(status: {status}) {{ step }} }}"}, trust_env=False)
            wait_until(lambda: len(set(serving_children(process)) - before) == 1, "another worker is there", 10 + 10 * SLACK)  # noqa: B023
        assert process.popen.poll() is None
        assert process.stop()[0] == 0


# -- modules

MODULES = {
    "exits": "import sys\nsys.exit(3)\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "own": "class Own(BaseException): pass\nraise Own\n",
    "value": "raise ValueError('x')\n",
    "syntax": "def (:\n",
    "nul": "x = '\0'\n",
    "attribute": "import sys\ndef __getattr__(name):\n    sys.exit(3)\n",
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.case("O-14")
def test_a_module_that_ends_the_process_when_it_is_imported_is_a_problem_of_the_change(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "code", {f"breaking_{name}.py": MODULES[name]})
    sound = "operation: constant\nsteps: [ { name: step, type: value, value: %s } ]\n"
    config = write_files(tmp_path / "config", {"a.yaml": sound % 1})
    broken = f'operation: broken\nsteps: [ {{ name: step, type: python, returns: Int, call: "breaking_{name}:function" }} ]\n'
    with serve_command(tmp_path, config, PYTHONPATH=str(tmp_path / "code")) as process:
        write_files(config, {"b.yaml": broken, "a.yaml": sound % 2})

        def value() -> int:
            answer = httpx.post(f"{process.url}/graphql", json={"query": "{ constant { step } }"}, trust_env=False)
            result: int = checked(answer)["data"]["constant"]["step"]
            return result

        wait_until(lambda: value() == 2, "the sound part of the change is taken up", 5 + 5 * SLACK)
        wait_until(lambda: "bad-function" in process.stderr, "the problem is told")
        assert "b.yaml:2" in process.stderr
        (config / "b.yaml").unlink()
        write_files(config, {"a.yaml": sound % 3})
        wait_until(lambda: value() == 3, "the next change is taken up", 5 + 5 * SLACK)


def test_control_c_still_ends_a_command_that_imports_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"breaking_by_hand.py": MODULES["interrupts"]})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        load_object("breaking_by_hand:function")
