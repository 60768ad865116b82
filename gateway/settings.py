"""The vocabulary of configuration keys: what every model of a YAML mapping is made of (the only module that knows pydantic).

A model is a frozen class; each key has a type from here, a default where it may be left out, and a docstring that says what it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import nearest

Name = Annotated[str, StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*$")]
"""A GraphQL name."""
FunctionPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""A function or a class of a module, as `package.module:name`."""
Text = Annotated[str, StringConstraints(min_length=1)]
Milliseconds = Annotated[int, Field(gt=0, le=3_600_000)]
Count = Annotated[int, Field(gt=0, le=100_000)]
StaleMilliseconds = Annotated[int, Field(gt=0, le=7 * 24 * 3_600_000)]
ByteCount = Annotated[int, Field(gt=0, le=1_000_000_000)]
Status = Annotated[int, Field(ge=100, le=599)]
RetryClass = Literal["connect", "reset", "timeout"] | Status


class Keys(BaseModel):
    """A YAML mapping: unknown keys are refused and types are not guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


KeysT = TypeVar("KeysT", bound=Keys)


class RetryKeys(Keys):
    """``retry:`` of a step or source. Idempotent calls only; all attempts and waits lie inside the deadline."""

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

    step: Name | None = None
    """A step of this operation that is run instead."""
    value: Any = None
    """A constant that is given instead."""
    stale_ms: StaleMilliseconds | None = None
    """The last good value of this very call, if it is no older than this; for calls that change nothing. A reload forgets it."""


class BatchKeys(Keys):
    """``batch:`` of a link: the keys of all parents of one level go into one call."""

    key: Name | list[Name]
    """The field of the parent whose value asks for a result; several for a compound key."""
    match: Name | list[Name]
    """The field of a result that says whose it is, in the order of `key`."""
    max: Count = 100
    """How many keys go into one call at the most."""


class StepKeys(Keys):
    """What every step has, whatever its type."""

    name: Name
    """The step's name, and the name of its field unless `as` gives another."""
    type: Text
    """The step type: which resolver runs it."""
    source: Text | None = None
    """The source that is called; left out: the default source of this step type."""
    returns: Text | None = None
    """The GraphQL type of the value, such as `Account` or `[Post]`; left out: JSON, or what the SDL says of the field."""
    as_: Name | None = Field(default=None, alias="as")
    """The name of the field that this step fills."""
    expose: bool = True
    """Whether the step fills a field; `false` for one that only other steps use."""
    when: Text | None = None
    """JMESPath over arguments, steps and context; when it is false the step is skipped."""
    depends_on: list[Name] = []
    """Steps that must have ended first although none of their data is used."""
    select: Text | None = None
    """JMESPath over the raw result; its value is the step's."""
    timeout_ms: Milliseconds | None = None
    """The limit of one attempt; left out: the source's, or the default of the step type."""
    retry: RetryKeys | None = None
    """When and how a failed attempt is repeated; left out: the source's."""
    fallback: list[FallbackKeys] = []
    """What is tried, in order, when the step has failed."""
    batch: BatchKeys | None = None
    """How the step of a link asks for many parents at once; `{keys}` in its inputs stands for their keys."""


class SourceKeys(Keys):
    """What every source has, whatever its type."""

    type: Text
    """The step type that calls this source."""
    timeout_ms: Milliseconds | None = None
    """The limit of one attempt of a step that gives none itself."""
    retry: RetryKeys = RetryKeys()
    """When and how a failed attempt is repeated, for steps that do not say themselves."""
    concurrency: Count = 100
    """How many calls are under way at the most; further ones wait."""
    queue: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many calls wait at the most; further ones fail at once with `REQUEST_LIMIT_EXCEEDED`."""


class AggregationKeys(Keys):
    """How the values of the steps become the value of the operation."""

    strategy: Literal["merge", "flatten", "pick"] = "merge"
    """`merge`: one field per step. `flatten`: the fields of the steps' objects side by side. `pick`: the value of one step."""
    step: Name | None = None
    """The step whose value is the operation's, for `pick`."""
    required_steps: list[Name] = []
    """Steps without which the operation has no answer."""


