"""The checked, frozen meaning of all configuration files.

Everything here was validated by :mod:`gateway.load.build.build`: names resolve, references lead somewhere, there is no cycle. Objects are compared by
identity, so that they can key the tables of a generation.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from enum import IntEnum, StrEnum
from typing import Literal

from graphql import ConstValueNode, GraphQLNamedType, print_ast

from gateway.errors import Place
from gateway.language.expression import Expression
from gateway.language.template import Reference
from gateway.settings import HedgeKeys, LimitsKeys, ReloadKeys, ServerKeys, SourceKeys, StepKeys, TelemetryKeys

_NOT_OF_THE_CALL = {"name", "as_", "expose", "returns", "when", "depends_on", "select", "fallback", "sensitive"}
"""The keys of a step that change nothing about what is called: steps that differ in these alone can share a call."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A remote system that steps call; ``keys`` are those of its type."""

    name: str
    keys: SourceKeys
    folder: str
    """The folder that relative paths start from: the configuration's."""
    place: Place


@dataclass(frozen=True, slots=True)
class Retry:
    """Attempts of one call; ``base`` and ``cap`` in seconds, ``errors`` the kinds of fault that are worth another one."""

    attempts: int
    errors: frozenset[str]
    base: float
    cap: float


@dataclass(frozen=True, slots=True)
class FallbackStep:
    """Run another step of the operation instead."""

    step: str


@dataclass(frozen=True, slots=True)
class FallbackValue:
    """Give a constant instead."""

    value: object


@dataclass(frozen=True, slots=True)
class FallbackStale:
    """Give the last good value of this very call instead, if it is no older than ``max_age`` (seconds)."""

    max_age: float


Fallback = FallbackStep | FallbackValue | FallbackStale


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A configured unit of work.

    ``inputs`` is the template tree of its type's inputs; ``needs`` are the steps whose values it reads; ``follows`` those that must only
    have ended before.
    """

    name: str
    type: str
    keys: StepKeys
    source: Source | None
    place: Place
    returns: str
    """A GraphQL type, as text."""
    field: str
    is_exposed: bool
    is_required: bool
    is_idempotent: bool
    inputs: Mapping[str, object]
    when: Expression | None
    select: Expression | None
    needs: tuple[str, ...]
    must_succeed: tuple[str, ...]
    """Those of ``needs`` that an expression reads: unless they have succeeded the input is missing."""
    follows: tuple[str, ...]
    request_reads: tuple[tuple[str, ...], ...]
    """The paths into the request itself that its inputs read: `headers.authorization`."""
    reads_context: bool
    """Whether its inputs or its expressions look at what the request says about itself."""
    takes_selection: bool
    """Whether its calls want to know what is selected of its value."""
    read_by_others: tuple[tuple[str, ...], ...]
    """The paths into its value that other steps of the operation read."""
    timeout: float
    """Seconds of one attempt."""
    retry: Retry
    hedge: HedgeKeys | None
    """Whether a slow call is made once more beside it."""
    fallbacks: tuple[Fallback, ...]
    calls_out: bool
    """Whether a call asks anybody outside, and so may take time or fail."""
    is_prompt: bool
    """Whether a cancelled call ends at once."""
    takes_shape: bool
    """Whether its calls can read no more of a reply than is wanted."""
    lifetime: float | Literal["http"] | None
    """Seconds for which a reply is taken again, or ``http`` when each reply says so itself; None: replies are not kept for that."""
    is_deduplicated: bool
    """Whether equal calls of several requests that are under way are one."""
    description: str
    """One line that says what is called, for plans."""
    is_sensitive: bool = False
    """Whether nothing of what it is given or gives may be told."""
    _fingerprint: str = field_of(default="", init=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """A hash that steps have in common which do the same thing with the same inputs; most steps are never asked for it."""
        if not self._fingerprint:
            own = self.keys.model_dump_json(exclude=_NOT_OF_THE_CALL)
            identity = f"{self.source.name if self.source else ''} {self.returns.startswith('[')} {own}"
            object.__setattr__(self, "_fingerprint", hashlib.sha256(identity.encode()).hexdigest())
        return self._fingerprint


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


@dataclass(frozen=True, slots=True)
class Patch:
    """One value that an overlay sets: its path as people write it, and where it stands. An added step is one patch."""

    path: tuple[str, ...]
    value: object
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Changes of an operation for requests whose context has, for each key of ``when``, one of its values (as text)."""

    name: str
    operation: str
    place: Place
    when: Mapping[str, frozenset[str]]
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PolicyRule:
    """A rule of the team's own: what ``find`` gives of the blueprint as data must not be there."""

    name: str
    find: Expression
    message: str
    severity: str
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class RateLimit:
    """How many requests may come in so many seconds from those for whom ``key`` gives the same."""

    key: Expression
    amount: int
    seconds: int
    is_moving: bool
    """Whether the limit holds for any time of that length, and not only from one mark of the clock to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class RateLimits:
    """All rate limits; ``store`` is the URL of the Redis where they are counted, None for this process's own memory."""

    rules: tuple[RateLimit, ...]
    store: str | None
    proxies: int
    """How many proxies are trusted to say who the client is."""
    reads_context: bool
    """Whether any key looks at what a request says about itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Blueprint:
    """All of a configuration; ``version`` is the hash of its files' contents.

    ``types`` are those that the SDL files declare. ``overlays`` stand in the order in which they apply; ``effective`` makes the operation
    of a name with the overlays at certain places of that order, and raises ConfigurationError where these contradict each other.
    """

    version: str
    sources: Mapping[str, Source]
    operations: Mapping[str, Operation]
    links: Mapping[tuple[str, str], Link]
    """By type and field; that of an interface also under the types that implement it, unless they have their own."""
    types: Mapping[str, GraphQLNamedType]
    context: Mapping[str, Expression]
    """What a request says about itself, by name: expressions over the request."""
    overlays: tuple[Overlay, ...]
    overlaid: frozenset[str]
    """The names of the operations that have overlays."""
    effective: Callable[[str, tuple[int, ...]], Operation]
    server: ServerKeys = field_of(default_factory=ServerKeys)
    """What holds for requests of all operations."""
    policy_rules: tuple[PolicyRule, ...] = ()
    reload: ReloadKeys = field_of(default_factory=ReloadKeys)
    """How the next change is taken up."""
    limits: LimitsKeys = field_of(default_factory=LimitsKeys)
    """How large a query may be, and what it may cost."""
    telemetry: TelemetryKeys = field_of(default_factory=TelemetryKeys)
    """What is told of requests and steps."""
    sensitive: frozenset[str] = frozenset()
    """The names of arguments whose values may be told nowhere."""
    variables: Mapping[str, str] = field_of(default_factory=dict)
    """Values of the environment that the files refer to, with the references: what is shown of a configuration has these."""
    rate_limits: RateLimits | None = None
    called: frozenset[Source] = frozenset()
    """Every source that a step may call: those too that only a definition kept from an earlier configuration knows."""

    def deadline_of(self, operation: Operation) -> float:
        """Return the seconds from the arrival of a request until an operation is cut: its own, but no more than any request may take."""
        return min(operation.deadline, self.server.request_timeout_ms / 1000)
