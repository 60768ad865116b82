"""The types of values that configuration keys take, with their words for people, and what every model of a YAML mapping is made of.

A model is a frozen class; each key has a type from here, a default where it may be left out, and a docstring that says what it does.
"""

from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


def said(one: str, several: str, **keywords: object) -> Any:
    """Give a type its words for people, one such value and several, and further keywords of its JSON Schema."""
    return Field(json_schema_extra={"said": [one, several], **keywords})  # type: ignore[dict-item] # mypy: JSON is invariant


def such_as(*examples: object) -> Any:
    """Give a key examples; the first is what a message about a wrong value shows."""
    return Field(examples=list(examples))


def empty(kind: type[list[Any]] | type[dict[Any, Any]]) -> Any:
    """Give a key a default of nothing: one object for all, as nobody writes to it, where pydantic would copy a plain default each time."""
    nothing = kind()
    return Field(default_factory=lambda: nothing, json_schema_extra={"default": kind()})


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

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself: as a default it is one object for all, and nobody can write to it."""
        return self


KeysT = TypeVar("KeysT", bound=Keys)
