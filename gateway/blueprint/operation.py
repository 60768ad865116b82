"""Operations and links, checked and frozen: their arguments, their steps, and how their value results from the values of steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from enum import IntEnum

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
    """Whether its values must not be logged or shown."""

    @property
    def is_required(self) -> bool:
        """Whether every document must give it."""
        return self.type.endswith("!") and self.default is None

    def __str__(self) -> str:
        written = f"{self.name}: {self.type}"
        return written if self.default is None else f"{written} = {print_ast(self.default)}"


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A configured field of an object type or interface, which a step fills for its parent objects.

    ``key`` refers to the values of the parent that identify its result. With ``match``, the fields of a result that hold the key of its
    parent, up to ``max`` keys are sent in one call. Without it there is one call for each distinct key.
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
    """The field of the parent that is the key, where the key is one field that is not optional; None for any other key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_list", self.returns.startswith("["))
        reference, *others = self.key
        is_single = not others and len(reference.path) == 1 and not reference.is_optional
        object.__setattr__(self, "single", reference.path[0] if is_single else None)


class Priority(IntEnum):
    """The priority of an operation. Under overload requests of low priority are refused first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a field of a composite: the value of a step, or with ``key`` the value under that key of its object."""

    step: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Strategy:
    """How the values of the steps become the value of the operation, described in the same way for all strategies.

    ``returns`` is the operation's GraphQL type as text. ``origins`` has the origins of the fields of a composite. Where the operation has
    the value of one step instead, ``origins`` is empty and ``whole`` is the origin of that value.
    """

    name: str
    returns: str
    origins: Mapping[str, Origin]
    whole: Origin | None = None

    @property
    def composite(self) -> str | None:
        """The name of the composite type; None where the value is that of one step."""
        return self.returns if self.whole is None else None

    @property
    def steps(self) -> set[str]:
        """The steps whose values are part of it."""
        return {origin.step for origin in ((self.whole,) if self.whole else self.origins.values())}


@dataclass(frozen=True, slots=True)
class OverlayField:
    """A field of a composite that only steps of overlays fill: its origin, and the type of that step as text."""

    origin: Origin
    returns: str


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A configured root field.

    ``overlay_fields`` are the fields of its composite that only overlays fill. In an effective operation some of them have origins.
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
    overlay_fields: Mapping[str, OverlayField] = field_of(default_factory=dict)
    priority: Priority = Priority.NORMAL

    @property
    def returns(self) -> str:
        """Its GraphQL type, as text."""
        return self.strategy.returns
