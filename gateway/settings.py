"""The vocabulary of configuration keys: what every model of a YAML mapping is made of (the only module that knows pydantic).

A model is a frozen class; each key has a type from here, a default where it may be left out, and a docstring that says what it does.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails

from gateway.mistakes import Misfit, Mistake, mistakes_of


def said(one: str, several: str, **keywords: object) -> Any:
    """Give a type its words for people, one such value and several, and further keywords of its JSON Schema."""
    return Field(json_schema_extra={"said": [one, several], **keywords})  # type: ignore[dict-item] # mypy: JSON is invariant


def such_as(*examples: object) -> Any:
    """Give a key examples; the first is what a message about a wrong value shows."""
    return Field(examples=list(examples))


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*$"),
    said("a name (letters, digits and underscores, no digit at the front)", "names"),
]
"""A GraphQL name."""
RuleName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"),
    said("a name in lower case, with hyphens between its words", "names in lower case"),
]
"""The name of a lint rule."""
FunctionPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""A function or a class of a module, as `package.module:name`."""
Text = Annotated[str, StringConstraints(min_length=1)]
TypeText = Annotated[Text, said("a GraphQL type", "GraphQL types"), such_as("Account", "[Post!]")]
"""A GraphQL type as it is written in SDL."""
FieldName = Annotated[
    str,
    StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*\.[_A-Za-z][_0-9A-Za-z]*$"),
    said("a type and a field with a dot between them", "fields of types"),
    such_as("Post.user"),
]
_A_STEP = {"name": "account", "type": "api", "endpoint": "/accounts/{id}"}
_A_LINK_STEP = {"type": "api", "endpoint": "/users/{parent.userId}"}
_A_SOURCE = {"type": "api", "base_url": "http://127.0.0.1:9101"}
StepMapping = Annotated[dict[str, Any], said("a mapping with the keys of a step", "steps", holds="step"), such_as(_A_STEP)]
"""A step of an operation; it is decoded by its own ``type``."""
LinkStepMapping = Annotated[
    dict[str, Any], said("a mapping with the keys of a step", "steps", holds="link step"), such_as(_A_LINK_STEP)
]
"""The step of a link, which needs no name."""
SourceMapping = Annotated[
    dict[str, Any], said("a mapping with the keys of a source", "sources", holds="source"), such_as(_A_SOURCE)
]
"""A source; it is decoded by its own ``type``."""
Milliseconds = Annotated[int, Field(gt=0, le=3_600_000), said("a whole number of milliseconds", "whole numbers of milliseconds")]
WaitMilliseconds = Annotated[
    int, Field(ge=0, le=3_600_000), said("a whole number of milliseconds", "whole numbers of milliseconds")
]
StepName = Annotated[
    str,
    StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*(\.[_A-Za-z][_0-9A-Za-z]*)?$"),
    said("a step, or a link as its type and field with a dot between them", "steps"),
]
Count = Annotated[int, Field(gt=0, le=100_000)]
StaleMilliseconds = Annotated[int, Field(gt=0, le=7 * 24 * 3_600_000)]
ByteCount = Annotated[int, Field(gt=0, le=1_000_000_000)]
Status = Annotated[int, Field(ge=100, le=599)]
RetryClass = Literal["connect", "reset", "timeout"] | Status


class Keys(BaseModel):
    """A YAML mapping: unknown keys are refused and types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    example: ClassVar[str] = ""
    """YAML that shows the keys in use: a document, a step in its list, a source or a part under its name."""


KeysT = TypeVar("KeysT", bound=Keys)


class RetryKeys(Keys):
    """``retry:`` of a step or source. Idempotent calls only; all attempts and waits lie inside the deadline."""

    example = "retry: { attempts: 3, errors: [connect, timeout, 503], base_ms: 20 }"

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a call is made at the most, the first time included."""
    errors: list[RetryClass] = ["connect", "reset", 502, 503, 504]
    """What is tried again: `connect`, `reset`, `timeout`, or an HTTP status."""
    base_ms: Milliseconds = 50
    """The longest wait before the second attempt; it doubles with each further one. Waits are drawn at random below it."""
    cap_ms: Milliseconds = 2000
    """The longest wait before any attempt."""


class FallbackKeys(Keys):
    """One entry of ``fallback:``; exactly one of its keys."""

    example = """\
fallback:
  - step: creditFromWarehouse
  - value: { limit: 0 }
"""
    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    step: Name | None = None
    """A step of this operation that is run instead; not in a link, which has none."""
    value: Any = None
    """A constant that is given instead; in a link, for each key of the call that failed."""
    stale_ms: StaleMilliseconds | None = None
    """The last good value of this very call, if it is no older than this; for calls that change nothing. A reload forgets it."""


