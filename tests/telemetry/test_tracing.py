"""Tracing: requests and attempts have spans below the caller's span, and called services get the trace headers."""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from gateway.errors import ConfigurationError
from gateway.load.build import fields
from gateway.load.build.build import load
from resolvers import STEP_TYPES
from tests.faults import FaultServer, Hang, Json, Status
from tests.kit.serving import run_command, serving, write_files

CONFIG = """
sources:
  core: { type: api, base_url: UPSTREAM, retry: { attempts: 2, base_ms: 1, cap_ms: 1, errors: [503] } }
  foreign: { type: api, base_url: UPSTREAM, traceparent: false }
  declared: { type: api, base_url: UPSTREAM, headers: { traceparent: "{request.headers.traceparent?}" } }
  catalog: { type: graphql, url: UPSTREAM/graphql }
---
operation: o
args: { path: ID! }
steps:
  - { name: core, type: api, source: core, endpoint: "/{path}", timeout_ms: 300 }
  - { name: foreign, type: api, source: foreign, endpoint: "/foreign" }
  - { name: declared, type: api, source: declared, endpoint: "/declared" }
  - { name: catalog, type: graphql, source: catalog, query: "{ tea }" }
  - { name: near, type: value, value: 1 }
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(slots=True)
class Spans(SpanExporter):
    """Collects the spans that have ended."""

    ended: list[ReadableSpan] = field(default_factory=list)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.ended.extend(spans)
        return SpanExportResult.SUCCESS

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.ended if span.name == name]


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Replace the exporter of spans by one that collects them, with a provider as an embedding process may have its own."""
    kept = Spans()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with patch.object(trace, "get_tracer_provider", lambda: provider):
        yield kept
    provider.shutdown()


def ask(folder: Path, *paths: str, is_traced: bool = True, **headers: str) -> list[dict[str, dict[str, str]]]:
    """Send a query for all steps to each of these paths; return the headers that each service got, by path."""

    async def scenario() -> list[dict[str, dict[str, str]]]:
        headers_by_request = []
        async with FaultServer() as upstream:
            upstream.script("/fine", Json("fine"))
            upstream.script("/flaps", Status(503), Json("fine"))
            upstream.script("/hangs", Hang())
            upstream.script("/foreign", Json("foreign"))
            upstream.script("/declared", Json("declared"))
            upstream.script("/graphql", Json({"data": {"tea": "green"}}))
            telemetry = "\n---\ntelemetry: { tracing: true }" if is_traced else ""
            write_files(folder, {"a.yaml": CONFIG.replace("UPSTREAM", upstream.url) + telemetry})
            async with serving(folder) as gateway:
                for path in paths:
                    before = len(upstream.requests)
                    query = f'query Secret {{ o(path: "{path}") {{ core foreign declared catalog near }} }}'
                    await gateway.ask(query, None, x_request_id=f"to-{path}", **headers)
                    headers_by_request.append({request.target: dict(request.headers) for request in upstream.requests[before:]})
        return headers_by_request

    return asyncio.run(scenario())


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def test_a_request_is_a_span_below_its_callers_and_an_attempt_one_below_that(tmp_path: Path, spans: Spans) -> None:
    ask(tmp_path, "flaps", traceparent=PARENT)
    (request,) = spans.named("graphql")
    assert request.parent is not None
    assert request.context is not None
    assert (f"{request.parent.span_id:016x}", f"{request.context.trace_id:032x}") == (PARENT[36:52], PARENT[3:35])
    assert request.kind is trace.SpanKind.SERVER
    values = attributes(request)
    assert re.fullmatch("[0-9a-f]{16}", values.pop("stepgraph.config_version"))
    assert values == {
        "stepgraph.request_id": "to-flaps",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "stepgraph.outcome": "ok",
        "stepgraph.operations": ("o",),
    }
    attempts = spans.named("core")
    assert [attributes(span)["stepgraph.attempt"] for span in attempts] == [1, 2]
    assert [attributes(span).get("error.type") for span in attempts] == ["SUBREQUEST_HTTP_ERROR", None]
    assert attributes(attempts[0])["http.response.status_code"] == 503
    assert {span.parent and span.parent.span_id for span in spans.ended if span is not request} == {id_of(request)}
    assert {span.name for span in spans.ended} == {"graphql", "core", "foreign", "declared", "catalog"}


def test_without_a_parent_a_request_begins_a_trace(tmp_path: Path, spans: Spans) -> None:
    ask(tmp_path, "fine", "fine")
    requests = spans.named("graphql")
    assert [span.parent for span in requests] == [None, None]
    assert len({span.context.trace_id for span in requests if span.context}) == 2


def test_a_step_that_fails_or_is_cut_has_an_error_and_so_has_its_request(tmp_path: Path, spans: Spans) -> None:
    ask(tmp_path, "hangs")
    (request,), (attempt,) = spans.named("graphql"), spans.named("core")
    assert not request.status.is_ok
    assert not attempt.status.is_ok
    assert attributes(request)["stepgraph.outcome"] == "partial"
    assert attributes(attempt)["error.type"] == "cancelled"


def test_services_are_told_of_the_attempt_unless_the_configuration_has_it_otherwise(tmp_path: Path, spans: Spans) -> None:
    (sent,) = ask(tmp_path, "fine", traceparent=PARENT)
    for target, step in (("/fine", "core"), ("/graphql", "catalog")):
        (span,) = spans.named(step)
        assert sent[target]["traceparent"] == f"{PARENT[:36]}{id_of(span):016x}-01"
    assert "traceparent" not in sent["/foreign"]
    assert sent["/declared"]["traceparent"] == PARENT, "it is what the configuration says: the client's own"


def test_nothing_that_a_client_gave_is_in_a_span(tmp_path: Path, spans: Spans) -> None:
    ask(tmp_path, "fine", "secret-path", authorization="secret-header")
    text = json.dumps([span.to_json() for span in spans.ended])
    assert "secret-path" not in text.replace("to-secret-path", "")
    assert "secret-header" not in text
    assert "Secret" not in text


def test_without_tracing_there_are_no_spans_and_no_header(tmp_path: Path, spans: Spans) -> None:
    (sent,) = ask(tmp_path, "fine", is_traced=False, traceparent=PARENT)
    assert spans.ended == []
    assert {target for target, headers in sent.items() if "traceparent" in headers} == {"/declared"}


def test_without_the_extra_tracing_is_a_problem_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_CAN_TRACE", False)
    write_files(tmp_path, {"a.yaml": "telemetry: { tracing: true }"})
    with pytest.raises(ConfigurationError, match=r"a.yaml:1:\d+ .*\n.*pip install 'stepgraph\[otel\]'.*\[missing-package\]"):
        load(tmp_path, STEP_TYPES)


def test_what_is_not_traced_does_not_load_the_library(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": "operation: o\nsteps: [ { name: a, type: value, value: 1 } ]"})
    done = run_command("check", str(tmp_path), PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "gateway.load.build.shared" in done.stderr
    assert "opentelemetry.trace" not in done.stderr
