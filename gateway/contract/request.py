"""What is known of a request before its document is read, and how it ends."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gateway.record import Record

NO_CODES: Mapping[str, int] = {}


NO_VALUES: Mapping[str, object] = {}


class RequestSummary:
    """How a request ends, noted down while it is answered, for whoever tells of it then.

    Most requests end well and need no more than the class has.
    """

    outcome = "ok"
    """``ok``, ``partial``, ``failed`` (there is no data), or ``refused`` (nothing was run)."""
    operations: tuple[str, ...] = ()
    """The names of the operations that are asked for."""
    codes: Mapping[str, int] = NO_CODES
    """How many errors the answer has, by code."""
    version = ""
    """The hash of the configuration that it is answered by."""
    began = 0.0
    """When it began, by ``time.perf_counter``."""
    span: Any = None
    """Its span, where requests are traced."""


class RequestContext:
    """What is known of a request before its document is read. ``arrived_at`` is in the clock of the event loop.

    ``values`` is what the request says about itself, by the names of the configuration's ``context:``.
    """

    __slots__ = ("arrived_at", "headers", "request_id", "summary", "values")

    def __init__(
        self,
        request_id: str,
        headers: Mapping[str, str],
        arrived_at: float,
        values: Mapping[str, object] = NO_VALUES,
        summary: RequestSummary | None = None,
    ) -> None:
        self.request_id = request_id
        self.headers = headers
        self.arrived_at = arrived_at
        self.values = values
        self.summary = summary or RequestSummary()

    def with_values(self, values: Mapping[str, object]) -> "RequestContext":
        """Return what is known of the same request once it is known what it says about itself."""
        return RequestContext(self.request_id, self.headers, self.arrived_at, values, self.summary)

    @property
    def said(self) -> Mapping[str, object]:
        """The request as references and expressions see it."""
        return {"id": self.request_id, "headers": self.headers}


class GraphQLRequest(Record, frozen=True):
    """A well-formed request (GraphQL-over-HTTP 5.1)."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, object] = {}
    wants_trace: bool = False
    is_read_only: bool = False
    """Whether it came by GET, which may not change anything."""


PendingAnswer = Callable[[], Coroutine[Any, Any, bytes]]
"""What is left of an answer in JSON text."""
