"""The transport of a test of a configuration: every request is answered by a mock, and nothing is sent."""

from collections.abc import Callable

import orjson

from gateway.contract.mock import MockAnswer, MockUpstream
from gateway.errors import Code, StepFault
from resolvers.transport import UpstreamRequest, UpstreamResponse


class StandInTransport:
    """A transport over an upstream; ``wrap`` makes the JSON body of a mocked value."""

    def __init__(self, upstream: MockUpstream, wrap: Callable[[object], object] = lambda value: value) -> None:
        self._exchange = upstream
        self._wrap = wrap

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return the mocked response.

        :raises StepFault: of kind ``connect`` or ``reset``.
        """
        told: dict[str, object] = {"request": f"{request.method} {request.target}", "headers": dict(request.headers)}
        if request.body is not None:
            told["body"] = orjson.loads(request.body)
        answer = await self._exchange(told)
        if answer.fault in {"connect", "reset"}:
            raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind=answer.fault, detail=f"mocked: {answer.fault}")
        status = 500 if answer.fault else answer.status
        return UpstreamResponse(status, {"content-type": "application/json", **answer.headers}, self._body(answer))

    def _body(self, answer: MockAnswer) -> bytes:
        return orjson.dumps(self._wrap(answer.value)) if answer.body is None else answer.body.encode()

    async def aclose(self) -> None:
        """Close nothing."""
