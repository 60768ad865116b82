"""The checked, frozen meaning of all configuration files.

Everything here was validated by :mod:`gateway.load.build.build`: all names and references resolve, and there is no cycle. Objects are
compared by identity, so that a generation can use them as dictionary keys.
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
    """A lint rule of the configuration's own: each object that ``find`` returns from the blueprint as data is a finding."""

    name: str
    find: Expression
    message: str
    severity: str
    place: Place


@dataclass(frozen=True, slots=True, eq=False)
class RateLimit:
    """The number of requests that are allowed within ``seconds`` for each value of ``key``."""

    key: Expression
    amount: int
    seconds: int
    is_moving: bool
    """Whether the limit holds for every period of that length (moving window), not only for each clock period (fixed window)."""


@dataclass(frozen=True, slots=True, eq=False)
class RateLimits:
    """All rate limits. ``store`` is the URL of the Redis that counts requests; None to count in the memory of this process."""

    rules: tuple[RateLimit, ...]
    store: str | None
    proxies: int
    """The number of trusted proxies: that many addresses at the end of ``X-Forwarded-For`` are believed."""
    reads_context: bool
    """Whether any key reads context values of the request."""


@dataclass(frozen=True, slots=True, eq=False)
class Blueprint:
    """A whole configuration. ``version`` is the hash of its files' contents.

    ``types`` are those that the SDL files declare. ``overlays`` are in the order in which they apply. ``effective`` builds the effective
    operation for a name and the indexes of the overlays that apply, and raises ConfigurationError where these contradict each other.
    """

    version: str
    sources: Mapping[str, Source]
    operations: Mapping[str, Operation]
    links: Mapping[tuple[str, str], Link]
    """By type and field. The link of an interface is also listed under each type that implements it, unless that has its own link."""
    types: Mapping[str, GraphQLNamedType]
    context: Mapping[str, Expression]
    """The context values by name: expressions over the request."""
    overlays: tuple[Overlay, ...]
    overlaid: frozenset[str]
    """The names of the operations that have overlays."""
    effective: Callable[[str, tuple[int, ...]], Operation]
    server: ServerKeys
    """Settings for connections, and for requests to all operations."""
    rate_limits: RateLimits | None
    policy_rules: tuple[PolicyRule, ...]
    reload: ReloadKeys
    """How the next change of the files is applied."""
    limits: LimitsKeys
    """How large a query may be, and what it may cost."""
    telemetry: TelemetryKeys
    """What is logged and traced of requests and steps."""
    sensitive: frozenset[str]
    """The names of arguments whose values must not be logged or shown."""
    called: frozenset[Source]
    """Every source that a step may call, including those of definitions that are kept from an earlier configuration."""
    variables: Mapping[str, str] = field_of(default_factory=dict)
    """Values of environment variables to the references that the files have for them: output shows the reference instead of the value."""

    @property
    def insecure_sources(self) -> list[str]:
        """The names of the sources that say that calls need not verify whom they reach."""
        return sorted({source.name for source in (*self.sources.values(), *self.called) if source.keys.is_insecure})

    def deadline_of(self, operation: Operation) -> float:
        """Return the time budget of an operation in seconds, counted from the arrival of the request and capped by the server's timeout."""
        return min(operation.deadline, self.server.request_timeout_ms / 1000)
