"""What is given instead of a value that did not come: constants and last good values, which need no time; and when that is tried at all."""

import asyncio

from gateway.blueprint import Fallback
from gateway.blueprint.step import FallbackStale, FallbackValue
from gateway.contract import CallContext, Inputs
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.errors import Code, StepFault
from gateway.language.expression import ExpressionError
from gateway.plan.nodes import Node
from gateway.run.execution import Execution
from gateway.run.joins import BatchCall, match


def wants_fallback(node: Node, outcome: Outcome) -> bool:
    """Tell whether fallbacks are tried: for what failed or had no input, not for what was not wanted or what the client got wrong."""
    if isinstance(outcome, Failure):
        return outcome.code is not Code.BAD_USER_INPUT or bool(node.needs)
    return isinstance(outcome, Skipped) and outcome.reason is SkipReason.MISSING_INPUT


def served(primary: Outcome, value: object, by: str, age: float | None = None) -> Success:
    """Return the success that a fallback makes of another outcome."""
    assert isinstance(primary, Failure | Skipped)
    return Success(value, by, primary, age)


def kept(run: Execution, node: Node, primary: Outcome, fallback: Fallback, context: CallContext | None) -> Success | None:
    """Return what a fallback that needs no time gives: a constant, or the last good value of this very call if it is not too old."""
    if isinstance(fallback, FallbackValue):
        return served(primary, fallback.value, fallback.served_by)
    if isinstance(fallback, FallbackStale) and context is not None and context.inputs is not None:
        return _stale(run, node, primary, fallback, context.inputs)
    return None


def _stale(run: Execution, node: Node, primary: Outcome, fallback: FallbackStale, inputs: Inputs) -> Success | None:
    last = run.replies.find(node.step, inputs)
    age = asyncio.get_running_loop().time() - last.at if last else 0.0
    if last is None or age > fallback.max_age:
        return None
    try:
        value = node.step.select.search(last.reply.value) if node.step.select else last.reply.value
    except ExpressionError:
        return None
    return served(primary, value, fallback.served_by, age)


def at_hand(run: Execution, node: Node, primary: Outcome) -> Outcome:
    """Return what the first fallback that needs no time gives, or else the primary's outcome."""
    context = run.spans[node.index].context
    instead = (kept(run, node, primary, fallback, context) for fallback in node.step.fallbacks)
    return next((outcome for outcome in instead if outcome is not None), primary)


def stand_in(run: Execution, node: Node, call: BatchCall, primary: Outcome) -> None:
    """Put what a fallback has, or the failure of their call, to the keys of a batch. A constant is the value of each key."""
    assert node.use is not None
    joined = run.joins[node.index]
    call.is_settled = True
    for fallback in node.step.fallbacks if wants_fallback(node, primary) else ():
        instead = kept(run, node, primary, fallback, call.context)
        if instead is None:
            continue
        constants = dict.fromkeys(call.batch, instead.value) if isinstance(fallback, FallbackValue) else None
        values = constants or match(node.use.link, call.batch, instead.value)
        if values is not None:
            joined.serve(values, instead)
            return
    if isinstance(primary, Failure):
        joined.fail(call.batch, primary)
    else:
        joined.values |= dict.fromkeys(call.batch, primary)


def late(run: Execution, node: Node) -> Outcome:
    """Return the outcome of a node that the deadline cuts off: only a fallback that needs no time is not too late."""
    primary = run.primaries.get(node.index)
    if primary is None:
        fault = StepFault(Code.GATEWAY_TIMEOUT, detail="cut at the deadline of the operation")
        primary = run.failed(node, fault, run.spans[node.index].context)
        if node.index in run.joins:
            joined = run.joins[node.index]
            for call in joined.calls:
                if not call.is_settled:
                    stand_in(run, node, call, primary)
            return Success(joined)
    return at_hand(run, node, primary)
