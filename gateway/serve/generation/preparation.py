"""A request → its document, plan and arguments; documents and plans are cached for later requests.

Reading and planning a document takes a hundred times longer than all that a request costs afterwards. What is short is done at once; what
takes longer than the event loop may be held is done in a thread, and the others do not wait for it.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from gateway.blueprint import Blueprint, Priority
from gateway.cache import Cache, Capacity
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.document.budget import NotImmediate, PlanningBudget
from gateway.document.coercion import Variables
from gateway.document.document import Definition, Document, DocumentReader
from gateway.errors import Code, RequestError
from gateway.record import replace
from gateway.serve.generation.background import Background
from gateway.serve.generation.overlays import Overlays
from gateway.serve.generation.plans import CompiledPlan, Plans
from gateway.serve.generation.prepared import PreparedRequest

log = logging.getLogger("stepgraph.generation")

LARGE_TEXT = 2000
"""Characters. Longer texts are read in a thread, as it takes longer than the event loop may be held."""
BYTES_PER_DOCUMENT, BYTES_PER_TOKEN = 6000, 600
"""What a parsed document takes of the process, measured: in any case, and for each token of its text. It is a fifth more than its objects take."""
DOCUMENTS_SHARE = 0.25
"""How much of the capacity documents and their plans may take: clients must not crowd out the replies."""
_NO_META: Mapping[str, object] = {}


class Preparation:
    """Prepares the requests of one generation. ``capacity`` is what documents, plans and replies may take in memory together."""

    def __init__(self, plans: Plans, capacity: Capacity, background: Background) -> None:
        self.plans = plans
        self.blueprint = plans.blueprint
        self.overlays = Overlays(self.blueprint)
        self.reader = DocumentReader(plans.blueprint, plans.schema, plans.is_development)
        self._documents: Cache[str, Document] = capacity.cache("documents", DOCUMENTS_SHARE)
        self._background = background
        self._max_cost = self.blueprint.limits.max_cost
        self._can_trace = plans.is_development or plans.is_traceable  # the playground records the trace of every request

    def prepare(self, request: GraphQLRequest, context: RequestContext) -> PreparedRequest:
        """Read and plan a request, or find that this was done before.

        :raises RequestError: the request is refused.
        :raises NotImmediate: this takes longer than the event loop may be held; :meth:`prepare_in_background` does it.
        """
        context.summary.version = self.blueprint.version
        document = self._documents.get(request.query)
        if document is None:
            document = self._read_at_once(request.query)
        definition = document.definition(request.operation_name, is_read_only=request.is_read_only)
        variables = definition.variables(request.variables)
        effective = None
        if definition.overlaid:
            context, effective = self.overlays.resolve(context)
        planned = self.plans.find(definition, variables, effective)
        if planned is None:
            budget = PlanningBudget(self.blueprint.limits, is_immediate=True)
            planned = self.plans.create(definition, variables, effective, budget)
            self._keep_plan(request.query, definition, variables, effective, planned)
        if planned.introspection:
            raise NotImmediate  # its answer grows with the schema, and is made by graphql-core anew for each request
        return self._prepared(request, context, planned, variables, _NO_META)

    async def prepare_in_background(self, request: GraphQLRequest, context: RequestContext) -> PreparedRequest:
        """Read and plan a request in a thread.

        :raises RequestError: the request is refused, or its time is over before it can be begun with (504).
        """
        try:
            async with asyncio.timeout_at(context.arrived_at + self.blueprint.server.request_timeout_ms / 1000):
                document = await self._read_in_background(request.query)
                definition = document.definition(request.operation_name, is_read_only=request.is_read_only)
                variables = definition.variables(request.variables)
                effective = None
                if definition.overlaid:
                    context, effective = self.overlays.resolve(context)
                planned = await self._plan_in_background(request.query, definition, variables, effective)
                meta = _NO_META
                if planned.introspection:
                    meta = await self._background.do(object(), partial(self.plans.introspect, planned, request.variables))
        except TimeoutError:
            raise too_late() from None
        return self._prepared(request, context, planned, variables, meta)

    def read(self, query: str) -> Document:
        """Parse and validate a document, or return it from the cache. This may take longer than the event loop may be held.

        :raises RequestError: the text is not a valid document.
        """
        document = self._documents.get(query)
        return self._keep(query, self.reader.read(query)) if document is None else document

    def priority(self, query: str) -> Priority:
        """Return the priority of a document: that of its most important operation. A long new document has the normal one.

        :raises RequestError: the text is not a valid document.
        """
        try:
            return (self._documents.get(query) or self._read_at_once(query)).priority
        except NotImmediate:
            return Priority.NORMAL

    async def warm_up(self, old: "Preparation", count: int) -> None:
        """Make the plans that were asked for most often before, so that the first requests are not slow. At most ``count`` are made."""
        for query, old_document in list(old._documents.most_used(count)):  # noqa: SLF001 - of the same class
            with suppress(RequestError):
                document = await self._read_in_background(query)
                if document.mistakes:  # no longer valid under the new schema
                    continue
                for definition, old_definition in zip(document.definitions, old_document.definitions, strict=True):
                    for conditions in old.plans.cached_conditions(old_definition)[:count]:
                        await self._plan_in_background(query, definition, Variables.of_conditions(conditions))
                        count -= 1
            if count <= 0:
                break

    def forget_documents(self) -> None:
        """Forget all documents and their plans; whatever is asked for after that is read anew."""
        self._documents.clear()

    def clear(self) -> None:
        """Forget everything, so that no circle keeps it in memory. It cannot prepare a request any more."""
        self._documents.clear()
        vars(self.overlays).clear()

    def _read_at_once(self, query: str) -> Document:
        if len(query) > LARGE_TEXT:
            raise NotImmediate
        return self._keep(query, self.reader.read(query, PlanningBudget(self.blueprint.limits, is_immediate=True)))

    async def _read_in_background(self, query: str) -> Document:
        document = self._documents.get(query)
        if document is None:
            document = self._keep(query, await self._background.do(query, partial(self.reader.read, query)))
        return document

    def _keep(self, query: str, document: Document) -> Document:
        self._documents.put(query, document, BYTES_PER_DOCUMENT + BYTES_PER_TOKEN * document.tokens + len(query))
        return document

    async def _plan_in_background(
        self, query: str, definition: Definition, variables: Variables, effective: Blueprint | None = None
    ) -> CompiledPlan:
        planned = self.plans.find(definition, variables, effective)
        if planned is None:
            create = partial(self.plans.create, definition, variables, effective, PlanningBudget(self.blueprint.limits))
            identity = definition, self.plans.identity(definition, variables, effective)
            planned = await self._background.do(identity, create)
            self._keep_plan(query, definition, variables, effective, planned)
        return planned

    def _keep_plan(
        self, query: str, definition: Definition, variables: Variables, effective: Blueprint | None, planned: CompiledPlan
    ) -> None:
        self._documents.grow(query, self.plans.keep(definition, variables, effective, planned))

    def _prepared(
        self,
        request: GraphQLRequest,
        context: RequestContext,
        planned: CompiledPlan,
        variables: Variables,
        meta: Mapping[str, object],
    ) -> PreparedRequest:
        """Coerce the arguments of a planned request.

        :raises RequestError: an argument is not valid, or the request costs too much.
        """
        if request.wants_trace and not self._can_trace:
            request = replace(request, wants_trace=False)
        if planned.plan.reads_context:
            context = self.overlays.adapt(context)
        context.summary.operations += planned.operations  # each request of a batch has a summary of its own
        arguments = planned.constant_arguments or planned.arguments(variables)
        if self._max_cost is not None:
            self._check_cost(planned.cost.of(arguments), self._max_cost, context)
        return PreparedRequest(request, context, planned, arguments, meta)

    def _check_cost(self, cost: int, max_cost: int, context: RequestContext) -> None:
        if cost <= max_cost:
            return
        if self.blueprint.limits.mode == "measure":
            log.warning("a query exceeds a limit", extra={"request_id": context.request_id, "cost": cost})
            return
        message = f"The query is estimated to cost {cost}, which is more than {max_cost}."
        raise RequestError(Code.COST_ESTIMATED_TOO_EXPENSIVE, 400, {"message": message})


def too_late() -> RequestError:
    """Return the error for a request whose time is over before it was begun with."""
    return RequestError(Code.GATEWAY_TIMEOUT, 504, {"message": "The request could not be begun with in time."})
