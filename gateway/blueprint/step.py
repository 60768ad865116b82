"""Sources, steps and fallbacks, checked and frozen: what is called, with which policies, and what replaces it when it fails."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from typing import ClassVar, Literal

from gateway.errors import Place
from gateway.language.expression import Expression
from gateway.settings import SourceKeys, StepKeys
from gateway.settings.policies import CallPolicyKeys, RetryKeys

_NOT_OF_THE_CALL = {"name", "as_", "expose", "returns", "when", "depends_on", "select", "fallback", "sensitive"}
"""The keys of a step that do not affect its call: steps that differ only in these can share a call."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A remote system that steps call. ``keys`` is the model of its type."""

    name: str
    keys: SourceKeys
    folder: str
    """The folder of the configuration, to which relative paths refer."""
    place: Place


class Fallback(ABC):
    """The alternative for a step that has failed.

    Each kind is a subclass, which describes itself to plans, views and lint rules. Only :mod:`gateway.run.fallback` knows how each kind
    gets its value. Where ``mask`` is given, it is shown instead of values that are sensitive.
    """

    __slots__ = ()

    can_fail: ClassVar[bool] = True
    """Whether it may fail to give a value."""
    keeps_replies: ClassVar[bool] = False
    """Whether it needs earlier replies of the step, so that these are stored."""

    @property
    def step(self) -> str | None:
        """The step that runs instead; None where the value is available at once."""
        return None

    @property
    @abstractmethod
    def served_by(self) -> str:
        """Its name in plans and responses."""

    @abstractmethod
    def describe(self, mask: str | None = None) -> str:
        """Return a description for people."""

    @abstractmethod
    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return it as data for programs: the key and the value that the configuration has for it."""


@dataclass(frozen=True, slots=True)
class FallbackStep(Fallback):
    """Run another step of the operation instead."""

    step: str

    @property
    def served_by(self) -> str:
        """The name of the step."""
        return self.step

    def describe(self, mask: str | None = None) -> str:
        """Return the name of the step."""
        return self.step

    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return the name of the step as data."""
        return {"step": self.step}


@dataclass(frozen=True, slots=True)
class FallbackValue(Fallback):
    """Use a constant instead."""

    can_fail: ClassVar[bool] = False

    value: object

    @property
    def served_by(self) -> str:
        """The name of all constants."""
        return "value"

    def describe(self, mask: str | None = None) -> str:
        """Return the constant; with a mask only that there is one."""
        return f"the constant {self.value}" if mask is None else "a constant"

    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return the constant as data."""
        return {"value": self.value if mask is None else mask}


@dataclass(frozen=True, slots=True)
class FallbackStale(Fallback):
    """Use the last good value of the same call instead, if it is no older than ``max_age`` (seconds)."""

    keeps_replies: ClassVar[bool] = True

    max_age: float

    @property
    def served_by(self) -> str:
        """The name of all earlier values."""
        return "stale"

    def describe(self, mask: str | None = None) -> str:
        """Return how old the value may be."""
        return f"stale up to {self.max_age * 1000:.0f} ms"

    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return how old the value may be, as data."""
        return {"stale_ms": round(self.max_age * 1000)}


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A configured unit of work.

    ``inputs`` is the template tree of the inputs that its type defines. ``needs`` are the steps whose values it reads, ``follows`` those
    that only have to end before it starts.
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
    """Those of ``needs`` that an expression reads. If one of them has not succeeded, the step is skipped for a missing input."""
    follows: tuple[str, ...]
    request_reads: tuple[tuple[str, ...], ...]
    """The paths into the request that its inputs read, such as `headers.authorization`."""
    reads_context: bool
    """Whether its inputs or expressions read context values of the request."""
    takes_selection: bool
    """Whether its calls receive the client's selection below the step's value."""
    read_by_others: tuple[tuple[str, ...], ...]
    """The paths into its value that other steps of the operation read."""
    timeout: float
    """The timeout of one attempt in seconds."""
    policies: Mapping[str, CallPolicyKeys]
    """The policies of its calls by name, its own or those of its source, as far as they apply to such a call."""
    fallbacks: tuple[Fallback, ...]
    calls_out: bool
    """Whether a call leaves the gateway, and so may take time or fail."""
    cancels_promptly: bool
    """Whether a cancelled call ends at once."""
    takes_shape: bool
    """Whether its calls can decode only the wanted fields of a reply."""
    lifetime: float | Literal["http"] | None
    """Seconds for which a reply is reused, or ``http`` where the headers of each reply say that; None: replies are not cached."""
    is_deduplicated: bool
    """Whether equal calls in flight of different requests share one call."""
    description: str
    """One line that says what is called, for plans."""
    is_sensitive: bool = False
    """Whether its inputs and its value must not be logged or shown."""
    prerequisites: tuple[str, ...] = field_of(init=False)
    """The steps that must have ended before it."""
    fallback_steps: tuple[str, ...] = field_of(init=False)
    """The steps that are its fallbacks, in the order in which they are tried."""
    _fingerprint: str = field_of(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        names = (fallback.step for fallback in self.fallbacks if fallback.step is not None)
        object.__setattr__(self, "prerequisites", self.needs + self.follows)
        object.__setattr__(self, "fallback_steps", tuple(dict.fromkeys(names)))

    @property
    def prerequisites_with_fallbacks(self) -> tuple[str, ...]:
        """The steps that may have to end before the step has a value, its fallbacks included."""
        return self.prerequisites + self.fallback_steps

    @property
    def retry(self) -> RetryKeys:
        """The retry policy, which every step has."""
        retry = self.policies["retry"]
        assert isinstance(retry, RetryKeys)
        return retry

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for steps whose calls are equal when their inputs are. It is computed on first use: most steps never need it."""
        if not self._fingerprint:
            # Whether a list is returned is part of the call: a query then gives all of its rows, otherwise one.
            own = self.keys.model_dump_json(exclude=_NOT_OF_THE_CALL)
            identity = f"{self.source.name if self.source else ''} {self.returns.startswith('[')} {own}"
            object.__setattr__(self, "_fingerprint", hashlib.sha256(identity.encode()).hexdigest())
        return self._fingerprint
