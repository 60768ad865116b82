"""HTTP requests that have come whole → HTTP answers, by the GraphQL-over-HTTP specification.

An answer that needs nobody else is there at once; of any other one the rest is a function to await. Whoever speaks to the client
(:mod:`gateway.serve.connections.connection` in earnest, :mod:`gateway.serve.http.asgi` under other servers) decides how.
"""

import itertools
import logging
import re
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from gateway.answer.json_text import json_text
from gateway.blueprint import Priority, RateLimits
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest, PendingAnswer
from gateway.document.document import Document
from gateway.errors import Code, RequestError
from gateway.serve.admission.admission import Admission, PriorityShare, PriorityShares
from gateway.serve.admission.rate_limits import RateLimiter
from gateway.serve.http.batch import Batch
from gateway.serve.http.request import GRAPHQL_PATH, JSON, HttpMessage, client_address, graphql_request, negotiate, refuse_page
from gateway.serve.http.response import UNEXPECTED, HttpResponse, http_response, overloaded_response
from gateway.telemetry.telemetry import CLIENT_LEFT, Telemetry, note_errors, refuse

log = logging.getLogger("stepgraph.http")

_SOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LEGACY_200 = {
    Code.GRAPHQL_PARSE_FAILED,
    Code.GRAPHQL_VALIDATION_FAILED,
    Code.BAD_USER_INPUT,
    Code.OPERATION_RESOLUTION_FAILURE,
}
"""Request errors that ``application/json`` answers with 200: there a status other than 200 means that this is no GraphQL server."""


class RequestIds:
    """The ids of requests: a client's own where it is a sound one."""

    def __init__(self) -> None:
        self._process = uuid.uuid4().hex[:16]
        self._count = itertools.count()

    def of(self, given: str | None) -> str:
        """Return the id of a request that has brought this one, or none."""
        if given is not None and _SOUND_ID.fullmatch(given):
            return given
        return f"{self._process}{next(self._count):016x}"


PendingResponse = Callable[[], Coroutine[Any, Any, HttpResponse]]


class Responder(Protocol):
    """What answers requests with JSON text, as a generation does."""

    @property
    def version(self) -> bytes:
        """The hash of the configuration that it answers by."""

    @property
    def max_batch(self) -> int:
        """How many requests may come as one."""

    def in_use(self) -> AbstractContextManager[None]:
        """Keep it from being closed meanwhile."""

    @property
    def shares(self) -> PriorityShares:
        """What requests may take of the gateway, by their priority."""

    @property
    def rate_limits(self) -> RateLimits | None:
        """How many requests clients may send, if that is limited."""

    def adapt(self, request: RequestContext) -> RequestContext:
        """Return a request with what it says about itself."""

    def read(self, query: str) -> Document:
        """Return the document of a text.

        :raises RequestError: it cannot be parsed.
        """

    def begin(self, request: GraphQLRequest, context: RequestContext) -> bytes | PendingAnswer:
        """Answer a request at once, or return what is left to be awaited.

        :raises RequestError: nothing was run; the error is the answer. What is left raises it too.
        """


