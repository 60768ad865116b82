"""Complete HTTP requests to ``/graphql`` → HTTP responses (GraphQL-over-HTTP).

A request that needs no I/O is answered at once, without a task. For any other one the caller gets a function to await: the caller is
:mod:`gateway.serve.connections.connection` in production, and :mod:`gateway.serve.http.asgi` under other servers.
"""

import asyncio
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
from gateway.contract.request import CLIENT_CLOSED_REQUEST, GraphQLRequest, PendingAnswer
from gateway.errors import RequestError
from gateway.serve.admission.admission import Admission, PriorityShare, PriorityShares
from gateway.serve.admission.rate_limits import RateLimiter
from gateway.serve.http.batch import Batch
from gateway.serve.http.media_types import JSON, negotiate, negotiate_or_json
from gateway.serve.http.request import GRAPHQL_PATH, HttpMessage, RequestParser, client_address, refuse_browser
from gateway.serve.http.response import (
    INTERNAL_ERROR_BODY,
    NOT_ADMITTED,
    Answer,
    HttpResponse,
    error_answer,
    http_response,
    internal_error,
    not_ready,
)
from gateway.telemetry.telemetry import Telemetry

log = logging.getLogger("stepgraph.http")

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Assigns ids to requests: the client's own if that is valid, otherwise one that no other process generates."""

    def __init__(self) -> None:
        self._process = uuid.uuid4().hex[:16]
        self._count = itertools.count()

    def assign(self, client_id: str | None) -> str:
        """Return the id of a request; ``client_id`` is what its ``x-request-id`` header has."""
        # It is repeated in the head of the response and in log lines, so only harmless characters are accepted.
        if client_id is not None and _VALID_ID.fullmatch(client_id):
            return client_id
        return f"{self._process}{next(self._count):016x}"


Readable = GraphQLRequest | Batch | RequestError
"""What a message contains; an error where it cannot be read."""
PendingResponse = Callable[[], Coroutine[Any, Any, HttpResponse]]
"""A function to await for a response that needs I/O. Nothing has started before it is called."""


class Responder(Protocol):
    """Answers GraphQL requests with JSON text, as a generation does."""

    @property
    def version(self) -> bytes:
        """The content hash of its configuration."""

    @property
    def max_response_bytes(self) -> int:
        """The most bytes of an answer, to one request or to all of a batch together."""

    @property
    def max_batch(self) -> int:
        """How many requests a batch may have; 0 if batching is not enabled."""

    def in_use(self) -> AbstractContextManager[None]:
        """Keep it from being closed while the context is open."""

    @property
    def priority_shares(self) -> PriorityShares:
        """The limits of admission by priority."""

    @property
    def rate_limits(self) -> RateLimits | None:
        """How many requests each client may send; None without a limit."""

    def adapt(self, request: RequestContext) -> RequestContext:
        """Return a request with its context values (``context:`` of the configuration)."""

    def priority(self, query: str) -> Priority:
        """Return the priority of a document.

        :raises RequestError: it cannot be parsed.
        """

    def begin(self, request: GraphQLRequest, context: RequestContext) -> bytes | PendingAnswer:
        """Answer a request at once, or return a function to await for the answer.

        :raises RequestError: no step was run; the error is the answer. The returned function raises it too.
        """


