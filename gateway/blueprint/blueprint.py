"""The checked, frozen meaning of all configuration files.

Everything here was validated by :mod:`gateway.load.build.build`: names resolve, references lead somewhere, there is no cycle. Objects are compared by
identity, so that they can key the tables of a generation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as field_of

from graphql import GraphQLNamedType

from gateway.blueprint.operation import Link, Operation
from gateway.blueprint.overlay import Overlay
from gateway.blueprint.step import Source
from gateway.errors import Place
from gateway.language.expression import Expression
from gateway.settings import LimitsKeys, ReloadKeys, ServerKeys, TelemetryKeys


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
    server: ServerKeys
    """What holds for requests of all operations."""
    rate_limits: RateLimits | None
    policy_rules: tuple[PolicyRule, ...]
    reload: ReloadKeys
    """How the next change is taken up."""
    limits: LimitsKeys
    """How large a query may be, and what it may cost."""
    telemetry: TelemetryKeys
    """What is told of requests and steps."""
    sensitive: frozenset[str]
    """The names of arguments whose values may be told nowhere."""
    called: frozenset[Source]
    """Every source that a step may call: those too that only a definition kept from an earlier configuration knows."""
    variables: Mapping[str, str] = field_of(default_factory=dict)
    """Values of the environment that the files refer to, with the references: what is shown of a configuration has these."""

    def deadline_of(self, operation: Operation) -> float:
        """Return the seconds from the arrival of a request until an operation is cut: its own, but no more than any request may take."""
        return min(operation.deadline, self.server.request_timeout_ms / 1000)
