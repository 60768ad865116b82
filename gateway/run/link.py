"""A link's node → what it found for all parents of its level: one call for each batch of distinct keys, as many at once as there are places."""

import asyncio

from gateway.blueprint import Link
from gateway.contract import CallContext
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.errors import Code, StepFault
from gateway.plan.nodes import LinkUse, Node
from gateway.run.execution import Execution
from gateway.run.fallback import stand_in
from gateway.run.joins import BatchCall, Joined, batches, match, parents_of, scope_of, tabulate, wanted
from gateway.run.node import perform_step

_NOTHING = (Failure, Skipped)


async def follow_link(run: Execution, node: Node, use: LinkUse) -> Outcome:
    """Find what a link leads to for all parents of its level."""
    parent, link = run.outcomes[use.parent], use.link
    if not isinstance(parent, Success):
        return Skipped(SkipReason.MISSING_INPUT, parent if isinstance(parent, Failure) else parent.cause if parent else None)
    joined = run.joins[node.index] = wanted(link, parents_of(parent.value, use.hops))
    total = run.spans[node.index].context = run.context(node)
    if len(joined.parents) <= link.max:
        joined.calls = [BatchCall(joined.parents, total)] if joined.parents else []
        for call in joined.calls:
            await _join(run, node, call, joined, total)
    else:
        joined.calls = [BatchCall(batch, run.context(node)) for batch in batches(link, joined.parents)]
        await _join_all(run, node, joined, total)
        # Batches end in any order, but the links below ask for the same keys in the same calls whichever was first.
        joined.values = {key: joined.values.get(key) for key in joined.parents}
    first = next(iter(joined.values.values()), None)
    if isinstance(first, _NOTHING) and all(value == first for value in joined.values.values()):
        return first
    tabulate(link, joined)
    return Success(joined)


async def _join_all(run: Execution, node: Node, joined: Joined, total: CallContext) -> None:
    waiting = iter(joined.calls)

    async def work() -> None:
        for call in waiting:
            await _join(run, node, call, joined, total)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_width(run, node), len(joined.calls))):
            group.create_task(work())


def _width(run: Execution, node: Node) -> int:
    """Return how many calls of one link run at once: no more than its source and its operation have places for."""
    source, operation = node.step.source, run.plan.calls[node.call].operation
    return min(source.keys.concurrency if source else 1, operation.concurrency or 1000)


async def _join(run: Execution, node: Node, call: BatchCall, joined: Joined, total: CallContext) -> None:
    """Make the call for one batch and put what it found, or what stands in for that, to its keys. ``total`` sums up waits and attempts."""
    assert node.use is not None
    link: Link = node.use.link
    outcome = await perform_step(run, node, run.scope(node) | scope_of(link, call.batch), call.context)
    if call.context is not total:
        total.attempts, total.queued = total.attempts + call.context.attempts, total.queued + call.context.queued
    results = match(link, call.batch, outcome.value) if isinstance(outcome, Success) else {}
    if results is None:
        outcome = run.failed(node, StepFault(Code.RESPONSE_VALIDATION_FAILED, detail="not a list of objects"), call.context)
    if isinstance(outcome, Success):
        joined.values.update(results or {})
        call.is_settled = True
    else:
        stand_in(run, node, call, outcome)
