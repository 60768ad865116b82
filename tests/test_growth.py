"""What an operation costs, and that it costs the same however many there are: counted in calls of functions and in bytes, not in seconds."""

import asyncio
import cProfile
import gc
import pstats
import tracemalloc
from pathlib import Path

import pytest

from gateway.blueprint import Blueprint, Step
from gateway.contract import Call, RequestContext, StepType
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.generation import calls as step_calls
from gateway.serve.generation.generation import open_generation
from resolvers import STEP_TYPES
from resolvers.value import Value

SOURCES = 'sources: { core: { type: api, base_url: "http://core" } }\ndefaults: { api: core }\n'
TYPES = "type Thing { id: Int, name: String, size: Int }\n"
OPERATION = """\
---
operation: op{number}
args: {{ id: Int! }}
steps:
  - {{ name: one, type: api, endpoint: "/things/{{id}}", returns: Thing }}
  - {{ name: two, type: api, endpoint: "/things/{{one.size}}", returns: Thing }}
  - {{ name: three, type: value, value: {{ id: {number}, name: three }}, returns: Thing }}
"""


def files(count: int) -> Files:
    """Return a configuration of some operations, 20 to a file."""
    texts = {"sources.yaml": SOURCES, "types.graphql": TYPES}
    for start in range(0, count, 20):
        texts[f"{start}.yaml"] = "".join(OPERATION.format(number=number) for number in range(start, min(start + 20, count)))
    return Files(Path(), texts, (), "test")


def calls_each(count: int) -> float:
    """Return how many functions are called for each operation of a configuration of that many."""
    given = files(count)
    profile = cProfile.Profile()
    profile.runcall(build, given, STEP_TYPES)
    return pstats.Stats(profile).total_calls / count  # type: ignore[attr-defined, no-any-return]


def test_an_operation_takes_as_much_work_to_load_however_many_there_are() -> None:
    build(files(20), STEP_TYPES)
    few, many = calls_each(50), calls_each(400)
    assert many < few * 1.02
    assert many < 1500  # a bound on what creeps in: some 1,200 now, 3,000 once


def bytes_each(count: int) -> tuple[float, float]:
    """Return how much memory each operation keeps, and how much it takes at the most while all are loaded."""
    given = files(count)
    gc.collect()
    tracemalloc.start()
    try:
        built = build(given, STEP_TYPES)
        gc.collect()
        now, peak = tracemalloc.get_traced_memory()
        assert len(built.operations) == count
    finally:
        tracemalloc.stop()
    return now / count, peak / count


def test_an_operation_takes_little_memory_and_not_much_more_while_it_is_loaded() -> None:
    build(files(20), STEP_TYPES)
    kept, peak = bytes_each(400)
    assert kept < 12_000
    assert peak < 15_000  # the documents of one file at a time, and not of all


class Counting(Value):
    """Counts the calls that it makes of steps."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def call(self, step: Step, connection: None) -> Call:
        self.made.append(step.name)
        return super().call(step, connection)


def ask(blueprint: Blueprint, step_types: dict[str, StepType], names: list[str]) -> None:
    """Open a generation and ask for the value of some operations, one after the other."""

    async def act() -> None:
        async with open_generation(blueprint, step_types) as generation:
            for name in names:
                request = GraphQLRequest(f"{{ {name}(id: 1) {{ three {{ name }} }} }}")
                context = RequestContext("r", {}, asyncio.get_running_loop().time())
                assert await generation.answer(request, context) == {"data": {name: {"three": {"name": "three"}}}}

    asyncio.run(act())


def test_a_step_is_made_ready_when_it_is_first_called_and_not_again() -> None:
    counting = Counting()
    step_types: dict[str, StepType] = {**STEP_TYPES, "value": counting}
    ask(build(files(5), step_types), step_types, [])
    assert counting.made == []
    ask(build(files(5), step_types), step_types, ["op1", "op1", "op3", "op1"])
    assert counting.made == ["three", "three"]


def test_of_many_steps_that_were_called_those_that_came_first_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_calls, "MAX_CALLS", 2)
    counting = Counting()
    step_types: dict[str, StepType] = {**STEP_TYPES, "value": counting}
    ask(build(files(5), step_types), step_types, ["op0", "op1", "op2", "op1", "op2", "op0"])
    assert len(counting.made) == 4
