"""Test cases → their results: the gateway executes each request with mocked upstreams and on virtual time; nothing is sent."""

import asyncio
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.blueprint import Blueprint
from gateway.contract import RequestContext, StepType
from gateway.contract.request import GraphQLRequest
from gateway.develop.testing.cases import Case
from gateway.develop.testing.coverage import CoveragePoint, reached
from gateway.develop.testing.differences import ActualAnswer, Difference, differences
from gateway.develop.testing.script import MockScript, ScriptedStepType
from gateway.develop.testing.virtual_time import run
from gateway.errors import RequestError
from gateway.plan.nodes import Plan
from gateway.plan.text import plan_text
from gateway.serve.generation.generation import Generation, open_generation
from gateway.serve.generation.overlays import Overlays


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of a case: its differences from what is expected, the virtual seconds to the response, and the points reached."""

    case: Case
    differences: tuple[Difference, ...]
    seconds: float
    reached: frozenset[CoveragePoint]


def run_cases(cases: Iterable[Case], blueprint: Blueprint, step_types: Mapping[str, StepType]) -> Iterator[CaseResult]:
    """Yield the result of each case. Each runs on a generation of its own."""
    for case in cases:
        random.seed(case.keys.test)  # retries wait for random times, and a result must be reproducible
        yield run(_run_case(case, blueprint, step_types))


async def _run_case(case: Case, blueprint: Blueprint, step_types: Mapping[str, StepType]) -> CaseResult:
    script = MockScript(case.mocks_before)
    scripted = {name: ScriptedStepType(step_type, script) for name, step_type in step_types.items()}
    request = GraphQLRequest(case.keys.query, case.keys.operation, case.keys.variables)
    async with open_generation(blueprint, scripted, is_development=True) as generation:
        if case.keys.before:
            await _answer(generation, request, _context(case, blueprint))
            await asyncio.sleep(case.keys.before.wait_ms / 1000)
        # The request before it leaves its last values in the generation; its calls are not those of the test.
        script.mocks = case.mocks
        script.sent.clear()
        context = _context(case, blueprint)
        body, is_refused = await _answer(generation, request, context)
        seconds = asyncio.get_running_loop().time() - context.arrived_at
        plan = None if is_refused else _plan(generation, request, context)
    actual = ActualAnswer(body, is_refused, plan_text(plan) if plan else "", seconds)
    points = reached(plan, script, body) if plan else set()
    return CaseResult(case, tuple(differences(case.keys.expect, actual, script)), seconds, frozenset(points))


def _context(case: Case, blueprint: Blueprint) -> RequestContext:
    headers = {name.lower(): value for name, value in case.keys.headers.items()}
    request = RequestContext("test", headers, asyncio.get_running_loop().time())
    if not case.keys.context:
        return request
    return request.with_values({**Overlays(blueprint).values(request), **case.keys.context})


async def _answer(generation: Generation, request: GraphQLRequest, context: RequestContext) -> tuple[Mapping[str, object], bool]:
    """Return the response body, and whether the request was refused as a whole."""
    try:
        return await generation.answer(request, context), False
    except RequestError as error:
        return {"errors": error.errors}, True


def _plan(generation: Generation, request: GraphQLRequest, context: RequestContext) -> Plan:
    definition = generation.read(request.query).definition(request.operation_name, is_read_only=False)
    _, effective = Overlays(generation.blueprint).resolve(context)
    return generation.plans.plan(definition, definition.variables(request.variables), effective).plan
