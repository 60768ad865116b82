"""A request that is sound, with all that its plan runs with."""

from collections.abc import Mapping

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.record import Record
from gateway.run import Arguments
from gateway.serve.generation.plans import CompiledPlan


class PreparedRequest(Record, frozen=True):
    """A request that is sound: its plan, and what the plan runs with. ``meta`` is what its introspection fields have."""

    request: GraphQLRequest
    context: RequestContext
    planned: CompiledPlan
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


def _at(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
