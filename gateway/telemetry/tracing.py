"""Requests and attempts → spans, through the API of OpenTelemetry (the only module that knows it).

It is imported where a configuration asks for spans and nowhere else: the extra ``otel`` brings the library, which takes long to load.

A request is a span below the one that its ``traceparent`` tells of, each attempt of a call a span below that. Spans have names of the
configuration, codes and statuses: nothing that a client gave, and nothing that a service said.
"""

import asyncio
import os
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import __version__
from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply, RequestContext
from gateway.contract.request import RequestSummary
from gateway.errors import StepFault

HEADERS = ("traceparent", "tracestate")
_SERVICE = "stepgraph"
_PATIENCE_MS = 2000


class Tracing:
    """Makes spans. What becomes of them is the affair of OpenTelemetry's provider."""

    def __init__(self) -> None:
        _arrange()
        self._tracer = trace.get_tracer(_SERVICE, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, context: RequestContext) -> None:
        """Begin the span of a request."""
        given = {name: context.headers[name] for name in HEADERS if name in context.headers}
        parent = self._propagator.extract(given) if given else None
        attributes = {"stepgraph.request_id": context.request_id}
        context.summary.span = self._tracer.start_span("graphql", parent, trace.SpanKind.SERVER, attributes)

    def traced(self, call: Call, step: Step) -> Call:
        """Give each attempt of a call a span, and tell an HTTP service of it unless its source does not want that."""
        source = step.source
        attributes = {
            "stepgraph.step": step.name,
            "stepgraph.step_type": step.type,
            "stepgraph.source": source.name if source else "",
        }
        is_told = bool(getattr(source.keys, "traceparent", False)) and not _declares(step) if source else False

        async def attempt(inputs: Inputs, context: CallContext) -> Reply:
            above = context.request.summary.span
            parent = trace.set_span_in_context(above) if above is not None else None
            span = self._tracer.start_span(step.name, parent, trace.SpanKind.CLIENT, attributes)
            span.set_attribute("stepgraph.attempt", context.attempts)
            if is_told:
                context.trace_headers = self._headers(span)
            try:
                reply = await call(inputs, context)
            except StepFault as fault:
                _fail(span, str(fault.code), fault.status)
                raise
            except asyncio.CancelledError:
                _fail(span, "cancelled", None)
                raise
            finally:
                span.end()
            return reply

        return attempt

    def end(self, summary: RequestSummary, method: str, status: int) -> str:
        """End the span of a request; return the id of its trace."""
        span: trace.Span = summary.span
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "http.response.status_code": status,
            "stepgraph.outcome": summary.outcome,
            "stepgraph.operations": summary.operations,
            "stepgraph.config_version": summary.version,
        }
        span.set_attributes(attributes)
        if summary.outcome != "ok":
            span.set_status(trace.StatusCode.ERROR, next(iter(summary.codes), summary.outcome))
        span.end()
        return format(span.get_span_context().trace_id, "032x")

    def flush(self) -> None:
        """Send what is left of the spans; wait for that, but not for long."""
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.force_flush(_PATIENCE_MS)

    def _headers(self, span: trace.Span) -> tuple[tuple[str, str], ...]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span))
        return tuple(carrier.items())


def _declares(step: Step) -> bool:
    """Tell whether the configuration itself says what ``traceparent`` a step sends."""
    given = (getattr(keys, "headers", {}) for keys in (step.keys, step.source.keys if step.source else None))
    return any(name.lower() == "traceparent" for headers in given for name in headers)


def _fail(span: trace.Span, code: str, status: int | None) -> None:
    span.set_attribute("error.type", code)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    span.set_status(trace.StatusCode.ERROR, code)


def _arrange() -> None:
    """Send spans to where the variables ``OTEL_EXPORTER_OTLP_…`` say, unless whoever runs this process has arranged that already."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        name = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: _SERVICE}
        provider = TracerProvider(resource=Resource.create(name))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
