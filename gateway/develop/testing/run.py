"""Cases → how each went: the gateway itself answers, over mocked upstreams and on virtual time; nothing is sent anywhere."""

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
    """How a case went: what was not as expected, the virtual seconds until its answer, and what it reached."""

    case: Case
    differences: tuple[Difference, ...]
    seconds: float
    reached: frozenset[CoveragePoint]


def run_cases(cases: Iterable[Case], blueprint: Blueprint, step_types: Mapping[str, StepType]) -> Iterator[CaseResult]:
    """Yield how each case goes, each over a generation of its own."""
    for case in cases:
        random.seed(case.keys.test)  # the waits before attempts are drawn at random
        yield run(_run_case(case, blueprint, step_types))


async def _run_case(case: Case, blueprint: Blueprint, step_types: Mapping[str, StepType]) -> CaseResult:
    script = MockScript(case.mocks_before)
    scripted = {name: ScriptedStepType(step_type, script) for name, step_type in step_types.items()}
    request = GraphQLRequest(case.keys.query, case.keys.operation, case.keys.variables)
    async with open_generation(blueprint, scripted, is_development=True) as generation:
        if case.keys.before:
            await _answer(generation, request, _context(case, blueprint))
            await asyncio.sleep(case.keys.before.wait_ms / 1000)
        script.mocks = case.mocks
        script.sent.clear()
        context = _context(case, blueprint)
        body, is_refused = await _answer(generation, request, context)
        seconds = asyncio.get_running_loop().time() - context.arrived_at
        plan = None if is_refused else _plan(generation, request, context)
    actual = ActualAnswer(body, is_refused, plan_text(plan) if plan else "", seconds)
    found = reached(plan, script, body) if plan else set()
    return CaseResult(case, tuple(differences(case.keys.expect, actual, script)), seconds, frozenset(found))


def _context(case: Case, blueprint: Blueprint) -> RequestContext:
    headers = {name.lower(): value for name, value in case.keys.headers.items()}
    request = RequestContext("test", headers, asyncio.get_running_loop().time())
    if not case.keys.context:
        return request
    return request.with_values({**Overlays(blueprint).values(request), **case.keys.context})


async def _answer(generation: Generation, request: GraphQLRequest, context: RequestContext) -> tuple[Mapping[str, object], bool]:
    """Return the body of the answer, and whether the request was refused as a whole."""
    try:
        return await generation.answer(request, context), False
    except RequestError as error:
        return {"errors": error.errors}, True


def _plan(generation: Generation, request: GraphQLRequest, context: RequestContext) -> Plan:
    definition = generation.read(request.query).definition(request.operation_name, is_read_only=False)
    _, effective = Overlays(generation.blueprint).resolve(context)
    return generation.plans.plan(definition, definition.variables(request.variables), effective).plan
