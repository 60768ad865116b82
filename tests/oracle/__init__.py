"""Tests of the stages between load and HTTP: steps with scripted attempts, and graphql-core's executor as the test oracle.

A step of type `act` calls no upstream: the test's :class:`Stage` scripts what each of its attempts does, and records when it ran.
:func:`perform` takes a configuration and a document through all stages from load to projection, on virtual time.
:mod:`tests.oracle.generate` draws random cases over :mod:`tests.oracle.worlds`. :mod:`tests.oracle.gateway_answer` answers them with the
gateway, and :mod:`tests.oracle.executor` with graphql-core and a second, independent implementation of the rules for steps and links.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from gateway.answer.completeness import completeness
from gateway.answer.errors import Errors
from gateway.answer.trace import trace
from gateway.blueprint import Blueprint, Step
from gateway.contract import Call, CallContext, Inputs, Reply, RequestContext, StepType
from gateway.contract.outcome import Failure, Outcome
from gateway.document.document import Document
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.plan.nodes import Node, Plan
from gateway.run import Arguments, Results, Span, run
from gateway.run.policies import SourceState, apply, new_state
from gateway.schema.build import build_schema
from gateway.serve.generation.plans import CompiledPlan
from gateway.settings import SourceKeys, StepKeys, Text
from tests.kit import virtual
from tests.kit.documents import Documents

LIMITS = "limits: { max_tokens: 100000, max_root_fields: 1000, max_aliases: 10000, max_fields: 100000, max_directives: 10000, mode: measure }"
SOURCES = """
sources: { stage: { type: act, retry: { attempts: 1 }, breaker: { enabled: false } } }
defaults: { act: stage }
"""


@dataclass(frozen=True, slots=True)
class Part:
    """The script of one attempt: after ``after`` milliseconds it returns a value (by default its name) or raises.

    With ``is_deaf`` it ignores cancellation.
    """

    gives: object = ...
    after: float = 0.0
    raises: BaseException | None = None
    is_deaf: bool = False


HANGS = Part(after=1_000_000)


@dataclass(slots=True)
class Attempt:
    """A recorded attempt: its inputs, when it began and ended (milliseconds of loop time), and how it ended."""

    part: str
    inputs: object
    context: CallContext
    began: float
    ended: float | None = None
    ending: str = "running"


@dataclass(slots=True)
class Stage:
    """The scripts by name of step. A list has one part for each attempt; the last part repeats."""

    parts: Mapping[str, Part | Sequence[Part]] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    def of(self, part: str) -> list[Attempt]:
        """Return the attempts of a part in order."""
        return [attempt for attempt in self.attempts if attempt.part == part]

    def times(self, part: str) -> list[tuple[float, float | None, str]]:
        """Return for each attempt of a part when it began and ended, and how."""
        return [(attempt.began, attempt.ended, attempt.ending) for attempt in self.of(part)]

    def called(self) -> list[str]:
        """Return the part of each attempt, in order."""
        return [attempt.part for attempt in self.attempts]

    async def act(self, name: str, inputs: object, context: CallContext) -> Reply:
        """Run the next scripted attempt of a part."""
        part = self._next(name)
        attempt = Attempt(name, inputs, context, loop_time_ms())
        self.attempts.append(attempt)
        try:
            await _wait(part)
            attempt.ending = "raised" if part.raises else "given"
            if part.raises:
                # The same exception is raised by many attempts: its traceback would grow with each.
                raise part.raises.with_traceback(None)
            return Reply(name if part.gives is ... else part.gives)
        except asyncio.CancelledError:
            attempt.ending = "cancelled"
            raise
        finally:
            attempt.ended = loop_time_ms()

    def _next(self, name: str) -> Part:
        parts = self.parts.get(name, Part())
        return parts if isinstance(parts, Part) else parts[min(len(self.of(name)), len(parts) - 1)]


async def _wait(part: Part) -> None:
    end = asyncio.get_running_loop().time() + part.after / 1000
    if part.is_deaf:
        while asyncio.get_running_loop().time() < end:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(end - asyncio.get_running_loop().time())
    elif part.after:
        await asyncio.sleep(part.after / 1000)


def loop_time_ms() -> float:
    """Return the event loop's time in milliseconds."""
    return round(asyncio.get_running_loop().time() * 1000, 6)


class FakeStepKeys(StepKeys):
    """The keys of a scripted step."""

    input: Any = None
    """The inputs of the step; texts in them are templates."""
    part: Text = Field(default_factory=lambda data: data["name"])
    """The script that it follows; by default its name, so that no two steps are equal. Steps with the same part behave alike."""
    idempotent: bool = True
    """Whether it may be repeated and shared."""


