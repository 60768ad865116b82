"""Run a plan whose nodes are performed one after the other, in the request's own task.

Such a plan (:attr:`Plan.is_chain`) needs no scheduler, no further task and no timer of its own.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.plan.nodes import Node
from gateway.run.execution import Execution
from gateway.run.fallback import deadline_outcome, first_immediate_fallback, should_fall_back
from gateway.run.link import follow_link
from gateway.run.node import perform_step
from gateway.run.policies.timeout import RESOLUTION
from gateway.run.results import Results

_CANCELLED = Skipped(SkipReason.CANCELLED)
T = TypeVar("T")


def run_without_waiting(coroutine: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine without an event loop's task, and return its result; None if it waits, for an expression over a large value."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    return None


async def run_chain(run: Execution) -> Results:
    """Perform the nodes of a plan in their order.

    No timer cancels them at the deadline, as each of their waits has the deadline as its own limit. Nodes that have not started by then
    time out.
    """
    clock = asyncio.get_running_loop().time
    for node in run.plan.nodes:
        state, span = run.states[node.call], run.spans[node.index]
        ready = clock()
        if run.blocked[node.call] is not None:
            outcome: Outcome = _CANCELLED
        # A wait that ends at the deadline may end a moment before it by this clock; without the tolerance one more call might start.
        elif ready >= state.deadline - RESOLUTION and not run.plan.is_immediate:
            outcome = deadline_outcome(run, node)
        else:
            span.ready = ready
            try:
                outcome = await (perform_step(run, node) if node.use is None else follow_link(run, node, node.use))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
                outcome = run.unexpected(node, error)
        if type(outcome) is not Success:
            outcome = _handle_shortfall(run, node, outcome)
        run.outcomes[node.index] = outcome
        span.ended = clock()
        state.scope[node.step.name] = outcome.value if type(outcome) is Success else None
    return run


def _handle_shortfall(run: Execution, node: Node, outcome: Outcome) -> Outcome:
    """Return the value of a fallback for a node that has none of its own; block the operation if a required node has failed.

    Only fallbacks that take no time are tried: a plan with fallback steps is no chain. A link has applied its fallbacks to each batch.
    """
    if node.use is None and should_fall_back(node, outcome):
        outcome = first_immediate_fallback(run, node, outcome)
    if node.step.is_required and type(outcome) is Failure:
        run.blocked[node.call] = outcome
    return outcome
