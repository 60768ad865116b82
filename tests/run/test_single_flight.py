"""Single flight of concurrent requests: equal calls and queries are made once, and different ones never share (virtual time)."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.contract import RequestContext, StepType
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.generation.generation import Generation, open_generation
from resolvers import STEP_TYPES
from resolvers.api import Api
from tests.kit.scripted import Upstreams
from tests.kit.virtual import run

CONFIG = """
sources:
  core: { type: api, base_url: "http://core", dedupe: true, headers: { authorization: "{request.headers.authorization?}" } }
defaults: { api: core }
---
operation: customer
args: { id: ID! }
deadline_ms: 100
steps:
  - { name: account, type: api, endpoint: "/accounts/{id}", retry: { attempts: 1 } }
---
operation: pay
kind: mutation
steps: [ { name: charge, type: api, method: POST, endpoint: /charges } ]
"""
TRACED = "---\nlimits: { trace: true }\n"
QUERIES_TOO = "---\nserver: { dedupe_queries: true }\n"
ACCOUNT = GraphQLRequest("{ customer(id: 1) { account } }")
ONE_AT_A_TIME = {"json": "one", "delay": 50}


async def open_with(upstreams: Upstreams, config: str) -> Any:
    step_types: dict[str, StepType] = {**STEP_TYPES, "api": Api(upstreams.transports)}
    return open_generation(build(Files(Path(), {"a.yaml": config}, (), "test"), step_types, {}), step_types)


def context(headers: Mapping[str, str] | None = None, name: str = "r") -> RequestContext:
    return RequestContext(name, headers or {}, asyncio.get_running_loop().time())


def ask(upstreams: Upstreams, requests: Sequence[tuple[GraphQLRequest, Mapping[str, str]]], config: str = CONFIG) -> list[Any]:
    """Send all requests at once; return the responses."""

    async def act() -> list[Any]:
        async with await open_with(upstreams, config) as generation:
            texts = await asyncio.gather(*(respond(generation, request, context(headers)) for request, headers in requests))
            await assert_idle(generation)
            return [orjson.loads(text) for text in texts]

    answers: list[Any] = run(act())
    assert upstreams.complaints() == []
    return answers


async def respond(generation: Generation, request: GraphQLRequest, context: RequestContext) -> bytes:
    response = generation.begin(request, context)
    return response if isinstance(response, bytes) else await response()


async def assert_idle(generation: Generation) -> None:
    await generation.wait_until_idle()
    await asyncio.sleep(0.001)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("config", [CONFIG, CONFIG + QUERIES_TOO], ids=["calls", "queries"])
@pytest.mark.case("U-17")
def test_equal_requests_at_once_make_one_call(config: str) -> None:
    answers = ask(Upstreams({"GET /accounts/1": ONE_AT_A_TIME}), [(ACCOUNT, {})] * 500, config)
    assert answers == [{"data": {"customer": {"account": "one"}}}] * 500


@pytest.mark.parametrize("config", [CONFIG, CONFIG + QUERIES_TOO], ids=["calls", "queries"])
@pytest.mark.case("A-08")
def test_whoever_carries_something_else_shares_nothing(config: str) -> None:
    upstreams = Upstreams({"GET /accounts/1": [{"json": who, "delay": 50} for who in ("ada", "bob", "nobody")]})
    answers = ask(
        upstreams, [(ACCOUNT, headers) for headers in ({"authorization": "ada"}, {"authorization": "bob"}, {}) * 20], config
    )
    assert [answer["data"]["customer"]["account"] for answer in answers] == ["ada", "bob", "nobody"] * 20


def test_a_header_that_no_call_carries_makes_no_difference() -> None:
    requests = [(ACCOUNT, {"x-forwarded-host": str(number)}) for number in range(20)]
    ask(Upstreams({"GET /accounts/1": ONE_AT_A_TIME}), requests, CONFIG + QUERIES_TOO)


@pytest.mark.parametrize("config", [CONFIG, CONFIG + QUERIES_TOO], ids=["calls", "queries"])
@pytest.mark.case("U-17")
def test_a_failure_is_everybodys_and_is_not_kept(config: str) -> None:
    upstreams = Upstreams({"GET /accounts/1": [{"status": 500, "delay": 50}, {"json": "well again", "delay": 5}]})

    async def act() -> list[Any]:
        async with await open_with(upstreams, config) as generation:
            first = await asyncio.gather(*(respond(generation, ACCOUNT, context()) for _ in range(10)))
            return [orjson.loads(text) for text in (*first, await respond(generation, ACCOUNT, context()))]

    *failed, well = run(act())
    assert {error["extensions"]["code"] for answer in failed for error in answer["errors"]} == {"SUBREQUEST_HTTP_ERROR"}
    assert all(len(answer["errors"]) == 1 for answer in failed)
    assert well == {"data": {"customer": {"account": "well again"}}}
    assert upstreams.complaints() == []


def test_everybody_who_waits_until_nothing_is_under_way_is_told() -> None:
    upstreams = Upstreams({"GET /accounts/1": ONE_AT_A_TIME})

    async def act() -> list[float]:
        async with await open_with(upstreams, CONFIG) as generation:
            request = asyncio.create_task(respond(generation, ACCOUNT, context()))
            await asyncio.sleep(0.01)

            async def wait() -> float:
                await generation.wait_until_idle()
                return asyncio.get_running_loop().time()

            times = await asyncio.gather(wait(), wait(), wait())
            await request
            return list(times)

    assert run(act()) == [pytest.approx(0.05, abs=0.002)] * 3


@pytest.mark.case("U-17")
def test_who_joins_a_call_is_answered_at_the_own_deadline_and_those_with_a_later_one_get_its_value() -> None:
    upstreams = Upstreams({"GET /accounts/1": {"json": "one", "delay": 130}})

    async def act() -> list[Any]:
        async with await open_with(upstreams, CONFIG) as generation:

            async def at(delay: float) -> tuple[Any, float]:
                await asyncio.sleep(delay)
                text = await respond(generation, ACCOUNT, context())
                return orjson.loads(text), asyncio.get_running_loop().time()

            answers = list(await asyncio.gather(at(0), at(0.01), at(0.06)))
            await assert_idle(generation)
            return answers

    first, second, third = run(act())
    assert [error["extensions"]["code"] for answer, _ in (first, second) for error in answer["errors"]] == ["GATEWAY_TIMEOUT"] * 2
    assert [time for _, time in (first, second, third)] == [pytest.approx(time, abs=0.002) for time in (0.1, 0.11, 0.13)]
    assert third[0] == {"data": {"customer": {"account": "one"}}}
    assert upstreams.complaints() == []


@pytest.mark.parametrize("config", [CONFIG, CONFIG + QUERIES_TOO], ids=["calls", "queries"])
@pytest.mark.case("U-17")
def test_who_came_first_may_leave_and_the_others_are_answered(config: str) -> None:
    upstreams = Upstreams({"GET /accounts/1": ONE_AT_A_TIME})

    async def act() -> list[Any]:
        async with await open_with(upstreams, config) as generation:
            first, *others = [asyncio.create_task(respond(generation, ACCOUNT, context())) for _ in range(3)]
            await asyncio.sleep(0.01)
            first.cancel()
            answers = await asyncio.gather(*others)
            await assert_idle(generation)
            return [orjson.loads(text) for text in answers]

    assert run(act()) == [{"data": {"customer": {"account": "one"}}}] * 2
    assert upstreams.complaints() == []


@pytest.mark.parametrize("config", [CONFIG, CONFIG + QUERIES_TOO], ids=["calls", "queries"])
def test_the_last_one_to_leave_takes_the_call_along(config: str) -> None:
    upstreams = Upstreams({"GET /accounts/1": {"fault": "hang"}})

    async def act() -> None:
        async with await open_with(upstreams, config) as generation:
            asked = [asyncio.create_task(respond(generation, ACCOUNT, context())) for _ in range(3)]
            await asyncio.sleep(0.01)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await assert_idle(generation)

    run(act())


def test_who_comes_late_to_a_call_has_its_own_deadline() -> None:
    """The call has run for 60 ms then. It ends 10 ms after the deadline of the request that started it, and 50 ms before that of the other."""
    upstreams = Upstreams({"GET /accounts/1": {"json": "one", "delay": 110}})

    async def act() -> list[Any]:
        async with await open_with(upstreams, CONFIG) as generation:
            first = asyncio.create_task(respond(generation, ACCOUNT, context()))
            await asyncio.sleep(0.06)
            texts = await asyncio.gather(first, respond(generation, ACCOUNT, context()))
            return [orjson.loads(text) for text in texts]

    early, late = run(act())
    assert early["errors"][0]["extensions"]["code"] == "GATEWAY_TIMEOUT"
    assert late == {"data": {"customer": {"account": "one"}}}


def test_what_changes_something_is_never_shared() -> None:
    upstreams = Upstreams({"POST /charges": {"json": 1, "delay": 10, "times": 5}})
    ask(upstreams, [(GraphQLRequest("mutation { pay { charge } }"), {})] * 5, CONFIG + QUERIES_TOO)


def test_a_trace_is_ones_own() -> None:
    traced = GraphQLRequest(ACCOUNT.query, wants_trace=True)
    answers = ask(Upstreams({"GET /accounts/1": ONE_AT_A_TIME}), [(ACCOUNT, {}), (traced, {})], CONFIG + QUERIES_TOO + TRACED)
    assert ["trace" in answer.get("extensions", {}) for answer in answers] == [False, True]
