"""One GraphQL request on a connection, from its head to its answer, and what a connection is about at a time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from gateway.http_request import HttpMessage
from gateway.settings import ServerKeys


class Phase(Enum):
    """What a connection is about; ``limit_at`` is when it must be over."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    REFUSED = auto()


Written = tuple[bytes, bytes, str, list[tuple[bytes, bytes]]]
"""A head as it came: URL, method, version of HTTP, and headers by their names in lower case."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a GraphQL request that was found sound. A client's next one on a connection is nearly always the very same."""

    written: Written
    keys: ServerKeys
    """The limits that it was checked against."""
    method: str
    query_string: bytes
    headers: Mapping[str, str]
    is_last: bool
    """Whether the client wants the connection to end after it."""
    waits_for_word: bool
    """Whether the body comes only after ``100 Continue``."""


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
