"""What became of a request → counts, and where it is worth a line, its line in the log. One call at the end of each request."""

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from time import perf_counter
from typing import Any, Protocol, cast

from gateway.blueprint import Step
from gateway.contract import Call, RequestContext
from gateway.contract.outcome import Failure, Outcome, Success
from gateway.contract.request import CLIENT_LEFT, RequestSummary
from gateway.plan.nodes import Plan
from gateway.run import Results
from gateway.run.joins import Joined
from gateway.settings import TelemetryKeys
from gateway.telemetry.counters import Counters, StepMeter

log = logging.getLogger("stepgraph.engine")
access = logging.getLogger("stepgraph.access")
MAX_PATH = 200
_NOT_OF_AN_OPERATION = ""


class Tracer(Protocol):
    """Makes spans of requests and attempts; see :mod:`gateway.telemetry.tracing`."""

    def begin(self, context: RequestContext) -> None:
        """Begin the span of a request."""

    def end(self, summary: RequestSummary, method: str, status: int) -> str:
        """End the span of a request; return the id of its trace."""

    def traced(self, call: Call, step: Step) -> Call:
        """Give each attempt of a call a span."""

    def flush(self) -> None:
        """Send what is left of the spans."""


class Telemetry:
    """Counts requests and steps for as long as the process lives; ``telemetry`` is what the configuration of the moment wants told."""

    def __init__(self, *, is_development: bool = False) -> None:
        self.counters = Counters()
        self._is_development = is_development
        self._known_tracer: Tracer | None = None
        self._slow = 0.0
        self._wants_all = self._wants_problems = False
        self.follow(TelemetryKeys())

    def follow(self, telemetry: TelemetryKeys) -> None:
        """Take up what a configuration wants told."""
        mode = telemetry.access_log or ("all" if self._is_development else "problems")
        self._wants_all, self._wants_problems = mode == "all", mode != "off"
        self._slow = telemetry.slow_ms / 1000
        self.tracer = self.tracer_for(telemetry)
        self._tells_of_all = self._wants_all or self._known_tracer is not None
        """Whether there is more to be done than counting even for a request that went well."""
        if telemetry.log_level is not None:
            logging.getLogger("stepgraph").setLevel(telemetry.log_level.upper())

    def tracer_for(self, telemetry: TelemetryKeys) -> Tracer | None:
        """Return what makes spans, for a configuration that wants them."""
        if telemetry.tracing and self._known_tracer is None:
            self._known_tracer = cast("Tracer", import_module("gateway.telemetry.tracing").Tracing())
        return self._known_tracer if telemetry.tracing else None

    def flush(self) -> None:
        """Send what is left of the spans, at the end of the process."""
        if self._known_tracer is not None:
            self._known_tracer.flush()

    # -- requests

    def begun(self, context: RequestContext) -> None:
        """Count a request to the GraphQL endpoint that begins."""
        self.counters.begun += 1
        context.summary.began = perf_counter()  # the clock of the event loop may be one of whole milliseconds
        if self.tracer is not None:
            self.tracer.begin(context)

    def ended(self, method: str, path: str, status: int, context: RequestContext) -> None:
        """Count a request that was answered, or whose client has left, and tell of it where that is wanted."""
        summary, counters = context.summary, self.counters
        outcome, began = summary.outcome, summary.began
        counters.requests[outcome, status] += 1
        if outcome == "refused" and not (began and summary.is_admitted):
            self._turned_away(status, context)
            return
        seconds = perf_counter() - began
        counters.request_seconds.observe(seconds)
        if outcome == "ok" and status == 200 and seconds < self._slow and not self._tells_of_all:
            return
        counters.count_errors(summary.codes)
        traced = {"trace_id": self._known_tracer.end(summary, method, status)} if self._known_tracer and summary.span else {}
        if self._wants_all or (self._wants_problems and (seconds >= self._slow or outcome != "ok" or status >= 400)):
            account = {
                "outcome": outcome,
                "operations": summary.operations,
                "errors": summary.codes,
                "config_version": summary.version,
                **traced,
            }
            _tell(method, path, status, seconds, context.request_id, account)

    def _turned_away(self, status: int, context: RequestContext) -> None:
        """Count what was refused before it was a GraphQL request, or was not let in: there is no duration to be told.

        Of what is not let in there are many when there is too much to do, and no time for a line of each.
        """
        summary, counters = context.summary, self.counters
        counters.begun += not summary.began
        counters.count_errors(summary.codes)
        if summary.is_admitted and self._wants_problems:
            _tell("", "", status, 0.0, context.request_id, {"outcome": summary.outcome, "errors": summary.codes})

    def passed_by(self, method: str, path: str, status: int, seconds: float, request_id: str) -> None:
        """Tell of a request to another path where that is wanted; what looks whether the gateway is ready is told so, and nobody else."""
        if self._wants_all or (self._wants_problems and status >= 500 and status != 503):
            _tell(method, path, status, seconds, request_id, {})

    # -- steps

    def meters(self, plan: Plan) -> tuple[StepMeter, ...]:
        """Return the meters of a plan's nodes."""
        names = [_NOT_OF_AN_OPERATION if node.use else plan.calls[node.call].operation.name for node in plan.nodes]
        return tuple(self.counters.steps.of(name, node.step.name) for name, node in zip(names, plan.nodes, strict=True))


def _tell(method: str, path: str, status: int, seconds: float, request_id: str, account: Mapping[str, object]) -> None:
    """Write the line of a request. The record is made by hand: to look for the line of code that logs it costs more than all the rest."""
    is_bad = status >= CLIENT_LEFT or account.get("outcome") in {"failed", "partial"}
    record = logging.LogRecord(access.name, logging.WARNING if is_bad else logging.INFO, "", 0, "request", None, None)
    record.fields = {
        "method": method,
        "path": path[:MAX_PATH],
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": request_id,
        **account,
    }
    access.handle(record)


def tell_misfits(plan: Plan, results: Results, errors: Sequence[Mapping[str, Any]], context: RequestContext) -> None:
    """Log each step that has succeeded and of whose value a part could not be used: it did not fit the schema, or was an error itself."""
    calls = {root.selected.key: root.call for root in plan.roots}
    told = {(node.call, node.step.name) for node in plan.nodes if _has_failed(results.outcomes[node.index])}
    misfits = {(calls.get(error["path"][0]), error["extensions"]["step"]): error for error in reversed(errors)}
    for node in plan.nodes:
        misfit = node.call, node.step.name
        error, span = misfits.pop(misfit, None), results.spans[node.index]
        if error is None or misfit in told:
            continue
        fields = {
            "request_id": context.request_id,
            "operation": plan.calls[node.call].operation.name,
            "step": node.step.name,
            "code": error["extensions"]["code"],
            "duration_ms": round(((span.ended or 0.0) - (span.ready or 0.0)) * 1000, 3),
            "attempts": span.context.attempts if span.context else 0,
            "config_version": context.summary.version,
            "detail": error["message"],
        }
        log.warning("step failed", extra=fields)


def _has_failed(outcome: Outcome | None) -> bool:
    if isinstance(outcome, Success):
        return isinstance(outcome.value, Joined) and outcome.value.failure is not None
    return isinstance(outcome, Failure)
