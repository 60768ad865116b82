"""The kinds of documents that a configuration is made of, in one table."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from gateway.settings.parts import AggregationKeys, ArgumentType
from gateway.settings.server import LimitsDocumentKeys, LimitsKeys, ReloadDocumentKeys, ReloadKeys, ServerDocumentKeys, ServerKeys
from gateway.settings.telemetry import TelemetryDocumentKeys, TelemetryKeys
from gateway.settings.vocabulary import (
    _A_SOURCE,
    _A_STEP,
    Count,
    FieldName,
    FunctionPath,
    Keys,
    LinkStepMapping,
    Milliseconds,
    Name,
    RuleName,
    SourceMapping,
    StepMapping,
    Text,
    TypeText,
    empty,
    such_as,
)


class OperationKeys(Keys):
    """An ``operation:`` document: a root field of the schema and the steps that provide its data."""

    example = """\
operation: creditDecision
args: { customer_id: ID! }
deadline_ms: 1500
steps:
  - name: account
    type: api
    endpoint: /accounts/{customer_id}
    returns: Account
  - name: exposure
    type: api
    endpoint: /credit/{account.tier}
    returns: Credit
aggregation: { required_steps: [account] }
"""

    operation: Annotated[Name, such_as("customer360")]
    """The name of the root field."""
    description: str | None = None
    """The description of the field in the schema."""
    deprecated: Annotated[Text | None, such_as("use 'customer360'")] = None
    """The reason why clients should no longer use the field, and what to use instead, for the schema."""
    kind: Literal["query", "mutation"] = "query"
    """`mutation` for an operation that changes data: all its steps run, one after another in written order."""
    type: Name | None = None
    """The name of the operation's type; left out: the name of the operation with its first letter in upper case."""
    args: Annotated[dict[Name, ArgumentType] | None, such_as({"id": "ID!"})] = None
    """The arguments: names to GraphQL types, optionally with a default such as `Int = 10`, or to mappings. Left out: every placeholder
    that names no step becomes an `ID!` argument."""
    deadline_ms: Milliseconds = 30_000
    """The time after which the response is sent with the data that is available, counted from the arrival of the request."""
    concurrency: Count | None = None
    """The most steps of one request that run at once; left out: no limit."""
    priority: Literal["low", "normal", "high"] = "normal"
    """Under overload requests of low priority are refused first. A request has the highest priority of its operations."""
    steps: Annotated[list[StepMapping], such_as([_A_STEP])] = Field(min_length=1)
    """The units of work. Their keys depend on their `type`."""
    aggregation: Annotated[AggregationKeys, such_as({"required_steps": ["account"]})] = AggregationKeys()
    """How the values of the steps become the value of the operation."""


class LinkKeys(Keys):
    """A ``field:`` document, a link: a field of a type whose value a step fetches for its parent objects."""

    example = """\
field: Post.user
returns: User
step:
  type: api
  endpoint: /users
  query: { id: "{keys}" }
  batch: { key: userId, match: id, max: 100 }
"""

    field: FieldName
    """The type and the field, as `Post.user`. A field of an interface is a field of all types that implement it."""
    returns: TypeText
    """The GraphQL type of the field. With a list type, the results of a batch are grouped by key."""
    description: str | None = None
    """The description of the field in the schema."""
    deprecated: Annotated[Text | None, such_as("use 'customer360'")] = None
    """The reason why clients should no longer use the field, and what to use instead, for the schema."""
    args: Annotated[dict[Name, ArgumentType], such_as({"limit": "Int"})] = empty(dict)
    """The arguments: names to GraphQL types, optionally with a default such as `Int = 10`, or to mappings."""
    step: LinkStepMapping
    """The step that fills the field. Without `batch` it runs once for each parent object, and refers to it as `{parent.name}`."""


class ContextKeys(Keys):
    """A ``context:`` document: named values that are computed from the headers of each request."""

    example = """\
context:
  tenant: request.headers."x-tenant"
"""

    context: dict[Name, Text]
    """Names to JMESPath expressions over `{request: {id, headers}}`. Steps refer to a value as `{context.name}`."""


ConditionValue = str | int | float | bool


class OverlayAggregationKeys(Keys):
    """``aggregation:`` of an overlay. It has no `strategy`: that determines the type of the operation, which all requests share."""

    example = "aggregation: { required_steps: [account, risk] }"

    step: Name | None = None
    """With `pick`: the step whose value becomes the operation's value."""
    required_steps: list[Name] = empty(list)
    """Steps without which the operation has no value: when one of them fails, its fallbacks included, the operation is null."""


