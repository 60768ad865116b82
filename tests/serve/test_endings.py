"""Every way in which a request can end: its response, its metrics and its log line."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.blueprint import Blueprint
from gateway.errors import Code, RequestError
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.admission.admission import Admission
from gateway.serve.generation.generation import Generation, open_generation
from gateway.serve.http.endpoint import GraphQLEndpoint
from gateway.serve.http.request import HttpMessage
from gateway.serve.http.response import HttpResponse
from resolvers import STEP_TYPES
from resolvers.api import Api
from tests.kit.scripted import BASE_URL, Upstreams
from tests.kit.virtual import run

CONFIG = f"""\
sources: {{ core: {{ type: api, base_url: {BASE_URL} }} }}
defaults: {{ api: core }}
---
operation: known
steps: [ {{ name: v, type: value, value: 1 }} ]
---
operation: fetched
steps: [ {{ name: one, type: api, endpoint: /one }} ]
---
operation: low
priority: low
steps: [ {{ name: v, type: value, value: 1 }} ]
"""


class Served:
    """A generation behind its endpoint, with the telemetry of one request."""

    def __init__(self, generation: Generation) -> None:
        self.generation: Generation | None = generation
        self.endpoint = GraphQLEndpoint(lambda: self.generation, is_development=False)

    def message(self, query: str, method: str = "POST") -> HttpMessage:
        headers = {"content-type": "application/json", "accept": "application/json"}
        return HttpMessage(method, b"", headers, json.dumps({"query": query}).encode(), "r", asyncio.get_running_loop().time())

    async def ask(self, query: str, method: str = "POST") -> HttpResponse:
        result = self.endpoint.begin(self.message(query, method))
        return result if isinstance(result, HttpResponse) else await result()


class Full(Admission):
    """An admission that rejects all requests after so many checks, and has no free place."""

    def __init__(self, admitted: int) -> None:
        super().__init__()
        self.admitted = admitted

    def admits(self, *_: object) -> bool:
        self.admitted -= 1
        return self.admitted >= 0

    def acquire(self, *_: object) -> bool:
        return False


async def answered(served: Served) -> HttpResponse:
    return await served.ask("{ known { v } }")


async def fetched(served: Served) -> HttpResponse:
    return await served.ask("{ fetched { one } }")


async def wrong(served: Served) -> HttpResponse:
    return await served.ask("{")


async def put(served: Served) -> HttpResponse:
    return await served.ask("{ known { v } }", "PUT")


async def defective(served: Served) -> HttpResponse:
    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    assert served.generation is not None
    served.generation.begin = fail  # type: ignore[method-assign, assignment]
    return await served.ask("{ known { v } }")


async def not_loaded(served: Served) -> HttpResponse:
    served.generation = None
    return await served.ask("{ known { v } }")


async def too_large(served: Served) -> HttpResponse:
    return served.endpoint.refuse(RequestError(Code.PAYLOAD_TOO_LARGE, 413, {"message": "No."}), "r")


async def shed(served: Served) -> HttpResponse:
    served.endpoint.admission = Full(0)
    return await served.ask("{ known { v } }")


async def shed_for_its_priority(served: Served) -> HttpResponse:
    served.endpoint.admission = Full(1)
    return await served.ask("{ low { v } }")


async def shed_as_places_are_taken(served: Served) -> HttpResponse:
    served.endpoint.admission = Full(2)
    return await served.ask("{ fetched { one } }")


async def left(served: Served) -> HttpResponse | None:
    message = served.message("{ fetched { one } }")
    result = served.endpoint.begin(message)
    assert not isinstance(result, HttpResponse)
    task = asyncio.create_task(result())
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    served.endpoint.note_disconnect(message)
    return None


LIMITED = {"REQUEST_CONCURRENCY_LIMITED": 1}


@pytest.mark.parametrize(
    ("act", "status", "outcome", "codes", "is_timed", "line"),
    [
        (answered, 200, "ok", {}, True, None),
        (fetched, 200, "ok", {}, True, None),
        (wrong, 200, "refused", {"GRAPHQL_PARSE_FAILED": 1}, True, "POST"),
        (put, 405, "refused", {"METHOD_NOT_ALLOWED": 1}, True, "PUT"),
        (defective, 500, "failed", {"INTERNAL_SERVER_ERROR": 1}, True, "POST"),
        (not_loaded, 503, "refused", {"INTERNAL_SERVER_ERROR": 1}, False, ""),
        (too_large, 413, "refused", {"PAYLOAD_TOO_LARGE": 1}, False, ""),
        (shed, 503, "refused", LIMITED, False, None),
        (shed_for_its_priority, 503, "refused", LIMITED, False, None),
        (shed_as_places_are_taken, 503, "refused", LIMITED, False, None),
        (left, 499, "left", {}, True, "POST"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_request_is_counted_once_by_its_end_and_logged_where_that_is_worth_a_line(  # noqa: PLR0917 - a table
    act: Callable[[Served], object],
    status: int,
    outcome: str,
    codes: dict[str, int],
    is_timed: bool,
    line: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stepgraph.access")
    response, served = run_request(act)
    counters = served.endpoint.telemetry.counters
    assert response is None or response.status == status
    assert (counters.started, dict(counters.requests)) == (1, {(outcome, status): 1})
    assert {code: count for code, count in counters.errors.items() if count} == codes
    assert sum(counters.request_seconds.counts) == is_timed
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "stepgraph.access"]
    assert [(fields["method"], fields["status"], fields["outcome"]) for fields in lines] == (
        [] if line is None else [(line, status, outcome)]
    )


def run_request(act: Callable[[Served], object]) -> tuple[HttpResponse | None, Served]:
    """Run one request to its end; return its response and what served it."""
    upstreams = Upstreams({"GET /one": {"json": 1, "delay": 5}} if act in {fetched, left} else {})
    step_types = {**STEP_TYPES, "api": Api(upstreams.transports)}
    blueprint: Blueprint = build(Files(Path(), {"a.yaml": CONFIG}, (), "test"), step_types, {})

    async def serve() -> tuple[HttpResponse | None, Served]:
        async with open_generation(blueprint, step_types) as generation:
            served = Served(generation)
            response = await act(served)  # type: ignore[misc]
            await generation.wait_until_idle()
            return response, served

    ended: tuple[HttpResponse | None, Served] = run(serve())
    return ended


@pytest.mark.parametrize(("act", "again"), [(shed, b"1"), (wrong, None), (shed_as_places_are_taken, b"1")])
def test_who_is_not_let_in_is_told_when_to_come_again(act: Callable[[Served], object], again: bytes | None) -> None:
    response, _ = run_request(act)
    assert response is not None
    headers = dict(response.headers)
    assert headers.get(b"retry-after") == again
    assert headers[b"x-config-version"]
    assert headers[b"content-length"] == b"%d" % len(response.body)