class GraphQLEndpoint:
    """The GraphQL endpoint. ``generation`` returns the one that is served now, or None before the first is loaded.

    Every request leaves by one way: whatever happens to it becomes an :data:`Answer`, and :meth:`_end` records it and builds the response.
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
        """Answer a request at once, or return a function to await for the response. Neither raises an exception."""
        generation = self._generation()
        if generation is None:
            return self.refuse(not_ready(), message.request_id)
        version, share, media_type = generation.version, generation.priority_shares.largest, JSON
        if not self.admission.admits(message.arrived_at, share):  # before parsing: under overload a rejection must be cheap
            return self._end(message, negotiate_or_json(message.headers.get("accept")), version, _not_admitted(message))
        self.telemetry.request_started(message)
        try:
            media_type, request, share = self._read(message, generation)
            # The largest share has admitted the request; its own is known only now, from the operations that the document asks for.
            if generation.priority_shares.is_ranked and not self.admission.admits(message.arrived_at, share):
                return self._end(message, media_type, version, _not_admitted(message))
            limits = generation.rate_limits
            if limits is None and isinstance(request, GraphQLRequest):  # the most frequent case: saves a call
                result = generation.begin(request, message)
            else:
                result = self._limited(limits, generation, request, message) if limits else _begin(generation, request, message)
        except Exception as error:  # noqa: BLE001 - _answer_error logs it
            return self._end(message, media_type, version, _answer_error(error, message, media_type))
        if isinstance(result, bytes):
            return self._end(message, media_type, version, (200, result, b""))
        return partial(self._finish, result, share, message, media_type, version)

    def _read(self, message: HttpMessage, generation: Responder) -> tuple[str, Readable, PriorityShare]:
        """Return the media type of the response, what a message contains, and its share of the admission.

        A message that cannot be read is no exception yet: it is counted by the rate limits like any other, and only then refused.
        """
        media_type, share = JSON, generation.priority_shares.largest
        try:
            media_type = _negotiate_get(message) if message.method == "GET" else negotiate(message.headers.get("accept"))
            request: Readable = self._parser.parse(message)
            if generation.priority_shares.is_ranked:
                share = generation.priority_shares.of(_priority(request, generation))
        except RequestError as error:
            request = error
        return media_type, request, share

    def _limited(
        self, limits: RateLimits, generation: Responder, request: Readable, message: HttpMessage
    ) -> bytes | PendingAnswer:
        """Begin a request if its client has not exceeded a rate limit. Where Redis counts requests, the check must be awaited too."""
        context = generation.adapt(message) if limits.reads_context else message
        peer = client_address(message, limits.proxies)
        key_scope = {"request": context.scope_value, "context": context.values, "peer": peer}
        # Each request of a batch counts, or else a batch would be a way around the limit.
        number = max(1, len(request.items)) if isinstance(request, Batch) else 1
        if limits.store is None:
            self.rate_limiter.hit(limits, key_scope, number)
            return _begin(generation, request, context)

        async def check_and_answer() -> bytes:
            await self.rate_limiter.hit_store(limits, key_scope, number)
            result = _begin(generation, request, context)
            return result if isinstance(result, bytes) else await result()

        return check_and_answer

    async def _finish(
        self, pending: PendingAnswer, share: PriorityShare, message: HttpMessage, media_type: str, version: bytes
    ) -> HttpResponse:
        # The place is taken only here: a task that is cancelled before it starts would never release it.
        if not self.admission.acquire(share):
            return self._end(message, media_type, version, _not_admitted(message))
        try:
            answer: Answer = 200, await pending(), b""
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - _answer_error logs it
            answer = _answer_error(error, message, media_type)
        finally:
            self.admission.release()
        return self._end(message, media_type, version, answer)

    def refuse(self, error: RequestError, request_id: str) -> HttpResponse:
        """Return the response to a request that is rejected before it is read completely."""
        message = HttpMessage("", b"", {}, b"", request_id, 0.0)
        return self._end(message, JSON, b"", _answer_error(error, message, JSON))

    def note_disconnect(self, message: HttpMessage) -> None:
        """Record that a client disconnected before its response was ready."""
        message.summary.outcome = "left"
        self._end(message, JSON, b"", (CLIENT_CLOSED_REQUEST, b"", b""))

    def _end(self, message: HttpMessage, media_type: str, version: bytes, answer: Answer) -> HttpResponse:
        """Record how a request ended in metrics, log and trace, and return the response."""
        self.telemetry.request_ended(message.method, GRAPHQL_PATH, answer[0], message)
        return http_response(answer, media_type, version, message.request_id)


def _not_admitted(message: HttpMessage) -> Answer:
    """Return the answer to a request that is not admitted."""
    message.summary.note_overload()
    return NOT_ADMITTED


def _answer_error(error: BaseException, message: HttpMessage, media_type: str) -> Answer:
    """Return the answer for an error: a request error, or a defect, of which the client gets no detail and the log gets the traceback."""
    if isinstance(error, RequestError):
        message.summary.note_refusal(error)
        return error_answer(error, media_type)
    log.error("request failed unexpectedly", extra={"request_id": message.request_id}, exc_info=error)
    message.summary.note_errors(internal_error().errors, has_data=False)
    return 500, INTERNAL_ERROR_BODY, b""


def _negotiate_get(message: HttpMessage) -> str:
    """Choose the media type of the response to a GET.

    :raises RequestError: it comes from the address bar of a browser (404), or accepts neither media type (406).
    """
    refuse_browser(message)
    return negotiate(message.headers.get("accept"))


def _priority(request: Readable, generation: Responder) -> Priority:
    """Return the priority of a request. A batch has the normal one: its documents are parsed only after admission."""
    return generation.priority(request.query) if isinstance(request, GraphQLRequest) else Priority.NORMAL


def _begin(generation: Responder, request: Readable, context: RequestContext) -> bytes | PendingAnswer:
    if isinstance(request, RequestError):
        raise request
    return _begin_batch(generation, request, context) if isinstance(request, Batch) else generation.begin(request, context)


def _begin_batch(generation: Responder, batch: Batch, context: RequestContext) -> PendingAnswer:
    batch.check_size(generation.max_batch)

    async def answer() -> bytes:
        # Between two requests of the batch none may be in flight, and a reload would close the generation.
        with generation.in_use():
            return await batch.answer(generation.begin, context, generation.max_response_bytes)

    return answer
