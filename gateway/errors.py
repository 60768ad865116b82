"""The exception tree, the error codes, and the messages that clients may see.

::

    StepgraphError
    ├── ConfigurationError   all problems of the configuration files, raised together
    ├── RequestError         a request that is rejected as a whole; it has an HTTP status and no data
    └── StepFault            one failed attempt of a step; the engine converts it into a Failure

A client only ever sees a :class:`Code` and a message of :data:`MESSAGES` (or, for a request error, text that is built from what
that client sent). Everything else that is known about a fault is in its ``detail``, which goes to the log.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


def visible(text: str) -> str:
    """Replace each character that a terminal could obey, or that cannot be written.

    The former move its cursor, or change its colours or the direction of text. The latter are bytes of a file name that are not UTF-8: Python
    keeps each as half of a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join("\ufffd" if unicodedata.category(character) in _NOT_VISIBLE else character for character in text)


_NOT_VISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


class StepgraphError(Exception):
    """The root of all errors of this package."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a configuration file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{visible(self.file)}:{self.line}:{self.column}"

    def shown(self) -> "Place":
        """Return the place with a file name that can be printed, for output; files are found and compared by their own name."""
        return replace(self, file=visible(self.file))

    @property
    def in_file(self) -> str:
        """The file and the line, as text."""
        return f"{visible(self.file)}:{self.line}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One error in the configuration: its position, its subject, a message that says what is wrong and how to fix it, and its code."""

    place: Place
    subject: str
    message: str
    code: str

    def __str__(self) -> str:
        return f"{self.place}  {self.subject}\n  {self.message}  [{self.code}]"


class ConfigurationError(StepgraphError):
    """The configuration cannot be served; ``problems`` lists every reason, sorted by position."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known name closest to ``name``, or an empty string when none is close."""
    names = list(known)
    # difflib compares the name with every known one, in time that grows with the square of its length: both are bounded.
    matches = difflib.get_close_matches(name[:80], names, n=1, cutoff=0.6) if len(names) <= 500 else []
    return f"; did you mean '{matches[0]}'?" if matches else ""


class Code(StrEnum):
    """``extensions.code`` of an error. The names are those that GraphQL servers and routers already use."""

    BAD_REQUEST = "BAD_REQUEST"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    OPERATION_RESOLUTION_FAILURE = "OPERATION_RESOLUTION_FAILURE"
    TOKEN_LIMIT_EXCEEDED = "TOKEN_LIMIT_EXCEEDED"  # noqa: S105 - no password
    MAX_DEPTH_LIMIT = "MAX_DEPTH_LIMIT"
    MAX_ROOT_FIELDS_LIMIT = "MAX_ROOT_FIELDS_LIMIT"
    MAX_ALIASES_LIMIT = "MAX_ALIASES_LIMIT"
    MAX_FIELDS_LIMIT = "MAX_FIELDS_LIMIT"
    MAX_DIRECTIVES_LIMIT = "MAX_DIRECTIVES_LIMIT"
    QUERY_PLAN_COMPLEXITY_EXCEEDED = "QUERY_PLAN_COMPLEXITY_EXCEEDED"
    RESPONSE_TOO_LARGE = "RESPONSE_TOO_LARGE"
    COST_ESTIMATED_TOO_EXPENSIVE = "COST_ESTIMATED_TOO_EXPENSIVE"
    BATCHING_NOT_ENABLED = "BATCHING_NOT_ENABLED"
    BATCH_LIMIT_EXCEEDED = "BATCH_LIMIT_EXCEEDED"
    CSRF_ERROR = "CSRF_ERROR"
    INTROSPECTION_DISABLED = "INTROSPECTION_DISABLED"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    MUTATION_NOT_ALLOWED_OVER_HTTP_GET = "MUTATION_NOT_ALLOWED_OVER_HTTP_GET"
    INVALID_ACCEPT_HEADER = "INVALID_ACCEPT_HEADER"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    REQUEST_HEADER_FIELDS_TOO_LARGE = "REQUEST_HEADER_FIELDS_TOO_LARGE"
    URI_TOO_LONG = "URI_TOO_LONG"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    INVALID_CONTENT_TYPE_HEADER = "INVALID_CONTENT_TYPE_HEADER"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
    REQUEST_CONCURRENCY_LIMITED = "REQUEST_CONCURRENCY_LIMITED"
    REQUEST_RATE_LIMITED = "REQUEST_RATE_LIMITED"

    SUBREQUEST_HTTP_ERROR = "SUBREQUEST_HTTP_ERROR"
    SUBREQUEST_MALFORMED_RESPONSE = "SUBREQUEST_MALFORMED_RESPONSE"
    SUBREQUEST_RESPONSE_TOO_LARGE = "SUBREQUEST_RESPONSE_TOO_LARGE"
    GATEWAY_TIMEOUT = "GATEWAY_TIMEOUT"
    REQUEST_LIMIT_EXCEEDED = "REQUEST_LIMIT_EXCEEDED"
    SUBGRAPH_CIRCUIT_BREAKER_REJECTED = "SUBGRAPH_CIRCUIT_BREAKER_REJECTED"
    RESPONSE_VALIDATION_FAILED = "RESPONSE_VALIDATION_FAILED"
    DOWNSTREAM_SERVICE_ERROR = "DOWNSTREAM_SERVICE_ERROR"