class CacheKeys(Keys):
    """``cache:`` of a step: for how long a reply answers equal calls of other requests."""

    example = "cache: { ttl_ms: 5000 }"

    ttl_ms: Milliseconds
    """How long a reply is fresh. One that the upstream calls private or not to be stored, or that sets a cookie, is never kept."""


class BatchKeys(Keys):
    """``batch:`` of a link: the keys of all parents of one level go into one call."""

    example = "batch: { key: userId, match: id, max: 50 }"

    key: Annotated[Name | list[Name], such_as("userId")]
    """The field of the parent whose value asks for a result; several for a compound key."""
    match: Annotated[Name | list[Name], such_as("id")]
    """The field of a result that says whose it is, in the order of `key`."""
    max: Count = 100
    """How many keys go into one call at the most."""


class StepKeys(Keys):
    """What every step has, whatever its type."""

    name: Annotated[Name, such_as("account")]
    """The step's name, and the name of its field unless `as` gives another."""
    type: Annotated[Text, such_as("api")]
    """The step type: what the step does."""
    source: Text | None = None
    """The source that is called; left out: the default source of this step type."""
    returns: TypeText | None = None
    """The GraphQL type of the value, such as `Account` or `[Post]`; left out: JSON, or what the SDL says of the field."""
    as_: Name | None = Field(default=None, alias="as")
    """The name of the field that this step fills."""
    expose: bool = True
    """Whether the step fills a field; `false` for one that only other steps use."""
    when: Annotated[Text | None, such_as("account.status == 'ACTIVE'")] = None
    """JMESPath over arguments, steps and context; when it is false the step is skipped."""
    depends_on: Annotated[list[Name], such_as(["account"])] = []
    """Steps that must have ended first although none of their data is used."""
    select: Annotated[Text | None, such_as("items[0]")] = None
    """JMESPath over the raw result; its value is the step's."""
    timeout_ms: Milliseconds | None = None
    """The limit of one attempt; left out: the source's, or the default of the step type."""
    retry: Annotated[RetryKeys | None, such_as({"attempts": 3})] = None
    """When and how a failed attempt is repeated; left out: the source's."""
    fallback: Annotated[list[FallbackKeys], such_as([{"step": "other"}], [{"value": 0}])] = []
    """What is tried, in order, when the step has failed; in a link, for each of its calls that has."""
    cache: Annotated[CacheKeys | Literal["http"] | None, such_as({"ttl_ms": 5000}, "http")] = None
    """For how long a reply is taken again for the very same call, headers and all; `http`: as long as its `Cache-Control` says."""
    batch: Annotated[BatchKeys | None, such_as({"key": "userId", "match": "id"})] = None
    """How the step of a link asks for many parents at once; `{keys}` in its inputs stands for their keys."""


class SourceKeys(Keys):
    """What every source has, whatever its type."""

    type: Annotated[Text, such_as("api")]
    """The step type that calls this source."""
    timeout_ms: Milliseconds | None = None
    """The limit of one attempt of a step that gives none itself."""
    retry: Annotated[RetryKeys, such_as({"attempts": 3})] = RetryKeys()
    """When and how a failed attempt is repeated, for steps that do not say themselves."""
    concurrency: Count = 100
    """How many calls are under way at the most; further ones wait."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many calls wait at the most; further ones fail at once with `REQUEST_LIMIT_EXCEEDED`."""
    dedupe: bool = False
    """Whether equal calls of several requests are one while they are under way: equal with headers and all, and such as change nothing."""


class ArgumentKeys(Keys):
    """An entry of ``args:`` with more to say than its type."""

    example = """\
limit: { type: Int, default: 10, description: How many posts at the most. }
"""

    type: TypeText
    """The argument's GraphQL type."""
    default: Any = None
    """The value of an argument that is not given; enum values are texts."""
    description: str | None = None
    """What the argument is for; stands in the schema."""
    deprecated: Annotated[Text | None, such_as("use 'first'")] = None
    """Why clients should not give the argument any more; not for one that they have to give."""


