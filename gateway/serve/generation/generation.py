"""One loaded configuration with everything that lives as long as it: schema, documents, plans, calls and caches. It opens, serves, closes.

A request runs from start to end on the generation that it started with, whatever a reload changes meanwhile.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

from gateway.answer.body import Body, add_extension, note_shortfall, response_body
from gateway.answer.errors import Errors
from gateway.answer.trace import trace
from gateway.blueprint import Blueprint, Step
from gateway.cache import Capacity
from gateway.contract import Call, RequestContext, StepType
from gateway.contract.request import GraphQLRequest, PendingAnswer, RequestSummary
from gateway.contract.shape import encode_shaped, to_builtins
from gateway.document.budget import NotImmediate
from gateway.errors import response_too_large
from gateway.garbage import clear_schema
from gateway.json_text import json_text
from gateway.run import Results, run, run_without_waiting
from gateway.run.policies import apply
from gateway.run.reply_cache import ReplyCache, ReplySharing, with_shared
from gateway.run.single_flight import SingleFlight
from gateway.schema.build import build_schema
from gateway.serve.admission.admission import PriorityShares
from gateway.serve.generation.background import Background
from gateway.serve.generation.calls import StepCalls
from gateway.serve.generation.plans import Plans
from gateway.serve.generation.pools import Pools
from gateway.serve.generation.preparation import Preparation, too_late
from gateway.serve.generation.prepared import PreparedRequest
from gateway.telemetry.telemetry import Telemetry, log_value_errors

log = logging.getLogger("stepgraph.generation")

MAX_CACHED_ANSWER = 4096
"""Bytes. A constant answer up to this size is cached with its plan; there are many plans."""
Projected = tuple[dict[str, object], Errors]
"""The data of an answer and their errors."""
_CALLS_PER_TURN = 100
"""How many calls are deleted before the event loop gets a turn."""


class Generation:
    """Answers requests by one blueprint. Created by :func:`open_generation`; ``unwinding`` has the tasks that are being cancelled."""

    def __init__(
        self,
        plans: Plans,
        calls: dict[Step, Call],
        replies: ReplyCache,
        unwinding: set[asyncio.Future[Any]] | None = None,
    ) -> None:
        self.blueprint = plans.blueprint
        self.version = self.blueprint.version.encode()
        """The content hash of the configuration, encoded for a header."""
        self.max_batch = self.blueprint.limits.max_batch
        self._max_errors, self._max_bytes = self.blueprint.limits.max_errors, self.blueprint.limits.max_response_bytes
        self.max_response_bytes = self._max_bytes
        self.priority_shares = PriorityShares(self.blueprint)
        self.rate_limits = self.blueprint.rate_limits
        self.schema = plans.schema
        self.plans = plans
        self._calls = calls
        self._replies = replies
        self._unwinding = set() if unwinding is None else unwinding
        self.capacity = replies.capacity
        """What documents, plans and replies may take in memory together."""
        self._background = Background(self._unwinding)
        self.preparation = Preparation(plans, self.capacity, self._background)
        self.read, self.priority = self.preparation.read, self.preparation.priority
        self.adapt = self.preparation.overlays.adapt
        self._shares_queries = self.blueprint.server.dedupe_queries
        self._queries: SingleFlight[tuple[bytes, RequestSummary]] = SingleFlight(self._unwinding)
        self._mutations: set[asyncio.Task[Results]] = set()
        """The mutations under way, also those whose client has left."""
        self._counters = plans.telemetry.counters
        self._in_flight = 0
        self._idle: asyncio.Event | None = None
        """Set when the last request ends; it exists only while :meth:`wait_until_idle` waits."""

    async def answer(self, request: GraphQLRequest, context: RequestContext) -> Body:
        """Answer a request with response values: parse, validate, plan, run, aggregate, project.

        :raises RequestError: no step was run; the error is the answer.
        """
        self._enter()
        try:
            try:
                prepared = self.preparation.prepare(request, context)
            except NotImmediate:
                prepared = await self.preparation.prepare_in_background(request, context)
            results = await self._run(prepared)
            try:
                body = self._body(prepared, results)
            except NotImmediate:
                body = await self._large_body(prepared, results)
            return cast("Body", to_builtins(body)) if prepared.planned.is_shaped else body
        finally:
            self._leave()

    def begin(
        self, request: GraphQLRequest, context: RequestContext, prepared: PreparedRequest | None = None
    ) -> bytes | PendingAnswer:
        """Answer a request with JSON text at once if it needs no I/O; otherwise return a function to await for the text.

        Where the configuration allows it, equal queries in flight share one answer (single flight). ``prepared`` is the same request, if it was
        prepared already.

        :raises RequestError: no step was run; the error is the answer. The returned function raises it too.
        """
        if prepared is None:
            try:
                prepared = self.preparation.prepare(request, context)
            except NotImmediate:
                return partial(self._begin_in_background, request, context)
        planned = prepared.planned
        if planned.constant_answer is not None and not prepared.request.wants_trace:
            self._counters.steps.count_constant(planned.meters)  # metrics do not depend on what is cached
            return planned.constant_answer
        if self._shares_queries and prepared.is_shareable:
            return partial(self._respond_shared, prepared)
        results = run_without_waiting(self._run(prepared)) if planned.plan.is_immediate else None
        if results is None:
            return partial(self._respond, prepared)
        try:
            body = self._body(prepared, results)
        except NotImmediate:
            return partial(self._respond_at_length, prepared, results)
        text = self._text(prepared, body)
        if planned.is_constant and len(text) <= MAX_CACHED_ANSWER and body.keys() == {"data"}:
            planned.constant_answer = text
        return text

    async def _begin_in_background(self, request: GraphQLRequest, context: RequestContext) -> bytes:
        with self.in_use():
            result = self.begin(request, context, await self.preparation.prepare_in_background(request, context))
            return result if isinstance(result, bytes) else await result()

    async def _respond(self, prepared: PreparedRequest) -> bytes:
        self._enter()
        try:
            results = await self._run(prepared)
            try:
                body = self._body(prepared, results)
            except NotImmediate:
                body = await self._large_body(prepared, results)
            return self._text(prepared, body)
        finally:
            self._leave()

    async def _respond_at_length(self, prepared: PreparedRequest, results: Results) -> bytes:
        with self.in_use():
            return self._text(prepared, await self._large_body(prepared, results))

    def _text(self, prepared: PreparedRequest, body: Body) -> bytes:
        """Return a body as JSON text.

        :raises RequestError: it is larger than allowed.
        """
        text = encode_shaped(body) if prepared.planned.is_shaped else json_text(body)
        if len(text) > self._max_bytes:
            raise response_too_large(self._max_bytes)
        return text

    async def _respond_shared(self, prepared: PreparedRequest) -> bytes:
        """Answer with the text of an equal query in flight, or run this one. Both have the same outcome in log and metrics."""
        identity, summary = prepared.identity, prepared.context.summary

        async def respond() -> tuple[bytes, RequestSummary]:
            return await self._respond(prepared), summary

        self._counters.shared["query_joined"] += self._queries.has(identity)
        with self.in_use():  # also while it waits for the other query
            text, common = await self._queries.join(identity, respond)
        summary.copy_outcome(common)
        return text

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the generation from being closed while the context is open."""
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
        """Wait until no request is in flight and every cancelled task has ended."""
        while self._in_flight:
            self._idle = self._idle or asyncio.Event()
            await self._idle.wait()
        if self._unwinding:
            await asyncio.wait(self._unwinding)

    @property
    def is_idle(self) -> bool:
        """Whether no request is in flight and no cancelled task is still running."""
        return self._in_flight == 0 and not self._unwinding

    async def dismantle(self) -> None:
        """Free the memory of a generation that is no longer used. The garbage collector does not: its objects are frozen (:mod:`gateway.garbage`).

        Calls are deleted a few at a time, so that requests on the new generation do not wait.
        """
        while self._calls:
            for step in list(itertools.islice(self._calls, _CALLS_PER_TURN)):
                del self._calls[step]
            await asyncio.sleep(0)
        await clear_schema(self.schema)
        self.preparation.clear()
        self._background.close()

    def _run(self, prepared: PreparedRequest) -> Coroutine[Any, Any, Results]:
        """Start to run a plan.

        :raises RequestError: its deadline is over already (504).
        """
        plan, context = prepared.planned.plan, prepared.context
        if asyncio.get_running_loop().time() >= context.arrived_at + prepared.planned.deadline:
            raise too_late()
        running = run(plan, self._calls, context, prepared.arguments, self._unwinding, self._replies)
        return self._run_to_completion(running) if plan.is_mutation else running

    def _body(self, prepared: PreparedRequest, results: Results, projected: Projected | None = None) -> Body:
        """Count the outcomes of a run, and return the body of the response. ``projected`` are its data and errors, if they are known already.

        :raises RequestError: the answer is larger than allowed.
        :raises NotImmediate: it is so large that it has to be put together in a thread.
        """
        is_whole, steps, planned = results.is_whole(), self._counters.steps, prepared.planned
        if projected is None:
            (steps.count if is_whole else steps.count_each)(planned.meters, results)
            errors = Errors()
            errors.max_bytes, errors.is_immediate = self._max_bytes, True
            data = planned.project(results, prepared.meta, errors)
        else:
            data, errors = projected
        if is_whole and planned.plan.is_applicable and not errors:
            body: Body = {"data": data}  # fast path for nearly all requests: complete, without errors or extensions
        else:
            body = response_body(planned.plan, results, data, errors, self._max_errors)
            note_shortfall(prepared.context.summary, body)
        if errors:
            log_value_errors(planned.plan, results, errors, prepared.context)
        if prepared.request.wants_trace:
            add_extension(body, "trace", self._trace(prepared, results))
        return body

    async def _large_body(self, prepared: PreparedRequest, results: Results) -> Body:
        """Return the body of a large response, whose data are put together in a thread; :meth:`_body` has tried to at once.

        :raises RequestError: the answer is larger than allowed.
        """
        errors = Errors()
        errors.max_bytes = self._max_bytes
        project = partial(prepared.planned.project, results, prepared.meta, errors)
        return self._body(prepared, results, (await self._background.do(object(), project), errors))

    def _trace(self, prepared: PreparedRequest, results: Results) -> Body:
        planned, now = prepared.planned, asyncio.get_running_loop().time()
        return {
            "cost": planned.cost.of(prepared.arguments),
            **trace(planned.plan, results, prepared.context.arrived_at, now),
        }

    async def _run_to_completion(self, running: Coroutine[Any, Any, Results]) -> Results:
        """Await a run that continues if the client disconnects: a mutation that has started must not stop half-way."""
        task = asyncio.create_task(running)
        for tasks in (self._unwinding, self._mutations):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return await asyncio.shield(task)

    async def finish_mutations(self, grace: float) -> None:
        """Wait for the mutations under way, whose clients may have left, at most so many seconds."""
        if self._mutations:
            await asyncio.wait(self._mutations, timeout=grace)


