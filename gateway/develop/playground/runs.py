"""Requests and their answers → a bounded history of runs without client data, for the playground (development mode only)."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.answer.body import Body, errors_of
from gateway.blueprint.redaction import MASK
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest, PendingAnswer
from gateway.document.coercion import NO_VARIABLES
from gateway.document.redaction import masked, masked_text
from gateway.errors import MESSAGES, Code, RequestError
from gateway.json_text import json_text
from gateway.plan.nodes import Plan
from gateway.plan.text import plan_json
from gateway.record import replace
from gateway.serve.generation.generation import Generation

MAX_RUNS = 50


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One answered request. ``request`` and ``context`` are kept to run it again; only ``record``, which is masked, may be shown."""

    request: GraphQLRequest
    context: RequestContext
    record: Mapping[str, object]

    @property
    def summary(self) -> dict[str, object]:
        """The record without its document, plan and trace."""
        return {key: value for key, value in self.record.items() if key not in {"query", "plan", "trace", "errors"}}


class RunHistory:
    """The last runs, newest first."""

    def __init__(self) -> None:
        self._runs: deque[RecordedRun] = deque(maxlen=MAX_RUNS)

    def __iter__(self) -> Iterator[RecordedRun]:
        return iter(self._runs)

    def get(self, request_id: str) -> RecordedRun:
        """Return the newest run with a request id.

        :raises RequestError: there is none, or newer ones have evicted it (404).
        """
        for run in self._runs:
            if run.context.request_id == request_id:
                return run
        raise RequestError(Code.NOT_FOUND, 404, {"message": f"The run is not among the last {MAX_RUNS} any more."})

    def add(self, run: RecordedRun) -> None:
        """Add a run; the oldest is evicted."""
        self._runs.appendleft(run)


class RecordingGeneration:
    """A generation that records every answer with its plan and trace. The client gets the trace only if it asked for it, and may."""

    def __init__(self, generation: Generation, runs: RunHistory) -> None:
        self.generation = generation
        self.version = generation.version
        self.max_batch = generation.max_batch
        self.max_response_bytes = generation.max_response_bytes
        self.in_use = generation.in_use
        self.priority_shares = generation.priority_shares
        self.priority = generation.priority
        self.rate_limits = generation.rate_limits
        self.adapt = generation.adapt
        self._runs = runs

    def begin(self, request: GraphQLRequest, context: RequestContext) -> PendingAnswer:
        """Return a function to await for the answer as JSON text. Nothing is answered at once, because every request must be recorded."""

        async def respond() -> bytes:
            return json_text(await self.answer(request, context))

        return respond

    async def answer(self, request: GraphQLRequest, context: RequestContext) -> Body:
        """Answer as the generation does, but without single flight: a query with a trace shares no run.

        :raises RequestError: no step was run; that is recorded too.
        """
        try:
            body = await self.generation.answer(replace(request, wants_trace=True), context)
        except RequestError as error:
            self._add(request, context, {"outcome": "refused", "errors": [{"code": str(error.code)}]})
            raise
        except BaseException as error:
            self._add(request, context, {"outcome": "failed" if isinstance(error, Exception) else "abandoned"})
            raise
        extensions: Any = body["extensions"]
        is_told = request.wants_trace and self.generation.plans.is_traceable
        trace = extensions["trace"] if is_told else extensions.pop("trace")
        plan = plan_request(self.generation, request, context)[0]
        if plan.calls:  # a query for introspection only is no run
            errors = [_recorded_error(error) for error in errors_of(body)]
            self._add(
                request,
                context,
                {
                    "outcome": context.summary.shortfall or context.summary.outcome,
                    "plan": _without_arguments(plan_json(plan, describes_pruned=True)),
                    "trace": trace,
                    "errors": errors,
                },
            )
        if not extensions:
            del body["extensions"]
        return body

    def _add(self, request: GraphQLRequest, context: RequestContext, result: Mapping[str, object]) -> None:
        trace: Any = result.get("trace", {})
        record = {
            "id": context.request_id,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "tenant": self.generation.preparation.overlays.adapt(context).values.get("tenant"),
            "operation_name": request.operation_name,
            "query": masked_text(request.query),
            "variables": masked(request.variables),
            "headers": dict.fromkeys(sorted(context.headers), MASK),
            "duration_ms": trace.get("duration_ms"),
            "operations": [operation["operation"] for operation in _operations(result)],
            **result,
        }
        self._runs.add(RecordedRun(request, context, record))


def _operations(result: Mapping[str, Any]) -> Any:
    return result.get("plan", {}).get("operations", ())


def _recorded_error(error: Mapping[str, Any]) -> dict[str, object]:
    """Return what is recorded of a step's error, with the message of the catalogue: the error's own may contain client data."""
    code, step = error["extensions"]["code"], error["extensions"]["step"]
    return {"code": code, "step": step, "path": error["path"], "message": MESSAGES.get(Code(code), "").format(step=step)}


def plan_request(
    generation: Generation, request: GraphQLRequest, context: RequestContext
) -> tuple[Plan, list[dict[str, object]]]:
    """Return the plan of a request without running it, and the errors of its variables: they need not be valid for a plan.

    :raises RequestError: the document is not valid, or a variable of ``@skip`` or ``@include`` is missing.
    """
    definition = generation.read(request.query).definition(request.operation_name, is_read_only=False)
    effective = generation.preparation.overlays.resolve(context)[1] if definition.overlaid else None
    problems: list[dict[str, object]] = []
    try:
        variables = definition.variables(request.variables)
    except RequestError as error:
        problems, variables = error.errors, NO_VARIABLES
    return generation.plans.plan(definition, variables, effective).plan, problems


def _without_arguments(plan: dict[str, Any]) -> dict[str, Any]:
    for operation in plan["operations"]:
        operation["arguments"] = masked_text(operation["arguments"])
        for node in operation["nodes"]:
            node["arguments"] = masked_text(node["arguments"] or "")
    return plan
