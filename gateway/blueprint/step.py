"""A source and a step, checked and frozen: what is called, how often, and what stands in for it."""

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
"""The keys of a step that change nothing about what is called: steps that differ in these alone can share a call."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A remote system that steps call; ``keys`` are those of its type."""

    name: str
    keys: SourceKeys
    folder: str
    """The folder that relative paths start from: the configuration's."""
    place: Place


class Fallback(ABC):
    """What stands in for a step that has failed.

    A kind is a subclass, which answers whatever plans, views and rules ask of it; only :mod:`gateway.run.fallback` knows how each kind
    comes to its value. Where ``mask`` is given it is shown instead of what nobody may read.
    """

    __slots__ = ()

    can_fail: ClassVar[bool] = True
    """Whether it may have no value; a step can fail as far as its type can."""
    keeps_replies: ClassVar[bool] = False
    """Whether it gives what calls of the step gave earlier, so that their replies are kept."""

    @property
    def step(self) -> str | None:
        """The step that is run instead, which takes time; None where the value is at hand."""
        return None

    @property
    @abstractmethod
    def served_by(self) -> str:
        """The word for it in plans and answers."""

    @abstractmethod
    def describe(self, mask: str | None = None) -> str:
        """Return what it gives, for people."""

    @abstractmethod
    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return it as data for other programs: its key in a configuration, with the value."""


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
    """Give a constant instead."""

    can_fail: ClassVar[bool] = False

    value: object

    @property
    def served_by(self) -> str:
        """The word for any constant."""
        return "value"

    def describe(self, mask: str | None = None) -> str:
        """Return the constant, or that there is one."""
        return f"the constant {self.value}" if mask is None else "a constant"

    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return the constant as data."""
        return {"value": self.value if mask is None else mask}


@dataclass(frozen=True, slots=True)
class FallbackStale(Fallback):
    """Give the last good value of this very call instead, if it is no older than ``max_age`` (seconds)."""

    keeps_replies: ClassVar[bool] = True

    max_age: float

    @property
    def served_by(self) -> str:
        """The word for any earlier value."""
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
    policies: Mapping[str, CallPolicyKeys]
    """The policies of its calls by name, its own or those of its source, as far as they hold for such a call."""
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
    prerequisites: tuple[str, ...] = field_of(init=False)
    """The steps that must have ended before it."""
    fallback_steps: tuple[str, ...] = field_of(init=False)
    """The steps that can stand in for it, in the order in which they are tried."""
    _fingerprint: str = field_of(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        names = (fallback.step for fallback in self.fallbacks if fallback.step is not None)
        object.__setattr__(self, "prerequisites", self.needs + self.follows)
        object.__setattr__(self, "fallback_steps", tuple(dict.fromkeys(names)))

    @property
    def prerequisites_with_fallbacks(self) -> tuple[str, ...]:
        """The steps that have ended before it at the latest when all of its fallbacks were tried."""
        return self.prerequisites + self.fallback_steps

    @property
    def retry(self) -> RetryKeys:
        """How often its call is made: a policy that every step has."""
        retry = self.policies["retry"]
        assert isinstance(retry, RetryKeys)
        return retry

    @property
    def fingerprint(self) -> str:
        """A hash that steps have in common which do the same thing with the same inputs; most steps are never asked for it."""
        if not self._fingerprint:
            own = self.keys.model_dump_json(exclude=_NOT_OF_THE_CALL)
            identity = f"{self.source.name if self.source else ''} {self.returns.startswith('[')} {own}"
            object.__setattr__(self, "_fingerprint", hashlib.sha256(identity.encode()).hexdigest())
        return self._fingerprint