MESSAGES = {
    Code.SUBREQUEST_HTTP_ERROR: "The service behind '{step}' could not be reached or refused the call.",
    Code.SUBREQUEST_MALFORMED_RESPONSE: "The service behind '{step}' answered with something that is not valid JSON.",
    Code.SUBREQUEST_RESPONSE_TOO_LARGE: "The answer of the service behind '{step}' is larger than allowed.",
    Code.GATEWAY_TIMEOUT: "'{step}' did not answer in time.",
    Code.REQUEST_LIMIT_EXCEEDED: "Too many calls to the service behind '{step}' are waiting already.",
    Code.SUBGRAPH_CIRCUIT_BREAKER_REJECTED: "'{step}' was not called: the service behind it has failed too often just now.",
    Code.RESPONSE_VALIDATION_FAILED: "'{step}' gave a value that does not fit the schema.",
    Code.DOWNSTREAM_SERVICE_ERROR: "The query behind '{step}' failed.",
    Code.BAD_USER_INPUT: "'{step}' was not called: a value of its input is not usable.",
    Code.INTERNAL_SERVER_ERROR: "'{step}' could not be computed.",
}
"""The message that a client gets for a failed step, by code; ``{step}`` is the step's name."""


_REFUSALS = {Code.BAD_USER_INPUT, Code.REQUEST_LIMIT_EXCEEDED, Code.SUBGRAPH_CIRCUIT_BREAKER_REJECTED}
"""Codes of attempts that the gateway rejects before it calls the upstream."""


class RequestError(StepgraphError):
    """A request that is rejected as a whole: the response has ``errors`` and no ``data``.

    ``errors`` are GraphQL error objects; each gets ``code`` as its ``extensions.code``, unless it has extensions of its own.
    ``retry_after`` is the number of seconds after which the client may retry, if known.
    """

    def __init__(self, code: Code, status: int, *errors: dict[str, object], retry_after: int | None = None) -> None:
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.errors = [{**error, "extensions": error.get("extensions", {"code": str(code)})} for error in errors]
        super().__init__("; ".join(str(error["message"]) for error in errors))


def response_too_large(max_bytes: int) -> RequestError:
    """Return the error for an answer that is larger than allowed."""
    message = f"The answer is larger than {max_bytes} bytes; ask for less at once."
    return RequestError(Code.RESPONSE_TOO_LARGE, 400, {"message": message})


class StepFault(StepgraphError):
    """One attempt of a step failed.

    ``kind`` is what a retry policy matches: ``connect``, ``reset``, ``timeout``, an HTTP status as text, or ``""`` for a fault that
    a retry cannot fix. ``message`` replaces the message of :data:`MESSAGES` and may contain only what the client sent.
    ``detail`` is for the log only.
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

    @property
    def is_refusal(self) -> bool:
        """Whether the gateway itself rejected the attempt, so that no upstream was called."""
        # A timeout without a kind is one in the gateway's own queue; an upstream's timeout has the kind "timeout" or "connect".
        return self.code in _REFUSALS or (self.code is Code.GATEWAY_TIMEOUT and not self.kind)
