"""The mocked upstreams of one case: the replies to calls, and a record of the calls."""

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
    """The mocked replies, and a record: the calls that each step sent, the steps that ran, were retried, and had no mock."""

    mocks: Mocks
    sent: dict[str, list[Mapping[str, object]]] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    unmocked: set[str] = field(default_factory=set)

    def upstream(self, name: str) -> MockUpstream:
        """Return the mocked upstream of a step."""

        async def upstream(request: Mapping[str, object]) -> MockAnswer:
            calls = self.sent.setdefault(name, [])
            calls.append(request)
            mocks = self.mocks.get(name)
            if not mocks:
                self.unmocked.add(name)
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"'{name}' has no mock")
            mock = mocks[min(len(calls), len(mocks)) - 1]
            await asyncio.sleep(mock.delay)
            if mock.is_hanging:
                await asyncio.get_running_loop().create_future()  # never done: ends by timeout or cancellation only
            return mock.answer

        return upstream


class ScriptedStepType(StepType):
    """A step type that replaces upstreams by a script. It opens no connections."""

    def __init__(self, wrapped: StepType, script: MockScript) -> None:
        self._wrapped = wrapped
        self._script = script

    def inputs(self, keys: Any, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Delegate to the wrapped step type."""
        return self._wrapped.inputs(keys, templates, arguments)

    def is_idempotent(self, keys: Any) -> bool:
        """Delegate to the wrapped step type."""
        return self._wrapped.is_idempotent(keys)

    def describe(self, keys: Any) -> str:
        """Delegate to the wrapped step type."""
        return self._wrapped.describe(keys)

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator[None]:
        """Open nothing."""
        yield None

    def call(self, step: Step, connection: None) -> Call:
        """Return the call of the wrapped step type with a mocked upstream, recording that it runs."""
        script = self._script
        call = self._wrapped.mock_call(step, script.upstream(step.name))

        async def scripted(inputs: Inputs, context: CallContext) -> Reply:
            script.ran.add(step.name)
            if context.attempts > 1:
                script.repeated.add(step.name)
            return await call(inputs, context)

        return scripted
