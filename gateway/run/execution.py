"""The mutable state of one run of a plan: outcomes, scopes, deadlines, contexts. The scheduler writes it; nodes and links read it."""

import asyncio
import json
import logging
from collections.abc import Mapping
from traceback import format_exception

from gateway.blueprint import Step
from gateway.blueprint.redaction import redact_detail
from gateway.contract import Call, CallContext, RequestContext
from gateway.contract.outcome import Failure, Outcome
from gateway.document.coercion import Arguments
from gateway.errors import Code, StepFault
from gateway.plan.nodes import Node, OperationCall, Plan
from gateway.run.joins import LinkResult
from gateway.run.reply_cache import ReplyCache
from gateway.run.results import Results, Span
from gateway.run.shared_calls import SharedCalls

log = logging.getLogger("stepgraph.engine")

MAX_ARGUMENT_BYTES = 20_000_000
"""How much the arguments of links may make in the calls of one request, together, as JSON text: as much as an answer may be."""


class OperationState:
    """The state of one operation call during a run."""

    finished: asyncio.Future[None] | None = None
    """Resolved when the operation has ended, if something waits for that."""
    places: asyncio.Semaphore | None = None
    """The operation's ``concurrency``: how many of its steps may make a call at once; None where it has no limit."""

    def __init__(self, call: OperationCall, scope: dict[str, object], arrived_at: float) -> None:
        self.scope = scope
        """The values that templates and expressions can refer to: arguments, and the values of steps that have ended."""
        self.deadline = arrived_at + call.deadline
        """Absolute, by the clock of the event loop."""
        self.unsettled = call.eager
        """How many of its eager nodes have no outcome yet."""
        if call.operation.concurrency:
            self.places = asyncio.Semaphore(call.operation.concurrency)


class Execution(Results):
    """The state of one run of a plan. At the end of the run it is returned as the results, without a copy."""

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
        self.states = [OperationState(call, self._initial_scope(call), request.arrived_at) for call in plan.calls]
        self.link_results: dict[int, LinkResult] = {}
        """What the nodes of links have found so far, by node."""
        self.primaries: dict[int, Outcome] = {}
        """The own outcomes of nodes whose fallbacks have been started, by node."""
        self.shared: SharedCalls | None = None
        """Single flight among the nodes of this request; None in a chain, which has no shared calls."""
        self.calls_left = plan.max_calls
        """How many calls its links may still make."""
        self.argument_bytes_left = MAX_ARGUMENT_BYTES
        """How much the arguments of these calls may still make: a client sends them once, and each call may repeat them."""
        self.logged: set[int] = set()
        """The nodes whose failure has been logged."""

    def _initial_scope(self, call: OperationCall) -> dict[str, object]:
        arguments = self.arguments.calls[call.index]
        scope: dict[str, object] = {**arguments, "args": arguments}
        if self.plan.request_reads:
            scope["request"] = self.request.scope_value
        if self.plan.reads_context:
            scope["context"] = self.request.values
        return scope

    def scope(self, node: Node) -> dict[str, object]:
        """Return the scope of a node's inputs: that of its operation, or for a link its own arguments and no values of steps."""
        scope = self.states[node.call].scope
        if node.use is None:
            return scope
        arguments = self.arguments.links.get(node.index, {})
        return {**arguments, "args": arguments, **{name: scope[name] for name in ("request", "context") if name in scope}}

    def take_calls(self, node: Node, count: int) -> int:
        """Return how many of ``count`` calls a link may make, and count them; further ones are too many, or repeat too large arguments."""
        arguments = self.arguments.links.get(node.index)
        size = len(json.dumps(arguments, default=str)) if arguments and count > 1 else 0
        taken = min(count, self.calls_left, self.argument_bytes_left // size if size else count)
        self.calls_left -= taken
        self.argument_bytes_left -= taken * size
        return taken

    def context(self, node: Node) -> CallContext:
        """Return the context of a new call for a node."""
        request = self.request
        return CallContext(request, request.arrived_at + node.deadline, node.shape)

    def failed(self, node: Node, fault: StepFault, context: CallContext | None = None, error: Exception | None = None) -> Failure:
        """Convert a fault of a node to a failure, and log it with the faults of all attempts, once for each node.

        ``context`` is that of the failed call, if one was made; ``error`` is the exception, if it was one that no step should raise.
        """
        # A link may fail once for each batch, a node at the deadline once more: one line is enough.
        if node.index not in self.logged:
            self.logged.add(node.index)
            self._log_failure(node, fault, context, error)
        return Failure.of(node.step.name, fault)

    def unexpected(self, node: Node, error: Exception | asyncio.CancelledError) -> Failure:
        """Convert an exception that no step should raise to a failure; also a CancelledError that comes from the step itself.

        :raises asyncio.CancelledError: the running task, which performs the node, is being cancelled.
        """
        if isinstance(error, asyncio.CancelledError):
            # Only `cancelling()` tells a cancellation of this task from a CancelledError of something that the step has awaited.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise error
            detail = "the call ended as cancelled although nobody cancelled it"
            return self.failed(node, StepFault(Code.INTERNAL_SERVER_ERROR, detail=detail))
        fault = StepFault(Code.INTERNAL_SERVER_ERROR, detail=type(error).__name__)
        return self.failed(node, fault, self.spans[node.index].context, error)

    def _log_failure(self, node: Node, fault: StepFault, context: CallContext | None, error: Exception | None) -> None:
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
            "detail": redact_detail(node.step, inputs, detail, fault.kind),
        }
        if error is not None:
            fields["exception"] = redact_detail(node.step, inputs, "".join(format_exception(error)).rstrip())
        log.warning("step failed", extra=fields)
