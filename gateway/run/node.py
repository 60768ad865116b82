"""Perform one node: check its condition, render its inputs, make the call, select from the reply. Each failure is a value, not an exception."""

import asyncio
from collections.abc import Mapping

from gateway.blueprint import Step
from gateway.contract import CallContext, Inputs, Reply
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.errors import Code, StepFault
from gateway.language.expression import Expression, ExpressionError, TooMuchWork, search_in_thread
from gateway.language.template import MissingValue, Reference, UnusableValue
from gateway.plan.nodes import Node
from gateway.run.execution import Execution
from gateway.run.policies.timeout import until_deadline
from gateway.run.reported_errors import note_errors

_NOT_CALLED = (Failure, Skipped)


async def perform_step(
    run: Execution, node: Node, scope: Mapping[str, object] | None = None, context: CallContext | None = None
) -> Outcome:
    """Check a node's condition, render its inputs, make its call, and return the outcome.

    ``scope`` and ``context`` are given for a link only, which makes several calls: they are those of one of them.
    """
    try:
        inputs = _inputs(run, node, scope)
    except TooMuchWork:
        inputs = await _inputs_of_large_scope(run, node, scope)
    if isinstance(inputs, _NOT_CALLED):
        return inputs
    if context is None:
        context = run.spans[node.index].context = run.context(node)
    context.inputs = inputs
    step = node.step
    try:
        if node.is_shared or run.states[node.call].places is not None:
            reply = await _call_coordinated(run, node, inputs, context)
        else:
            reply = await run.calls[step](inputs, context)
        if reply.error_paths:
            note_errors(run, node, reply, context)
        return Success(await _select(step.select, reply.value, step, context.deadline) if step.select else reply.value)
    except Exception as error:  # noqa: BLE001 - also a defect of a step type; in a link it is the failure of one batch, not of all
        return _failure(run, node, error, context)


def _failure(run: Execution, node: Node, error: Exception, context: CallContext) -> Failure:
    if isinstance(error, StepFault):
        return run.failed(node, error, context)
    if isinstance(error, ExpressionError):
        return run.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"select: {error}"), context)
    return run.unexpected(node, error)


async def _select(select: Expression, value: object, step: Step, deadline: float) -> object:
    """Evaluate an expression of a step; over a large value in a thread, until the timeout of the step or the deadline.

    :raises StepFault: it takes too long.
    """
    try:
        return select.search(value)
    except TooMuchWork:
        pass
    try:
        return await search_in_thread(select, value, min(step.timeout, deadline - asyncio.get_running_loop().time()))
    except TimeoutError:
        raise StepFault(Code.GATEWAY_TIMEOUT, kind="timeout", detail=f"'{select.text}' takes too long") from None


async def _inputs_of_large_scope(run: Execution, node: Node, scope: Mapping[str, object] | None) -> Inputs | Failure | Skipped:
    """Return what ``_inputs`` returns, for a node whose ``when`` reads a large value."""
    assert node.step.when is not None
    state = run.states[node.call]
    try:
        is_met = _is_true(await _select(node.step.when, state.scope, node.step, state.deadline))
        return _inputs(run, node, scope, is_met=is_met)
    except StepFault as fault:
        return run.failed(node, fault)
    except ExpressionError as error:
        return run.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"when: {error}"))


def _inputs(
    run: Execution, node: Node, scope: Mapping[str, object] | None, *, is_met: bool | None = None
) -> Inputs | Failure | Skipped:
    """Return the rendered inputs of a node, or the outcome of a node that makes no call. ``is_met`` is the result of ``when``, if it is known.

    :raises TooMuchWork: ``when`` reads a large value.
    """
    step, own = node.step, run.states[node.call].scope
    try:
        if step.must_succeed:
            _check_needs(run, node)
        if step.when and not (_is_true(step.when.search(own)) if is_met is None else is_met):
            return Skipped(SkipReason.CONDITION)
        inputs = node.render(own if scope is None else scope)
    except MissingValue as missing:
        return _missing(run, node, missing.reference)
    except UnusableValue as unusable:
        message = f"The value of '{unusable.reference}' {unusable.reason}."
        return run.failed(node, StepFault(Code.BAD_USER_INPUT, message=message))
    except TooMuchWork:
        raise
    except ExpressionError as error:
        return run.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"when: {error}"))
    return {**inputs, "selection": node.selection} if step.takes_selection else inputs


def _check_needs(run: Execution, node: Node) -> None:
    """Check that the steps which the node's expressions read have succeeded: JMESPath would read null for them, without an error.

    :raises MissingValue: one of them has not succeeded.
    """
    for index in node.needs:
        name = run.plan.nodes[index].step.name
        if name in node.step.must_succeed and not isinstance(run.outcomes[index], Success):
            raise MissingValue(Reference((name,)))


def _missing(run: Execution, node: Node, reference: Reference) -> Failure | Skipped:
    """Return the outcome of a node with an input that is null: a failure if it is an argument of the client, otherwise Skipped."""
    root = reference.root
    if root in run.scope(node)["args"] or root == "args":  # type: ignore[operator]
        message = f"'{node.step.name}' was not called: the argument '{str(reference).removeprefix('args.')}' is null."
        return run.failed(node, StepFault(Code.BAD_USER_INPUT, message=message))
    # The cause is the failure that started it, also over several skipped steps: the client is told of that one.
    for index in node.needs:
        outcome = run.outcomes[index]
        if run.plan.nodes[index].step.name == root and isinstance(outcome, Failure):
            return Skipped(SkipReason.MISSING_INPUT, outcome)
        if run.plan.nodes[index].step.name == root and isinstance(outcome, Skipped):
            return Skipped(SkipReason.MISSING_INPUT, outcome.cause)
    return Skipped(SkipReason.MISSING_INPUT)


async def _call_coordinated(run: Execution, node: Node, inputs: Inputs, context: CallContext) -> Reply:
    """Make a call that depends on others of its request: it waits for a place in its operation's ``concurrency``, or joins an equal call."""
    places = run.states[node.call].places
    if places is None:
        return await _call_shared(run, node, inputs, context)
    context.begin_wait(asyncio.get_running_loop().time())
    await until_deadline(places.acquire(), context)
    try:
        context.end_wait(asyncio.get_running_loop().time())
        return await (_call_shared(run, node, inputs, context) if node.is_shared else run.calls[node.step](inputs, context))
    finally:
        places.release()


async def _call_shared(run: Execution, node: Node, inputs: Inputs, context: CallContext) -> Reply:
    """Make a call together with equal nodes of this request. It does not end with the node that started it if another node still waits."""
    assert run.shared is not None
    common, reply = run.shared.call(run.calls[node.step], node.step, inputs, context)
    # The trace shows attempts and waits of the call that is made; a link sums up the contexts of its calls itself.
    if node.use is None:
        run.spans[node.index].context = common
    try:
        return await reply
    finally:
        context.faults = common.faults


def _is_true(value: object) -> bool:
    """Tell whether a value is true in JMESPath: all but null, false and empty strings, lists and objects. 0 is true, unlike in Python."""
    return value not in (None, False, "", [], {}) or (value == 0 and value is not False)
