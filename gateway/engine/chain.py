"""A plan whose nodes come one after the other → outcomes, in the request's own task: no other task, and one timer for the deadline."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.alarm import Alarm
from gateway.engine.execution import Execution
from gateway.engine.fallback import at_hand, late, wants_fallback
from gateway.engine.link import follow_link
from gateway.engine.node import perform_step
from gateway.engine.results import Results
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


async def run_chain(run: Execution) -> Results:
    """Bring every node to its outcome; they stand in the order in which they are performed.

    At the deadline the call that is under way is cancelled, which ends it at once, and what has not ended is late.
    """
    loop = asyncio.get_running_loop()
    deadline = None if run.plan.is_immediate else Alarm(loop, run.states[0].deadline)
    try:
        for node in run.plan.nodes:
            state, span = run.states[node.call], run.spans[node.index]
            if state.blocked is not None:
                outcome: Outcome = _CANCELLED
            elif deadline is not None and deadline.has_rung:
                outcome = late(run, node)
            else:
                span.ready = loop.time()
                outcome = await _perform(run, node, deadline)
            span.ended = loop.time()
            run.outcomes[node.index] = outcome
            state.scope[node.step.name] = outcome.value if type(outcome) is Success else None
            if node.step.is_required and type(outcome) is Failure:
                state.blocked = outcome
    finally:
        if deadline is not None:
            deadline.timer.cancel()
    return run.results()


async def _perform(run: Execution, node: Node, deadline: Alarm | None) -> Outcome:
    """Return the outcome of a node, or of the first fallback that has one; whatever goes wrong unexpectedly is a failure like any other."""
    try:
        if node.use is not None:  # the fallbacks of a link stand in for each of its calls
            return await follow_link(run, node, node.use)
        outcome = await perform_step(run, node)
    except asyncio.CancelledError as error:
        if deadline is None or not deadline.is_cancelled():
            return run.unexpected(node, error)
        if not deadline.is_cause():
            raise
        return late(run, node)
    except Exception as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
        outcome = run.unexpected(node, error)
    return outcome if type(outcome) is Success or not wants_fallback(node, outcome) else at_hand(run, node, outcome)
