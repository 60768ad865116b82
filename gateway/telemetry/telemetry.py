"""Telemetry of requests: counters, access log lines and spans. Called at the start and at the end of each request."""

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from time import perf_counter
from typing import Any, Protocol, cast

from gateway.blueprint import Step
from gateway.contract import Call, RequestContext
from gateway.contract.outcome import Failure, Outcome, Success
from gateway.contract.request import CLIENT_CLOSED_REQUEST, RequestSummary
from gateway.errors import Code
from gateway.plan.nodes import Plan
from gateway.run import Results
from gateway.run.joins import LinkResult
from gateway.settings import TelemetryKeys
from gateway.telemetry.counters import Counters, StepMeter

log = logging.getLogger("stepgraph.engine")
access = logging.getLogger("stepgraph.access")
MAX_PATH = 200
FLUSH_SECONDS = 1.0
_NO_OPERATION = ""
"""The operation in the series of a link, which belongs to a type."""


class Tracer(Protocol):
    """Makes spans of requests and attempts. A protocol, as :mod:`gateway.telemetry.tracing` is imported only where tracing is on."""

    def begin(self, context: RequestContext) -> None:
        """Begin the span of a request."""

    def end(self, summary: RequestSummary, method: str, status: int) -> str:
        """End the span of a request; return the id of its trace."""

    def traced(self, call: Call, step: Step) -> Call:
        """Give each attempt of a call a span."""

    def flush(self) -> None:
        """Export the remaining spans."""


