"""What the stages between load and HTTP are tried with: steps that act a part, and graphql-core's executor as the other opinion.

A step of the type `act` calls nobody: the test's :class:`Stage` says what each of its attempts does, and remembers when it was done.
:func:`perform` takes configuration, document and stage through every stage from load to projection, on virtual time.
:mod:`tests.oracle.generate` makes random cases of :mod:`tests.oracle.worlds`, :mod:`tests.oracle.gateway_answer` answers them by the
gateway, and :mod:`tests.oracle.executor` by graphql-core, with the rules for steps and links told once more beside it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from gateway.answer.completeness import completeness
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
    """What one attempt does: after so many milliseconds it gives a value (its name, if no other), or raises.

    A deaf one goes on when it is cancelled.
    """

    gives: object = ...
    after: float = 0.0
    raises: BaseException | None = None
    is_deaf: bool = False


HANGS = Part(after=1_000_000)


@dataclass(slots=True)
class Attempt:
    """One run of a step's call: its inputs, when it began and ended (milliseconds of loop time), and how."""

    part: str
    inputs: object
    context: CallContext
    began: float
    ended: float | None = None
    ending: str = "running"


@dataclass(slots=True)
class Stage:
    """The parts by name of step, one for each attempt where it is a list (the last goes on)."""

    parts: Mapping[str, Part | Sequence[Part]] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    def of(self, part: str) -> list[Attempt]:
        """Return the attempts at a part in order."""
        return [attempt for attempt in self.attempts if attempt.part == part]

    def times(self, part: str) -> list[tuple[float, float | None, str]]:
        """Return when each attempt at a part began and ended, and how."""
        return [(attempt.began, attempt.ended, attempt.ending) for attempt in self.of(part)]

    def called(self) -> list[str]:
        """Return the parts that were played, in order, as often as they were."""
        return [attempt.part for attempt in self.attempts]

    async def act(self, name: str, inputs: object, context: CallContext) -> Reply:
        """Do what the next attempt at a part does."""
        part = self._next(name)
        attempt = Attempt(name, inputs, context, now_ms())
        self.attempts.append(attempt)
        try:
            await _wait(part)
            attempt.ending = "raised" if part.raises else "given"
            if part.raises:
                raise part.raises.with_traceback(None)
            return Reply(name if part.gives is ... else part.gives)
        except asyncio.CancelledError:
            attempt.ending = "cancelled"
            raise
        finally:
            attempt.ended = now_ms()

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


def now_ms() -> float:
    """Return the loop's time in milliseconds."""
    return round(asyncio.get_running_loop().time() * 1000, 6)


class ActKeys(StepKeys):
    """The keys of a step that acts a part."""

    input: Any = None
    """What the step gets; texts are templates."""
    part: Text = Field(default_factory=lambda data: data["name"])
    """The part of the stage that it plays: its name, so that no two steps are alike; steps with the same part do the same."""
    idempotent: bool = True
    """Whether it may be repeated and shared."""