class OverlayKeys(Keys):
    """An ``overlay:`` document: changes of an operation for requests with certain context values."""

    example = """\
overlay: gold
when: { tenant: gold }
operation: customer
steps:
  - { name: risk, timeout_ms: 300 }
  - { name: disputes, type: api, endpoint: "/disputes/{customer_id}" }
"""

    overlay: Name
    """The name of the overlay, for plans and error messages."""
    when: dict[Name, ConditionValue | list[ConditionValue]] = Field(min_length=1)
    """Context keys to a value, or to a list of values of which one must match. All keys must match. Values are compared as text."""
    operation: Name
    """The operation that is changed."""
    steps: list[dict[str, Any]] = empty(list)
    """A step with `type` is added. A step without it patches the step of that name: mappings merge, lists and scalars replace."""
    aggregation: OverlayAggregationKeys | None = None
    """Another `step` or other `required_steps`."""
    deadline_ms: Milliseconds | None = None
    """Another `deadline_ms`."""
    concurrency: Count | None = None
    """Another `concurrency`."""


class PolicyKeys(Keys):
    """A ``policy:`` document: your own lint rule for `stepgraph check --lint`, over the data that `stepgraph blueprint` prints."""

    example = """\
policy: core-has-fallbacks
find: steps[?source == 'core' && !fallback]
message: every step of the source core needs a fallback
severity: error
"""

    policy: Annotated[RuleName, such_as("core-has-fallbacks")]
    """The name of the rule. Findings and ignore comments refer to it as `policy/` and this name."""
    find: Annotated[Text, such_as("steps[?timeout_ms > `2000`]")]
    """JMESPath over the blueprint as data. Each object in its result is a finding at the place of that object; `true` or a text is a finding
    at this rule."""
    message: Text
    """The text of the finding: what is wrong, and what to do."""
    severity: Literal["error", "warning", "info"] = "warning"
    """The severity of the findings."""


class SharedKeys(Keys):
    """A document with ``sources:``, ``defaults:`` or ``types:``: what all operations share. There may be several."""

    example = """\
sources:
  core:
    type: api
    base_url: ${CORE_URL:-http://127.0.0.1:9101}
  warehouse:
    type: warehouse
    url: sqlite:///warehouse.db
defaults: { api: core, warehouse: warehouse }
"""

    sources: Annotated[dict[Name, SourceMapping], such_as({"core": _A_SOURCE})] = empty(dict)
    """Source names to sources. The keys of a source depend on its `type`."""
    types: list[FunctionPath] = empty(list)
    """Python classes decorated with `@strawberry.type`, as `package.module:Class`. Their GraphQL types are added to those of the SDL."""
    defaults: Annotated[dict[Text, Name], such_as({"api": "core"})] = empty(dict)
    """Step types to the source that a step without `source` uses."""


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """A kind of document. A kind with a ``field`` needs no code of its own to be read, reloaded, compared and described."""

    keys: tuple[str, ...]
    """The keys that identify it; the first is its name."""
    model: type[Keys]
    field: str = ""
    """The field of the Blueprint that holds its value: of a single kind the mapping under its key, else a tuple of the documents.
    Empty for operations, links, overlays and sources, which have their own code in ``load``."""
    is_single: bool = False
    """Whether a configuration may have only one such document."""
    default: Keys | None = None
    """The value of a single kind where there is no such document."""
    invalidates: Literal["units", "generation", "nothing"] = "generation"
    """What is built again after a change: all operations and links, only the generation that serves them, or nothing."""
    also: tuple[str, ...] = ()
    """Other keys that identify it where its own key was forgotten."""

    @property
    def key(self) -> str:
        """Its name in problems and in the reference."""
        return self.keys[0]

    @property
    def is_named(self) -> bool:
        """Tell whether its key has a name as its value, which problems then show."""
        return self.model.model_fields[self.key].annotation is str


DOCUMENT_KINDS = (
    DocumentKind(("operation",), OperationKeys),
    DocumentKind(("field",), LinkKeys),
    DocumentKind(("overlay",), OverlayKeys, also=("when",)),
    DocumentKind(("context",), ContextKeys, "context", invalidates="units"),
    DocumentKind(("policy",), PolicyKeys, "policy_rules", invalidates="nothing"),
    DocumentKind(("sources", "defaults", "types"), SharedKeys),
    DocumentKind(("server",), ServerDocumentKeys, "server", is_single=True, default=ServerKeys()),
    DocumentKind(("limits",), LimitsDocumentKeys, "limits", is_single=True, default=LimitsKeys()),
    DocumentKind(("reload",), ReloadDocumentKeys, "reload", is_single=True, default=ReloadKeys()),
    DocumentKind(("telemetry",), TelemetryDocumentKeys, "telemetry", is_single=True, default=TelemetryKeys()),
)
"""All kinds of documents, in the order of the reference. Checks run in this order too: that of `server` needs the value of `context`."""

# An overlay also has the key `operation`. Any other document with the keys of two kinds is a mistake; this decides how it is reported.
_PRECEDENCE = {"overlay": 0, "operation": 1, "field": 3, "sources": 4}
_BY_KEY = {
    key: kind
    for kind in sorted(DOCUMENT_KINDS, key=lambda kind: _PRECEDENCE.get(kind.key, 2))
    for key in (*kind.keys, *kind.also)
}


def kind_of(keys: Container[str]) -> DocumentKind | None:
    """Return the kind of the document that has these keys, None if none of them identifies a kind."""
    return next((kind for key, kind in _BY_KEY.items() if key in keys), None)
