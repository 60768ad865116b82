"""A request that is sound, with all that its plan runs with; and what comes of its run → the body of its answer."""

import asyncio
from collections.abc import Mapping

from gateway.answer.completeness import capped, completeness, trace
from gateway.contract import RequestContext
from gateway.document.document import Planned
from gateway.record import Record
from gateway.run import Arguments, Results
from gateway.telemetry.telemetry import note_errors, tell_misfits

Body = dict[str, object]


class GraphQLRequest(Record, frozen=True):
    """A well-formed request (GraphQL-over-HTTP 5.1)."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, object] = {}
    wants_trace: bool = False
    is_read_only: bool = False
    """Whether it came by GET, which may not change anything."""


class Prepared(Record, frozen=True):
    """A request that is sound: its plan, and what the plan runs with. ``meta`` is what its introspection fields have."""

    request: GraphQLRequest
    context: RequestContext
    planned: Planned
    arguments: Arguments
    meta: Mapping[str, object]

    @property
    def is_shareable(self) -> bool:
        """Whether its answer is all that it is for, and would be that of an equal request."""
        return not (self.planned.plan.is_mutation or self.request.wants_trace or self.planned.introspection)

    @property
    def identity(self) -> tuple[object, ...]:
        """What the answer depends on: the plan (of which there is one for each operation and set of overlays), and all that it reads."""
        plan, context = self.planned.plan, self.context
        read = [_at(context.said, path) for path in plan.request_reads]
        arguments = self.arguments
        return id(self.planned), repr((arguments.calls, arguments.links, read, context.values if plan.reads_context else None))

    def body(self, results: Results, max_errors: int, *, is_whole: bool) -> Body:
        """Return the body of the answer; ``is_whole`` is what the results say of themselves."""
        planned, plan, errors = self.planned, self.planned.plan, list[dict[str, object]]()
        data = planned.project(results, self.meta, errors)
        body: Body = {"data": data}
        if errors:
            body["errors"] = told = capped(errors, max_errors)
            tell_misfits(plan, results, errors, self.context)
            has_data = isinstance(data, dict) and any(value is not None for value in data.values())
            note_errors(self.context.ending, told, has_data=has_data)
        report = None if is_whole and plan.is_applicable and not errors else completeness(plan, results, errors)
        if report or self.request.wants_trace:
            body["extensions"] = self._extensions(results, report)
        return body

    def _extensions(self, results: Results, report: Body | None) -> Body:
        extensions: Body = {"completeness": report} if report else {}
        if self.request.wants_trace:
            planned, now = self.planned, asyncio.get_running_loop().time()
            told = trace(planned.plan, results, self.context.arrived_at, now)
            extensions["trace"] = {"cost": planned.cost.of(self.arguments), **told}
        return extensions


def _at(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
