"""Everything that can go wrong, as types.

::

    StepgraphError
    ├── ConfigurationError   problems of the configuration files, all of them at once
    ├── RequestError         a whole request that is refused; it has a status and no data
    └── StepFault            one attempt of a step that failed; the engine turns it into a Failure

A client only ever sees a :class:`Code` and a message of :data:`MESSAGES` (or, for a request error, words made of what that
client sent). Whatever else is known of a fault is its ``detail``, which goes to the log.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class StepgraphError(Exception):
    """The root of all errors of this package."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a configuration file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in the configuration: where, in what, what is wrong and what to do, and its code."""

    place: Place
    subject: str
    message: str
    code: str

    def __str__(self) -> str:
        return f"{self.place}  {self.subject}\n  {self.message}  [{self.code}]"


class ConfigurationError(StepgraphError):
    """The configuration cannot be served; ``problems`` has every reason, in order of place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known name closest to ``name``, or nothing when none is close."""
    names = list(known)
    # The search compares each with each: with very many names it would cost more than it helps.
    matches = difflib.get_close_matches(name[:80], names, n=1, cutoff=0.6) if len(names) <= 500 else []
    return f"; did you mean '{matches[0]}'?" if matches else ""


class Code(StrEnum):
    """``extensions.code`` of an error. The names are those that GraphQL servers and routers already use."""

    BAD_REQUEST = "BAD_REQUEST"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    OPERATION_RESOLUTION_FAILURE = "OPERATION_RESOLUTION_FAILURE"
    BATCHING_NOT_ENABLED = "BATCHING_NOT_ENABLED"
    CSRF_ERROR = "CSRF_ERROR"
    INTROSPECTION_DISABLED = "INTROSPECTION_DISABLED"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    MUTATION_NOT_ALLOWED_OVER_HTTP_GET = "MUTATION_NOT_ALLOWED_OVER_HTTP_GET"
    INVALID_ACCEPT_HEADER = "INVALID_ACCEPT_HEADER"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    INVALID_CONTENT_TYPE_HEADER = "INVALID_CONTENT_TYPE_HEADER"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"

    SUBREQUEST_HTTP_ERROR = "SUBREQUEST_HTTP_ERROR"
    SUBREQUEST_MALFORMED_RESPONSE = "SUBREQUEST_MALFORMED_RESPONSE"
    SUBREQUEST_RESPONSE_TOO_LARGE = "SUBREQUEST_RESPONSE_TOO_LARGE"
    GATEWAY_TIMEOUT = "GATEWAY_TIMEOUT"
    REQUEST_LIMIT_EXCEEDED = "REQUEST_LIMIT_EXCEEDED"
    RESPONSE_VALIDATION_FAILED = "RESPONSE_VALIDATION_FAILED"
    DOWNSTREAM_SERVICE_ERROR = "DOWNSTREAM_SERVICE_ERROR"


MESSAGES = {
    Code.SUBREQUEST_HTTP_ERROR: "The service behind '{step}' could not be reached or refused the call.",
    Code.SUBREQUEST_MALFORMED_RESPONSE: "The service behind '{step}' answered with something that is not valid JSON.",
    Code.SUBREQUEST_RESPONSE_TOO_LARGE: "The answer of the service behind '{step}' is larger than allowed.",
    Code.GATEWAY_TIMEOUT: "'{step}' did not answer in time.",
    Code.REQUEST_LIMIT_EXCEEDED: "Too many calls to the service behind '{step}' are waiting already.",
    Code.RESPONSE_VALIDATION_FAILED: "'{step}' gave a value that does not fit the schema.",
    Code.DOWNSTREAM_SERVICE_ERROR: "The query behind '{step}' failed.",
    Code.BAD_USER_INPUT: "'{step}' was not called: a value of its input is not usable.",
    Code.INTERNAL_SERVER_ERROR: "'{step}' could not be computed.",
}
"""What a client is told of a failed step, by code; ``{step}`` is the step's name."""


class RequestError(StepgraphError):
    """A request that is answered as a whole by errors, without ``data``.

    ``errors`` are GraphQL error objects; each gets ``code`` as its ``extensions.code``.
    """

    def __init__(self, code: Code, status: int, *errors: dict[str, object]) -> None:
        self.code = code
        self.status = status
        self.errors = [{**error, "extensions": {"code": str(code)}} for error in errors]
        super().__init__("; ".join(str(error["message"]) for error in errors))


class StepFault(StepgraphError):
    """One attempt of a step failed.

    ``kind`` is what a retry policy chooses by: ``connect``, ``reset``, ``timeout``, an HTTP status as text, or ``""`` for a
    fault that no repetition can mend. ``message`` replaces the catalogue's and may hold only what the client sent.
    ``detail`` is for the log alone.
    """

    def __init__(
        self,
        code: Code,
        *,
        kind: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        message: str | None = None,
        detail: str = "",
    ) -> None:
        self.code = code
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.message = message
        self.detail = detail
        super().__init__(detail or str(code))
