"""A plan that asks nobody → outcomes, one node after the other: there is nothing to wait for, so it needs no task and no timer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.engine.execution import Execution
from gateway.engine.fallback import kept, wants_fallback
from gateway.engine.node import perform_step
from gateway.errors import Code, StepFault
from gateway.outcome import Failure, Outcome, Reason, Skipped, Success
from gateway.plan import Node

_CANCELLED = Skipped(Reason.CANCELLED)
T = TypeVar("T")


def at_once(answering: Coroutine[Any, Any, T]) -> T:
    """Run to its end what never waits."""
    try:
        answering.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    answering.close()
    raise RuntimeError("a step type that says that it asks nobody has waited")


def run_immediate(run: Execution) -> None:
    """Bring every node of an immediate plan to its outcome; they stand in an order in which they can be performed."""
    clock = asyncio.get_running_loop().time
    for node in run.plan.nodes:
        state, span = run.states[node.call], run.spans[node.index]
        span.ready = clock()
        outcome = _CANCELLED if state.blocked else _outcome(run, node)
        span.ended = clock()
        run.outcomes[node.index] = outcome
        state.scope[node.step.name] = outcome.value if isinstance(outcome, Success) else None
        if node.step.is_required and isinstance(outcome, Failure):
            state.blocked = outcome


def _outcome(run: Execution, node: Node) -> Outcome:
    """Return the outcome of a node, or of the first fallback that has one; whatever goes wrong unexpectedly is a failure like any other."""
    try:
        outcome = at_once(perform_step(run, node))
    except Exception as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
        fault = StepFault(Code.INTERNAL_SERVER_ERROR, detail=type(error).__name__)
        outcome = run.failed(node, fault, run.spans[node.index].context, error)
    if not node.step.fallbacks or not wants_fallback(node, outcome):
        return outcome
    context = run.spans[node.index].context
    instead = (kept(run, node, outcome, fallback, context) for fallback in node.step.fallbacks)
    return next((given for given in instead if given is not None), outcome)
