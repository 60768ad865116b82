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
    """An ``operation:`` document: a field of Query and the steps behind it."""

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
    """What the field is for; stands in the schema."""
    deprecated: Annotated[Text | None, such_as("use 'customer360'")] = None
    """Why clients should not use the field any more, and what they should use; stands in the schema."""
    kind: Literal["query", "mutation"] = "query"
    """`mutation` for one that changes something: all its steps run, one after the other in written order."""
    type: Name | None = None
    """The name of the operation's type; left out: the operation's with its first letter raised."""
    args: Annotated[dict[Name, ArgumentType] | None, such_as({"id": "ID!"})] = None
    """Argument names to GraphQL types, each with a default if need be, as `Int = 10`, or to mappings; left out: every placeholder that
    names no step is an `ID!`."""
    deadline_ms: Milliseconds = 30_000
    """When the answer goes out with what is there, counted from the arrival of the request."""
    concurrency: Count | None = None
    """How many steps of one request run at once."""
    priority: Literal["low", "normal", "high"] = "normal"
    """What is refused last when there is more to do than can be done; a request counts as its most important operation."""
    steps: Annotated[list[StepMapping], such_as([_A_STEP])] = Field(min_length=1)
    """The units of work; their keys are those of their `type`."""
    aggregation: Annotated[AggregationKeys, such_as({"required_steps": ["account"]})] = AggregationKeys()
    """How the steps' values become the operation's."""


class LinkKeys(Keys):
    """A ``field:`` document, a link: a field of a type, filled by a step from its parent objects."""

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
    """The type and the field, as `Post.user`; that of an interface is a field of all types that implement it."""
    returns: TypeText
    """The field's GraphQL type; a list groups the results of a batch by their key."""
    description: str | None = None
    """What the field is for; stands in the schema."""
    deprecated: Annotated[Text | None, such_as("use 'customer360'")] = None
    """Why clients should not use the field any more, and what they should use; stands in the schema."""
    args: Annotated[dict[Name, ArgumentType], such_as({"limit": "Int"})] = empty(dict)
    """Argument names to GraphQL types, each with a default if need be, as `Int = 10`, or to mappings."""
    step: LinkStepMapping
    """The step that fills the field; without `batch` it is run for each parent and refers to it as `{parent.name}`."""


class ContextKeys(Keys):
    """A ``context:`` document: what a request says about itself."""

    example = """\
context:
  tenant: request.headers."x-tenant"
"""

    context: dict[Name, Text]
    """Names to JMESPath over `{request: {id, headers}}`; steps refer to a value as `{context.name}`."""


ConditionValue = str | int | float | bool


class OverlayAggregationKeys(Keys):
    """``aggregation:`` of an overlay. The strategy is not among its keys: it makes the type of the operation, which all requests share."""

    example = "aggregation: { required_steps: [account, risk] }"

    step: Name | None = None
    """The step whose value is the operation's, for `pick`."""
    required_steps: list[Name] = empty(list)
    """Steps without which the operation has no answer."""


class OverlayKeys(Keys):
    """An ``overlay:`` document: changes of an operation for those requests whose context has certain values."""

    example = """\
overlay: gold
when: { tenant: gold }
operation: customer
steps:
  - { name: risk, timeout_ms: 300 }
  - { name: disputes, type: api, endpoint: "/disputes/{customer_id}" }
"""

    overlay: Name
    """The overlay's name, for plans and problems."""
    when: dict[Name, ConditionValue | list[ConditionValue]] = Field(min_length=1)
    """Context keys to a value, or to a list of values of which one must match; all must hold. Values are compared as text."""
    operation: Name
    """The operation that is changed."""
    steps: list[dict[str, Any]] = empty(list)
    """With `type` a step is added; without it the step of that name is patched: maps merge, lists and scalars replace."""
    aggregation: OverlayAggregationKeys | None = None
    """Another `step` or other `required_steps`."""
    deadline_ms: Milliseconds | None = None
    """Another deadline."""
    concurrency: Count | None = None
    """Another number of steps that run at once."""


class PolicyKeys(Keys):
    """A ``policy:`` document: a rule of your own for `stepgraph check --lint`, over what `stepgraph blueprint` prints."""

    example = """\
policy: core-has-fallbacks
find: steps[?source == 'core' && !fallback]
message: every step of the source core needs a fallback
severity: error
"""

    policy: Annotated[RuleName, such_as("core-has-fallbacks")]
    """The rule's name; findings and ignore comments call it `policy/` and this name."""
    find: Annotated[Text, such_as("steps[?timeout_ms > `2000`]")]
    """JMESPath over the blueprint as data. Each object that it gives is a finding at that object's place; `true` or a text is one here."""
    message: Text
    """What is wrong, and what to do."""
    severity: Literal["error", "warning", "info"] = "warning"
    """How bad it is."""


class SharedKeys(Keys):
    """A document with ``sources:``, ``defaults:`` or both: what all operations share. There may be several."""

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
    """Source names to sources; the keys of a source are those of its `type`."""
    types: list[FunctionPath] = empty(list)
    """Python classes decorated with `@strawberry.type`, as `package.module:Class`; their GraphQL types join those of the SDL."""
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
    """Return the kind of the document that has these keys, None where none of them tells it."""
    return next((kind for key, kind in _BY_KEY.items() if key in keys), None)
