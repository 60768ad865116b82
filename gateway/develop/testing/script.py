"""The mocked upstreams of one case: what each call is answered, and what was called."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.blueprint import Source, Step
from gateway.contract import Call, CallContext, Inputs, Reply, StepType
from gateway.contract.mock import MockAnswer, MockUpstream
from gateway.develop.testing.cases import Mocks
from gateway.errors import Code, StepFault


@dataclass(slots=True)
class MockScript:
    """The answers that are left, and what has happened: what each step sent, which steps ran, and which were tried again."""

    mocks: Mocks
    sent: dict[str, list[Mapping[str, object]]] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    unmocked: set[str] = field(default_factory=set)

    def upstream(self, name: str) -> MockUpstream:
        """Return what answers the calls of a step."""

        async def upstream(told: Mapping[str, object]) -> MockAnswer:
            calls = self.sent.setdefault(name, [])
            calls.append(told)
            mocks = self.mocks.get(name)
            if not mocks:
                self.unmocked.add(name)
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"'{name}' has no mock")
            mock = mocks[min(len(calls), len(mocks)) - 1]
            await asyncio.sleep(mock.delay)
            if mock.is_hanging:
                await asyncio.get_running_loop().create_future()
            return mock.answer

        return upstream


class ScriptedStepType(StepType):
    """A step type whose calls ask a script; it opens nothing."""

    def __init__(self, earnest: StepType, script: MockScript) -> None:
        self._earnest = earnest
        self._script = script

    def inputs(self, keys: Any, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return what the step type itself does."""
        return self._earnest.inputs(keys, templates, arguments)

    def is_idempotent(self, keys: Any) -> bool:
        """Tell what the step type itself does."""
        return self._earnest.is_idempotent(keys)

    def describe(self, keys: Any) -> str:
        """Say what the step type itself does."""
        return self._earnest.describe(keys)

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator[None]:
        """Open nothing."""
        yield None

    def call(self, step: Step, connection: None) -> Call:
        """Return the step's own call over mocked answers."""
        script = self._script
        call = self._earnest.mock_call(step, script.upstream(step.name))

        async def scripted(inputs: Inputs, context: CallContext) -> Reply:
            script.ran.add(step.name)
            if context.attempts > 1:
                script.repeated.add(step.name)
            return await call(inputs, context)

        return scripted
