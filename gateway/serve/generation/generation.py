"""One loaded configuration with everything that lives as long as it: schema, documents, connection pools. It opens, serves, closes.

A request runs from start to end on the generation that it began with.
"""

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache, partial
from typing import Any, cast

from gateway.answer.body import Body, add_extension, note_shortfall, response_body
from gateway.answer.trace import trace
from gateway.blueprint import Blueprint, Step
from gateway.contract import Call, RequestContext, StepType
from gateway.contract.request import GraphQLRequest, PendingAnswer, RequestSummary
from gateway.contract.shape import plain, shaped_text
from gateway.document.document import Document, DocumentReader
from gateway.errors import Code, RequestError
from gateway.garbage import take_apart
from gateway.json_text import json_text
from gateway.run import Results, at_once, run
from gateway.run.policies import apply
from gateway.run.reply_cache import ReplyCache, ReplySharing, with_shared
from gateway.run.single_flight import SingleFlight
from gateway.schema.build import build_schema
from gateway.serve.admission.admission import PriorityShares
from gateway.serve.generation.calls import StepCalls
from gateway.serve.generation.overlays import Overlays
from gateway.serve.generation.plans import Plans
from gateway.serve.generation.pools import Pools
from gateway.serve.generation.prepared import PreparedRequest
from gateway.telemetry.telemetry import Telemetry, tell_misfits

log = logging.getLogger("stepgraph.generation")

MAX_DOCUMENTS = 1000
MAX_LARGE_DOCUMENTS = 100
LARGE_TEXT = 2000
MAX_CACHED_TEXT = 50_000
MAX_KEPT_ANSWER = 4096
"""Bytes of an answer that is kept with its plan, of which there are many."""
_AT_ONCE = 100
_NOTHING: Mapping[str, object] = {}


