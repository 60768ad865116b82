"""What is known of a request before its document is read, and how it ends."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from gateway.errors import Code, RequestError
from gateway.record import Record

NO_CODES: Mapping[str, int] = {}
NO_VALUES: Mapping[str, object] = {}
CLIENT_LEFT = 499
"""The status of a request whose client has left before the answer; nginx's. Nobody is sent it."""
_NOT_ADMITTED: Mapping[str, int] = {str(Code.REQUEST_CONCURRENCY_LIMITED): 1}


class RequestSummary:
    """How a request ends, noted down while it is answered, for whoever tells of it then.

    Most requests end well and need no more than the class has.
    """

    outcome = "ok"
    """``ok``, ``partial``, ``failed`` (there is no data), ``refused`` (nothing was run), or ``left`` (its client did not wait)."""
    shortfall = ""
    """``partial`` or ``degraded`` where an answer without errors lacks a step's value, or has that of a fallback.

    This is no outcome: logs and metrics call such a request ``ok``, and alerts are set by how many are. The playground tells it apart.
    """
    is_admitted = True
    """Whether it was let in; one that is not is counted, but neither timed nor logged."""
    operations: tuple[str, ...] = ()
    """The names of the operations that are asked for."""
    codes: Mapping[str, int] = NO_CODES
    """How many errors the answer has, by code."""
    version = ""
    """The hash of the configuration that it is answered by."""
    began = 0.0
    """When it began, by ``time.perf_counter``; 0 while it has not, and so for what is refused before it is a GraphQL request."""
    span: Any = None
    """Its span, where requests are traced."""

    def note_errors(self, errors: Iterable[Mapping[str, Any]], *, has_data: bool) -> None:
        """Note that the answer has errors, or one of those of a batch."""
        self.outcome = "partial" if has_data else "failed"
        self.codes = Counter(self.codes) + _by_code(errors)

    def note_refusal(self, error: RequestError) -> None:
        """Note that nothing was run of the request."""
        self.outcome, self.codes = "refused", _by_code(error.errors)

    def note_overload(self) -> None:
        """Note that the request was not let in."""
        self.outcome, self.codes, self.is_admitted = "refused", _NOT_ADMITTED, False

    def end_like(self, other: "RequestSummary") -> None:
        """Note that the answer is that of another request."""
        self.outcome, self.shortfall, self.codes = other.outcome, other.shortfall, other.codes

    def part(self) -> "RequestSummary":
        """Return the summary of one request of this batch: they have a span in common, and each an end of its own."""
        part = RequestSummary()
        part.began, part.span = self.began, self.span
        return part

    def add(self, part: "RequestSummary") -> None:
        """Note how a request of this batch has ended: the last that did not end well gives the batch its outcome."""
        self.operations += part.operations
        self.version = part.version or self.version
        if part.outcome != "ok":
            self.outcome, self.codes = part.outcome, Counter(self.codes) + Counter(part.codes)


def _by_code(errors: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(str(error["extensions"]["code"]) for error in errors)


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

    def part(self) -> "RequestContext":
        """Return what is known of one request of this batch."""
        return RequestContext(self.request_id, self.headers, self.arrived_at, self.values, self.summary.part())

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
