"""Operations and links, checked and frozen: their arguments, their steps, and how the values of steps become theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from enum import IntEnum, StrEnum

from graphql import ConstValueNode, print_ast

from gateway.blueprint.step import Step
from gateway.errors import Place
from gateway.language.template import Reference


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of an operation or a link: its GraphQL type as text, and its default if it has one."""

    name: str
    type: str
    default: ConstValueNode | None = None
    description: str | None = None
    deprecated: str | None = None
    is_sensitive: bool = False
    """Whether its values may be told nowhere."""

    @property
    def is_required(self) -> bool:
        """Whether a document must give it."""
        return self.type.endswith("!") and self.default is None

    def __str__(self) -> str:
        written = f"{self.name}: {self.type}"
        return written if self.default is None else f"{written} = {print_ast(self.default)}"


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A configured field of an object type or interface, filled by a step from its parent objects.

    ``key`` refers to the parent's values that tell what is asked for. With ``match``, the fields of a result that say whose
    it is, up to ``max`` keys go into one call; without, there is a call for each distinct key.
    """

    type: str
    field: str
    returns: str
    """A GraphQL type, as text."""
    description: str | None
    deprecated: str | None
    place: Place
    arguments: tuple[Argument, ...]
    key: tuple[Reference, ...]
    match: tuple[str, ...]
    max: int
    step: Step
    is_list: bool = field_of(init=False)
    """Whether one parent may have several results."""
    single: str | None = field_of(init=False)
    """The field of the parent that is the key, where it is a single one and must be there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_list", self.returns.startswith("["))
        reference, *others = self.key
        is_single = not others and len(reference.path) == 1 and not reference.is_optional
        object.__setattr__(self, "single", reference.path[0] if is_single else None)


class Strategy(StrEnum):
    """How steps' values become the operation's."""

    MERGE = "merge"
    FLATTEN = "flatten"
    PICK = "pick"


class Priority(IntEnum):
    """What is refused last when there is more to do than can be done."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a field of a composite comes from: the value of a step, or with ``key`` that key of its object."""

    step: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class OverlayField:
    """A field of a composite that only steps of overlays fill: where it comes from, and the type of that step as text."""

    origin: Origin
    returns: str


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A configured root field.

    ``returns`` is its GraphQL type as text. ``origins`` maps the fields of its composite type to where they come from; it is empty
    for ``pick``, where the value is that of the step ``picked``. ``overlay_fields`` are those that only overlays fill; in an effective
    operation some of them have origins.
    """

    name: str
    description: str | None
    deprecated: str | None
    is_mutation: bool
    place: Place
    arguments: tuple[Argument, ...]
    are_arguments_inferred: bool
    deadline: float
    """Seconds from the arrival of the request."""
    concurrency: int | None
    steps: Mapping[str, Step]
    strategy: Strategy
    returns: str
    picked: str | None
    origins: Mapping[str, Origin]
    overlay_fields: Mapping[str, OverlayField] = field_of(default_factory=dict)
    priority: Priority = Priority.NORMAL
