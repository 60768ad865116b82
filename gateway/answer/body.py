"""Data, errors, completeness and trace → the body of a response (GraphQL spec 7.1)."""

from collections.abc import Mapping, MutableSequence, Sequence
from typing import Any, cast

from gateway.answer.completeness import cap_errors, completeness
from gateway.answer.reported_errors import add_reported_errors
from gateway.contract.request import RequestSummary
from gateway.plan.nodes import Plan
from gateway.run import Results

Body = dict[str, object]
"""The body of a response: ``data``, ``errors`` and ``extensions``; the last two are left out when they are empty."""


def response_body(plan: Plan, results: Results, data: object, errors: MutableSequence[dict[str, Any]], max_errors: int) -> Body:
    """Return the body, with at most ``max_errors`` errors, and with completeness if something is missing or degraded.

    The errors that upstreams reported beside values are added to ``errors``, which has those of the projection.
    """
    if results.reported:
        add_reported_errors(plan, results, data, errors)
    body: Body = {"data": data}
    if errors:
        body["errors"] = cap_errors(errors, max_errors)
    report = completeness(plan, results, errors)
    if report:
        body["extensions"] = {"completeness": report}
    return body


def note_shortfall(summary: RequestSummary, body: Body) -> None:
    """Note in the summary of a request in what its answer falls short of a whole one."""
    if "errors" in body:
        data = body["data"]
        has_data = isinstance(data, dict) and any(value is not None for value in data.values())
        summary.note_errors(errors_of(body), has_data=has_data)
        return
    extensions: Any = body.get("extensions", {})
    report = extensions.get("completeness", {})
    summary.shortfall = "partial" if report.get("missing") else "degraded" if report.get("degraded") else ""


def errors_of(body: Body) -> Sequence[Mapping[str, Any]]:
    """Return the errors of a body."""
    return cast("Sequence[Mapping[str, Any]]", body.get("errors", ()))


def add_extension(body: Body, name: str, value: object) -> None:
    """Add an entry to the extensions of a body."""
    extensions: Any = body.setdefault("extensions", {})
    extensions[name] = value
