"""One loaded configuration with everything that lives as long as it: schema, documents, connection pools. It opens, serves, closes.

A request runs from start to end on the generation that it began with.
"""

import asyncio
import functools
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from graphql import GraphQLSchema

from gateway.aggregation import completeness, trace
from gateway.blueprint import Blueprint, Step
from gateway.cycles import take_apart
from gateway.document import Document, Documents, Planned
from gateway.engine import Arguments, Results, run
from gateway.errors import RequestError
from gateway.json_text import json_text
from gateway.overlays import Overlays
from gateway.plan import Plan
from gateway.policies import apply
from gateway.pools import Pools
from gateway.replies import Replies, Shared, with_shared
from gateway.resolver import Call, RequestContext, StepType
from gateway.schema import build_schema
from gateway.sharing import Flights

log = logging.getLogger("stepgraph.generation")

MAX_DOCUMENTS = 1000
MAX_CACHED_TEXT = 50_000
MAX_ERRORS = 50
MAX_VARIANT_CALLS = 10_000
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """A well-formed request (GraphQL-over-HTTP 5.1)."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, object] = field(default_factory=dict)
    wants_trace: bool = False
    is_read_only: bool = False
    """Whether it came by GET, which may not change anything."""


Body = dict[str, object]


class Generation:
    """Answers requests by one blueprint. Made by :func:`open_generation`."""

    def __init__(
        self,
        documents: Documents,
        calls: dict[Step, Call],
        replies: Replies,
        unwinding: set[asyncio.Future[Any]] | None = None,
    ) -> None:
        self.blueprint = documents.blueprint
        self.version = documents.blueprint.version.encode()
        """The hash of the configuration, as a header has it."""
        self.uses: Counter[str] = Counter()
        """How often texts were asked for lately."""
        self.schema = documents.schema
        self.documents = documents
        self._calls = calls
        self.overlays = Overlays(documents.blueprint)
        self._replies = replies
        self._read_cached = functools.lru_cache(maxsize=MAX_DOCUMENTS)(self.documents.read)
        self._unwinding = set() if unwinding is None else unwinding
        self._shares_queries = documents.blueprint.server.dedupe_queries
        self._queries: Flights[bytes] = Flights(self._unwinding)
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, request: GraphQLRequest, context: RequestContext) -> Body:
        """Answer a request: parse, validate, plan, run, aggregate, project.

        :raises RequestError: nothing was run; the error is the answer.
        """
        self._enter()
        try:
            return await self._perform(self._prepare(request, context))
        finally:
            self._leave()

    async def respond(self, request: GraphQLRequest, context: RequestContext) -> bytes:
        """Answer a request with JSON text: that of an equal query under way, where the configuration allows it.

        :raises RequestError: nothing was run; the error is the answer.
        """
        self._enter()
        try:
            prepared = self._prepare(request, context)
            if self._shares_queries and prepared.is_shareable:
                return await self._queries.join(prepared.identity, lambda: self._text(prepared))
            return await self._text(prepared)
        finally:
            self._leave()

    async def _text(self, prepared: "_Prepared") -> bytes:
        return json_text(await self._perform(prepared))

    def _enter(self) -> None:
        self._in_flight += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()

    async def wait_until_idle(self) -> None:
        """Wait until no request is under way, nor anything that one has left to be cancelled."""
        await self._idle.wait()
        if self._unwinding:
            await asyncio.wait(self._unwinding)

    def read(self, query: str) -> Document:
        """Return the document of a text, from the cache when it was read before.

        :raises RequestError: the text is no valid document.
        """
        if len(query) > MAX_CACHED_TEXT:
            return self.documents.read(query)
        self.uses[query] += 1
        if len(self.uses) > 2 * MAX_DOCUMENTS:
            self.uses = Counter(dict(self.uses.most_common(MAX_DOCUMENTS)))
        return self._read_cached(query)

    def prepare(self, old: "Generation", count: int) -> None:
        """Read and plan the documents that were asked for most on an old generation, so that the first requests on this one are not slow."""
        for query, _ in old.uses.most_common(count):
            with suppress(RequestError):
                self.documents.plan_again(self._read_cached(query), old.read(query))

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._in_flight == 0 and not self._unwinding

    async def dismantle(self) -> None:
        """Cut the cycles of what is not needed any more, and let go of what is many things a few at a time."""
        self._read_cached.cache_clear()
        while self._calls:
            for step in list(itertools.islice(self._calls, _AT_ONCE)):
                del self._calls[step]
            await asyncio.sleep(0)
        await take_apart(self.schema)
        vars(self.overlays).clear()

    def _prepare(self, request: GraphQLRequest, context: RequestContext) -> "_Prepared":
        definition = self.read(request.query).definition(request.operation_name, is_read_only=request.is_read_only)
        variables = definition.variables(request.variables)
        context, effective = self.overlays.resolve(context)
        planned = self.documents.plan(definition, variables, effective)
        if planned.plan.reads_context:
            context = self.overlays.adapt(context)
        return _Prepared(request, context, planned, planned.arguments(variables))

    async def _perform(self, prepared: "_Prepared") -> Body:
        planned, request, context = prepared.planned, prepared.request, prepared.context
        plan = planned.plan
        meta = self.documents.introspect(planned, request.variables) if planned.introspection else {}
        running = run(plan, self._calls, context, prepared.arguments, self._unwinding, self._replies)
        results = await (self._to_the_end(running) if plan.is_mutation else running)
        errors: list[dict[str, object]] = []
        body: Body = {"data": planned.project(results, meta, errors)}
        if errors:
            body["errors"] = _capped(errors)
        report = completeness(plan, results, errors)
        if report or request.wants_trace:
            body["extensions"] = _extensions(plan, results, report, request, context)
        return body

    async def _to_the_end(self, running: Coroutine[Any, Any, Results]) -> Results:
        """Await something that goes on although the client leaves: what a mutation has begun it finishes."""
        task = asyncio.create_task(running)
        self._unwinding.add(task)
        task.add_done_callback(self._unwinding.discard)
        return await asyncio.shield(task)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A request that is sound: its plan, and what the plan runs with."""

    request: GraphQLRequest
    context: RequestContext
    planned: Planned
    arguments: Arguments

    @property
    def is_shareable(self) -> bool:
        """Whether its answer is all that it is for, and would be that of an equal request."""
        return not (self.planned.plan.is_mutation or self.request.wants_trace or self.planned.introspection)

    @property
    def identity(self) -> tuple[object, ...]:
        """What the answer depends on: the plan (of which there is one for each operation and set of overlays), and all that it reads."""
        plan, context = self.planned.plan, self.context
        read = [_at(context.said, path) for path in plan.request_reads]
        return id(self.planned), repr((self.arguments, read, context.values if plan.reads_context else None))


