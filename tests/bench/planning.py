"""Plans of 1 to 200 nodes → what it takes to look one up, to make it, and to run it when every call answers at once."""

import asyncio
from pathlib import Path
from typing import Any

import uvloop

from gateway.contract import CallContext, Inputs, Reply
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import load
from gateway.run import Results, run
from gateway.serve.generation.generation import Generation, open_generation
from resolvers import STEP_TYPES
from tests.bench.generated import many_steps, wide_query
from tests.bench.growth import STEPS, Section, table
from tests.bench.measure import Bench
from tests.bench.stages import cpu_us, environment, now

THING = Reply({"id": 1, "name": "a small thing", "size": 3}, 200)


async def instant(_: Inputs, __: CallContext) -> Reply:
    """Answer a call at once."""
    return THING


def planning(bench: Bench, counts: tuple[int, ...] = STEPS) -> Section:
    """Measure planning: from a known document to its running plan, from a new one, and by the number of its nodes."""
    bench.tell("planning")
    with environment(bench.mock.url):
        rows = uvloop.run(_planning(many_steps(bench.folder / "planned", counts), counts))
    columns = (
        "nodes",
        "known document µs",
        "running µs",
        "each node",
        "new: parse, validate µs",
        "plan, compile µs",
        "each node",
    )
    return Section(table("Planning", columns, rows), {})


async def _planning(folder: Path, counts: tuple[int, ...]) -> list[tuple[float, ...]]:
    async with open_generation(await asyncio.to_thread(load, folder, STEP_TYPES), STEP_TYPES) as generation:
        return [await _planning_of(generation, count) for count in counts]


async def _planning_of(generation: Generation, count: int) -> tuple[float, ...]:
    text, unwinding = wide_query(count), set[asyncio.Future[Any]]()
    request = GraphQLRequest(text, variables={"id": 7})
    prepared = generation.preparation.prepare(request, now())
    plan = prepared.planned.plan
    calls = {node.step: instant for node in plan.nodes}
    assert len(plan.nodes) == count

    def plan_anew() -> None:
        generation.plans.forget(generation.read(text).definition(None, is_read_only=False))
        generation.preparation.prepare(request, now())

    async def execute() -> Results:
        return await run(plan, calls, now(), prepared.arguments, unwinding)

    took = await cpu_us(
        {
            "known": lambda: generation.preparation.prepare(request, now()),
            "run": execute,
            "read": lambda: generation.preparation.reader.read(text),
            "plan": plan_anew,
        },
        series=max(4, 100 // count),
    )
    return (count, took["known"], took["run"], took["run"] / count, took["read"], took["plan"], took["plan"] / count)
