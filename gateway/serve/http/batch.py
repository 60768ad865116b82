"""Several GraphQL requests that came as one → one answer with theirs in order. What fails of one is told in its own answer alone."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest, PendingAnswer, RequestSummary
from gateway.errors import Code, RequestError
from gateway.serve.http.response import errors_text, unexpected

log = logging.getLogger("stepgraph.http")

Begin = Callable[[GraphQLRequest, RequestContext], bytes | PendingAnswer]
"""Answers one request at once, or returns what is left to be awaited."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of a JSON list that was posted; ``read`` makes a request of one, or raises RequestError."""

    items: list[Any]
    read: Callable[[Any], GraphQLRequest]

    def check(self, most: int) -> None:
        """Check how many requests there are.

        :raises RequestError: there are none, or more than allowed.
        """
        if most == 0:
            message = "Batching is not enabled; send one request at a time."
            raise RequestError(Code.BATCHING_NOT_ENABLED, 400, {"message": message})
        if not self.items:
            raise RequestError(Code.BAD_REQUEST, 400, {"message": "The list of requests is empty."})
        if len(self.items) > most:
            message = f"The list has {len(self.items)} requests; {most} are allowed."
            raise RequestError(Code.BATCH_LIMIT_EXCEEDED, 422, {"message": message})

    async def answer(self, begin: Begin, context: RequestContext) -> bytes:
        """Answer each request by itself; those that wait for others do so together. The summary of ``context`` tells how all of them end."""
        answers: list[bytes | asyncio.Task[bytes]] = []
        async with asyncio.TaskGroup() as group:
            for item in self.items:
                part = context.part()
                begun = self._begin(item, begin, part)
                if isinstance(begun, bytes):
                    context.summary.add(part.summary)
                    answers.append(begun)
                else:
                    answers.append(group.create_task(_finish(begun, part.summary, context.summary)))
                await asyncio.sleep(0)  # a document that is new takes a while: others shall not wait for all of them
        return b"[%s]" % b",".join(answer if isinstance(answer, bytes) else answer.result() for answer in answers)

    def _begin(self, item: Any, begin: Begin, part: RequestContext) -> bytes | PendingAnswer:
        try:
            return begin(self.read(item), part)
        except Exception as error:  # noqa: BLE001 - it is logged where it is answered
            return _failed(error, part.summary)


async def _finish(rest: PendingAnswer, part: RequestSummary, whole: RequestSummary) -> bytes:
    try:
        return await rest()
    except Exception as error:  # noqa: BLE001 - it is logged where it is answered
        return _failed(error, part)
    finally:
        whole.add(part)


def _failed(error: Exception, part: RequestSummary) -> bytes:
    if not isinstance(error, RequestError):
        log.error("a request of a batch failed unexpectedly", exc_info=error)
        error = unexpected()
    part.note_errors(error.errors, has_data=True)
    return errors_text(error)
