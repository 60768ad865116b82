"""Mappings within documents: steps and sources with what all of them have, fallbacks, batches, arguments, aggregation."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from gateway.settings.policies import SourcePolicyKeys, StepPolicyKeys
from gateway.settings.vocabulary import Count, Keys, Milliseconds, Name, StaleMilliseconds, Text, TypeText, empty, such_as


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


class _CalledKeys(Keys):
    """What a step calls, when, and what its value is. Apart from :class:`StepKeys` so that policies stand in the middle of the reference."""

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
    depends_on: Annotated[list[Name], such_as(["account"])] = empty(list)
    """Steps that must have ended first although none of their data is used."""
    select: Annotated[Text | None, such_as("items[0]")] = None
    """JMESPath over the raw result; its value is the step's."""
    timeout_ms: Milliseconds | None = None
    """The limit of one attempt; left out: the source's, or the default of the step type."""


class StepKeys(StepPolicyKeys, _CalledKeys):
    """What every step has, whatever its type."""

    fallback: Annotated[list[FallbackKeys], such_as([{"step": "other"}], [{"value": 0}])] = empty(list)
    """What is tried, in order, when the step has failed; in a link, for each of its calls that has."""
    sensitive: bool = False
    """Whether nothing of what the step is given or gives may be told in logs, plans and traces. So it is for steps that read it, too."""
    cache: Annotated[CacheKeys | Literal["http"] | None, such_as({"ttl_ms": 5000}, "http")] = None
    """For how long a reply is taken again for the very same call, headers and all; `http`: as long as its `Cache-Control` says."""
    batch: Annotated[BatchKeys | None, such_as({"key": "userId", "match": "id"})] = None
    """How the step of a link asks for many parents at once; `{keys}` in its inputs stands for their keys."""
    cost: Annotated[int | None, Field(ge=0, le=1_000_000), such_as(5)] = None
    """What a call costs, for `max_cost` of `limits:`; left out: 1, or nothing for a step that asks nobody."""
    list_size: Annotated[Count | Name | None, such_as("limit", 20)] = None
    """How many items the list has that the step gives, for `max_cost`: a number, or the argument that says so. Left out: what `limits:` says."""


class _RemoteKeys(Keys):
    type: Annotated[Text, such_as("api")]
    """The step type that calls this source."""
    timeout_ms: Milliseconds | None = None
    """The limit of one attempt of a step that gives none itself."""


class SourceKeys(SourcePolicyKeys, _RemoteKeys):
    """What every source has, whatever its type."""

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
    sensitive: bool = False
    """Whether its values may be told nowhere: not in logs, plans, traces or messages. Steps that are given them are `sensitive` too."""


class AggregationKeys(Keys):
    """``aggregation:`` of an operation: how the values of its steps become its value."""

    example = "aggregation: { strategy: merge, required_steps: [account] }"

    strategy: Literal["merge", "flatten", "pick"] = "merge"
    """`merge`: one field per step. `flatten`: the fields of the steps' objects side by side. `pick`: the value of one step."""
    step: Name | None = None
    """The step whose value is the operation's, for `pick`."""
    required_steps: Annotated[list[Name], such_as(["account"])] = empty(list)
    """Steps without which the operation has no answer."""


ArgumentType = TypeText | ArgumentKeys
