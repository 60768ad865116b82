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
from gateway.contract.request import GraphQLRequest, Rest
from gateway.document.document import Document
from gateway.errors import Code, RequestError
from gateway.serve.admission.admission import Admission, Share, Shares
from gateway.serve.admission.rate_limits import Counters
from gateway.serve.http.batch import Batch
from gateway.serve.http.request import GRAPHQL_PATH, JSON, HttpMessage, client_address, graphql_request, negotiate, refuse_page
from gateway.serve.http.response import UNEXPECTED, HttpAnswer, http_answer, too_much_answer
from gateway.telemetry.telemetry import CLIENT_LEFT, Telling, note_errors, refuse

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


RestOfAnswer = Callable[[], Coroutine[Any, Any, HttpAnswer]]


class Responds(Protocol):
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
    def shares(self) -> Shares:
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

    def begin(self, request: GraphQLRequest, context: RequestContext) -> bytes | Rest:
        """Answer a request at once, or return what is left to be awaited.

        :raises RequestError: nothing was run; the error is the answer. What is left raises it too.
        """


class GraphQLEndpoint:
    """What is behind ``/graphql``. ``generation`` gives the one that answers now, or None while there is none."""

    def __init__(
        self, generation: Callable[[], Responds | None], *, is_development: bool, telling: Telling | None = None
    ) -> None:
        self.telling = telling or Telling(is_development=is_development)
        self.admission = Admission(self.telling.measures.rejected)
        self.counters = Counters()
        self._generation = generation
        self._is_development = is_development

    def begin(self, message: HttpMessage) -> HttpAnswer | RestOfAnswer:
        """Answer a request at once, or return what is left to be awaited. Neither raises an exception."""
        generation = self._generation()
        if generation is None:
            return self.refuse(_not_ready(), message.request_id)
        version, share = generation.version, generation.shares.best
        if not self.admission.admits(message.arrived_at, share):  # before all else, as there is no time
            self.telling.measures.begun += 1
            return self._too_much(message, version)
        media_type = JSON
        self.telling.begun(message)
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
            self.telling.ended(message.method, GRAPHQL_PATH, 200, message)
            return http_answer(200, media_type, version, message.request_id, begun)
        return partial(self._finish, begun, share, message, media_type, version)

    def _counted(
        self, limits: RateLimits, generation: Responds, request: GraphQLRequest | Batch, message: HttpMessage
    ) -> bytes | Rest:
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

    async def _finish(self, rest: Rest, share: Share, message: HttpMessage, media_type: str, version: bytes) -> HttpAnswer:
        if not self.admission.take(share):  # here and not before: a task that is cancelled before it begins gives nothing back
            return self._too_much(message, version)
        try:
            answer = http_answer(200, media_type, version, message.request_id, await rest())
        except Exception as error:  # noqa: BLE001 - it is logged where it is answered
            return self._failed(error, message, media_type, version)
        finally:
            self.admission.leave()
        self.telling.ended(message.method, GRAPHQL_PATH, 200, message)
        return answer

    def _too_much(self, message: HttpMessage, version: bytes) -> HttpAnswer:
        """Return the answer to a request that is not let in, which must cost next to nothing."""
        self.telling.shed()
        return too_much_answer(message.headers.get("accept"), version, message.request_id)

    def refuse(self, error: RequestError, request_id: str) -> HttpAnswer:
        """Return the answer to what is refused before it is a GraphQL request."""
        self.telling.refused(error, request_id)
        return http_answer(error.status, JSON, b"", request_id, json_text({"errors": error.errors}))

    def left(self, message: HttpMessage) -> None:
        """Note that a client has left before its answer was there."""
        message.ending.outcome = "left"
        self.telling.ended(message.method, GRAPHQL_PATH, CLIENT_LEFT, message)

    def _failed(self, error: Exception, message: HttpMessage, media_type: str, version: bytes) -> HttpAnswer:
        if not isinstance(error, RequestError):
            log.error("request failed unexpectedly", extra={"request_id": message.request_id}, exc_info=error)
            note_errors(message.ending, _UNEXPECTED_ERRORS, has_data=False)
            self.telling.ended(message.method, GRAPHQL_PATH, 500, message)
            return http_answer(500, media_type, version, message.request_id, UNEXPECTED)
        status = 200 if media_type == JSON and error.code in _LEGACY_200 else error.status
        refuse(message.ending, error)
        self.telling.ended(message.method, GRAPHQL_PATH, status, message)
        answer = http_answer(status, media_type, version, message.request_id, json_text({"errors": error.errors}))
        if status == 405:
            return answer.with_header(b"allow", b"GET, POST")
        if error.retry_after is not None:
            return answer.with_header(b"retry-after", b"%d" % error.retry_after)
        return answer


def _not_ready() -> RequestError:
    return RequestError(Code.INTERNAL_SERVER_ERROR, 503, {"message": "The gateway is not ready."})


def _priority(request: GraphQLRequest | Batch, generation: Responds) -> Priority:
    """Return how important a request is; of a batch nothing is known before its parts are read."""
    return Priority.NORMAL if isinstance(request, Batch) else generation.read(request.query).priority


def _begin(generation: Responds, request: GraphQLRequest | Batch, context: RequestContext) -> bytes | Rest:
    return _begin_all(generation, request, context) if isinstance(request, Batch) else generation.begin(request, context)


def _begin_all(generation: Responds, batch: Batch, context: RequestContext) -> Rest:
    batch.check(generation.max_batch)

    async def answer() -> bytes:
        with generation.in_use():
            return await batch.answer(lambda request: generation.begin(request, context), context.ending)

    return answer


_UNEXPECTED_ERRORS = ({"extensions": {"code": str(Code.INTERNAL_SERVER_ERROR)}},)