def _at(value: object, path: tuple[str, ...]) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _extensions(plan: Plan, results: Results, report: Body | None, request: GraphQLRequest, context: RequestContext) -> Body:
    extensions: Body = {"completeness": report} if report else {}
    if request.wants_trace:
        extensions["trace"] = trace(plan, results, context.arrived_at, asyncio.get_running_loop().time())
    return extensions


def _capped(errors: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the first errors; the last of them says how many more there are."""
    if len(errors) <= MAX_ERRORS:
        return errors
    last = errors[MAX_ERRORS - 1]
    more = len(errors) - MAX_ERRORS
    return [*errors[: MAX_ERRORS - 1], {**last, "message": f"{last['message']} ({more} more errors are left out.)"}]


@asynccontextmanager
async def open_generation(
    blueprint: Blueprint, step_types: Mapping[str, StepType], *, is_development: bool = False, pools: Pools | None = None
) -> AsyncIterator[Generation]:
    """Serve with the pools of all sources, those that other generations have opened already among them; on exit leave them."""
    async with (pools or Pools(step_types)).use(blueprint.called) as opened:
        unwinding: set[asyncio.Future[Any]] = set()
        shared = Shared.new(unwinding)

        def make(step: Step) -> Call:
            pool = opened[step.source] if step.source else None
            call = step_types[step.type].call(step, pool.connection if pool else None)
            return with_shared(apply(call, step, pool.bulkhead if pool else None), step, shared)

        def compile_all() -> tuple[GraphQLSchema, _Calls]:
            calls = _Calls(make)
            calls.update({step: make(step) for step in _steps(blueprint)})
            return build_schema(blueprint), calls

        schema, calls = await asyncio.to_thread(compile_all)
        yield Generation(Documents(blueprint, schema, is_development), calls, shared.replies, unwinding)


class _Calls(dict[Step, Call]):
    """The calls of all steps: those of effective operations are made when they are first needed, and kept in a bounded cache."""

    def __init__(self, make: Callable[[Step], Call]) -> None:
        super().__init__()
        self._of_variants = functools.lru_cache(maxsize=MAX_VARIANT_CALLS)(make)

    def __missing__(self, step: Step) -> Call:
        return self._of_variants(step)


def _steps(blueprint: Blueprint) -> Iterator[Step]:
    for operation in blueprint.operations.values():
        yield from operation.steps.values()
    for link in blueprint.links.values():
        yield link.step
