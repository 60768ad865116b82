"""The transport of ``stepgraph test``: mocks answer every request, and nothing is sent."""

from collections.abc import Callable

import orjson

from gateway.contract.mock import MockAnswer, MockUpstream
from gateway.errors import Code, StepFault
from resolvers.transport.transport import UpstreamRequest, UpstreamResponse


class StandInTransport:
    """A transport over a mocked upstream; ``wrap`` turns a mocked value into the JSON body."""

    def __init__(self, upstream: MockUpstream, wrap: Callable[[object], object] = lambda value: value) -> None:
        self._upstream = upstream
        self._wrap = wrap

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return the mocked response.

        :raises StepFault: of kind ``connect`` or ``reset``.
        """
        description: dict[str, object] = {"request": f"{request.method} {request.target}", "headers": dict(request.headers)}
        if request.body is not None:
            description["body"] = orjson.loads(request.body)
        answer = await self._upstream(description)
        if answer.fault in {"connect", "reset"}:
            raise StepFault(Code.SUBREQUEST_HTTP_ERROR, kind=answer.fault, detail=f"mocked: {answer.fault}")
        status = 500 if answer.fault else answer.status
        return UpstreamResponse(status, {"content-type": "application/json", **answer.headers}, self._body(answer))

    def _body(self, answer: MockAnswer) -> bytes:
        return orjson.dumps(self._wrap(answer.value)) if answer.body is None else answer.body.encode()

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""
