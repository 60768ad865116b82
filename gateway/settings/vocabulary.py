"""Types of the values of configuration keys, each with a description for people, and the parent class of all models of YAML mappings.

A model is a frozen class. Each of its keys has a type, a default where the key may be left out, and a docstring that says what it does.
"""

from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


def phrased(singular: str, plural: str, **keywords: object) -> Any:
    """Describe a type for people, in the singular and in the plural. ``keywords`` are further keywords of its JSON Schema."""
    return Field(json_schema_extra={"phrases": [singular, plural], **keywords})  # type: ignore[dict-item] # mypy: JSON is invariant


def such_as(*examples: object) -> Any:
    """Give a key examples. Error messages about a wrong value show the first."""
    return Field(examples=list(examples))


def empty(kind: type[list[Any]] | type[dict[Any, Any]]) -> Any:
    """Give a key an empty default. All models share the one object: nothing writes to it, and pydantic would copy a plain default each time."""
    shared = kind()
    # pydantic leaves the default of a factory out of the JSON Schema, so it is given explicitly.
    return Field(default_factory=lambda: shared, json_schema_extra={"default": kind()})


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*$"),
    phrased("a name (letters, digits and underscores, no digit at the front)", "names"),
]
"""A GraphQL name."""
RuleName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"),
    phrased("a name in lower case, with hyphens between its words", "names in lower case"),
]
"""The name of a lint rule."""
FunctionPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
"""A function or a class of a module, as `package.module:name`."""
Text = Annotated[str, StringConstraints(min_length=1)]
TypeText = Annotated[Text, phrased("a GraphQL type", "GraphQL types"), such_as("Account", "[Post!]")]
"""A GraphQL type as it is written in SDL."""
FieldName = Annotated[
    str,
    StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*\.[_A-Za-z][_0-9A-Za-z]*$"),
    phrased("a type and a field with a dot between them", "fields of types"),
    such_as("Post.user"),
]
_A_STEP = {"name": "account", "type": "api", "endpoint": "/accounts/{id}"}
_A_LINK_STEP = {"type": "api", "endpoint": "/users/{parent.userId}"}
_A_SOURCE = {"type": "api", "base_url": "http://127.0.0.1:9101"}
StepMapping = Annotated[dict[str, Any], phrased("a mapping with the keys of a step", "steps", holds="step"), such_as(_A_STEP)]
"""A step of an operation. It is decoded later, by the model of its ``type``."""
LinkStepMapping = Annotated[
    dict[str, Any], phrased("a mapping with the keys of a step", "steps", holds="link step"), such_as(_A_LINK_STEP)
]
"""The step of a link, which needs no name."""
SourceMapping = Annotated[
    dict[str, Any], phrased("a mapping with the keys of a source", "sources", holds="source"), such_as(_A_SOURCE)
]
"""A source. It is decoded later, by the model of its ``type``."""
Milliseconds = Annotated[
    int, Field(gt=0, le=3_600_000), phrased("a whole number of milliseconds", "whole numbers of milliseconds")
]
WaitMilliseconds = Annotated[
    int, Field(ge=0, le=3_600_000), phrased("a whole number of milliseconds", "whole numbers of milliseconds")
]
StepName = Annotated[
    str,
    StringConstraints(pattern=r"^[_A-Za-z][_0-9A-Za-z]*(\.[_A-Za-z][_0-9A-Za-z]*)?$"),
    phrased("a step, or a link as its type and field with a dot between them", "steps"),
]
Count = Annotated[int, Field(gt=0, le=100_000)]
StaleMilliseconds = Annotated[int, Field(gt=0, le=7 * 24 * 3_600_000)]
ByteCount = Annotated[int, Field(gt=0, le=1_000_000_000)]
ValueCount = Annotated[int, Field(gt=0, le=100_000_000)]
Status = Annotated[int, Field(ge=100, le=599)]
RetryClass = Literal["connect", "reset", "timeout"] | Status


class Keys(BaseModel):
    """A YAML mapping. Unknown keys are rejected, and values are not converted to other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    example: ClassVar[str] = ""
    """YAML that shows the keys in use: a document, a step in its list, a source or a part under its name."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself: pydantic copies defaults, but a frozen model can be shared."""
        return self


KeysT = TypeVar("KeysT", bound=Keys)