class Act(StepType):
    """The step type `act`."""

    name = "act"
    keys = ActKeys
    source_keys = SourceKeys
    timeout_ms = 60_000
    templated = ("input",)
    is_prompt = True
    takes_shape = True

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def inputs(self, keys: ActKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        return {"input": templates["input"]} if "input" in templates else {}

    def is_idempotent(self, keys: ActKeys) -> bool:
        return keys.idempotent

    def describe(self, keys: ActKeys) -> str:
        return f"ACT {keys.name}"

    def call(self, step: Step, connection: None) -> Call:
        assert isinstance(step.keys, ActKeys)
        part = step.keys.part

        async def act(inputs: Inputs, context: CallContext) -> Reply:
            return await self._stage.act(part, inputs.get("input"), context)

        return act


def blueprint_of(config: str, types: str = "") -> Blueprint:
    """Load a configuration; unless it has sources of its own there is one, whose attempts are not repeated and which is never given up."""
    texts = {"config.yaml": config}
    if types:
        texts["types.graphql"] = types
    if "sources:" not in config:
        texts["sources.yaml"] = SOURCES
    if "limits:" not in config:
        texts["limits.yaml"] = LIMITS
    return build(Files(Path(), texts, (), "test"), {Act.name: Act(Stage())}, {})


@dataclass(frozen=True, slots=True)
class Performance:
    """How a document went: its plan, how its nodes ended, the answer, and the milliseconds that all took."""

    plan: Plan
    results: Results
    body: dict[str, Any]
    took: float

    def node(self, step: str, call: int = 0) -> Node:
        """Return the node of a step."""
        return next(node for node in self.plan.nodes if node.step.name == step and node.call == call)

    def outcome(self, step: str, call: int = 0) -> Outcome | None:
        """Return how the node of a step ended; None when it was not needed."""
        return self.results.outcomes[self.node(step, call).index]

    def span(self, step: str, call: int = 0) -> Span:
        """Return the times of the node of a step."""
        return self.results.spans[self.node(step, call).index]

    def failure(self, step: str) -> Failure:
        """Return how the node of a step failed."""
        outcome = self.outcome(step)
        assert isinstance(outcome, Failure)
        return outcome


@dataclass(frozen=True, slots=True)
class Theatre:
    """A configuration that is ready to answer: what a generation is, without pools."""

    documents: Documents
    calls: Mapping[Step, Call]
    states: Mapping[str, SourceState]
    """Of the policies, by source."""
    unwinding: set[asyncio.Future[Any]] = field(default_factory=set)
    """What requests have left behind to be cancelled."""

    @classmethod
    def open(cls, config: str, stage: Stage, types: str = "") -> "Theatre":
        """Compile a configuration whose steps act on a stage."""
        blueprint = blueprint_of(config, types)
        states = {name: new_state(source.keys) for name, source in blueprint.sources.items()}
        calls: dict[Step, Call] = {}
        steps = [step for operation in blueprint.operations.values() for step in operation.steps.values()]
        for step in (*steps, *(link.step for link in blueprint.links.values())):
            assert step.source is not None
            calls[step] = apply(Act(stage).call(step, None), step, states[step.source.name])
        return cls(Documents(blueprint, build_schema(blueprint), is_development=True), calls, states)

    def plan(
        self, document: Document, variables: Mapping[str, object] | None = None
    ) -> tuple[CompiledPlan, Arguments, Mapping[str, object]]:
        """Return the plan of a document, the arguments of its operation calls, and what introspection gives."""
        definition = document.definition(None, is_read_only=False)
        coerced = definition.variables(variables or {})
        planned = self.documents.plan(definition, coerced)
        meta = self.documents.introspect(planned, variables or {})
        return planned, planned.arguments(coerced), meta

    async def answer(
        self, query: str, variables: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> Performance:
        """Take a document through the stages."""
        loop = asyncio.get_running_loop()
        context = RequestContext("request-1", headers or {}, loop.time())
        planned, arguments, meta = self.plan(self.documents.read(query), variables)
        results = await run(planned.plan, self.calls, context, arguments, self.unwinding)
        errors: list[dict[str, object]] = []
        body: dict[str, Any] = {"data": planned.project(results, meta, errors), "errors": errors}
        body["completeness"] = completeness(planned.plan, results, errors)
        body["trace"] = trace(planned.plan, results, context.arrived_at, loop.time())
        return Performance(planned.plan, results, body, round((loop.time() - context.arrived_at) * 1000, 6))


def perform(
    config: str, query: str, stage: Stage, *, types: str = "", variables: Mapping[str, object] | None = None
) -> Performance:
    """Take a configuration and a document through all stages on virtual time; nothing may be left running."""

    async def act() -> Performance:
        performance = await Theatre.open(config, stage, types).answer(query, variables)
        await settle()
        return performance

    return virtual.run(act())


async def settle() -> None:
    """Let what was cancelled take note of it, and make sure that no other task than this is left."""
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"still running: {left}"