class FakeStepType(StepType):
    """The step type `act`."""

    name = "act"
    keys = FakeStepKeys
    source_keys = SourceKeys
    timeout_ms = 60_000
    templated = ("input",)
    cancels_promptly = True
    takes_shape = True

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def inputs(self, keys: FakeStepKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        return {"input": templates["input"]} if "input" in templates else {}

    def is_idempotent(self, keys: FakeStepKeys) -> bool:
        return keys.idempotent

    def describe(self, keys: FakeStepKeys) -> str:
        return f"ACT {keys.name}"

    def call(self, step: Step, connection: None) -> Call:
        assert isinstance(step.keys, FakeStepKeys)
        part = step.keys.part

        async def act(inputs: Inputs, context: CallContext) -> Reply:
            return await self._stage.act(part, inputs.get("input"), context)

        return act


def blueprint_of(config: str, types: str = "") -> Blueprint:
    """Load a configuration. Without sources of its own it gets one, without retries and without a circuit breaker."""
    texts = {"config.yaml": config}
    if types:
        texts["types.graphql"] = types
    if "sources:" not in config:
        texts["sources.yaml"] = SOURCES
    if "limits:" not in config:
        texts["limits.yaml"] = LIMITS
    return build(Files(Path(), texts, (), "test"), {FakeStepType.name: FakeStepType(Stage())}, {})


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of running a document: its plan, the outcomes of its nodes, the response, and the milliseconds that it took."""

    plan: Plan
    results: Results
    body: dict[str, Any]
    took: float

    def node(self, step: str, call: int = 0) -> Node:
        """Return the node of a step."""
        return next(node for node in self.plan.nodes if node.step.name == step and node.call == call)

    def outcome(self, step: str, call: int = 0) -> Outcome | None:
        """Return the outcome of the node of a step; None when it was not needed."""
        return self.results.outcomes[self.node(step, call).index]

    def span(self, step: str, call: int = 0) -> Span:
        """Return the times of the node of a step."""
        return self.results.spans[self.node(step, call).index]

    def failure(self, step: str) -> Failure:
        """Return the failure of the node of a step."""
        outcome = self.outcome(step)
        assert isinstance(outcome, Failure)
        return outcome


@dataclass(frozen=True, slots=True)
class CompiledConfiguration:
    """A compiled configuration that answers documents: a generation without connection pools."""

    documents: Documents
    calls: Mapping[Step, Call]
    states: Mapping[str, SourceState]
    """The state of the policies, by source."""
    unwinding: set[asyncio.Future[Any]] = field(default_factory=set)
    """Cancelled work of requests that has not ended yet."""

    @classmethod
    def open(cls, config: str, stage: Stage, types: str = "") -> "CompiledConfiguration":
        """Compile a configuration whose steps follow the scripts of a stage."""
        blueprint = blueprint_of(config, types)
        states = {name: new_state(source.keys) for name, source in blueprint.sources.items()}
        calls: dict[Step, Call] = {}
        steps = [step for operation in blueprint.operations.values() for step in operation.steps.values()]
        for step in (*steps, *(link.step for link in blueprint.links.values())):
            assert step.source is not None
            calls[step] = apply(FakeStepType(stage).call(step, None), step, states[step.source.name])
        return cls(Documents(blueprint, build_schema(blueprint), is_development=True), calls, states)

    def plan(
        self, document: Document, variables: Mapping[str, object] | None = None
    ) -> tuple[CompiledPlan, Arguments, Mapping[str, object]]:
        """Return the plan of a document, the arguments of its operation calls, and the values of introspection fields."""
        definition = document.definition(None, is_read_only=False)
        coerced = definition.variables(variables or {})
        planned = self.documents.plan(definition, coerced)
        meta = self.documents.introspect(planned, variables or {})
        return planned, planned.arguments(coerced), meta

    async def answer(
        self, query: str, variables: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> RunResult:
        """Plan, run and project a document."""
        loop = asyncio.get_running_loop()
        context = RequestContext("request-1", headers or {}, loop.time())
        planned, arguments, meta = self.plan(self.documents.read(query), variables)
        results = await run(planned.plan, self.calls, context, arguments, self.unwinding)
        errors = Errors()
        body: dict[str, Any] = {"data": planned.project(results, meta, errors), "errors": errors}
        body["completeness"] = completeness(planned.plan, results, errors)
        body["trace"] = trace(planned.plan, results, context.arrived_at, loop.time())
        return RunResult(planned.plan, results, body, round((loop.time() - context.arrived_at) * 1000, 6))


def perform(
    config: str, query: str, stage: Stage, *, types: str = "", variables: Mapping[str, object] | None = None
) -> RunResult:
    """Take a configuration and a document through all stages, on virtual time; no task may be left running."""

    async def act() -> RunResult:
        performance = await CompiledConfiguration.open(config, stage, types).answer(query, variables)
        await settle()
        return performance

    return virtual.run(act())


async def settle() -> None:
    """Let cancelled tasks finish, and assert that only the current task is left."""
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"still running: {left}"
