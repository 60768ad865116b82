"""Helpers for the tests of policies: calls of one step through all policies, on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.contract import Call, CallContext, Reply, RequestContext
from gateway.errors import Code, StepFault
from gateway.run.policies import SourceState
from gateway.run.policies.breaker import BREAKER, Breaker
from tests.kit import virtual
from tests.oracle import CompiledConfiguration, Part, Stage, loop_time_ms, settle

REFUSED = Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="connect"))
BUSY = Part(after=10, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", status=503))
DONE = Part(gives="done", after=10)


@dataclass(frozen=True, slots=True)
class Ask:
    """Makes calls of the step, each for a request that arrives now and has the deadline ``deadline`` (milliseconds of loop time)."""

    call: Call
    state: SourceState

    def __call__(self, deadline: float = 30_000, context: CallContext | None = None) -> Awaitable[Reply]:
        request = RequestContext("r", {}, asyncio.get_running_loop().time())
        return self.call({}, context or CallContext(request, deadline / 1000))

    @property
    def breaker(self) -> Breaker:
        """The circuit breaker of the source."""
        breaker = BREAKER.of(self.state)
        assert breaker is not None
        return breaker


def ask(stage: Stage, act: Callable[[Ask], Awaitable[Any]], *, step: str = "", source: str = "") -> Any:
    """Run `act` with a function that makes calls of one step; return its result, and assert that no task is left."""
    config = f"""
    sources: {{ stage: {{ type: act, {source} }} }}
    defaults: {{ act: stage }}
---
    {{ operation: o, steps: [{{ name: a, type: act, {step} }}] }}
    """

    async def play() -> Any:
        compiled = CompiledConfiguration.open(config, stage)
        ((_, call),) = compiled.calls.items()
        result = await act(Ask(call, compiled.states["stage"]))
        await settle()
        return result

    return virtual.run(play())


async def fault_of(call: Awaitable[Reply]) -> tuple[str, str, float]:
    """Return the code and the kind of the fault of a call, and the time in milliseconds."""
    with pytest.raises(StepFault) as caught:
        await call
    return caught.value.code, caught.value.kind, loop_time_ms()


async def ending_of(call: Awaitable[Reply]) -> object:
    """Return the value of a call, or the code of its fault."""
    try:
        return (await call).value
    except StepFault as fault:
        return fault.code


def once(stage: Stage, deadline: float = 30_000, **config: str) -> tuple[Any, CallContext]:
    """Make one call; return its value, or the code of its fault, and its context."""
    context = CallContext(RequestContext("r", {}, 0.0), deadline / 1000)

    async def act(call: Ask) -> object:
        return await ending_of(call(context=context))

    return ask(stage, act, **config), context