class Generation:
    """Answers requests by one blueprint. Made by :func:`open_generation`."""

    def __init__(
        self,
        plans: Plans,
        calls: dict[Step, Call],
        replies: ReplyCache,
        unwinding: set[asyncio.Future[Any]] | None = None,
    ) -> None:
        self.blueprint = plans.blueprint
        self.version = self.blueprint.version.encode()
        """The hash of the configuration, as a header has it."""
        self.uses: Counter[str] = Counter()
        """How often texts were asked for lately."""
        self.max_batch = self.blueprint.limits.max_batch
        self._max_cost, self._max_errors = self.blueprint.limits.max_cost, self.blueprint.limits.max_errors
        self.priority_shares = PriorityShares(self.blueprint)
        self.rate_limits = self.blueprint.rate_limits
        self.schema = plans.schema
        self.plans = plans
        self.reader = DocumentReader(plans.blueprint, plans.schema, plans.is_development)
        self._calls = calls
        self.overlays = Overlays(self.blueprint)
        self.adapt = self.overlays.adapt
        self._replies = replies
        self._read_cached = lru_cache(maxsize=MAX_DOCUMENTS)(self.reader.read)
        self._read_large = lru_cache(maxsize=MAX_LARGE_DOCUMENTS)(self.reader.read)
        self._unwinding = set() if unwinding is None else unwinding
        self._shares_queries = self.blueprint.server.dedupe_queries
        self._queries: SingleFlight[tuple[bytes, RequestSummary]] = SingleFlight(self._unwinding)
        self._counters = plans.telemetry.counters
        self._in_flight = 0
        self._idle: asyncio.Event | None = None
        """What somebody waits for who wants to close it."""

    async def answer(self, request: GraphQLRequest, context: RequestContext) -> Body:
        """Answer a request: parse, validate, plan, run, aggregate, project.

        :raises RequestError: nothing was run; the error is the answer.
        """
        self._enter()
        try:
            prepared = self._prepare(request, context)
            body = self._body(prepared, await self._run(prepared))
            return cast("Body", plain(body)) if prepared.planned.is_shaped else body
        finally:
            self._leave()

    def begin(self, request: GraphQLRequest, context: RequestContext) -> bytes | PendingAnswer:
        """Answer a request with JSON text at once where nobody has to be asked, or return what is left to be awaited.

        An equal query under way answers this one too, where the configuration allows it.

        :raises RequestError: nothing was run; the error is the answer. What is left raises it too.
        """
        prepared = self._prepare(request, context)
        planned = prepared.planned
        if planned.answer is not None and not request.wants_trace:
            self._counters.steps.count_known(planned.meters)
            return planned.answer
        if self._shares_queries and prepared.is_shareable:
            return partial(self._respond_together, prepared)
        if planned.plan.is_immediate:
            body = self._body(prepared, at_once(self._run(prepared)))
            text = json_text(body)
            if planned.is_constant and len(text) <= MAX_KEPT_ANSWER and body.keys() == {"data"}:
                planned.answer = text
            return text
        return partial(self._respond, prepared)

    async def _respond(self, prepared: PreparedRequest) -> bytes:
        self._enter()
        try:
            body = self._body(prepared, await self._run(prepared))
            return shaped_text(body) if prepared.planned.is_shaped else json_text(body)
        finally:
            self._leave()

    async def _respond_together(self, prepared: PreparedRequest) -> bytes:
        """Answer with the text of an equal query that is under way, or begin one; both end alike."""
        identity, summary = prepared.identity, prepared.context.summary

        async def begin() -> tuple[bytes, RequestSummary]:
            return await self._respond(prepared), summary

        self._counters.shared["query_joined"] += self._queries.has(identity)
        with self.in_use():
            text, common = await self._queries.join(identity, begin)
        summary.end_like(common)
        return text

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it from being closed while several requests are answered."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        self._in_flight += 1

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0 and self._idle is not None:
            self._idle.set()
            self._idle = None

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way, nor anything that one has left to be cancelled."""
        while self._in_flight:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()
        if self._unwinding:
            await asyncio.wait(self._unwinding)

    def read(self, query: str) -> Document:
        """Return the document of a text, from the cache when it was read before.

        :raises RequestError: the text is no valid document.
        """
        size, uses = len(query), self.uses
        if size > MAX_CACHED_TEXT:
            return self.reader.read(query)
        document = self._read_cached(query) if size <= LARGE_TEXT else self._read_large(query)
        uses[query] += 1  # not before: of what is refused nothing stays
        if len(uses) > 2 * MAX_DOCUMENTS:
            self.uses = Counter(dict(uses.most_common(MAX_DOCUMENTS)))
        return document

    def prepare(self, old: "Generation", count: int) -> None:
        """Read and plan the documents that were asked for most on an old generation, so that the first requests on this one are not slow."""
        for query, _ in old.uses.most_common(count):
            with suppress(RequestError):
                self.plans.plan_again(self.read(query), old.plans, old.read(query))

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._in_flight == 0 and not self._unwinding

    async def dismantle(self) -> None:
        """Cut the cycles of what is not needed any more, and let go of what is many things a few at a time."""
        self._read_cached.cache_clear()
        self._read_large.cache_clear()
        while self._calls:
            for step in list(itertools.islice(self._calls, _AT_ONCE)):
                del self._calls[step]
            await asyncio.sleep(0)
        await take_apart(self.schema)
        vars(self.overlays).clear()

    def _prepare(self, request: GraphQLRequest, context: RequestContext) -> PreparedRequest:
        context.summary.version = self.blueprint.version
        definition = self.read(request.query).definition(request.operation_name, is_read_only=request.is_read_only)
        variables = definition.variables(request.variables)
        effective = None
        if definition.overlaid:
            context, effective = self.overlays.resolve(context)
        planned = self.plans.plan(definition, variables, effective)
        if planned.plan.reads_context:
            context = self.overlays.adapt(context)
        context.summary.operations += planned.operations  # of a batch each request has its own
        arguments = planned.fixed or planned.arguments(variables)
        if self._max_cost is not None:
            self._check_cost(planned.cost.of(arguments), self._max_cost, context)
        meta = self.plans.introspect(planned, request.variables) if planned.introspection else _NOTHING
        return PreparedRequest(request, context, planned, arguments, meta)

    def _check_cost(self, cost: int, most: int, context: RequestContext) -> None:
        if cost <= most:
            return
        if self.blueprint.limits.mode == "measure":
            log.warning("a query exceeds a limit", extra={"request_id": context.request_id, "cost": cost})
            return
        message = f"The query is estimated to cost {cost}, which is more than {most}."
        raise RequestError(Code.COST_ESTIMATED_TOO_EXPENSIVE, 400, {"message": message})

    def _run(self, prepared: PreparedRequest) -> Coroutine[Any, Any, Results]:
        """Begin to run a plan.

        :raises RequestError: it is too late for that.
        """
        plan, context = prepared.planned.plan, prepared.context
        if asyncio.get_running_loop().time() >= context.arrived_at + prepared.planned.deadline:
            raise RequestError(Code.GATEWAY_TIMEOUT, 504, {"message": "The request could not be begun with in time."})
        running = run(plan, self._calls, context, prepared.arguments, self._unwinding, self._replies)
        return self._to_the_end(running) if plan.is_mutation else running

    def _body(self, prepared: PreparedRequest, results: Results) -> Body:
        """Count what a run has come to, and return the body of the answer."""
        is_whole, steps, planned = results.is_whole(), self._counters.steps, prepared.planned
        (steps.count if is_whole else steps.count_each)(planned.meters, results)
        errors: list[dict[str, object]] = []
        data = planned.project(results, prepared.meta, errors)
        if is_whole and planned.plan.is_applicable and not errors:
            body: Body = {"data": data}  # what nearly every answer is, and nothing is there to be told of it
        else:
            body = response_body(planned.plan, results, data, errors, self._max_errors)
            note_shortfall(prepared.context.summary, body)
        if errors:
            tell_misfits(planned.plan, results, errors, prepared.context)
        if prepared.request.wants_trace:
            add_extension(body, "trace", self._trace(prepared, results))
        return body

    def _trace(self, prepared: PreparedRequest, results: Results) -> Body:
        planned, now = prepared.planned, asyncio.get_running_loop().time()
        return {
            "cost": planned.cost.of(prepared.arguments),
            **trace(planned.plan, results, prepared.context.arrived_at, now),
        }

    async def _to_the_end(self, running: Coroutine[Any, Any, Results]) -> Results:
        """Await something that goes on although the client leaves: what a mutation has begun it finishes."""
        task = asyncio.create_task(running)
        self._unwinding.add(task)
        task.add_done_callback(self._unwinding.discard)
        return await asyncio.shield(task)


@asynccontextmanager
async def open_generation(
    blueprint: Blueprint,
    step_types: Mapping[str, StepType],
    *,
    is_development: bool = False,
    pools: Pools | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Generation]:
    """Serve with the pools of all sources, those that other generations have opened already among them; on exit leave them."""
    telemetry = telemetry or Telemetry()
    async with (pools or Pools(step_types)).use(blueprint.called) as opened:
        unwinding: set[asyncio.Future[Any]] = set()
        shared = ReplySharing.new(unwinding, telemetry.counters.shared)
        tracer = telemetry.tracer_for(blueprint.telemetry)

        def make(step: Step) -> Call:
            pool = opened[step.source] if step.source else None
            call = step_types[step.type].call(step, pool.connection if pool else None)
            if tracer is not None and step.calls_out:
                call = tracer.traced(call, step)
            return with_shared(apply(call, step, pool.state if pool else None), step, shared)

        schema = await asyncio.to_thread(build_schema, blueprint)
        yield Generation(Plans(blueprint, schema, is_development, telemetry), StepCalls(make), shared.replies, unwinding)
