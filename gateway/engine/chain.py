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
            if run.blocked[node.call] is None and (deadline is None or not deadline.has_rung):
                span.ready = loop.time()
                try:
                    outcome = await (perform_step(run, node) if node.use is None else follow_link(run, node, node.use))
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
                    outcome = _unexpected(run, node, error, deadline)
            else:
                outcome = late(run, node) if run.blocked[node.call] is None else _CANCELLED
            if type(outcome) is not Success:
                outcome = _otherwise(run, node, outcome)
            run.outcomes[node.index] = outcome
            span.ended = loop.time()
            state.scope[node.step.name] = outcome.value if type(outcome) is Success else None
    finally:
        if deadline is not None:
            deadline.put_off()
    return run


def _unexpected(run: Execution, node: Node, error: Exception | asyncio.CancelledError, deadline: Alarm | None) -> Outcome:
    """Return the outcome of a node that has raised what no step should: it is late, or has failed.

    :raises asyncio.CancelledError: the client has left.
    """
    if not isinstance(error, asyncio.CancelledError) or deadline is None or not deadline.is_cancelled():
        return run.unexpected(node, error)
    if not deadline.is_cause():
        raise error
    return late(run, node)


def _otherwise(run: Execution, node: Node, outcome: Outcome) -> Outcome:
    """Return what a fallback gives instead of the outcome of a node; a required one that has none ends its operation.

    The fallbacks of a link have stood in for each of its calls.
    """
    if node.use is None and wants_fallback(node, outcome):
        outcome = at_hand(run, node, outcome)
    if node.step.is_required and type(outcome) is Failure:
        run.blocked[node.call] = outcome
    return outcome