class AggregationKeys(Keys):
    """``aggregation:`` of an operation: how the values of its steps become its value."""

    example = "aggregation: { strategy: merge, required_steps: [account] }"

    strategy: Literal["merge", "flatten", "pick"] = "merge"
    """`merge`: one field per step. `flatten`: the fields of the steps' objects side by side. `pick`: the value of one step."""
    step: Name | None = None
    """The step whose value is the operation's, for `pick`."""
    required_steps: Annotated[list[Name], such_as(["account"])] = []
    """Steps without which the operation has no answer."""


ArgumentType = TypeText | ArgumentKeys


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
    args: Annotated[dict[Name, ArgumentType], such_as({"limit": "Int"})] = {}
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
    required_steps: list[Name] = []
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
    steps: list[dict[str, Any]] = []
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

    sources: Annotated[dict[Name, SourceMapping], such_as({"core": _A_SOURCE})] = {}
    """Source names to sources; the keys of a source are those of its `type`."""
    types: list[FunctionPath] = []
    """Python classes decorated with `@strawberry.type`, as `package.module:Class`; their GraphQL types join those of the SDL."""
    defaults: Annotated[dict[Text, Name], such_as({"api": "core"})] = {}
    """Step types to the source that a step without `source` uses."""


class ServerKeys(Keys):
    """``server:``: what holds for requests of all operations."""

    example = "server: { dedupe_queries: true }"

    dedupe_queries: bool = False
    """Whether equal queries of several requests are one while they are under way: the same operation, variables, overlays and whatever
    headers and context values its steps read."""


class ServerDocumentKeys(Keys):
    """A document with ``server:``. There is at most one."""

    example = "server: { dedupe_queries: true }"

    server: Annotated[ServerKeys, such_as({"dedupe_queries": True})]
    """What holds for requests of all operations."""


class ReloadKeys(Keys):
    """``reload:`` document: how a change of the files is taken up while the gateway serves."""

    example = "reload: { reject_breaking: true, grace_ms: 60000 }"

    settle_ms: Annotated[int, Field(ge=50, le=60_000)] = 200
    """Milliseconds that the files must rest before a change of them is read."""
    poll_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 3000
    """Milliseconds after which the files are looked at even when the file system has told of no change."""
    keep_last_good: bool = True
    """Whether what is sound of a change moves on while the rest keeps its last good definition; without, a change with a problem waits."""
    grace_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 30_000
    """Milliseconds that requests on an old version have to end before its pools are closed."""
    reject_breaking: bool = False
    """Whether a change is refused that breaks clients: a field, type or argument that goes or gets another type."""


class ReloadDocumentKeys(Keys):
    """A document with ``reload:``. There is at most one."""

    example = "reload: { reject_breaking: true }"

    reload: Annotated[ReloadKeys, such_as({"reject_breaking": True})]
    """How a change is taken up."""


DOCUMENTS: Mapping[str, type[Keys]] = {
    "operation": OperationKeys,
    "field": LinkKeys,
    "context": ContextKeys,
    "overlay": OverlayKeys,
    "policy": PolicyKeys,
    "sources": SharedKeys,
    "defaults": SharedKeys,
    "types": SharedKeys,
    "server": ServerDocumentKeys,
    "reload": ReloadDocumentKeys,
}
"""The kinds of documents by the keys that tell them apart."""


def validate(model: type[KeysT], value: Mapping[str, object]) -> KeysT | list[Mistake]:
    """Return the model of a mapping, or everything that is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        documents = {key: json_schema(kind) for key, kind in DOCUMENTS.items()}
        return mistakes_of(json_schema(model), value, [_misfit(detail) for detail in details], documents)


def _misfit(detail: ErrorDetails) -> Misfit:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown", detail["loc"]
    if kind == "missing":
        return "missing", detail["loc"]
    return "type" if kind.endswith("_type") or kind == "none_required" else "value", detail["loc"]


class _InOrder(GenerateJsonSchema):
    """Leaves keys in the order in which they were written."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


@cache
def json_schema(model: type[Keys]) -> Mapping[str, Any]:
    """Return the JSON Schema of a model as its YAML has it, with the words and examples of its keys; not to be changed."""
    schema: Mapping[str, Any] = _tidy(model.model_json_schema(schema_generator=_InOrder))
    return schema


def _tidy(node: Any) -> Any:
    """Drop the titles that pydantic makes of names, and say of keys with a pattern that there are no others."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if "patternProperties" in tidy:
        ((pattern, values),) = tidy.pop("patternProperties").items()
        tidy |= {
            "propertyNames": {**tidy.get("propertyNames", {}), "type": "string", "pattern": pattern},
            "additionalProperties": values,
        }
    return tidy
