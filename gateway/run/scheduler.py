"""When each node starts and when an operation ends. There is no barrier: a node starts the moment the last of its own prerequisites has ended.

The paper's pseudocode (5.4) runs ready nodes in batches, and a batch makes unrelated chains wait for each other. Here each node
counts down what it waits for. At its deadline an operation's unfinished nodes are cancelled, and what is there is the result.
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
from gateway.run.fallback import kept, late, served, wants_fallback
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
    """Run a plan. ``arguments`` has the coerced arguments of each operation call, ``replies`` what stale fallbacks can give.

    A cancellation (the client left) cancels every call that is under way. The answer does not wait for what is cancelled: such tasks
    are put into ``unwinding`` and leave it when they have ended.
    """
    execution = Execution(plan, calls, request, arguments, ReplyCache() if replies is None else replies)
    return run_chain(execution) if plan.is_chain else _Scheduler(execution, unwinding).run()


class _Scheduler:
    """Starts the nodes of one run. A task performs a node and then, of those that waited for it alone, one after the other."""

    def __init__(self, execution: Execution, unwinding: set[asyncio.Future[Any]]) -> None:
        plan = execution.plan
        self.shared = execution.shared = SharedCalls(unwinding, keeps=True)
        self.execution = execution
        self.plan = plan
        self.unwinding = unwinding
        self.loop = asyncio.get_running_loop()
        self.waiting = list(plan.waiting)
        self.demanded = [not node.is_lazy for node in plan.nodes]
        """Whose outcomes are wanted; a fallback wants one more."""
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.cancelled: set[asyncio.Task[Any]] = set()
        self.substitutes: dict[int, asyncio.Future[Outcome]] = {}

    async def run(self) -> Results:
        """Run all operation calls: side by side, or those of a mutation one after the other (GraphQL spec 6.2.2)."""
        states = self.execution.states
        timers = [self.loop.call_at(state.deadline, self.expire, index) for index, state in enumerate(states) if state.unsettled]
        try:
            for batch in [[call] for call in self.plan.calls] if self.plan.is_mutation else [self.plan.calls]:
                await self.run_calls(batch)
        finally:
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
        """Run operation calls side by side, to the end of the last."""
        nodes = self.plan.nodes
        for index in (index for call in calls for index in call.first):
            self.start(nodes[index])
        for call in calls:
            state = self.execution.states[call.index]
            if state.unsettled:
                state.finished = self.loop.create_future()
                await state.finished

    def demand(self, index: int) -> None:
        """Want a node's outcome, and with it everything that it waits for; start those that wait for nothing."""
        if self.demanded[index]:
            return
        self.demanded[index] = True
        node = self.plan.nodes[index]
        for other in node.prerequisites:
            self.demand(other)
        if self.waiting[index] == 0:
            self.start(node)

    def start(self, node: Node) -> None:
        """Perform a node in a task of its own."""
        self.execution.spans[node.index].ready = self.loop.time()
        self.tasks[node.index] = self.loop.create_task(self.perform(node))

    async def perform(self, node: Node) -> None:
        """Bring a node to its outcome, and then one that it was the last to be waited for by. The task of nodes; it never raises."""
        run, task = self.execution, self.tasks[node.index]
        while True:
            try:
                outcome = await (perform_step(run, node) if node.use is None else follow_link(run, node, node.use))
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a defect of a step type is a failure of the step
                outcome = run.unexpected(node, error)
            can_fall_back = node.step.fallbacks and node.use is None  # those of a link stand in for each of its calls
            if can_fall_back and run.outcomes[node.index] is None and wants_fallback(node, outcome):
                outcome = await self.fall_back(node, outcome)
            ready = self.settle(node, outcome)
            if not ready:
                return
            for other in ready[1:]:
                self.start(other)
            node = ready[0]
            run.spans[node.index].ready = self.loop.time()
            self.tasks[node.index] = task

    def settle(self, node: Node, outcome: Outcome) -> list[Node]:
        """Record how a node ended, once; return the nodes that can start now because they waited for it alone."""
        run, index = self.execution, node.index
        if run.outcomes[index] is not None:
            return []
        run.outcomes[index] = outcome
        run.spans[index].ended = self.loop.time()
        state = run.states[node.call]
        state.scope[node.step.name] = outcome.value if isinstance(outcome, Success) else None
        if node.step.is_required and isinstance(outcome, Failure) and not node.is_lazy:
            self.block(node, outcome)
        ready = []
        for other in self.plan.dependents[index]:
            self.waiting[other] -= 1
            if self.waiting[other] == 0 and self.demanded[other] and run.outcomes[other] is None:
                ready.append(self.plan.nodes[other])
        waiter = self.substitutes.get(index)
        if waiter and not waiter.done():
            waiter.set_result(outcome)
        if not node.is_lazy:
            state.unsettled -= 1
            if state.unsettled == 0 and state.finished and not state.finished.done():
                state.finished.set_result(None)
        return ready

    # -- the end of an operation

    def block(self, failed: Node, failure: Failure) -> None:
        """End an operation without a value: a required step has failed (paper 7.2)."""
        if self.execution.blocked[failed.call] is None:
            self.execution.blocked[failed.call] = failure
            self.stop(failed.call)

    def expire(self, call: int) -> None:
        """End an operation at its deadline with what is there."""
        for index in self.plan.calls[call].nodes:
            node = self.plan.nodes[index]
            if self.execution.outcomes[index] is None and (self.demanded[index] or not node.is_lazy):
                self.settle(node, late(self.execution, node))
        self.stop(call)

    def stop(self, call: int) -> None:
        """Cancel what an operation still runs and give every node of it that has no outcome that of what was cancelled."""
        for index in self.plan.calls[call].nodes:
            if self.execution.outcomes[index] is None and self.demanded[index]:
                self.settle(self.plan.nodes[index], _CANCELLED)
            if index in self.tasks:
                self.cancel(self.tasks[index])
        state = self.execution.states[call]
        if state.finished and not state.finished.done():
            state.finished.set_result(None)

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, once: a second time would interrupt the closing of what it holds."""
        if not task.done() and task not in self.cancelled:
            self.cancelled.add(task)
            task.cancel()

    # -- fallbacks

    async def fall_back(self, node: Node, primary: Outcome) -> Outcome:
        """Try the fallbacks in order; when none has a value the primary's outcome stands."""
        self.execution.primaries[node.index] = primary
        for fallback in node.step.fallbacks:
            if fallback.step is not None:
                outcome = await self.substitute(node, fallback.step)
                instead = served(primary, outcome.value, fallback.served_by) if isinstance(outcome, Success) else None
            else:
                instead = kept(self.execution, node, primary, fallback, self.execution.spans[node.index].context)
            if instead is not None:
                return instead
        return primary

    async def substitute(self, node: Node, step: str) -> Outcome:
        """Return the outcome of a fallback step's node, which runs only now unless the query asked for it as well."""
        index = node.substitutes[step]
        outcome = self.execution.outcomes[index]
        if outcome is not None:
            return outcome
        if index not in self.substitutes:
            self.substitutes[index] = self.loop.create_future()
        self.execution.fallbacks.setdefault(node.index, []).append(index)
        self.demand(index)
        return await asyncio.shield(self.substitutes[index])
