"""Plan + calls → outcomes. There is no barrier: a node starts the moment the last of its own prerequisites has ended.

The paper's pseudocode (5.4) runs ready nodes in batches, and a batch makes unrelated chains wait for each other. Here each node
counts down what it waits for. At its deadline an operation's unfinished nodes are cancelled, and what is there is the result.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.blueprint import FallbackStale, FallbackStep, FallbackValue, Link, Step
from gateway.errors import Code, StepFault
from gateway.expression import ExpressionError
from gateway.last_values import LastValues
from gateway.links import Batch, Found, Key, batches, match, parents_of, scope_of, wanted
from gateway.outcome import Failure, Outcome, Reason, Skipped, Success
from gateway.plan import LinkUse, Node, OperationCall, Plan
from gateway.resolver import Call, CallContext, Inputs, Reply, RequestContext
from gateway.template import MissingValue, Reference, UnusableValue, render

log = logging.getLogger("stepgraph.engine")


@dataclass(slots=True)
class Span:
    """When a node was ready and when it ended (event loop clock), and its call, which knows of waits and attempts."""

    ready: float | None = None
    ended: float | None = None
    context: CallContext | None = None


@dataclass(frozen=True, slots=True)
class Arguments:
    """Coerced arguments: of each operation call in order, and of link nodes by their index. Those not given are null."""

    calls: Sequence[Mapping[str, object]]
    links: Mapping[int, Mapping[str, object]] = field(default_factory=dict)


@dataclass(slots=True)
class _SharedCall:
    """A call that several nodes wait for; the last of them to go takes it along."""

    task: asyncio.Task[Reply]
    context: CallContext
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """How a run ended: an outcome and a span for each node, and for each operation the required node that failed, if one did.

    ``outcomes`` has None for lazy nodes that nothing asked for.
    """

    outcomes: Sequence[Outcome | None]
    spans: Sequence[Span]
    blocked: Sequence[Failure | None]
    fallbacks: Mapping[int, Sequence[int]] = field(default_factory=dict)
    """The nodes of fallback steps that each node has waited for."""


async def run(
    plan: Plan,
    calls: Mapping[Step, Call],
    request: RequestContext,
    arguments: Arguments,
    unwinding: set[asyncio.Task[Any]],
    last_values: LastValues | None = None,
) -> Results:
    """Run a plan. ``arguments`` has the coerced arguments of each operation call, ``last_values`` what stale fallbacks can give.

    A cancellation (the client left) cancels every call that is under way. The answer does not wait for what is cancelled: such tasks
    are put into ``unwinding`` and leave it when they have ended.
    """
    execution = _Execution(plan, calls, request, arguments, unwinding, last_values or LastValues())
    await execution.run()
    return Results(execution.outcomes, execution.spans, [state.blocked for state in execution.states], execution.fallbacks)


@dataclass(slots=True)
class _CallState:
    """One operation call while it runs: its scope, its deadline, and how many of its eager nodes have not ended."""

    scope: dict[str, object]
    deadline: float
    unsettled: int
    finished: asyncio.Future[None]
    places: asyncio.Semaphore | None
    blocked: Failure | None = None


@dataclass(slots=True)
class _Execution:
    plan: Plan
    calls: Mapping[Step, Call]
    request: RequestContext
    arguments: Arguments
    unwinding: set[asyncio.Task[Any]]
    last_values: LastValues
    outcomes: list[Outcome | None] = field(init=False)
    spans: list[Span] = field(init=False)
    states: list[_CallState] = field(init=False)
    waiting: list[int] = field(init=False)
    dependents: list[list[int]] = field(init=False)
    demanded: list[bool] = field(init=False)
    tasks: dict[int, asyncio.Task[None]] = field(init=False, default_factory=dict)
    joins: dict[int, tuple[Found, Collection[Key]]] = field(init=False, default_factory=dict)
    inputs: dict[int, Inputs] = field(init=False, default_factory=dict)
    primaries: dict[int, Outcome] = field(init=False, default_factory=dict)
    substitutes: dict[int, asyncio.Future[Outcome]] = field(init=False, default_factory=dict)
    fallbacks: dict[int, list[int]] = field(init=False, default_factory=dict)
    cancelled: set[asyncio.Task[Any]] = field(init=False, default_factory=set)
    shared: dict[tuple[str, str], _SharedCall] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.plan.nodes)
        self.outcomes = [None] * count
        self.spans = [Span() for _ in range(count)]
        self.waiting = [len(node.needs) + len(node.follows) for node in self.plan.nodes]
        self.dependents = [[] for _ in range(count)]
        self.demanded = [False] * count
        for node in self.plan.nodes:
            for other in (*node.needs, *node.follows):
                self.dependents[other].append(node.index)
        self.states = [self.state(call) for call in self.plan.calls]

    def state(self, call: OperationCall) -> _CallState:
        arguments = self.arguments.calls[call.index]
        scope: dict[str, object] = {**arguments, "args": arguments}
        if self.plan.reads_request:
            scope["request"] = {"id": self.request.request_id, "headers": self.request.headers}
        if self.plan.reads_context:
            scope["context"] = self.request.values
        operation = call.operation
        return _CallState(
            scope,
            self.request.arrived_at + operation.deadline,
            sum(not self.plan.nodes[index].is_lazy for index in call.nodes),
            asyncio.get_running_loop().create_future(),
            asyncio.Semaphore(operation.concurrency) if operation.concurrency else None,
        )

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        timers = [loop.call_at(state.deadline, self.expire, index) for index, state in enumerate(self.states) if state.unsettled]
        try:
            for batch in [[call] for call in self.plan.calls] if self.plan.is_mutation else [self.plan.calls]:
                await self.run_calls(batch)
        finally:
            for timer in timers:
                timer.cancel()
            for task in (*self.tasks.values(), *(call.task for call in self.shared.values())):
                if not task.done():
                    self.cancel(task)
                    self.unwinding.add(task)
                    task.add_done_callback(self.unwinding.discard)

    async def run_calls(self, calls: Sequence[OperationCall]) -> None:
        """Run operation calls side by side, to the end of the last."""
        for call in calls:
            for index in call.nodes:
                if not self.plan.nodes[index].is_lazy:
                    self.demand(index)
        for call in calls:
            if self.states[call.index].unsettled:
                await self.states[call.index].finished

    # -- scheduling

    def demand(self, index: int) -> None:
        """Want a node's outcome, and with it everything that it waits for; start it when it waits for nothing."""
        if self.demanded[index]:
            return
        self.demanded[index] = True
        node = self.plan.nodes[index]
        for other in (*node.needs, *node.follows):
            self.demand(other)
        if self.waiting[index] == 0:
            self.start(node)

    def start(self, node: Node) -> None:
        self.spans[node.index].ready = asyncio.get_running_loop().time()
        self.tasks[node.index] = asyncio.create_task(self.perform(node))

    def settle(self, node: Node, outcome: Outcome) -> None:
        """Record how a node ended, once, and start whatever waited for it alone."""
        index = node.index
        if self.outcomes[index] is not None:
            return
        self.outcomes[index] = outcome
        self.spans[index].ended = asyncio.get_running_loop().time()
        state = self.states[node.call]
        state.scope[node.step.name] = outcome.value if isinstance(outcome, Success) else None
        if isinstance(outcome, Failure) and node.step.is_required and not node.is_lazy:
            self.block(node, outcome)
        for other in self.dependents[index]:
            self.waiting[other] -= 1
            if self.waiting[other] == 0 and self.demanded[other] and self.outcomes[other] is None:
                self.start(self.plan.nodes[other])
        waiter = self.substitutes.get(index)
        if waiter and not waiter.done():
            waiter.set_result(outcome)
        if not node.is_lazy:
            state.unsettled -= 1
            if state.unsettled == 0 and not state.finished.done():
                state.finished.set_result(None)

    def block(self, failed: Node, failure: Failure) -> None:
        """End an operation without a value: a required step has failed (paper 7.2)."""
        state = self.states[failed.call]
        if state.blocked is None:
            state.blocked = failure
            self.stop(failed.call, Skipped(Reason.CANCELLED))

    def expire(self, call: int) -> None:
        """End an operation at its deadline with what is there."""
        for index in self.plan.calls[call].nodes:
            node = self.plan.nodes[index]
            if self.outcomes[index] is None and (self.demanded[index] or not node.is_lazy):
                self.settle(node, self.late(node))
        self.stop(call, Skipped(Reason.CANCELLED))

    def late(self, node: Node) -> Outcome:
        """Return the outcome of a node that the deadline cuts off: only a fallback that needs no time is not too late."""
        primary = self.primaries.get(node.index)
        if primary is None:
            primary = self.failed(node, StepFault(Code.GATEWAY_TIMEOUT, detail="cut at the deadline of the operation"), [])
            if node.index in self.joins:
                joined, keys = self.joins[node.index]
                joined.fail(keys, primary)
                return Success(joined)
        kept = (self.kept(node, primary, fallback) for fallback in node.step.fallbacks if not isinstance(fallback, FallbackStep))
        return next((outcome for outcome in kept if outcome is not None), primary)

    def kept(self, node: Node, primary: Outcome, fallback: FallbackValue | FallbackStale) -> Success | None:
        """Return what a fallback that needs no time gives: a constant, or the last good value of this very call if it is not too old."""
        if isinstance(fallback, FallbackValue):
            return self.served(primary, fallback.value, "value")
        inputs = self.inputs.get(node.index)
        last = self.last_values.find(node.step, inputs) if inputs is not None else None
        age = asyncio.get_running_loop().time() - last.at if last else 0.0
        if last is None or age > fallback.max_age:
            return None
        try:
            value = node.step.select.search(last.value) if node.step.select else last.value
        except ExpressionError:
            return None
        return self.served(primary, value, "stale", age)

    def served(self, primary: Outcome, value: object, by: str, age: float | None = None) -> Success:
        """Return the success that a fallback makes of another outcome."""
        assert isinstance(primary, Failure | Skipped)
        return Success(value, by, primary, age)

    def stop(self, call: int, outcome: Outcome) -> None:
        """Cancel what an operation still runs and give every node of it that has no outcome this one."""
        for index in self.plan.calls[call].nodes:
            if self.outcomes[index] is None and self.demanded[index]:
                self.settle(self.plan.nodes[index], outcome)
            if index in self.tasks:
                self.cancel(self.tasks[index])
        state = self.states[call]
        if not state.finished.done():
            state.finished.set_result(None)

    # -- links

    async def follow(self, node: Node, use: LinkUse) -> Outcome:
        """Find what a link leads to for all parents of its level: one call for each batch of distinct keys."""
        parent, link = self.outcomes[use.parent], use.link
        if not isinstance(parent, Success):
            return Skipped(Reason.MISSING_INPUT, parent if isinstance(parent, Failure) else parent.cause if parent else None)
        keys = wanted(link, parents_of(parent.value, use.hops))
        joined = Found()
        self.joins[node.index] = joined, keys
        waiting = iter(batches(link, keys))
        context = self.spans[node.index].context = CallContext(self.request, self.request.arrived_at + node.deadline)

        async def work() -> None:
            for batch in waiting:
                await self.join(node, link, batch, joined, context)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.width(node), -(-len(keys) // link.max))):
                group.create_task(work())
        first = next(iter(joined.values.values()), None)
        if isinstance(first, Failure | Skipped) and all(value == first for value in joined.values.values()):
            return first
        # Batches end in any order, but the links below ask for the same keys in the same calls whichever was first.
        joined.values = {key: joined.values.get(key) for key in keys}
        return Success(joined)

    def width(self, node: Node) -> int:
        """Return how many calls of one link run at once: no more than its source and its operation have places for."""
        source, operation = node.step.source, self.plan.calls[node.call].operation
        return min(source.keys.concurrency if source else 1, operation.concurrency or 1000)

    async def join(self, node: Node, link: Link, batch: Batch, joined: Found, total: CallContext) -> None:
        """Make the call for one batch and put what it found, or its failure, to its keys. ``total`` sums up waits and attempts."""
        context = CallContext(self.request, self.request.arrived_at + node.deadline)
        outcome = await self.attempt(node, {**self.scope(node), **scope_of(link, batch)}, context)
        total.attempts, total.queued = total.attempts + context.attempts, total.queued + context.queued
        if isinstance(outcome, Success):
            results = match(link, batch, outcome.value)
            if results is not None:
                joined.values |= results
                return
            outcome = self.failed(node, StepFault(Code.RESPONSE_VALIDATION_FAILED, detail="not a list of objects"), [])
        if isinstance(outcome, Failure):
            joined.fail(batch, outcome)
        else:
            joined.values |= dict.fromkeys(batch, outcome)

    # -- one node

    async def perform(self, node: Node) -> None:
        """Bring a node to its outcome. The task of a node; it never raises."""
        outcome = await self.perform_safely(node)
        if node.step.fallbacks and self.outcomes[node.index] is None and _wants_fallback(node, outcome):
            outcome = await self.fall_back(node, outcome)
        self.settle(node, outcome)

    async def perform_safely(self, node: Node) -> Outcome:
        """Bring a node to the outcome of its own step; whatever goes wrong unexpectedly is a failure like any other."""
        try:
            return await (self.attempt(node) if node.use is None else self.follow(node, node.use))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            detail = "the call ended as cancelled although nobody cancelled it"
            return self.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=detail), [])
        except Exception:
            log.exception("step failed unexpectedly", extra={"step": node.step.name, "request_id": self.request.request_id})
            return Failure.of(node.step.name, StepFault(Code.INTERNAL_SERVER_ERROR))

    def scope(self, node: Node) -> dict[str, object]:
        """Return the names that a node's inputs can refer to: a link has its own arguments and no steps."""
        scope = self.states[node.call].scope
        if node.use is None:
            return scope
        arguments = self.arguments.links.get(node.index, {})
        return {**arguments, "args": arguments, **{name: scope[name] for name in ("request", "context") if name in scope}}

    async def attempt(self, node: Node, scope: Mapping[str, object] | None = None, context: CallContext | None = None) -> Outcome:
        """Check the condition, render the inputs, and call."""
        step, state = node.step, self.states[node.call]
        try:
            self.check_needs(node)
            if step.when and not _is_true(step.when.search(state.scope)):
                return Skipped(Reason.CONDITION)
            inputs = self.rendered(node, scope or state.scope)
        except MissingValue as missing:
            return self.missing(node, missing.reference)
        except UnusableValue as unusable:
            message = f"The value of '{unusable.reference}' {unusable.reason}."
            return Failure.of(step.name, StepFault(Code.BAD_USER_INPUT, message=message))
        except ExpressionError as error:
            return self.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"when: {error}"), [])
        if context is None:
            context = self.spans[node.index].context = CallContext(self.request, self.request.arrived_at + node.deadline)
        if state.places is None:
            return await self.call(node, inputs, context)
        context.begin_wait(asyncio.get_running_loop().time())
        async with state.places:
            context.end_wait(asyncio.get_running_loop().time())
            return await self.call(node, inputs, context)

    def rendered(self, node: Node, scope: Mapping[str, object]) -> dict[str, object]:
        """Render the inputs of a node. Fallbacks may want to know them."""
        inputs = render(node.step.inputs, scope)
        assert isinstance(inputs, dict)
        if node.step.takes_selection:
            inputs["selection"] = node.selection
        if node.step.fallbacks:
            self.inputs[node.index] = inputs
        return inputs

    def check_needs(self, node: Node) -> None:
        """Make sure that what the node's expressions read is there.

        :raises MissingValue: a step that one of them reads has not succeeded.
        """
        for index in node.needs:
            name = self.plan.nodes[index].step.name
            if name in node.step.must_succeed and not isinstance(self.outcomes[index], Success):
                raise MissingValue(Reference((name,)))

    def missing(self, node: Node, reference: Reference) -> Outcome:
        """Return the outcome of a node one of whose inputs is null: the client's fault when it gave it, otherwise nobody's."""
        root = reference.root
        if root in self.scope(node)["args"] or root == "args":  # type: ignore[operator]
            message = f"'{node.step.name}' was not called: the argument '{str(reference).removeprefix('args.')}' is null."
            return Failure.of(node.step.name, StepFault(Code.BAD_USER_INPUT, message=message))
        for index in node.needs:
            outcome = self.outcomes[index]
            if self.plan.nodes[index].step.name == root and isinstance(outcome, Failure):
                return Skipped(Reason.MISSING_INPUT, outcome)
            if self.plan.nodes[index].step.name == root and isinstance(outcome, Skipped):
                return Skipped(Reason.MISSING_INPUT, outcome.cause)
        return Skipped(Reason.MISSING_INPUT)

    async def call(self, node: Node, inputs: Mapping[str, object], context: CallContext) -> Outcome:
        """Perform the step's call, or take the reply of an equal one, and select from it."""
        try:
            if node.is_shared:
                shared = self.share(node, inputs, context)
                context = shared.context
                if node.use is None:
                    self.spans[node.index].context = context
                reply = await self.wait_for(shared)
            else:
                reply = await self.calls[node.step](inputs, context)
            value = node.step.select.search(reply.value) if node.step.select else reply.value
        except StepFault as fault:
            return self.failed(node, fault, context.faults)
        except ExpressionError as error:
            return self.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"select: {error}"), [])
        return Success(value)

    def share(self, node: Node, inputs: Mapping[str, object], context: CallContext) -> _SharedCall:
        """Return the call that equal nodes of this request wait for together; it belongs to the request, not to the first of them."""
        identity = (node.step.fingerprint, repr(inputs))
        if identity not in self.shared or self.shared[identity].task.cancelled():
            task = asyncio.ensure_future(self.calls[node.step](inputs, context))
            task.add_done_callback(_retrieve)
            self.shared[identity] = _SharedCall(task, context)
        return self.shared[identity]

    async def wait_for(self, shared: _SharedCall) -> Reply:
        """Wait for a shared call; the last one to go cancels it."""
        shared.waiting += 1
        try:
            return await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if shared.waiting == 0:
                self.cancel(shared.task)

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, once: a second time would interrupt the closing of what it holds."""
        if not task.done() and task not in self.cancelled:
            self.cancelled.add(task)
            task.cancel()

    def failed(self, node: Node, fault: StepFault, faults: Sequence[str]) -> Failure:
        log.warning(
            "step failed",
            extra={
                "step": node.step.name,
                "operation": self.plan.calls[node.call].operation.name,
                "code": str(fault.code),
                "detail": "; ".join(faults) or fault.detail,
                "request_id": self.request.request_id,
            },
        )
        return Failure.of(node.step.name, fault)

    async def fall_back(self, node: Node, primary: Outcome) -> Outcome:
        """Try the fallbacks in order; when none has a value the primary's outcome stands."""
        self.primaries[node.index] = primary
        for fallback in node.step.fallbacks:
            if isinstance(fallback, FallbackStep):
                outcome = await self.substitute(node, fallback)
                served = self.served(primary, outcome.value, fallback.step) if isinstance(outcome, Success) else None
            else:
                served = self.kept(node, primary, fallback)
            if served is not None:
                return served
        return primary

    async def substitute(self, node: Node, fallback: FallbackStep) -> Outcome:
        """Return the outcome of a fallback step's node, which runs only now unless the query asked for it as well."""
        index = node.substitutes[fallback.step]
        outcome = self.outcomes[index]
        if outcome is not None:
            return outcome
        if index not in self.substitutes:
            self.substitutes[index] = asyncio.get_running_loop().create_future()
        self.fallbacks.setdefault(node.index, []).append(index)
        self.demand(index)
        return await asyncio.shield(self.substitutes[index])


def _retrieve(task: asyncio.Task[Reply]) -> None:
    """Take note of a shared call's end, so that a failure that nobody waits for any more is no complaint of the event loop."""
    if not task.cancelled():
        task.exception()


def _wants_fallback(node: Node, outcome: Outcome) -> bool:
    """Tell whether fallbacks are tried: for what failed or had no input, not for what was not wanted or what the client got wrong."""
    if isinstance(outcome, Failure):
        return outcome.code is not Code.BAD_USER_INPUT or bool(node.needs)
    return isinstance(outcome, Skipped) and outcome.reason is Reason.MISSING_INPUT


def _is_true(value: object) -> bool:
    """Tell whether JMESPath takes a value for true: everything but null, false and what is empty."""
    return value not in (None, False, "", [], {}) or (value == 0 and value is not False)
