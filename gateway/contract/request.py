"""A request as it is known before its document is parsed, and a summary of its outcome for telemetry."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from gateway.errors import Code, RequestError
from gateway.record import Record

NO_CODES: Mapping[str, int] = {}
NO_VALUES: Mapping[str, object] = {}
CLIENT_CLOSED_REQUEST = 499
"""The status in logs and metrics of a request whose client disconnected before the response, as in nginx. It is never sent."""
_NOT_ADMITTED: Mapping[str, int] = {str(Code.REQUEST_CONCURRENCY_LIMITED): 1}


class RequestSummary:
    """The outcome of a request, recorded while it is processed, for logs, metrics and traces."""

    # Class attributes as defaults: most requests succeed and never change them.
    outcome = "ok"
    """``ok``, ``partial``, ``failed`` (no data), ``refused`` (nothing was run), or ``left`` (its client disconnected)."""
    shortfall = ""
    """``partial`` or ``degraded`` where a response without errors lacks a step's value, or has that of a fallback.

    This is not an outcome: logs and metrics count such a request as ``ok``, and alerts depend on that. Only the playground shows it.
    """
    is_admitted = True
    """Whether it passed admission. A request that did not is counted, but neither timed nor logged."""
    operations: tuple[str, ...] = ()
    """The names of the requested operations."""
    codes: Mapping[str, int] = NO_CODES
    """The number of errors in the response, by code."""
    version = ""
    """The version of the configuration that served it."""
    began = 0.0
    """When it began, by ``time.perf_counter``; 0 if it has not, as when it is refused before it is known to be a GraphQL request."""
    span: Any = None
    """Its span, where requests are traced."""

    def note_errors(self, errors: Iterable[Mapping[str, Any]], *, has_data: bool) -> None:
        """Record errors of the response, or of one response of a batch."""
        self.outcome = "partial" if has_data else "failed"
        self.codes = Counter(self.codes) + _by_code(errors)

    def note_refusal(self, error: RequestError) -> None:
        """Record that the request was refused before anything was run."""
        self.outcome, self.codes = "refused", _by_code(error.errors)

    def note_overload(self) -> None:
        """Record that admission refused the request."""
        self.outcome, self.codes, self.is_admitted = "refused", _NOT_ADMITTED, False

    def copy_outcome(self, other: "RequestSummary") -> None:
        """Copy the outcome of another request whose response this one shares."""
        self.outcome, self.shortfall, self.codes = other.outcome, other.shortfall, other.codes

    def for_batch_item(self) -> "RequestSummary":
        """Return the summary of one request of this batch. All share the span of the batch, but each has its own outcome."""
        part = RequestSummary()
        part.began, part.span = self.began, self.span
        return part

    def add(self, part: "RequestSummary") -> None:
        """Add the summary of one request of this batch. The batch has the outcome of the last request that is not ``ok``."""
        self.operations += part.operations
        self.version = part.version or self.version
        if part.outcome != "ok":
            self.outcome, self.codes = part.outcome, Counter(self.codes) + Counter(part.codes)


def _by_code(errors: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(str(error["extensions"]["code"]) for error in errors)


class RequestContext:
    """A request as it is known before its document is parsed. ``arrived_at`` is a time of the event loop's clock.

    ``values`` are its context values, by the names in the configuration's ``context:``.
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
        """Return the context of the same request with context values."""
        return RequestContext(self.request_id, self.headers, self.arrived_at, values, self.summary)

    def for_batch_item(self) -> "RequestContext":
        """Return the context of one request of this batch."""
        return RequestContext(self.request_id, self.headers, self.arrived_at, self.values, self.summary.for_batch_item())

    @property
    def scope_value(self) -> Mapping[str, object]:
        """The request as the value of ``request`` in references and expressions."""
        return {"id": self.request_id, "headers": self.headers}


class GraphQLRequest(Record, frozen=True):
    """A well-formed request (GraphQL-over-HTTP 5.1)."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, object] = {}
    wants_trace: bool = False
    is_read_only: bool = False
    """Whether it came by GET, which must not run a mutation."""


PendingAnswer = Callable[[], Coroutine[Any, Any, bytes]]
"""Waits for the rest of a request and returns the response as JSON text."""
