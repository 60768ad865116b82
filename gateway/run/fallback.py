"""Fallbacks: when they apply, and those that take no time (immediate fallbacks): constants and last good replies.

A fallback step, which takes time, is run by :mod:`gateway.run.scheduler`. *Primary* is the outcome of a node's own step.
"""

import asyncio

from gateway.blueprint import Fallback
from gateway.blueprint.step import FallbackStale, FallbackValue
from gateway.contract import CallContext, Inputs
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.errors import Code, StepFault
from gateway.language.expression import ExpressionError
from gateway.plan.nodes import Node
from gateway.run.execution import Execution
from gateway.run.joins import BatchCall, match_results

MAX_STALE_WORK = 100_000
"""The work of the ``select`` of a last reply, which is done on the event loop: about 30 ms. A larger reply is no fallback."""


def should_fall_back(node: Node, outcome: Outcome) -> bool:
    """Tell whether fallbacks apply to an outcome: to a failure or a missing input, but not to a false ``when`` or a cancelled node."""
    if isinstance(outcome, Failure):
        # A bad value of the client stays an error. If the node reads other steps, the bad value may be one of theirs.
        return outcome.code is not Code.BAD_USER_INPUT or bool(node.needs)
    return isinstance(outcome, Skipped) and outcome.reason is SkipReason.MISSING_INPUT


def fallback_success(primary: Outcome, value: object, served_by: str, age: float | None = None) -> Success:
    """Return the outcome of a node whose value comes from a fallback; ``age`` in seconds if the value is stale."""
    assert isinstance(primary, Failure | Skipped)
    return Success(value, served_by, primary, age)


def immediate_fallback(
    run: Execution, node: Node, primary: Outcome, fallback: Fallback, context: CallContext | None
) -> Success | None:
    """Return the value of a fallback that takes no time: a constant, or the last good reply to an equal call; None if there is none.

    ``context`` is that of the failed call: the last reply is found by the inputs in it.
    """
    if isinstance(fallback, FallbackValue):
        return fallback_success(primary, fallback.value, fallback.served_by)
    if isinstance(fallback, FallbackStale) and context is not None and context.inputs is not None:
        return _stale(run, node, primary, fallback, context.inputs)
    return None


def _stale(run: Execution, node: Node, primary: Outcome, fallback: FallbackStale, inputs: Inputs) -> Success | None:
    """Return the last good reply to an equal call; None if there is none, if it is too old, or if ``select`` fails on it."""
    last = run.replies.find(node.step, inputs)
    age = asyncio.get_running_loop().time() - last.at if last else 0.0
    if last is None or age > fallback.max_age:
        return None
    try:
        value = node.step.select.search(last.reply.value, MAX_STALE_WORK) if node.step.select else last.reply.value
    except ExpressionError:
        return None
    return fallback_success(primary, value, fallback.served_by, age)


def first_immediate_fallback(run: Execution, node: Node, primary: Outcome) -> Outcome:
    """Return the value of the first fallback that has one without taking time, otherwise the primary."""
    context = run.spans[node.index].context
    successes = (immediate_fallback(run, node, primary, fallback, context) for fallback in node.step.fallbacks)
    return next((success for success in successes if success is not None), primary)


def settle_failed_batch(run: Execution, node: Node, call: BatchCall, primary: Outcome) -> None:
    """Assign the values of a fallback, or the failure of the call, to the keys of a batch. A constant is the value of each key."""
    assert node.use is not None
    result = run.link_results[node.index]
    call.is_settled = True
    for fallback in node.step.fallbacks if should_fall_back(node, primary) else ():
        success = immediate_fallback(run, node, primary, fallback, call.context)
        if success is None:
            continue
        constants = dict.fromkeys(call.batch, success.value) if isinstance(fallback, FallbackValue) else None
        values = constants or match_results(node.use.link, call.batch, success.value)
        if values is not None:
            result.serve(values, success)
            return
    if isinstance(primary, Failure):
        result.fail(call.batch, primary)
    else:
        result.values |= dict.fromkeys(call.batch, primary)


def deadline_outcome(run: Execution, node: Node) -> Outcome:
    """Return the outcome of a node that is unfinished at the deadline: an immediate fallback, otherwise a timeout."""
    # With a primary, the node has failed already and was running a fallback step: that failure is reported, not the timeout.
    primary = run.primaries.get(node.index)
    if primary is None:
        fault = StepFault(Code.GATEWAY_TIMEOUT, detail="cut at the deadline of the operation")
        primary = run.failed(node, fault, run.spans[node.index].context)
        if node.index in run.link_results:
            # Batches that have ended keep their values: only the keys of the others time out.
            result = run.link_results[node.index]
            for call in result.calls:
                if not call.is_settled:
                    settle_failed_batch(run, node, call, primary)
            return Success(result)
    return first_immediate_fallback(run, node, primary)
