"""A link's node → what it found for all parents of its level: one call for each batch of distinct keys, as many at once as there are places."""

import asyncio

from gateway.blueprint import Link
from gateway.engine.execution import Execution
from gateway.engine.node import perform_step
from gateway.errors import Code, StepFault
from gateway.links import Found, Parents, batches, match, parents_of, scope_of, tabulate, wanted
from gateway.outcome import Failure, Outcome, Reason, Skipped, Success
from gateway.plan import LinkUse, Node
from gateway.resolver import CallContext


async def follow_link(run: Execution, node: Node, use: LinkUse) -> Outcome:
    """Find what a link leads to for all parents of its level."""
    parent, link = run.outcomes[use.parent], use.link
    if not isinstance(parent, Success):
        return Skipped(Reason.MISSING_INPUT, parent if isinstance(parent, Failure) else parent.cause if parent else None)
    joined = run.joins[node.index] = wanted(link, parents_of(parent.value, use.hops))
    context = run.spans[node.index].context = run.context(node)
    cut = batches(link, joined.parents)
    if len(cut) == 1:
        await _join(run, node, cut[0], joined, context)
    else:
        await _join_all(run, node, cut, joined, context)
    first = next(iter(joined.values.values()), None)
    if isinstance(first, Failure | Skipped) and all(value == first for value in joined.values.values()):
        return first
    # Batches end in any order, but the links below ask for the same keys in the same calls whichever was first.
    joined.values = {key: joined.values.get(key) for key in joined.parents}
    tabulate(link, joined)
    return Success(joined)


async def _join_all(run: Execution, node: Node, cut: list[Parents], joined: Found, context: CallContext) -> None:
    waiting = iter(cut)

    async def work() -> None:
        for batch in waiting:
            await _join(run, node, batch, joined, context)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(_width(run, node), len(cut))):
            group.create_task(work())


def _width(run: Execution, node: Node) -> int:
    """Return how many calls of one link run at once: no more than its source and its operation have places for."""
    source, operation = node.step.source, run.plan.calls[node.call].operation
    return min(source.keys.concurrency if source else 1, operation.concurrency or 1000)


async def _join(run: Execution, node: Node, batch: Parents, joined: Found, total: CallContext) -> None:
    """Make the call for one batch and put what it found, or its failure, to its keys. ``total`` sums up waits and attempts."""
    assert node.use is not None
    link: Link = node.use.link
    context = run.context(node)
    outcome = await perform_step(run, node, {**run.scope(node), **scope_of(link, batch)}, context)
    total.attempts, total.queued = total.attempts + context.attempts, total.queued + context.queued
    if isinstance(outcome, Success):
        results = match(link, batch, outcome.value)
        if results is not None:
            joined.values |= results
            return
        outcome = run.failed(node, StepFault(Code.RESPONSE_VALIDATION_FAILED, detail="not a list of objects"))
    if isinstance(outcome, Failure):
        joined.fail(batch, outcome)
    else:
        joined.values |= dict.fromkeys(batch, outcome)
