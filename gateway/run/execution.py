"""One run while it goes on: what each node and each operation call has come to so far. The scheduler writes it, nodes and links read it."""

import asyncio
import logging
from collections.abc import Mapping
from traceback import format_exception

from gateway.blueprint import Step
from gateway.blueprint.redaction import masked_detail
from gateway.contract import Call, CallContext, RequestContext
from gateway.contract.outcome import Failure, Outcome
from gateway.document.coercion import Arguments
from gateway.errors import Code, StepFault
from gateway.plan.nodes import Node, OperationCall, Plan
from gateway.run.joins import Joined
from gateway.run.reply_cache import ReplyCache
from gateway.run.results import Results, Span
from gateway.run.shared_calls import SharedCalls

log = logging.getLogger("stepgraph.engine")


class CallState:
    """One operation call while it runs: its scope, its deadline (event loop clock), and how many of its eager nodes have not ended."""

    finished: asyncio.Future[None] | None = None
    places: asyncio.Semaphore | None = None

    def __init__(self, call: OperationCall, scope: dict[str, object], arrived_at: float) -> None:
        self.scope = scope
        self.deadline = arrived_at + call.deadline
        self.unsettled = call.eager
        if call.operation.concurrency:
            self.places = asyncio.Semaphore(call.operation.concurrency)


class Execution(Results):
    """The state of one run of a plan, which is its results in the end."""

    def __init__(
        self,
        plan: Plan,
        calls: Mapping[Step, Call],
        request: RequestContext,
        arguments: Arguments,
        replies: ReplyCache,
    ) -> None:
        self.plan = plan
        self.calls = calls
        self.request = request
        self.arguments = arguments
        self.replies = replies
        super().__init__([None] * len(plan.nodes), [Span() for _ in plan.nodes], [None] * len(plan.calls))
        self.states = [CallState(call, self._call_scope(call), request.arrived_at) for call in plan.calls]
        self.joins: dict[int, Joined] = {}
        """What links have found so far."""
        self.primaries: dict[int, Outcome] = {}
        """How nodes ended that fallbacks are now tried for."""
        self.shared: SharedCalls | None = None
        """The calls that several nodes of this request make together, where there may be such."""
        self.told: set[int] = set()
        """The nodes of whose failure the log has its line."""

    def _call_scope(self, call: OperationCall) -> dict[str, object]:
        arguments = self.arguments.calls[call.index]
        scope: dict[str, object] = {**arguments, "args": arguments}
        if self.plan.request_reads:
            scope["request"] = self.request.said
        if self.plan.reads_context:
            scope["context"] = self.request.values
        return scope

    def scope(self, node: Node) -> dict[str, object]:
        """Return the names that a node's inputs can refer to: a link has its own arguments and no steps."""
        scope = self.states[node.call].scope
        if node.use is None:
            return scope
        arguments = self.arguments.links.get(node.index, {})
        return {**arguments, "args": arguments, **{name: scope[name] for name in ("request", "context") if name in scope}}

    def context(self, node: Node) -> CallContext:
        """Return the context of a new call for a node."""
        request = self.request
        return CallContext(request, request.arrived_at + node.deadline, node.shape)

    def failed(self, node: Node, fault: StepFault, context: CallContext | None = None, error: Exception | None = None) -> Failure:
        """Return the failure that a fault makes of a node, and log it, once for each node, with what went wrong at each attempt.

        ``context`` is that of the call which has failed, if one was made; ``error`` is what was raised where nobody expected it.
        """
        if node.index not in self.told:
            self.told.add(node.index)
            self._tell(node, fault, context, error)
        return Failure.of(node.step.name, fault)

    def unexpected(self, node: Node, error: Exception | asyncio.CancelledError) -> Failure:
        """Return the failure of a node that has raised what no step should, or has ended as cancelled although nobody cancelled it.

        :raises asyncio.CancelledError: the running task, which performs the node, is being cancelled.
        """
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise error
            detail = "the call ended as cancelled although nobody cancelled it"
            return self.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=detail))
        fault = StepFault(Code.INTERNAL_SERVER_ERROR, detail=type(error).__name__)
        return self.failed(node, fault, self.spans[node.index].context, error)

    def _tell(self, node: Node, fault: StepFault, context: CallContext | None, error: Exception | None) -> None:
        ready, inputs = self.spans[node.index].ready, context.inputs if context else None
        detail = "; ".join(context.faults if context else ()) or fault.detail or fault.message or ""
        fields: dict[str, object] = {
            "request_id": self.request.request_id,
            "operation": self.plan.calls[node.call].operation.name,
            "step": node.step.name,
            "code": str(fault.code),
            "duration_ms": round((asyncio.get_running_loop().time() - ready) * 1000, 3) if ready is not None else 0.0,
            "attempts": context.attempts if context else 0,
            "config_version": self.request.summary.version,
            "detail": masked_detail(node.step, inputs, detail, fault.kind),
        }
        if error is not None:
            fields["exception"] = masked_detail(node.step, inputs, "".join(format_exception(error)).rstrip())
        log.warning("step failed", extra=fields)
