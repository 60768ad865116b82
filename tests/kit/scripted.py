"""Scripted upstreams for case pages: request → answer, on virtual time. They record each call, and calls that the script does not declare.

A script maps `METHOD target` to one answer, or to a list of answers for one call after the other:

    GET /accounts/42: { json: { id: "42" }, delay: 30 }
    GET /fraud/42:
      - { status: 503, headers: { retry-after: "1" } }
      - { fault: reset }
      - { raw: "<html>", headers: { content-type: text/html }, times: 2 }

An answer has `status` (200), `headers`, a `json` or `raw` body, a `delay` in virtual milliseconds, the number of `times`
that it is given (1), and instead of all these a `fault`: `connect`, `reset`, `too-large`, or `hang` for no answer ever. A
target of a source other than the usual one begins with that source's base URL.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import Code, StepFault
from resolvers.json_http import TRANSPORTS, OpenTransport
from resolvers.transport.transport import Limits, UpstreamRequest, UpstreamResponse

BASE_URL = "http://core"
FAULTS = {
    "connect": (Code.SUBREQUEST_HTTP_ERROR, "connect"),
    "reset": (Code.SUBREQUEST_HTTP_ERROR, "reset"),
    "too-large": (Code.SUBREQUEST_RESPONSE_TOO_LARGE, ""),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the script; `body` is the encoded response body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    delay: float
    fault: str | None

    @classmethod
    def read(cls, described: Mapping[str, Any]) -> "Answer":
        """Read an answer from its description on a page; unknown keys fail."""
        unknown = described.keys() - {"status", "headers", "json", "raw", "delay", "fault", "times"}
        assert not unknown, f"unknown keys of an answer: {sorted(unknown)}"
        fault = described.get("fault")
        assert fault in {None, "hang", *FAULTS}, f"unknown fault '{fault}'"
        body = json.dumps(described["json"], ensure_ascii=False) if "json" in described else described.get("raw", "")
        headers = {"content-type": "application/json", **described.get("headers", {})}
        return cls(described.get("status", 200), headers, body.encode(), described.get("delay", 0) / 1000, fault)

    async def give(self) -> UpstreamResponse:
        """Answer after the delay.

        :raises StepFault: the script declares a fault.
        """
        await asyncio.sleep(self.delay)
        if self.fault == "hang":
            await asyncio.get_running_loop().create_future()
        if self.fault is not None:
            code, kind = FAULTS[self.fault]
            raise StepFault(code, kind=kind, detail=f"scripted: {self.fault}")
        return UpstreamResponse(self.status, dict(self.headers), self.body)


@dataclass(slots=True)
class UpstreamCall:
    """A recorded request: when it started, and when it was cancelled, if it was (loop time)."""

    request: UpstreamRequest
    name: str
    started_at: float
    cancelled_at: float | None = None

    def lines(self, arrived_at: float) -> Iterator[str]:
        """Yield the lines of the call on a page: times in milliseconds since the request's arrival, then headers and body."""
        cancellation = "" if self.cancelled_at is None else f" cancelled @{_ms(self.cancelled_at - arrived_at)}"
        yield f"{self.name} @{_ms(self.started_at - arrived_at)}{cancellation}"
        yield from (f"  {name}: {value}".rstrip() for name, value in self.request.headers)
        if self.request.body is not None:
            yield f"  {self.request.body.decode()}"


@dataclass(slots=True)
class Upstreams:
    """All upstreams of a case; pass `transports` to `Api`."""

    script: Mapping[str, Any]
    calls: list[UpstreamCall] = field(default_factory=list)
    answers: dict[str, deque[Answer]] = field(init=False)
    undeclared: list[str] = field(default_factory=list)
    pools: int = 0

    def __post_init__(self) -> None:
        self.answers = {name: deque(_read_answers(described)) for name, described in self.script.items()}

    @property
    def transports(self) -> "dict[str, OpenTransport]":
        return dict.fromkeys(TRANSPORTS, self.open)

    def open(self, base_url: str, limits: Limits) -> "ScriptedTransport":
        self.pools += 1
        return ScriptedTransport(self, "" if base_url == BASE_URL else base_url)

    def complaints(self) -> list[str]:
        """Return a message for each undeclared call, each declared answer that was not used, and each pool that was not closed."""
        unused = [f"declared but not called: {name} ({len(left)} left)" for name, left in self.answers.items() if left]
        open_pools = [f"{self.pools} connection pools were not closed"] if self.pools else []
        return [*(f"called but not declared: {name}" for name in self.undeclared), *unused, *open_pools]

    def as_text(self, arrived_at: float) -> str:
        """Return the calls in order of time. Calls of the same instant are sorted by name, because their order is not specified."""
        ordered = sorted(self.calls, key=lambda call: (call.started_at, call.name))
        return "".join(f"{line}\n" for call in ordered for line in call.lines(arrived_at))


@dataclass(frozen=True, slots=True)
class ScriptedTransport:
    """A `resolvers.transport.Transport` to one source."""

    upstreams: Upstreams
    prefix: str

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        loop = asyncio.get_running_loop()
        call = UpstreamCall(request, f"{request.method} {self.prefix}{request.target}", loop.time())
        self.upstreams.calls.append(call)
        answers = self.upstreams.answers.get(call.name)
        if not answers:
            self.upstreams.undeclared.append(call.name)
            raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"not declared: {call.name}")
        try:
            return await answers.popleft().give()
        except asyncio.CancelledError:
            call.cancelled_at = loop.time()
            raise

    async def aclose(self) -> None:
        self.upstreams.pools -= 1


def _read_answers(described: Mapping[str, Any] | list[Mapping[str, Any]]) -> Iterator[Answer]:
    for answer in described if isinstance(described, list) else [described]:
        yield from [Answer.read(answer)] * answer.get("times", 1)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".")