@asynccontextmanager
async def open_generation(
    blueprint: Blueprint,
    step_types: Mapping[str, StepType],
    *,
    is_development: bool = False,
    pools: Pools | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Generation]:
    """Open a generation: acquire the pools of its sources and build its schema. On exit wait for its mutations, then release the pools."""
    telemetry = telemetry or Telemetry()
    async with (pools or Pools(step_types)).use(blueprint.called) as opened:
        unwinding: set[asyncio.Future[Any]] = set()
        shared = ReplySharing.new(unwinding, telemetry.counters.shared, Capacity(blueprint.server.max_cache_bytes))
        tracer = telemetry.tracer_for(blueprint.telemetry)

        def make_call(step: Step) -> Call:
            pool = opened[step.source] if step.source else None
            call = step_types[step.type].call(step, pool.connection if pool else None)
            if tracer is not None and step.calls_out:
                call = tracer.traced(call, step)
            return with_shared(apply(call, step, pool.state if pool else None), step, shared)

        # In a thread, because a large schema takes long enough to delay the requests of the old generation.
        schema = await asyncio.to_thread(build_schema, blueprint)
        generation = Generation(
            Plans(blueprint, schema, is_development, telemetry), StepCalls(make_call), shared.replies, unwinding
        )
        try:
            yield generation
        finally:
            await generation.finish_mutations(blueprint.server.shutdown_grace_ms / 1000)
