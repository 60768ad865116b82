"""Spans of requests and attempts, through the API of OpenTelemetry (the only module that imports it).

This module is imported only where a configuration turns tracing on: the extra ``otel`` installs the library, which takes long to load.

The span of a request is a child of the span in its ``traceparent`` header; each attempt of a call is a child of the span of the request.
Spans have names of the configuration, codes and statuses. They have no data of clients and none of upstream responses, as traces are
read by more people than may see those.
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
_FLUSH_TIMEOUT_MS = 2000


class Tracing:
    """Makes spans. OpenTelemetry's provider samples and exports them."""

    def __init__(self) -> None:
        _configure_provider()
        self._tracer = trace.get_tracer(_SERVICE, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, context: RequestContext) -> None:
        """Begin the span of a request."""
        headers = {name: context.headers[name] for name in HEADERS if name in context.headers}
        parent = self._propagator.extract(headers) if headers else None
        attributes = {"stepgraph.request_id": context.request_id}
        context.summary.span = self._tracer.start_span("graphql", parent, trace.SpanKind.SERVER, attributes)

    def traced(self, call: Call, step: Step) -> Call:
        """Wrap a call so that each attempt has a span, and sends trace headers to an HTTP service if its source has ``traceparent`` on."""
        source = step.source
        attributes = {
            "stepgraph.step": step.name,
            "stepgraph.step_type": step.type,
            "stepgraph.source": source.name if source else "",
        }
        sends_headers = bool(getattr(source.keys, "traceparent", False)) and not _declares_header(step) if source else False

        async def attempt(inputs: Inputs, context: CallContext) -> Reply:
            request_span = context.request.summary.span
            parent = trace.set_span_in_context(request_span) if request_span is not None else None
            span = self._tracer.start_span(step.name, parent, trace.SpanKind.CLIENT, attributes)
            span.set_attribute("stepgraph.attempt", context.attempts)
            if sends_headers:
                context.trace_headers = self._headers(span)
            try:
                reply = await call(inputs, context)
            except StepFault as fault:
                _set_error(span, str(fault.code), fault.status)
                raise
            except asyncio.CancelledError:
                _set_error(span, "cancelled", None)
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
        """Export the remaining spans. A collector that does not answer takes longer than the 2 seconds that the exporter is told."""
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.force_flush(_FLUSH_TIMEOUT_MS)

    def _headers(self, span: trace.Span) -> tuple[tuple[str, str], ...]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span))
        return tuple(carrier.items())


def _declares_header(step: Step) -> bool:
    """Tell whether the configuration of a step or its source has a ``traceparent`` header of its own."""
    configured = (getattr(keys, "headers", {}) for keys in (step.keys, step.source.keys if step.source else None))
    return any(name.lower() == "traceparent" for headers in configured for name in headers)


def _set_error(span: trace.Span, code: str, status: int | None) -> None:
    span.set_attribute("error.type", code)
    if status is not None:
        span.set_attribute("http.response.status_code", status)
    span.set_status(trace.StatusCode.ERROR, code)


def _configure_provider() -> None:
    """Export spans as the variables ``OTEL_EXPORTER_OTLP_…`` say, unless the process has a provider already (the gateway may be embedded)."""
    # ProxyTracerProvider is the placeholder of OpenTelemetry while no provider was set.
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        name = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: _SERVICE}
        # Without its exit handler, which waits for the collector: the last spans are exported by :meth:`Tracing.flush`.
        provider = TracerProvider(resource=Resource.create(name), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
