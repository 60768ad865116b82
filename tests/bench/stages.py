"""Our own request, stage by stage: where the µs go. The real stages, run alone in this process, and the whole in a server of its own."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import uvloop

from gateway.answer.errors import Errors
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.contract.shape import encode_shaped
from gateway.load.build.build import load
from gateway.run import Results, run
from gateway.serve.generation.generation import Generation, open_generation
from gateway.serve.http.endpoint import GraphQLEndpoint
from gateway.serve.http.request import HttpMessage
from gateway.serve.http.response import HttpResponse
from resolvers import STEP_TYPES
from resolvers.api import Api
from resolvers.json_body import decode_at_once
from resolvers.json_http import TRANSPORTS
from resolvers.transport.transport import Transport, UpstreamRequest, UpstreamResponse
from tests.bench.cases import POST
from tests.bench.growth import Section, body, cpu_ms, serving, steady
from tests.bench.measure import Bench
from tests.bench.servers import PLAIN

QUERY = f"query posts {{ posts {POST} }}"
BODY = body(QUERY)
Work = Callable[[], object]
"""Something to measure; when it gives an awaitable, that too."""
SERIES = 50
REPEATED = 5
"""Times that something is done in a series."""
ABREAST = 10
"""Requests at once, where a pool of connections is shared."""


class Canned:
    """A transport that has every answer there already: what is measured is everything but HTTP."""

    def __init__(self, answers: Mapping[str, UpstreamResponse]) -> None:
        self._answers = answers

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return the answer of the path, whatever its query."""
        return self._answers[request.target.partition("?")[0]]

    async def aclose(self) -> None:
        """Have nothing to close."""


async def cpu_us(works: Mapping[str, Work], series: int) -> dict[str, float]:
    """Return the CPU time of this process that each function takes: the least of many short series, which alternate.

    So neither a busy machine shows in it nor the garbage collector.
    """
    least = dict.fromkeys(works, float("inf"))
    for _ in range(series):
        for name, work in works.items():
            least[name] = min(least[name], await _series(work))
    return least


async def _series(work: Work) -> float:
    began = time.process_time()
    for _ in range(REPEATED):
        if isinstance(result := work(), Awaitable):
            await result
    return (time.process_time() - began) * 1e6 / REPEATED


@contextmanager
def environment(url: str) -> Iterator[None]:
    """Set the upstream's URL, which the configuration reads."""
    os.environ["MOCK_URL"] = url
    try:
        yield
    finally:
        del os.environ["MOCK_URL"]


def stages(bench: Bench, series: int = SERIES) -> Section:
    """Measure what each stage of a request takes of the whole."""
    bench.tell("stages of a request")
    with serving(bench, PLAIN) as server:
        whole = cpu_ms(steady(bench, server, body(QUERY), 10)) * 1000
    with environment(bench.mock.url):
        inside = uvloop.run(_stages(series))
    rest = whole - sum(inside.values())
    rows = [*inside.items(), ("server: sockets, HTTP, ASGI; switching between requests", rest), ("a whole request", whole)]
    lines = ["### Stages of a request, posts + user", "", "| stage | CPU µs | share |", "|---|--:|--:|"]
    least = 1.0  # µs: the system counts CPU time in whole hundredths of a second, and may have counted none
    lines += [f"| {name} | {taken:,.1f} | {taken / max(whole, least):.0%} |" for name, taken in rows]
    return Section("\n".join(lines), {})


async def _stages(series: int) -> dict[str, float]:
    """Return what each stage takes, in µs."""
    blueprint = await asyncio.to_thread(load, PLAIN, STEP_TYPES)
    async with AsyncExitStack() as stack:
        source = blueprint.sources["mock"]
        transport: Transport = await stack.enter_async_context(STEP_TYPES["api"].connect(source))
        targets = ("/posts", "/users?" + "&".join(f"id={number}" for number in range(1, 11)))
        requests = [UpstreamRequest("GET", target, ()) for target in targets]
        answers = {request.target.partition("?")[0]: await transport.send(request) for request in requests}

        async def send_all() -> None:
            for request in requests:
                await transport.send(request)

        upstream = await cpu_us({"all": lambda: asyncio.gather(*(send_all() for _ in range(ABREAST)))}, series)
        canned = {**STEP_TYPES, "api": Api(dict.fromkeys(TRANSPORTS, lambda *_: Canned(answers)))}
        generation = await stack.enter_async_context(open_generation(blueprint, canned))
        return {
            **await _inside(generation, list(answers.values()), series),
            "upstream client, two GETs of ten requests at once": upstream["all"] / ABREAST,
        }


async def _inside(generation: Generation, answers: list[UpstreamResponse], series: int) -> dict[str, float]:
    request, unwinding = GraphQLRequest(QUERY), set[asyncio.Future[Any]]()
    prepared = generation.preparation.prepare(request, now())
    planned = prepared.planned

    async def execute() -> Results:
        return await run(planned.plan, generation._calls, now(), prepared.arguments, unwinding)

    async def respond() -> bytes:
        begun = generation.begin(request, now())
        return begun if isinstance(begun, bytes) else await begun()

    endpoint, shapes = GraphQLEndpoint(lambda: generation, is_development=False), [node.shape for node in planned.plan.nodes]
    results = await execute()
    whole = {"data": planned.project(results, {}, Errors())}
    took = await cpu_us(
        {
            "read": lambda: generation.read(QUERY),
            "prepare": lambda: generation.preparation.prepare(request, now()),
            "decode": lambda: [decode_at_once(answer, shape) for answer, shape in zip(answers, shapes, strict=True)],
            "engine": execute,
            "project": lambda: planned.project(results, {}, Errors()),
            "encode": lambda: encode_shaped(whole),
            "respond": respond,
            "endpoint": lambda: _through(endpoint),
        },
        series,
    )
    parts = ("prepare", "engine", "project", "encode")
    return {
        "request adapter: headers, body": took["endpoint"] - took["respond"],
        "document cache": took["read"],
        "variables, plan cache, arguments": took["prepare"] - took["read"],
        "engine: scheduling, templates, policies, links": took["engine"] - took["decode"],
        "decoding the upstream's JSON": took["decode"],
        "projection": took["project"],
        "assembling: completeness, extensions": took["respond"] - sum(took[name] for name in parts),
        "encoding the answer": took["encode"],
    }


def now() -> RequestContext:
    """Return the context of a request that has just arrived."""
    return RequestContext("bench", {}, asyncio.get_running_loop().time())


async def _through(endpoint: GraphQLEndpoint) -> None:
    """Send one request through the endpoint, as the protocol would."""
    headers = {"content-type": "application/json", "content-length": str(len(BODY)), "accept": "application/json"}
    message = HttpMessage("POST", b"", headers, BODY, "bench", asyncio.get_running_loop().time())
    rest = endpoint.begin(message)
    assert not isinstance(rest, HttpResponse)
    await rest()
