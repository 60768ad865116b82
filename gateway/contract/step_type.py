"""The contract between the engine and the code that runs one type of step.

A step type (:mod:`resolvers`) turns a configured step into a :data:`Call`. A policy (:mod:`gateway.run.policies`) turns a call into a call.
The engine awaits a call and knows nothing of either.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gateway.blueprint import Source, Step
from gateway.contract.shape import Shape
from gateway.errors import Code, StepFault
from gateway.record import Record
from gateway.settings import SourceKeys, StepKeys

Inputs = Mapping[str, Any]
"""The rendered inputs of one call, by the names that the step type gave them."""


NO_CODES: Mapping[str, int] = {}
NO_VALUES: Mapping[str, object] = {}


class Ending:
    """How a request ends, noted down while it is answered, for whoever tells of it then.

    Most requests end well and need no more than the class has.
    """

    outcome = "ok"
    """``ok``, ``partial``, ``failed`` (there is no data), or ``refused`` (nothing was run)."""
    operations: tuple[str, ...] = ()
    """The names of the operations that are asked for."""
    codes: Mapping[str, int] = NO_CODES
    """How many errors the answer has, by code."""
    version = ""
    """The hash of the configuration that it is answered by."""
    began = 0.0
    """When it began, by ``time.perf_counter``."""
    span: Any = None
    """Its span, where requests are traced."""


class RequestContext:
    """What is known of a request before its document is read. ``arrived_at`` is in the clock of the event loop.

    ``values`` is what the request says about itself, by the names of the configuration's ``context:``.
    """

    __slots__ = ("arrived_at", "ending", "headers", "request_id", "values")

    def __init__(
        self,
        request_id: str,
        headers: Mapping[str, str],
        arrived_at: float,
        values: Mapping[str, object] = NO_VALUES,
        ending: Ending | None = None,
    ) -> None:
        self.request_id = request_id
        self.headers = headers
        self.arrived_at = arrived_at
        self.values = values
        self.ending = ending or Ending()

    def with_values(self, values: Mapping[str, object]) -> "RequestContext":
        """Return what is known of the same request once it is known what it says about itself."""
        return RequestContext(self.request_id, self.headers, self.arrived_at, values, self.ending)

    @property
    def said(self) -> Mapping[str, object]:
        """The request as references and expressions see it."""
        return {"id": self.request_id, "headers": self.headers}


class CallContext:
    """One call of one step in one request: its absolute deadline (event loop clock), and what policies note down.

    Most calls need no more than the class has, so that one is made in a third of the time of a dataclass.

    ``queued`` is the seconds spent waiting for a free place, ``waiting_since`` the time when a wait began that has not ended.
    ``inputs`` are what was rendered for it, by which a stale fallback knows it. ``faults`` say what went wrong with each failed
    attempt, for the log; ``retried_at`` when each further one began, ``hedged_at`` when one began beside another. ``began_at`` is when
    the source was asked by the attempt that is under way or was last; None while it waits for its place.
    """

    attempts = 0
    queued = 0.0
    waiting_since: float | None = None
    inputs: Inputs | None = None
    faults: tuple[str, ...] = ()
    retried_at: tuple[float, ...] = ()
    hedged_at: tuple[float, ...] = ()
    began_at: float | None = None
    trace_headers: tuple[tuple[str, str], ...] = ()
    """What tells a service of the attempt that begins, where requests are traced."""
    _key = ""

    def __init__(self, request: RequestContext, deadline: float, shape: Shape | None = None) -> None:
        self.request = request
        self.deadline = deadline
        self.shape = shape
        """How a reply that is JSON text is to be read, if its value need not be all that the text has."""

    @property
    def idempotency_key(self) -> str:
        """A key that all attempts of this call have in common and no other call has."""
        self._key = self._key or uuid.uuid4().hex
        return self._key

    def begin_wait(self, now: float) -> None:
        """Note that a wait for a place begins."""
        self.waiting_since = now

    def end_wait(self, now: float) -> None:
        """Note that a place was found."""
        if self.waiting_since is not None:
            self.queued += now - self.waiting_since
            self.waiting_since = None


class Reply(Record, frozen=True):
    """What a call gives back."""

    value: object
    status: int | None = None
    size: int = 0
    """How many bytes it had on the wire; 0 when that is not known."""
    max_age: float | None = None
    """Seconds for which the upstream says that it is fresh; None when it says nothing."""
    is_private: bool = False
    """Whether the upstream forbids keeping it."""


Call = Callable[[Inputs, CallContext], Awaitable[Reply]]
"""Performs a step once.

