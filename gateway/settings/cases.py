"""The keys of a ``test:`` document, a config test (``*.test.yaml``)."""

from typing import Annotated, Any, Literal

from gateway.settings import Keys, Name, Status, StepName, Text, WaitMilliseconds, empty, such_as


class MockKeys(Keys):
    """One reply of a mocked step."""

    example = "exposure: [{ fault: timeout }, { status: 503 }, { value: { limit: 100 }, delay_ms: 40 }]"

    value: Any = None
    """The value of the reply: a JSON body, one row or all rows of a query, the value of a GraphQL field or of a function."""
    status: Status = 200
    """The HTTP status."""
    headers: dict[Text, Text] = empty(dict)
    """HTTP headers, such as `retry-after`."""
    body: str | None = None
    """The raw body, instead of `value`: for example text that is not JSON."""
    fault: Literal["timeout", "connect", "reset", "error"] | None = None
    """A failure instead of a reply: `timeout`, no reply at all; `connect`, connection refused; `reset`, connection lost; `error`, an
    error of the service itself (a status 500, a failed query)."""
    delay_ms: WaitMilliseconds = 0
    """How long the reply takes, in virtual time."""


class BeforeKeys(Keys):
    """``before:`` of a test: the same request, sent once before the test's own, so that steps have a last value for `stale_ms`."""

    example = "before: { wait_ms: 1000, steps: { account: { value: { tier: gold } } } }"

    steps: Annotated[dict[StepName, MockKeys | list[MockKeys]], such_as({"account": {"value": {}}})] = empty(dict)
    """The replies of the steps to that request."""
    wait_ms: WaitMilliseconds = 0
    """The time between its response and the request of the test, in virtual time."""


class ErrorKeys(Keys):
    """One entry of ``errors:``. Keys that are left out are not compared."""

    example = "errors: [{ step: fraud, code: GATEWAY_TIMEOUT }]"

    step: Text | None = None
    """The step that failed."""
    code: Text | None = None
    """The error code."""
    path: list[str | int] | None = None
    """The path of the error in the response."""
    message: Text | None = None
    """The error message."""


class ExpectKeys(Keys):
    """``expect:`` of a test: the expected response. Keys that are left out are not compared, except `errors` when `data` is given."""

    example = """\
expect:
  data: { customer: { account: { tier: gold }, fraud: null } }
  errors: [{ step: fraud, code: GATEWAY_TIMEOUT }]
  calls: { account: 1, fraud: 3 }
"""

    data: Annotated[Any, such_as({"customer": None})] = None
    """The `data` of the response."""
    errors: Annotated[list[ErrorKeys], such_as([{"code": "GATEWAY_TIMEOUT"}])] = empty(list)
    """The errors of the response, in order. Left out while `data` is given: there must be none."""
    completeness: Annotated[Any, such_as({"missing": [], "degraded": []})] = None
    """The `extensions.completeness` of the response; null when nothing is missing."""
    refused: Text | None = None
    """The error code with which the whole request is refused."""
    plan: Text | None = None
    """The plan, as `stepgraph plan` prints it."""
    calls: Annotated[dict[StepName, Annotated[int, such_as(1)] | list[dict[Text, Any]]], such_as({"account": 1})] = empty(dict)
    """By step, the number of calls, all attempts counted; or a list of the calls, each with those inputs that the test compares."""
    within_ms: WaitMilliseconds | None = None
    """The longest time that the response may take, in virtual time."""


class CaseKeys(Keys):
    """A ``test:`` document: a request, the mocked replies of its steps, and the expected response."""

    example = """\
test: a slow fraud service does not hold up the answer
query: "{ customer(id: 42) { account { tier } fraud { score } } }"
steps:
  account: { value: { tier: gold } }
  fraud: { fault: timeout }
expect:
  data: { customer: { account: { tier: gold }, fraud: null } }
  errors: [{ step: fraud, code: GATEWAY_TIMEOUT }]
"""

    test: Text
    """The behaviour that the test shows, in one sentence."""
    query: Annotated[Text, such_as("{ customer(id: 42) { account { tier } } }")]
    """The GraphQL document."""
    operation: Name | None = None
    """The name of the operation to run, where the document has several."""
    variables: dict[Text, Any] = empty(dict)
    """The variables of the request."""
    headers: Annotated[dict[Text, Text], such_as({"x-tenant": "gold"})] = empty(dict)
    """The headers of the request."""
    context: Annotated[dict[Name, Any], such_as({"tenant": "gold"})] = empty(dict)
    """Context values of the request, instead of those computed from its headers."""
    steps: Annotated[dict[StepName, MockKeys | list[MockKeys]], such_as({"account": {"value": {}}})] = empty(dict)
    """The replies of the steps, by name; the step of a link is named after its field, as `Post.user`. In a list there is one reply for
    each call, and the last repeats."""
    before: BeforeKeys | None = None
    """The same request, sent once before."""
    expect: Annotated[ExpectKeys, such_as({"data": {}})]
    """The expected response."""
