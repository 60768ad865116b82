"""A batch of GraphQL requests → one JSON list with their answers in order. A failure of one request is in its own answer only."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest, PendingAnswer, RequestSummary
from gateway.errors import Code, RequestError, response_too_large
from gateway.serve.http.response import errors_body, internal_error

log = logging.getLogger("stepgraph.http")

Begin = Callable[[GraphQLRequest, RequestContext], bytes | PendingAnswer]
"""Answers one request at once, or returns a function to await for the answer."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of a JSON list that was posted. ``parse`` turns an item into a request, or raises RequestError."""

    items: list[Any]
    parse: Callable[[Any], GraphQLRequest]

    def check_size(self, max_requests: int) -> None:
        """Check the number of requests; ``max_requests`` is 0 where batching is not enabled.

        :raises RequestError: there are none, or more than allowed.
        """
        if max_requests == 0:
            message = "Batching is not enabled; send one request at a time."
            raise RequestError(Code.BATCHING_NOT_ENABLED, 400, {"message": message})
        if not self.items:
            raise RequestError(Code.BAD_REQUEST, 400, {"message": "The list of requests is empty."})
        if len(self.items) > max_requests:
            message = f"The list has {len(self.items)} requests; {max_requests} are allowed."
            raise RequestError(Code.BATCH_LIMIT_EXCEEDED, 422, {"message": message})

    async def answer(self, begin: Begin, context: RequestContext, max_bytes: int) -> bytes:
        """Answer each request by itself; those that wait for I/O run concurrently. Their summaries are added to that of ``context``.

        Answers that would make more than ``max_bytes`` together with those before them are refused.
        """
        budget = _Budget(max_bytes)
        answers: list[bytes | asyncio.Task[bytes]] = []
        async with asyncio.TaskGroup() as group:
            for item in self.items:
                part = context.for_batch_item()
                answer = self._begin(item, begin, part, budget)
                if isinstance(answer, bytes):
                    context.summary.add(part.summary)
                    answers.append(answer)
                else:
                    answers.append(group.create_task(_finish(answer, part.summary, context.summary, budget)))
                await asyncio.sleep(
                    0
                )  # parsing and planning a new document takes time; other connections get their turn in between
        return b"[%s]" % b",".join(answer if isinstance(answer, bytes) else answer.result() for answer in answers)

    def _begin(self, item: Any, begin: Begin, part: RequestContext, budget: "_Budget") -> bytes | PendingAnswer:
        try:
            answer = begin(self.parse(item), part)
            return budget.take(answer) if isinstance(answer, bytes) else answer
        except Exception as error:  # noqa: BLE001 - _answer_error logs it
            return _answer_error(error, part.summary)


class _Budget:
    """Counts the bytes of the answers of a batch."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = self.left = max_bytes

    def take(self, answer: bytes) -> bytes:
        """Count an answer and return it.

        :raises RequestError: it does not fit beside those before it.
        """
        if len(answer) > self.left:
            raise response_too_large(self.max_bytes)
        self.left -= len(answer)
        return answer


async def _finish(pending: PendingAnswer, part: RequestSummary, whole: RequestSummary, budget: _Budget) -> bytes:
    try:
        return budget.take(await pending())
    except Exception as error:  # noqa: BLE001 - _answer_error logs it
        return _answer_error(error, part)
    finally:
        whole.add(part)


def _answer_error(error: Exception, part: RequestSummary) -> bytes:
    """Return the answer to a request of the batch that failed; log the error if it is a defect."""
    if not isinstance(error, RequestError):
        log.error("a request of a batch failed unexpectedly", exc_info=error)
        error = internal_error()
    # The batch as a whole has data: the other requests of it are answered.
    part.note_errors(error.errors, has_data=True)
    return errors_body(error)