:raises StepFault: the step failed.
"""


@dataclass(frozen=True, slots=True)
class MockAnswer:
    """What a mocked upstream answers: a value with an HTTP status and headers, with ``body`` that very text, or a ``fault``.

    A fault is ``connect``, ``reset``, or ``error`` for whatever the upstream has for one.
    """

    value: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    fault: str | None = None


Exchange = Callable[[Mapping[str, object]], Awaitable[MockAnswer]]
"""Gives the answer to what would be sent to an upstream, which is told as data."""


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """A mistake that only the step type can see: the key of the step or source that it is about, or the path of keys."""

    key: str | tuple[str | int, ...]
    message: str
    code: str
    is_about_key: bool = False
    """Whether it is the last key itself that is wrong, not its value."""

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path of keys."""
        return (self.key,) if isinstance(self.key, str) else self.key


class StepType(ABC):
    """One type of step: its keys, its checks, its connection and its calls."""

    name: ClassVar[str]
    keys: ClassVar[type[StepKeys]]
    source_keys: ClassVar[type[SourceKeys] | None] = None
    """The keys of a source of this type; None for a type that calls no source."""
    timeout_ms: ClassVar[int] = 1000
    """The limit of one attempt where neither the step nor its source gives one."""
    templated: ClassVar[tuple[str, ...]] = ()
    """The keys of a step whose texts are templates."""
    source_templated: ClassVar[tuple[str, ...]] = ()
    """The keys of a source whose texts are templates; they may refer to the request alone."""

    is_prompt: ClassVar[bool] = False
    """Whether a cancelled call has ended when the loop comes round again, so that a request need not keep it apart."""
    takes_shape: ClassVar[bool] = False
    """Whether calls read the text of their replies by the shape of their context."""
    tells_freshness: ClassVar[bool] = False
    """Whether replies say for how long they are fresh, as HTTP's do."""
    calls_out: ClassVar[bool] = True
    """Whether a call leaves the gateway's own data; one that does not never waits, gives the same for the same inputs, and needs no mock
    in a test of the configuration."""
    selects_from_scope: ClassVar[bool] = False
    """Whether ``select`` is over arguments, steps and context instead of a raw result."""

    @abstractmethod
    def inputs(self, keys: Any, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the tree that is rendered for each call.

        ``templates`` has the trees of the ``templated`` keys that are set, and under ``source`` those of the step's source;
        ``arguments`` are the names of the operation's arguments in order.
        """

    def check(self, keys: Any, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield what is wrong with a step beyond the types of its keys."""
        yield from ()

    def check_against(self, keys: Any, source: Source) -> Iterator[KeyProblem]:
        """Yield what is wrong with a step on its very source, beyond what ``check`` sees."""
        yield from ()

    def check_source(self, keys: Any) -> Iterator[KeyProblem]:
        """Yield what is wrong with a source beyond the types of its keys."""
        yield from ()

    def returns(self, keys: Any) -> str | None:
        """Return the GraphQL type of a step that says nothing of it, as text, where the step type knows it."""
        return None

    def is_read(self, keys: Any) -> bool:
        """Tell whether the step changes nothing at all, so that two of its calls may be under way at once."""
        return self.is_idempotent(keys)

    def takes_selection(self, keys: Any) -> bool:
        """Tell whether calls want to know what is selected of the step's value: GraphQL text, as the input ``selection``."""
        return False

    @abstractmethod
    def is_idempotent(self, keys: Any) -> bool:
        """Tell whether the step may be repeated, and shared by equal calls of one request."""

    @abstractmethod
    def describe(self, keys: Any) -> str:
        """Say in one line what is called, without values."""

    def can_fail(self, step: Step) -> bool:
        """Tell whether a step may end in another way than with a value, so that a fallback of it has a use."""
        return True

    def advise(self, step: Step) -> Iterator[KeyProblem]:
        """Yield what is sound but unwise about a step; the codes are the ids of lint rules."""
        yield from ()

    def advise_source(self, keys: Any) -> Iterator[KeyProblem]:
        """Yield what is sound but unwise about a source; the codes are the ids of lint rules."""
        yield from ()

    def connect(self, source: Source) -> AbstractAsyncContextManager[Any]:
        """Open the pool of a source; it lives as long as the generation. Only for a type that has ``source_keys``."""
        raise NotImplementedError(source.name)

    @abstractmethod
    def call(self, step: Step, connection: Any) -> Call:
        """Return the function that performs a step over its source's connection (None without a source)."""

    def rehearse(self, step: Step, exchange: Exchange) -> Call:
        """Return a call that asks ``exchange`` instead of anybody outside; all else is as it is in earnest."""

        async def mocked(inputs: Inputs, context: CallContext) -> Reply:
            answer = await exchange(inputs)
            if answer.fault is not None:
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"mocked: {answer.fault}")
            return Reply(answer.value)

        return mocked
