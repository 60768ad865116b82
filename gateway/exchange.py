"""One GraphQL request on a connection, from its head to its answer, and what a connection is about at a time."""

import asyncio
from enum import Enum, auto
from typing import ClassVar

from gateway.http_request import HttpMessage


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


class Exchange:
    """A GraphQL request and its answer. It stands where uvicorn has a cycle of ASGI messages, and has of that what uvicorn looks at."""

    __slots__ = ("body", "disconnected", "is_begun", "is_whole", "keep_alive", "message", "response_complete", "size", "task")
    message_event: ClassVar = _Nobody()

    def __init__(self, message: HttpMessage, *, keep_alive: bool) -> None:
        self.message = message
        self.keep_alive = keep_alive
        self.body: list[bytes] = []
        self.size = 0
        self.is_whole = self.is_begun = False
        """Whether all of the request is there, and whether its turn has come."""
        self.response_complete = self.disconnected = False
        self.task: asyncio.Task[None] | None = None