class GraphQLEndpoint:
    """What is behind ``/graphql``. ``generation`` gives the one that answers now, or None while there is none."""

    def __init__(
        self, generation: Callable[[], Responder | None], *, is_development: bool, telemetry: Telemetry | None = None
    ) -> None:
        self.telemetry = telemetry or Telemetry(is_development=is_development)
        self.admission = Admission(self.telemetry.counters.rejected)
        self.counters = RateLimiter()
        self._generation = generation
        self._is_development = is_development

    def begin(self, message: HttpMessage) -> HttpResponse | PendingResponse:
        """Answer a request at once, or return what is left to be awaited. Neither raises an exception."""
        generation = self._generation()
        if generation is None:
            return self.refuse(_not_ready(), message.request_id)
        version, share = generation.version, generation.shares.best
        if not self.admission.admits(message.arrived_at, share):  # before all else, as there is no time
            self.telemetry.counters.begun += 1
            return self._too_much(message, version)
        media_type = JSON
        self.telemetry.begun(message)
        try:
            if message.method == "GET":
                refuse_page(message)
            media_type = negotiate(message.headers.get("accept"))
            request = graphql_request(message, is_development=self._is_development)
            if generation.shares.is_ranked:
                share = generation.shares.of(_priority(request, generation))
                if not self.admission.admits(message.arrived_at, share):
                    return self._too_much(message, version)
            limits = generation.rate_limits
            begun = self._counted(limits, generation, request, message) if limits else _begin(generation, request, message)
        except Exception as error:  # noqa: BLE001 - it is logged where it is answered
            return self._failed(error, message, media_type, version)
        if isinstance(begun, bytes):
            self.telemetry.ended(message.method, GRAPHQL_PATH, 200, message)
            return http_response(200, media_type, version, message.request_id, begun)
        return partial(self._finish, begun, share, message, media_type, version)

    def _counted(
        self, limits: RateLimits, generation: Responder, request: GraphQLRequest | Batch, message: HttpMessage
    ) -> bytes | PendingAnswer:
        """Begin with a request when its client has not sent too many; where Redis counts them that is to be awaited too."""
        context = generation.adapt(message) if limits.reads_context else message
        peer = client_address(message, limits.proxies)
        asking = {"request": context.said, "context": context.values, "peer": peer}
        number = len(request.items) if isinstance(request, Batch) else 1
        if limits.store is None:
            self.counters.hit(limits, asking, number)
            return _begin(generation, request, context)

        async def rest() -> bytes:
            await self.counters.hit_store(limits, asking, number)
            begun = _begin(generation, request, context)
            return begun if isinstance(begun, bytes) else await begun()

        return rest

    async def _finish(
        self, rest: PendingAnswer, share: PriorityShare, message: HttpMessage, media_type: str, version: bytes
    ) -> HttpResponse:
        if not self.admission.take(share):  # here and not before: a task that is cancelled before it begins gives nothing back
            return self._too_much(message, version)
        try:
            answer = http_response(200, media_type, version, message.request_id, await rest())
        except Exception as error:  # noqa: BLE001 - it is logged where it is answered
            return self._failed(error, message, media_type, version)
        finally:
            self.admission.leave()
        self.telemetry.ended(message.method, GRAPHQL_PATH, 200, message)
        return answer

    def _too_much(self, message: HttpMessage, version: bytes) -> HttpResponse:
        """Return the answer to a request that is not let in, which must cost next to nothing."""
        self.telemetry.shed()
        return overloaded_response(message.headers.get("accept"), version, message.request_id)

    def refuse(self, error: RequestError, request_id: str) -> HttpResponse:
        """Return the answer to what is refused before it is a GraphQL request."""
        self.telemetry.refused(error, request_id)
        return http_response(error.status, JSON, b"", request_id, json_text({"errors": error.errors}))

    def left(self, message: HttpMessage) -> None:
        """Note that a client has left before its answer was there."""
        message.summary.outcome = "left"
        self.telemetry.ended(message.method, GRAPHQL_PATH, CLIENT_LEFT, message)

    def _failed(self, error: Exception, message: HttpMessage, media_type: str, version: bytes) -> HttpResponse:
        if not isinstance(error, RequestError):
            log.error("request failed unexpectedly", extra={"request_id": message.request_id}, exc_info=error)
            note_errors(message.summary, _UNEXPECTED_ERRORS, has_data=False)
            self.telemetry.ended(message.method, GRAPHQL_PATH, 500, message)
            return http_response(500, media_type, version, message.request_id, UNEXPECTED)
        status = 200 if media_type == JSON and error.code in _LEGACY_200 else error.status
        refuse(message.summary, error)
        self.telemetry.ended(message.method, GRAPHQL_PATH, status, message)
        answer = http_response(status, media_type, version, message.request_id, json_text({"errors": error.errors}))
        if status == 405:
            return answer.with_header(b"allow", b"GET, POST")
        if error.retry_after is not None:
            return answer.with_header(b"retry-after", b"%d" % error.retry_after)
        return answer


def _not_ready() -> RequestError:
    return RequestError(Code.INTERNAL_SERVER_ERROR, 503, {"message": "The gateway is not ready."})


def _priority(request: GraphQLRequest | Batch, generation: Responder) -> Priority:
    """Return how important a request is; of a batch nothing is known before its parts are read."""
    return Priority.NORMAL if isinstance(request, Batch) else generation.read(request.query).priority


def _begin(generation: Responder, request: GraphQLRequest | Batch, context: RequestContext) -> bytes | PendingAnswer:
    return _begin_all(generation, request, context) if isinstance(request, Batch) else generation.begin(request, context)


def _begin_all(generation: Responder, batch: Batch, context: RequestContext) -> PendingAnswer:
    batch.check(generation.max_batch)

    async def answer() -> bytes:
        with generation.in_use():
            return await batch.answer(lambda request: generation.begin(request, context), context.summary)

    return answer


_UNEXPECTED_ERRORS = ({"extensions": {"code": str(Code.INTERNAL_SERVER_ERROR)}},)
