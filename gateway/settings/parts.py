"""Mappings inside documents: the keys that all steps and all sources have, fallbacks, batches, arguments, aggregation."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from gateway.settings.policies import SourcePolicyKeys, StepPolicyKeys
from gateway.settings.vocabulary import Count, Keys, Milliseconds, Name, StaleMilliseconds, Text, TypeText, empty, such_as


class FallbackKeys(Keys):
    """One entry of ``fallback:``. It has exactly one of these keys."""

    example = """\
fallback:
  - step: creditFromWarehouse
  - value: { limit: 0 }
"""
    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    step: Name | None = None
    """Another step of the operation, which runs instead. Not available in a link, which has one step only."""
    value: Any = None
    """A constant that is used instead; in a link, for each key of the failed call."""
    stale_ms: StaleMilliseconds | None = None
    """The last good value of the same call with the same inputs, if it is no older than this many milliseconds. Only for idempotent calls.
    A reload discards the stored values."""


class CacheKeys(Keys):
    """``cache:`` of a step: how long a reply is reused for equal calls of other requests."""

    example = "cache: { ttl_ms: 5000 }"

    ttl_ms: Milliseconds
    """How long a reply is fresh. Replies with `Cache-Control: private` or `no-store`, `Vary: *`, or a cookie, and those of a GraphQL service
    with errors are never cached."""


class BatchKeys(Keys):
    """``batch:`` of a link: the keys of all parent objects of one level are sent in one call."""

    example = "batch: { key: userId, match: id, max: 50 }"

    key: Annotated[Name | list[Name], such_as("userId")]
    """The field of the parent whose value is the key; a list of fields for a compound key."""
    match: Annotated[Name | list[Name], such_as("id")]
    """The field of a result that holds the key of its parent; for a compound key a list, in the order of `key`."""
    max: Count = 100
    """The most keys in one call."""


class _CalledKeys(Keys):
    """What a step calls, when, and what its value is.

    These keys are a class of their own so that the reference lists the policies between them and the other keys of :class:`StepKeys`.
    """

    name: Annotated[Name, such_as("account")]
    """The step's name, and the name of its field unless `as` gives another."""
    type: Annotated[Text, such_as("api")]
    """The step type: what the step does."""
    source: Text | None = None
    """The source that is called; left out: the default source of this step type."""
    returns: TypeText | None = None
    """The GraphQL type of the value, such as `Account` or `[Post]`; left out: the type of the field in the SDL, or else JSON."""
    as_: Name | None = Field(default=None, alias="as")
    """The name of the field that this step fills."""
    expose: bool = True
    """Whether the step fills a field; `false` for a step that only other steps use."""
    when: Annotated[Text | None, such_as("account.status == 'ACTIVE'")] = None
    """A JMESPath condition over arguments, steps and context. When it is false the step is skipped."""
    depends_on: Annotated[list[Name], such_as(["account"])] = empty(list)
    """Steps that must end before this one starts although it uses none of their data."""
    select: Annotated[Text | None, such_as("items[0]")] = None
    """JMESPath over the raw result. Its value becomes the step's value."""
    timeout_ms: Milliseconds | None = None
    """The timeout of one attempt; left out: the source's, or the default of the step type."""


class StepKeys(StepPolicyKeys, _CalledKeys):
    """Keys that steps of every type have."""

    fallback: Annotated[list[FallbackKeys], such_as([{"step": "other"}], [{"value": 0}])] = empty(list)
    """Alternatives that are tried in order when the step fails; in a link, for each call that fails."""
    sensitive: bool = False
    """Whether the inputs and the value of the step are kept out of logs, plans and traces. Steps that read its value are sensitive too."""
    cache: Annotated[CacheKeys | Literal["http"] | None, such_as({"ttl_ms": 5000}, "http")] = None
    """How long a reply is reused for calls with equal inputs, headers included; `http`: as long as its `Cache-Control` allows."""
    batch: Annotated[BatchKeys | None, such_as({"key": "userId", "match": "id"})] = None
    """How the step of a link fetches the results for many parents in one call. `{keys}` in its inputs stands for their keys."""
    cost: Annotated[int | None, Field(ge=0, le=1_000_000), such_as(5)] = None
    """The cost of one call, for `max_cost` of `limits:`; left out: 1, or 0 for a step that calls nothing outside the gateway."""
    list_size: Annotated[Count | Name | None, such_as("limit", 20)] = None
    """The expected number of items when the step returns a list, for `max_cost`: a number, or the argument that holds it. Left out: the
    `list_size` of `limits:`."""


class _RemoteKeys(Keys):
    type: Annotated[Text, such_as("api")]
    """The step type that calls this source."""
    timeout_ms: Milliseconds | None = None
    """The timeout of one attempt, for steps without their own."""


class SourceKeys(SourcePolicyKeys, _RemoteKeys):
    """Keys that sources of every type have."""

    dedupe: bool = False
    """Whether equal calls of different requests share one call while it is in flight. Only idempotent calls with equal inputs, headers
    included."""

    @property
    def is_insecure(self) -> bool:
        """Whether it says that calls need not verify whom they reach."""
        return False


class ArgumentKeys(Keys):
    """An entry of ``args:`` as a mapping, where it has more than a type."""

    example = """\
limit: { type: Int, default: 10, description: How many posts at the most. }
"""

    type: TypeText
    """The argument's GraphQL type."""
    default: Any = None
    """The value when a client does not give the argument. Write enum values as texts."""
    description: str | None = None
    """The description of the argument in the schema."""
    deprecated: Annotated[Text | None, such_as("use 'first'")] = None
    """The reason why clients should no longer give the argument, for the schema. A required argument cannot be deprecated."""
    sensitive: bool = False
    """Whether its values are kept out of logs, plans, traces and error messages. Steps that receive them are `sensitive` too."""


class AggregationKeys(Keys):
    """``aggregation:`` of an operation: how the values of its steps become its value."""

    example = "aggregation: { strategy: merge, required_steps: [account] }"

    strategy: Literal["merge", "flatten", "pick"] = "merge"
    """`merge`: one field per step. `flatten`: the fields of the steps' objects side by side. `pick`: the value of one step."""
    step: Name | None = None
    """With `pick`: the step whose value becomes the operation's value."""
    required_steps: Annotated[list[Name], such_as(["account"])] = empty(list)
    """Steps without which the operation has no value: when one of them fails, its fallbacks included, the operation is null."""


ArgumentType = TypeText | ArgumentKeys
