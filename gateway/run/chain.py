"""A plan whose nodes come one after the other → outcomes, in the request's own task: no other task, and no timer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.plan.nodes import Node
from gateway.run.execution import Execution
from gateway.run.fallback import at_hand, late, wants_fallback
from gateway.run.link import follow_link
from gateway.run.node import perform_step
from gateway.run.policies.timeout import RESOLUTION
from gateway.run.results import Results

_CANCELLED = Skipped(SkipReason.CANCELLED)
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

    Each of their waits ends at the deadline by itself, so nobody has to cut them off; after it what has not begun is late.
    """
    clock = asyncio.get_running_loop().time
    for node in run.plan.nodes:
        state, span = run.states[node.call], run.spans[node.index]
        ready = clock()
        if run.blocked[node.call] is not None:
            outcome: Outcome = _CANCELLED
        elif ready >= state.deadline - RESOLUTION and not run.plan.is_immediate:
            outcome = late(run, node)
        else:
            span.ready = ready
            try:
                outcome = await (perform_step(run, node) if node.use is None else follow_link(run, node, node.use))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
                outcome = run.unexpected(node, error)
        if type(outcome) is not Success:
            outcome = _otherwise(run, node, outcome)
        run.outcomes[node.index] = outcome
        span.ended = clock()
        state.scope[node.step.name] = outcome.value if type(outcome) is Success else None
    return run


def _otherwise(run: Execution, node: Node, outcome: Outcome) -> Outcome:
    """Return what a fallback gives instead of the outcome of a node; a required one that has none ends its operation.

    The fallbacks of a link have stood in for each of its calls.
    """
    if node.use is None and wants_fallback(node, outcome):
        outcome = at_hand(run, node, outcome)
    if node.step.is_required and type(outcome) is Failure:
        run.blocked[node.call] = outcome
    return outcome
