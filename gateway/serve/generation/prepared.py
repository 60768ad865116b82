"""A validated request with its plan and everything that the plan needs to run."""

from collections.abc import Mapping

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.record import Record
from gateway.run import Arguments
from gateway.serve.generation.plans import CompiledPlan


class PreparedRequest(Record, frozen=True):
    """A validated request, its plan and coerced arguments. ``meta`` has the values of its introspection fields by response key."""

    request: GraphQLRequest
    context: RequestContext
    planned: CompiledPlan
    arguments: Arguments
    meta: Mapping[str, object]

    @property
    def is_shareable(self) -> bool:
        """Whether it may share its answer with equal requests: it has no side effects and wants nothing of its own."""
        return not (self.planned.plan.is_mutation or self.request.wants_trace or self.planned.introspection)

    @property
    def identity(self) -> tuple[object, ...]:
        """The key of single flight, all that the answer depends on: the plan (one for each operation and set of overlays) and all that it reads."""
        plan, context = self.planned.plan, self.context
        read = [_value_at(context.scope_value, path) for path in plan.request_reads]
        arguments = self.arguments
        # repr(), because arguments may be lists and mappings, which have no hash.
        return id(self.planned), repr((arguments.calls, arguments.links, read, context.values if plan.reads_context else None))


def _value_at(value: object, path: tuple[str, ...]) -> object:
    """Return the value at a path of nested mappings, None if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
