"""One GraphQL request on a connection, from its head to its answer, and what a connection is about at a time."""

import asyncio
from enum import Enum, auto
from typing import ClassVar

from gateway.serve.connections.head import RequestHead
from gateway.serve.http.request import HttpMessage


class Phase(Enum):
    """What a connection is about; ``limit_at`` is when it must be over."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    REFUSED = auto()


class _Nobody:
    """The listener to messages that an exchange has not."""

    def set(self) -> None:
        """Tell nobody."""


class Exchange(HttpMessage):
    """A GraphQL request and its answer. It stands where uvicorn has a cycle of ASGI messages, and has of that what uvicorn looks at.

    One whose body comes with its head needs no more of what follows than the class has.
    """

    message_event: ClassVar = _Nobody()
    size = 0
    """Bytes of its body so far."""
    is_whole = is_begun = False
    """Whether all of the request is there, and whether its turn has come."""
    response_complete = disconnected = False
    task: asyncio.Task[None] | None = None

    def __init__(self, head: RequestHead, body: bytes, request_id: str, arrived_at: float, peer: str) -> None:
        super().__init__(head.method, head.query_string, head.headers, body, request_id, arrived_at, peer)
        self.keep_alive = not head.is_last
        self.parts: list[bytes] = []
        """Of a body that comes in several."""
