"""Perform the node of a link: collect the keys of all parents of its level, make one call for each batch of them, match the results to the keys."""

import asyncio

from gateway.blueprint import Link
from gateway.contract import CallContext
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.errors import Code, StepFault
from gateway.plan.nodes import LinkUse, Node
from gateway.run.execution import MAX_ARGUMENT_BYTES, Execution
from gateway.run.fallback import settle_failed_batch
from gateway.run.joins import (
    BatchCall,
    Key,
    LinkResult,
    Parents,
    batch_scope,
    build_table,
    collect_keys,
    match_results,
    parents_at,
    split_batches,
)
from gateway.run.node import perform_step
from gateway.run.reported_errors import note_batch_errors, without_nulls

_WITHOUT_VALUE = (Failure, Skipped)


async def follow_link(run: Execution, node: Node, use: LinkUse) -> Outcome:
    """Load the values of a link for all parents of its level.

    A success holds a :class:`LinkResult`, also if some calls have failed; there is a failure only if all have failed, and alike.
    """
    parent, link = run.outcomes[use.parent], use.link
    if not isinstance(parent, Success):
        return Skipped(SkipReason.MISSING_INPUT, parent if isinstance(parent, Failure) else parent.cause if parent else None)
    # The result is kept in the run from the start, so that at the deadline the batches that have ended keep their values.
    result = run.link_results[node.index] = collect_keys(link, parents_at(parent.value, use.hops))
    total = run.spans[node.index].context = run.context(node)
    if len(result.parents) <= link.max and run.calls_left > 0:
        # One batch, as nearly always: its call is awaited here, without a task.
        result.calls = [BatchCall(result.parents, total)] if result.parents else []
        run.calls_left -= 1
        for call in result.calls:
            await _load_batch(run, node, call, result, total)
    else:
        max_calls = run.take_calls(node, -(-len(result.parents) // link.max))
        batches, refused = split_batches(link, result.parents, max_calls)
        result.calls = [BatchCall(batch, run.context(node)) for batch in batches]
        if refused:
            _refuse(run, node, refused, result)
        await _load_batches(run, node, result, total)
        # Batches end in any order. Sort by parent, so that links below have the same batches in each run of the document.
        result.values = {key: result.values.get(key) for key in result.parents}
    first = next(iter(result.values.values()), None)
    if isinstance(first, _WITHOUT_VALUE) and all(value == first for value in result.values.values()):
        return first
    build_table(link, result)
    return Success(result)


def _refuse(run: Execution, node: Node, keys: Parents, result: LinkResult) -> None:
    """Let the keys fail for which there is no call left (``limits: max_calls``), or whose calls would repeat too large arguments."""
    call = BatchCall(keys, run.context(node))
    limit = f"make {run.plan.max_calls} calls" if run.calls_left <= 0 else f"repeat arguments up to {MAX_ARGUMENT_BYTES} bytes"
    message = f"'{node.step.name}' was not called: the links of one request may {limit}."
    fault = StepFault(Code.REQUEST_LIMIT_EXCEEDED, message=message)
    settle_failed_batch(run, node, call, run.failed(node, fault, call.context))


async def _load_batches(run: Execution, node: Node, result: LinkResult, total: CallContext) -> None:
    """Make the calls of all batches. Each worker takes the next batch from one iterator, so there are no more tasks than calls at once."""
    remaining = iter(result.calls)

    async def work() -> None:
        for call in remaining:
            await _load_batch(run, node, call, result, total)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_max_concurrent_calls(run, node), len(result.calls))):
            group.create_task(work())


def _max_concurrent_calls(run: Execution, node: Node) -> int:
    """Return how many calls of one link may run at once: the lower ``concurrency`` of its source and its operation.

    More would only fill the queue of the source, which refuses calls when it is full.
    """
    source, operation = node.step.source, run.plan.calls[node.call].operation
    return min(source.keys.concurrency if source else 1, operation.concurrency or 1000)


async def _load_batch(run: Execution, node: Node, call: BatchCall, result: LinkResult, total: CallContext) -> None:
    """Make the call for one batch and assign its results, or the values of a fallback, to the keys. Add its attempts and waits to ``total``."""
    assert node.use is not None
    link: Link = node.use.link
    outcome = await perform_step(run, node, run.scope(node) | batch_scope(link, call.batch), call.context)
    if call.context is not total:
        total.attempts, total.queued = total.attempts + call.context.attempts, total.queued + call.context.queued
    values: dict[Key, object] | None = {}
    if isinstance(outcome, Success):
        has_errors = bool(call.context.error_paths)
        values = match_results(link, call.batch, without_nulls(outcome.value) if has_errors else outcome.value)
        if has_errors and values is not None:
            note_batch_errors(run, node, outcome.value, values, call.context)
    if values is None:
        outcome = run.failed(node, StepFault(Code.RESPONSE_VALIDATION_FAILED, detail="not a list of objects"), call.context)
    if isinstance(outcome, Success):
        result.values.update(values or {})
        call.is_settled = True
    else:
        settle_failed_batch(run, node, call, outcome)
