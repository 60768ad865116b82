"""Answer a case with the gateway: configuration, plan, engine, links and projection, on virtual time."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gateway.answer.errors import Errors
from gateway.contract import RequestContext
from gateway.contract.shape import to_builtins
from gateway.document.document import Document
from gateway.run import Results, run
from tests.kit import virtual
from tests.oracle import CompiledConfiguration
from tests.oracle.generate import Case
from tests.oracle.upstream import Call, Upstreams

ErrorKey = tuple[tuple[str | int, ...], str, str | None, int | None]
"""The parts of an error that are compared: path, code, step, HTTP status."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Data as JSON text, which preserves the order of keys and distinguishes 1, 1.0 and true; errors in order; the calls made."""

    data: str
    errors: list[ErrorKey]
    calls: list[Call]
    shaped: int = field(default=0, compare=False)
    """How many values were decoded by a shape."""
    misfits: int = field(default=0, compare=False)


@lru_cache(maxsize=4)
def _compile_configuration(config: str, types: str) -> tuple[CompiledConfiguration, Upstreams]:
    upstreams = Upstreams()
    return CompiledConfiguration.open(config, upstreams, types), upstreams


@lru_cache(maxsize=1)
def _document(config: str, types: str, query: str) -> Document:
    return _compile_configuration(config, types)[0].documents.read(query)


def answer_by_gateway(case: Case) -> Answer:
    """Run a case through the stages of the gateway."""
    configuration, upstreams = _compile_configuration(case.world.config, case.world.types)
    document = _document(case.world.config, case.world.types, case.query)
    compiled, arguments, meta = configuration.plan(document, case.variables)
    upstreams.case, upstreams.calls, upstreams.shaped, upstreams.misfits = case, [], 0, 0
    unwinding: set[asyncio.Future[Any]] = set()
    request = RequestContext("request-1", case.headers, 0.0, {"said": case.headers})

    async def play() -> Results:
        return await run(compiled.plan, configuration.calls, request, arguments, unwinding)

    results = virtual.run(play())
    assert not unwinding, "something was left running"
    errors = Errors()
    data = json.dumps(to_builtins(compiled.project(results, meta, errors)))
    again = Errors()
    assert (json.dumps(to_builtins(compiled.project(results, meta, again))), again) == (data, errors), (
        "the projection changes what it reads"
    )
    return Answer(data, [_error_key(error) for error in errors], upstreams.calls, upstreams.shaped, upstreams.misfits)


def _error_key(error: Mapping[str, Any]) -> ErrorKey:
    assert error["message"], "an error says something"
    extensions = error["extensions"]
    return tuple(error["path"]), extensions["code"], extensions["step"], extensions.get("http", {}).get("status")
