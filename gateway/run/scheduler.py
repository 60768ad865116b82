"""Run a plan as a graph of tasks: each node starts as soon as the last of its own prerequisites has ended.

The paper's pseudocode (5.4) runs ready nodes in batches, and a batch makes unrelated chains wait for each other. Here each node has a
count of unfinished prerequisites (its in-degree) and starts when the count reaches zero. At the deadline of an operation its unfinished
nodes are cancelled, and the outcomes so far are the result.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from gateway.blueprint import Step
from gateway.contract import Call, RequestContext
from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from gateway.document.coercion import Arguments
from gateway.plan.nodes import Node, OperationCall, Plan
from gateway.run.chain import run_chain
from gateway.run.execution import Execution
from gateway.run.fallback import deadline_outcome, fallback_success, immediate_fallback, should_fall_back
from gateway.run.link import follow_link
from gateway.run.node import perform_step
from gateway.run.reply_cache import ReplyCache
from gateway.run.results import Results
from gateway.run.shared_calls import SharedCalls

_CANCELLED = Skipped(SkipReason.CANCELLED)


def run(
    plan: Plan,
    calls: Mapping[Step, Call],
    request: RequestContext,
    arguments: Arguments,
    unwinding: set[asyncio.Future[Any]],
    replies: ReplyCache | None = None,
) -> Coroutine[Any, Any, Results]:
    """Return a coroutine that runs a plan.

    ``arguments`` has the coerced arguments of each operation call, ``replies`` the last replies, for stale fallbacks. When the
    coroutine is cancelled (the client has disconnected), it cancels all of its upstream calls. The result does not wait for cancelled
    tasks: they are added to ``unwinding``, and remove themselves when they have ended.
    """
    execution = Execution(plan, calls, request, arguments, ReplyCache() if replies is None else replies)
    return run_chain(execution) if plan.is_chain else _Scheduler(execution, unwinding).run()


class _Scheduler:
    """The scheduler of one run, for plans that are not chains.

    One task performs a node and then continues with a dependent that has become ready; further ready dependents get tasks of their own.
    Everything runs on one event loop, so that no state needs a lock.
    """

    def __init__(self, execution: Execution, unwinding: set[asyncio.Future[Any]]) -> None:
        plan = execution.plan
        self.shared = execution.shared = SharedCalls(unwinding, keeps=True)
        self.execution = execution
        self.plan = plan
        self.unwinding = unwinding
        self.loop = asyncio.get_running_loop()
        self.pending = list(plan.in_degrees)
        """How many prerequisites of each node have not ended yet."""
        self.is_demanded = [not node.is_lazy for node in plan.nodes]
        """Whether each node shall run. A lazy one is demanded when a fallback needs its value."""
        self.tasks: dict[int, asyncio.Task[None]] = {}
        """The task that performs or has performed each node; several nodes may have the same."""
        self.cancelled: set[asyncio.Task[Any]] = set()
        self.substitute_outcomes: dict[int, asyncio.Future[Outcome]] = {}
        """The outcomes of fallback steps' nodes that other nodes wait for."""

    async def run(self) -> Results:
        """Run all operation calls: concurrently, or those of a mutation one after the other (GraphQL spec 6.2.2)."""
        states = self.execution.states
        # All deadlines count from the arrival of the request, also those of calls of a mutation that start later.
        timers = [self.loop.call_at(state.deadline, self.expire, index) for index, state in enumerate(states) if state.unsettled]
        try:
            for group in [[call] for call in self.plan.calls] if self.plan.is_mutation else [self.plan.calls]:
                await self.run_calls(group)
        finally:
            # Cancel without awaiting: the response must not wait for an upstream call that is slow to end.
            for timer in timers:
                timer.cancel()
            self.shared.cancel()
            for task in self.tasks.values():
                if not task.done():
                    self.cancel(task)
                    self.unwinding.add(task)
                    task.add_done_callback(self.unwinding.discard)
        return self.execution

    async def run_calls(self, calls: Sequence[OperationCall]) -> None:
        """Start operation calls together, and wait until all have ended."""
        nodes = self.plan.nodes
        for index in (index for call in calls for index in call.first):
            self.start(nodes[index])
        for call in calls:
            state = self.execution.states[call.index]
            if state.unsettled:
                state.finished = self.loop.create_future()
                await state.finished

    def demand(self, index: int) -> None:
        """Demand a lazy node and, recursively, its prerequisites; start those that have no unfinished prerequisite."""
        if self.is_demanded[index]:
            return
        self.is_demanded[index] = True
        node = self.plan.nodes[index]
        for other in node.prerequisites:
            self.demand(other)
        if self.pending[index] == 0:
            self.start(node)

    def start(self, node: Node) -> None:
        """Perform a node in a task of its own."""
        self.execution.spans[node.index].ready = self.loop.time()
        self.tasks[node.index] = self.loop.create_task(self.perform(node))

    async def perform(self, node: Node) -> None:
        """Perform a node, then one dependent that is ready because of it, and so on. This is the body of a task; it does not raise."""
        run, task = self.execution, self.tasks[node.index]
        while True:
            try:
                outcome = await (perform_step(run, node) if node.use is None else follow_link(run, node, node.use))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
                outcome = run.unexpected(node, error)
            can_fall_back = node.step.fallbacks and node.use is None  # a link has applied its fallbacks to each batch already
            # There may be an outcome already: the deadline or a required failure has ended the operation while the node ran.
            if can_fall_back and run.outcomes[node.index] is None and should_fall_back(node, outcome):
                outcome = await self.fall_back(node, outcome)
            ready = self.settle(node, outcome)
            if not ready:
                return
            for other in ready[1:]:
                self.start(other)
            # Continue in this task: a sequence of dependents costs one task instead of one for each node.
            node = ready[0]
            run.spans[node.index].ready = self.loop.time()
            self.tasks[node.index] = task

    def settle(self, node: Node, outcome: Outcome) -> list[Node]:
        """Record the outcome of a node, if it has none yet; return the demanded nodes that are ready to start because of it."""
        run, index = self.execution, node.index
        if run.outcomes[index] is not None:
            return []
        run.outcomes[index] = outcome
        run.spans[index].ended = self.loop.time()
        state = run.states[node.call]
        state.scope[node.step.name] = outcome.value if isinstance(outcome, Success) else None
        # Before dependents are counted down: `block` gives them the outcome CANCELLED, so that none of them counts as ready.
        # A required step that runs only as a fallback does not block its operation: the step that it replaces decides.
        if node.step.is_required and isinstance(outcome, Failure) and not node.is_lazy:
            self.block(node, outcome)
        ready = []
        for other in self.plan.dependents[index]:
            self.pending[other] -= 1
            if self.pending[other] == 0 and self.is_demanded[other] and run.outcomes[other] is None:
                ready.append(self.plan.nodes[other])
        substitute_outcome = self.substitute_outcomes.get(index)
        if substitute_outcome and not substitute_outcome.done():
            substitute_outcome.set_result(outcome)
        if not node.is_lazy:
            state.unsettled -= 1
            if state.unsettled == 0 and state.finished and not state.finished.done():
                state.finished.set_result(None)
        return ready

    # -- the end of an operation

    def block(self, failed: Node, failure: Failure) -> None:
        """End an operation with the failure of a required step: its data is null (paper 7.2)."""
        if self.execution.blocked[failed.call] is None:
            self.execution.blocked[failed.call] = failure
            self.stop(failed.call)

    def expire(self, call: int) -> None:
        """End an operation at its deadline: give each unfinished node a timeout, or the value of a fallback that takes no time."""
        for index in self.plan.calls[call].nodes:
            node = self.plan.nodes[index]
            if self.execution.outcomes[index] is None and self.is_demanded[index]:
                # Nodes that become ready are not started: this loop gives them their outcome too.
                self.settle(node, deadline_outcome(self.execution, node))
        self.stop(call)

    def stop(self, call: int) -> None:
        """Cancel the tasks of an operation, give its unfinished nodes the outcome CANCELLED, and wake up who waits for its end."""
        for index in self.plan.calls[call].nodes:
            if self.execution.outcomes[index] is None and self.is_demanded[index]:
                self.settle(self.plan.nodes[index], _CANCELLED)
            # One of the tasks may be the current one, when a required step has failed. It returns after this, and so ends as cancelled.
            if index in self.tasks:
                self.cancel(self.tasks[index])
        state = self.execution.states[call]
        if state.finished and not state.finished.done():
            state.finished.set_result(None)

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, but only once: a second cancellation would interrupt its cleanup."""
        if not task.done() and task not in self.cancelled:
            self.cancelled.add(task)
            task.cancel()

    # -- fallbacks

    async def fall_back(self, node: Node, primary: Outcome) -> Outcome:
        """Try the fallbacks of a node in order; return the outcome of the primary (the node's own step) if none has a value."""
        self.execution.primaries[node.index] = primary
        for fallback in node.step.fallbacks:
            if fallback.step is not None:
                outcome = await self.run_substitute(node, fallback.step)
                success = fallback_success(primary, outcome.value, fallback.served_by) if isinstance(outcome, Success) else None
            else:
                success = immediate_fallback(self.execution, node, primary, fallback, self.execution.spans[node.index].context)
            if success is not None:
                return success
        return primary

    async def run_substitute(self, node: Node, step: str) -> Outcome:
        """Return the outcome of a fallback step's node. It starts now, unless the query or another node has started it already."""
        index = node.substitutes[step]
        outcome = self.execution.outcomes[index]
        if outcome is not None:
            return outcome
        if index not in self.substitute_outcomes:
            self.substitute_outcomes[index] = self.loop.create_future()
        self.execution.fallbacks.setdefault(node.index, []).append(index)
        self.demand(index)
        # Several nodes may wait for this future: the cancellation of one must not cancel it for the others.
        return await asyncio.shield(self.substitute_outcomes[index])
