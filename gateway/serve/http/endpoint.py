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

from gateway.blueprint import Priority, RateLimits
from gateway.contract import RequestContext
from gateway.contract.request import CLIENT_LEFT, GraphQLRequest, PendingAnswer
from gateway.document.document import Document
from gateway.errors import RequestError
from gateway.serve.admission.admission import Admission, PriorityShare, PriorityShares
from gateway.serve.admission.rate_limits import RateLimiter
from gateway.serve.http.batch import Batch
from gateway.serve.http.media_types import JSON, negotiate, negotiate_or_json
from gateway.serve.http.request import GRAPHQL_PATH, HttpMessage, RequestParser, client_address, refuse_page
from gateway.serve.http.response import (
    NOT_ADMITTED,
    UNEXPECTED,
    Answer,
    HttpResponse,
    http_response,
    not_ready,
    refusal,
    unexpected,
)
from gateway.telemetry.telemetry import Telemetry

log = logging.getLogger("stepgraph.http")

_SOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


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
    """What is behind ``/graphql``. ``generation`` gives the one that answers now, or None while there is none.

    Every request has one way out: whatever happens to it comes to an :data:`Answer`, and :meth:`_end` makes the response.
    """

    def __init__(
        self, generation: Callable[[], Responder | None], *, is_development: bool, telemetry: Telemetry | None = None
    ) -> None:
        self.telemetry = telemetry or Telemetry(is_development=is_development)
        self.admission = Admission(self.telemetry.counters.rejected)
        self.rate_limiter = RateLimiter()
        self._generation = generation
        self._parser = RequestParser(is_development=is_development)

    def begin(self, message: HttpMessage) -> HttpResponse | PendingResponse:
        """Answer a request at once, or return what is left to be awaited. Neither raises an exception."""
        generation = self._generation()
        if generation is None:
            return self.refuse(not_ready(), message.request_id)
        version, share, media_type = generation.version, generation.shares.largest, JSON
        if not self.admission.admits(message.arrived_at, share):  # before all else, as there is no time
            return self._end(message, negotiate_or_json(message.headers.get("accept")), version, _overloaded(message))
        self.telemetry.begun(message)
        try:
            media_type = _negotiate_get(message) if message.method == "GET" else negotiate(message.headers.get("accept"))
            request = self._parser.read(message)
            if generation.shares.is_ranked:
                share = generation.shares.of(_priority(request, generation))
                if not self.admission.admits(message.arrived_at, share):
                    return self._end(message, media_type, version, _overloaded(message))
            limits = generation.rate_limits
            if limits is None and not isinstance(request, Batch):  # which is nearly always so, and one call less
                begun = generation.begin(request, message)
            else:
                begun = self._limited(limits, generation, request, message) if limits else _begin(generation, request, message)
        except Exception as error:  # noqa: BLE001 - it is logged where it becomes an answer
            return self._end(message, media_type, version, _failed(error, message, media_type))
        if isinstance(begun, bytes):
            return self._end(message, media_type, version, (200, begun, b""))
        return partial(self._finish, begun, share, message, media_type, version)

    def _limited(
        self, limits: RateLimits, generation: Responder, request: GraphQLRequest | Batch, message: HttpMessage
    ) -> bytes | PendingAnswer:
        """Begin with a request when its client has not sent too many; where Redis counts them that is to be awaited too."""
        context = generation.adapt(message) if limits.reads_context else message
        peer = client_address(message, limits.proxies)
        asking = {"request": context.said, "context": context.values, "peer": peer}
        number = len(request.items) if isinstance(request, Batch) else 1
        if limits.store is None:
            self.rate_limiter.hit(limits, asking, number)
            return _begin(generation, request, context)

        async def rest() -> bytes:
            await self.rate_limiter.hit_store(limits, asking, number)
            begun = _begin(generation, request, context)
            return begun if isinstance(begun, bytes) else await begun()

        return rest

    async def _finish(
        self, rest: PendingAnswer, share: PriorityShare, message: HttpMessage, media_type: str, version: bytes
    ) -> HttpResponse:
        if not self.admission.acquire(share):  # here and not before: a task that is cancelled before it begins gives nothing back
            return self._end(message, media_type, version, _overloaded(message))
        try:
            answer: Answer = 200, await rest(), b""
        except Exception as error:  # noqa: BLE001 - it is logged where it becomes an answer
            answer = _failed(error, message, media_type)
        finally:
            self.admission.release()
        return self._end(message, media_type, version, answer)

    def refuse(self, error: RequestError, request_id: str) -> HttpResponse:
        """Return the response to what is refused before it is a GraphQL request."""
        message = HttpMessage("", b"", {}, b"", request_id, 0.0)
        return self._end(message, JSON, b"", _failed(error, message, JSON))

    def left(self, message: HttpMessage) -> None:
        """Note that a client has left before its response was there."""
        message.summary.outcome = "left"
        self._end(message, JSON, b"", (CLIENT_LEFT, b"", b""))

    def _end(self, message: HttpMessage, media_type: str, version: bytes, answer: Answer) -> HttpResponse:
        """Count what a request has come to, tell of it where that is wanted, and return the response."""
        self.telemetry.ended(message.method, GRAPHQL_PATH, answer[0], message)
        return http_response(answer, media_type, version, message.request_id)


def _overloaded(message: HttpMessage) -> Answer:
    """Return the answer to a request that is not let in, which must cost next to nothing."""
    message.summary.note_overload()
    return NOT_ADMITTED


def _failed(error: Exception, message: HttpMessage, media_type: str) -> Answer:
    """Return the answer that an error is: one of the request, or a defect, of which the client is told nothing."""
    if isinstance(error, RequestError):
        message.summary.note_refusal(error)
        return refusal(error, media_type)
    log.error("request failed unexpectedly", extra={"request_id": message.request_id}, exc_info=error)
    message.summary.note_errors(unexpected().errors, has_data=False)
    return 500, UNEXPECTED, b""


def _negotiate_get(message: HttpMessage) -> str:
    """Choose the media type of the response to a GET, unless it comes from the address line of a browser."""
    refuse_page(message)
    return negotiate(message.headers.get("accept"))


def _priority(request: GraphQLRequest | Batch, generation: Responder) -> Priority:
    """Return how important a request is; of a batch nothing is known before its parts are read."""
    return Priority.NORMAL if isinstance(request, Batch) else generation.read(request.query).priority


def _begin(generation: Responder, request: GraphQLRequest | Batch, context: RequestContext) -> bytes | PendingAnswer:
    return _begin_all(generation, request, context) if isinstance(request, Batch) else generation.begin(request, context)


def _begin_all(generation: Responder, batch: Batch, context: RequestContext) -> PendingAnswer:
    batch.check(generation.max_batch)

    async def answer() -> bytes:
        with generation.in_use():
            return await batch.answer(generation.begin, context)

    return answer