class OperationKeys(Keys):
    """An ``operation:`` document: a root field and the steps behind it."""

    operation: Name
    """The name of the root field."""
    description: str | None = None
    """What the field is for; stands in the schema."""
    kind: Literal["query", "mutation"] = "query"
    """`mutation` for one that changes something: all its steps run, one after the other in written order."""
    type: Name | None = None
    """The name of the operation's type; left out: the operation's with its first letter raised."""
    args: dict[Name, Text] | None = None
    """Argument names to GraphQL types, each with a default if need be, as `Int = 10`; left out: every placeholder that names no step is an `ID!`."""
    deadline_ms: Milliseconds = 30_000
    """When the answer goes out with what is there, counted from the arrival of the request."""
    concurrency: Count | None = None
    """How many steps of one request run at once."""
    steps: list[dict[str, Any]] = Field(min_length=1)
    """The units of work; each is decoded by its own `type`."""
    aggregation: AggregationKeys = AggregationKeys()
    """How the steps' values become the operation's."""


class LinkKeys(Keys):
    """A ``field:`` document: a field of a type, filled by a step from its parent objects."""

    field: Annotated[str, StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*\.[_A-Za-z][_0-9A-Za-z]*$")]
    """The type and the field, as `Post.user`."""
    returns: Text
    """The field's GraphQL type; a list groups the results of a batch by their key."""
    description: str | None = None
    """What the field is for; stands in the schema."""
    args: dict[Name, Text] = {}
    """Argument names to GraphQL types, each with a default if need be, as `Int = 10`."""
    step: dict[str, Any]
    """The step that fills the field; without `batch` it is run for each parent and refers to it as `{parent.name}`."""


class SharedKeys(Keys):
    """A document of things that all operations share."""

    sources: dict[Name, dict[str, Any]] = {}
    """Source names to sources."""
    types: list[FunctionPath] = []
    """Python classes decorated with `@strawberry.type`, as `package.module:Class`; their GraphQL types join those of the SDL."""
    defaults: dict[Text, Name] = {}
    """Step types to the source that a step without `source` uses."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a mapping: the path of YAML keys, what is wrong, a code, and whether it is about the key itself."""

    path: tuple[str | int, ...]
    message: str
    code: str
    is_about_key: bool = False


def validate(model: type[KeysT], value: Mapping[str, object]) -> KeysT | list[Mistake]:
    """Return the model of a mapping, or everything that is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return list(dict.fromkeys(_mistake(model, value, detail) for detail in details))


def yaml_keys(model: type[Keys]) -> list[str]:
    """Return the keys of a model as they are written in YAML."""
    return [info.alias or name for name, info in model.model_fields.items()]


def _mistake(model: type[Keys], value: object, detail: ErrorDetails) -> Mistake:
    kind, path = detail["type"], _within(value, detail["loc"])
    last = str(detail["loc"][-1])
    if kind == "extra_forbidden":
        known = yaml_keys(_model_at(model, path[:-1]))
        message = f"unknown key '{last[:80]}'{nearest(last, known) or '; known keys: ' + ', '.join(known)}"
        return Mistake(path, message, "unknown-key", is_about_key=True)
    if kind == "missing":
        return Mistake(path, f"the key '{last}' is missing", "missing-key")
    words = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    is_type = kind.endswith("_type") or kind == "none_required"
    if kind == "string_pattern_mismatch":
        words = "a name: letters, digits and underscores, not beginning with a digit"
    return Mistake(path, f"expected {words}", "wrong-type" if is_type else "bad-value", is_about_key=last == "[key]")


def _within(value: object, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Keep the parts of pydantic's location that are YAML keys and indexes: it also names the branches of a union."""
    path: list[str | int] = []
    for depth, part in enumerate(location):
        is_last = depth == len(location) - 1
        if isinstance(value, Mapping) and (part in value or is_last) and part != "[key]":
            path.append(part)
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int):
            path.append(part)
            value = value[part] if part < len(value) else None
    return tuple(path)


def _model_at(model: type[Keys], path: tuple[str | int, ...]) -> type[Keys]:
    for part in path:
        if isinstance(part, int):
            continue
        annotation = next(info.annotation for name, info in model.model_fields.items() if part in {name, info.alias})
        found = [inner for inner in (annotation, *get_args(annotation)) if isinstance(inner, type) and issubclass(inner, Keys)]
        if not found:
            return model
        model = found[0]
    return model
