"""One GraphQL request on a connection with its response, and the phases of a connection."""

import asyncio
from enum import Enum, auto
from typing import ClassVar

from gateway.serve.connections.head import RequestHead
from gateway.serve.http.request import HttpMessage


class Phase(Enum):
    """The phase of a connection. Each has a timeout (``expires_at``), except ``ANSWER``."""

    IDLE = auto()
    """Kept alive between two requests."""
    HEAD = auto()
    """Waits for the rest of a head, or for the first request."""
    BODY = auto()
    ANSWER = auto()
    """The request is complete and its response is not; steps and operations have deadlines of their own."""
    REFUSED = auto()
    """An error was sent; what the client still sends is dropped."""


class _NullEvent:
    """Takes the place of the event that wakes an ASGI application: an exchange has none."""

    def set(self) -> None:
        """Do nothing."""


class Exchange(HttpMessage):
    """A GraphQL request and its response. It replaces uvicorn's ``RequestResponseCycle``, and has the attributes of it that uvicorn reads.

    Most defaults are attributes of the class: a request whose body arrives with its head sets few of them, which makes it fast to create.
    """

    message_event: ClassVar = _NullEvent()
    size = 0
    """Bytes of the body received so far."""
    is_complete = is_started = False
    """Whether the whole request is received, and whether all responses before it are sent. It is answered when both are true."""
    response_complete = disconnected = False
    task: asyncio.Task[None] | None = None

    def __init__(self, head: RequestHead, body: bytes, request_id: str, arrived_at: float, peer: str) -> None:
        super().__init__(head.method, head.query_string, head.headers, body, request_id, arrived_at, peer)
        self.keep_alive = not head.closes_connection
        self.parts: list[bytes] = []
        """The parts of a body that arrives in several."""