class Telemetry:
    """The telemetry of a process. Its counters live as long as the process; :meth:`follow` applies the ``telemetry:`` of a configuration."""

    def __init__(self, *, is_development: bool = False) -> None:
        self.counters = Counters()
        self._is_development = is_development
        self._created_tracer: Tracer | None = None
        """Created once and kept when tracing is turned off, as requests that began before may still have spans."""
        self._slow_seconds = 0.0
        self._logs_all = self._logs_problems = False
        self.configure(TelemetryKeys())

    def configure(self, telemetry: TelemetryKeys) -> None:
        """Apply the telemetry keys of a configuration."""
        mode = telemetry.access_log or ("all" if self._is_development else "problems")
        self._logs_all, self._logs_problems = mode == "all", mode != "off"
        self._slow_seconds = telemetry.slow_ms / 1000
        self.tracer = self.tracer_for(telemetry)
        self._reports_all = self._logs_all or self._created_tracer is not None
        """Whether even a quick request without errors has a log line or a span."""
        if telemetry.log_level is not None:
            logging.getLogger("stepgraph").setLevel(telemetry.log_level.upper())

    def tracer_for(self, telemetry: TelemetryKeys) -> Tracer | None:
        """Return the tracer for a configuration with tracing, otherwise None."""
        if telemetry.tracing and self._created_tracer is None:
            # Imported here, as OpenTelemetry is an extra and takes long to load.
            self._created_tracer = cast("Tracer", import_module("gateway.telemetry.tracing").Tracing())
        return self._created_tracer if telemetry.tracing else None

    async def flush(self) -> None:
        """Export the remaining spans, at the end of the process; give up a collector that does not take them within a second."""
        if self._created_tracer is None:
            return
        loop, flushed = asyncio.get_running_loop(), asyncio.Event()

        def flush(tracer: Tracer) -> None:
            tracer.flush()
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(flushed.set)

        # A thread that does not keep the process: the exporter's own limits of time are longer than ours.
        threading.Thread(target=flush, args=[self._created_tracer], name="span-flush", daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(flushed.wait(), FLUSH_SECONDS)

    # -- requests

    def request_started(self, context: RequestContext) -> None:
        """Record that a request to the GraphQL endpoint has started."""
        self.counters.started += 1
        context.summary.began = perf_counter()  # the clock of the event loop may have a resolution of 1 ms
        if self.tracer is not None:
            self.tracer.begin(context)

    def request_ended(self, method: str, path: str, status: int, context: RequestContext) -> None:
        """Record that a request was answered, or that its client has left: count it, end its span, and log it if the mode asks for that."""
        summary, counters = context.summary, self.counters
        outcome, began = summary.outcome, summary.began
        counters.requests[outcome, status] += 1
        if outcome == "refused" and not (began and summary.is_admitted):
            self._record_rejected(status, context)
            return
        seconds = perf_counter() - began
        counters.request_seconds.observe(seconds)
        if outcome == "ok" and status == 200 and seconds < self._slow_seconds and not self._reports_all:
            return
        counters.count_errors(summary.codes)
        traced = {"trace_id": self._created_tracer.end(summary, method, status)} if self._created_tracer and summary.span else {}
        if self._logs_all or (self._logs_problems and (seconds >= self._slow_seconds or outcome != "ok" or status >= 400)):
            fields = {
                "outcome": outcome,
                "operations": summary.operations,
                "errors": summary.codes,
                "config_version": summary.version,
                **traced,
            }
            _log_access(method, path, status, seconds, context.request_id, fields)

    def _record_rejected(self, status: int, context: RequestContext) -> None:
        """Count a request that was refused before it became a GraphQL request, or that admission has rejected; it has no duration."""
        summary, counters = context.summary, self.counters
        # One that was refused that early has not been counted as started; `open` is started minus ended requests.
        counters.started += not summary.began
        counters.count_errors(summary.codes)
        # Rejections by admission are many while the gateway is overloaded, and there is no time for a line for each.
        if summary.is_admitted and self._logs_problems:
            _log_access("", "", status, 0.0, context.request_id, {"outcome": summary.outcome, "errors": summary.codes})

    def other_request_ended(self, method: str, path: str, status: int, seconds: float, request_id: str) -> None:
        """Log a request to another path than the GraphQL endpoint, if the mode asks for that.

        Status 503 is no problem there: it is the normal response of the readiness check while the gateway is not ready.
        """
        if self._logs_all or (self._logs_problems and status >= 500 and status != 503):
            _log_access(method, path, status, seconds, request_id, {})

    # -- steps

    def meters(self, plan: Plan) -> tuple[StepMeter, ...]:
        """Return the meters of a plan's nodes."""
        names = [_NO_OPERATION if node.use else plan.calls[node.call].operation.name for node in plan.nodes]
        return tuple(self.counters.steps.of(name, node.step.name) for name, node in zip(names, plan.nodes, strict=True))


def _log_access(
    method: str, path: str, status: int, seconds: float, request_id: str, further_fields: Mapping[str, object]
) -> None:
    """Write the access line of a request."""
    is_problem = status >= CLIENT_CLOSED_REQUEST or further_fields.get("outcome") in {"failed", "partial"}
    # Made here instead of by `Logger.log`, which looks up the line of code that calls it: that costs more than all the rest.
    record = logging.LogRecord(access.name, logging.WARNING if is_problem else logging.INFO, "", 0, "request", None, None)
    record.fields = {
        "method": method,
        "path": path[:MAX_PATH],
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": request_id,
        **further_fields,
    }
    access.handle(record)


def log_value_errors(plan: Plan, results: Results, errors: Sequence[Mapping[str, Any]], context: RequestContext) -> None:
    """Log each step that has succeeded although part of its value could not be used: it did not match the schema, or was an error itself.

    Failed steps are left out: the engine has logged them when they failed.
    """
    calls = {root.selected.key: root.call for root in plan.roots}
    logged = {(node.call, node.step.name) for node in plan.nodes if _has_failed(results.outcomes[node.index])}
    # Reversed, so that the first error of each step is the one that stays.
    first_errors = {(calls.get(error["path"][0]), error["extensions"]["step"]): error for error in reversed(errors)}
    for node in plan.nodes:
        identity = node.call, node.step.name
        error, span = first_errors.pop(identity, None), results.spans[node.index]
        if error is None or identity in logged:
            continue
        fields = {
            "request_id": context.request_id,
            "operation": plan.calls[node.call].operation.name,
            "step": node.step.name,
            "code": error["extensions"]["code"],
            "duration_ms": round(((span.ended or 0.0) - (span.ready or 0.0)) * 1000, 3),
            "attempts": span.context.attempts if span.context else 0,
            "config_version": context.summary.version,
            "detail": _reported_detail(results, node.index, error) or error["message"],
        }
        log.warning("step failed", extra=fields)


def _reported_detail(results: Results, node: int, error: Mapping[str, Any]) -> str:
    """Return the upstream's errors for a value of a node, if it is one of these that the client has got; otherwise an empty text."""
    reported = results.reported.get(node)
    return reported.detail if reported and error["extensions"]["code"] == Code.DOWNSTREAM_SERVICE_ERROR else ""


def _has_failed(outcome: Outcome | None) -> bool:
    if isinstance(outcome, Success):
        return isinstance(outcome.value, LinkResult) and outcome.value.failure is not None
    return isinstance(outcome, Failure)
