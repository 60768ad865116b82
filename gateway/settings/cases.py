"""The keys of a ``test:`` document, a test of a configuration (``*.test.yaml``)."""

from typing import Annotated, Any, Literal

from gateway.settings import Keys, Name, Status, StepName, Text, WaitMilliseconds, empty, such_as


class MockKeys(Keys):
    """One answer of a mocked step."""

    example = "exposure: [{ fault: timeout }, { status: 503 }, { value: { limit: 100 }, delay_ms: 40 }]"

    value: Any = None
    """The value: a JSON body, the rows or the row of a query, the value of a graphql field or of a function."""
    status: Status = 200
    """The HTTP status."""
    headers: dict[Text, Text] = empty(dict)
    """HTTP headers, such as `retry-after`."""
    body: str | None = None
    """A body as it is, instead of `value`: text that is no JSON, say."""
    fault: Literal["timeout", "connect", "reset", "error"] | None = None
    """What goes wrong instead: no answer ever, no connection, one that breaks, or the service's own error (a 500, a query that fails)."""
    delay_ms: WaitMilliseconds = 0
    """How long it takes, in virtual time."""


class BeforeKeys(Keys):
    """``before:`` of a test: the same request, sent once before, so that there is a last value."""

    example = "before: { wait_ms: 1000, steps: { account: { value: { tier: gold } } } }"

    steps: Annotated[dict[StepName, MockKeys | list[MockKeys]], such_as({"account": {"value": {}}})] = empty(dict)
    """What the steps answer to that request."""
    wait_ms: WaitMilliseconds = 0
    """How long after its answer the request of the test comes."""


class ErrorKeys(Keys):
    """One entry of ``errors:``; the keys that are left out may be anything."""

    example = "errors: [{ step: fraud, code: GATEWAY_TIMEOUT }]"

    step: Text | None = None
    """The step that failed."""
    code: Text | None = None
    """The code."""
    path: list[str | int] | None = None
    """Where in the answer."""
    message: Text | None = None
    """What the client is told."""


class ExpectKeys(Keys):
    """``expect:`` of a test: what must come. What is left out may be anything, but for errors beside `data`."""

    example = """\
expect:
  data: { customer: { account: { tier: gold }, fraud: null } }
  errors: [{ step: fraud, code: GATEWAY_TIMEOUT }]
  calls: { account: 1, fraud: 3 }
"""

    data: Annotated[Any, such_as({"customer": None})] = None
    """The data of the answer."""
    errors: Annotated[list[ErrorKeys], such_as([{"code": "GATEWAY_TIMEOUT"}])] = empty(list)
    """The errors of the answer, in order; left out beside `data`: there are none."""
    completeness: Annotated[Any, such_as({"missing": [], "degraded": []})] = None
    """The `extensions.completeness` of the answer; null when nothing is missing."""
    refused: Text | None = None
    """The code of a request that is refused as a whole."""
    plan: Text | None = None
    """The plan, as `stepgraph plan` prints it."""
    calls: Annotated[dict[StepName, Annotated[int, such_as(1)] | list[dict[Text, Any]]], such_as({"account": 1})] = empty(dict)
    """How often a step was called, all attempts counted; or each call, by those keys of what was sent that matter."""
    within_ms: WaitMilliseconds | None = None
    """How long the answer may take, in virtual time."""


class CaseKeys(Keys):
    """A ``test:`` document: a request, what its steps answer, and what must come of it."""

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
    """What is shown, in a sentence."""
    query: Annotated[Text, such_as("{ customer(id: 42) { account { tier } } }")]
    """The GraphQL document."""
    operation: Name | None = None
    """Which operation of the document."""
    variables: dict[Text, Any] = empty(dict)
    """Its variables."""
    headers: Annotated[dict[Text, Text], such_as({"x-tenant": "gold"})] = empty(dict)
    """The headers of the request."""
    context: Annotated[dict[Name, Any], such_as({"tenant": "gold"})] = empty(dict)
    """What the request says about itself, instead of what its headers would."""
    steps: Annotated[dict[StepName, MockKeys | list[MockKeys]], such_as({"account": {"value": {}}})] = empty(dict)
    """The answers of steps, by their names; a link's is its field, as `Post.user`. Of a list each call takes one, and further calls the last."""
    before: BeforeKeys | None = None
    """The same request once before."""
    expect: Annotated[ExpectKeys, such_as({"data": {}})]
    """What must come."""
