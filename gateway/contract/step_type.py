"""The contract between the engine and the code that runs one type of step.

A step type (:mod:`resolvers`) turns a configured step into a :data:`Call`. A policy (:mod:`gateway.run.policies`) turns a call into a call.
The engine awaits a call and does not know either of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.blueprint import Source, Step
from gateway.contract.call import Call, CallContext, Inputs, Reply
from gateway.contract.mock import MockUpstream
from gateway.errors import Code, StepFault
from gateway.settings import SourceKeys, StepKeys


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """A mistake that only the step type can find: the wrong key of a step or source, or a path of keys, with a message and a code."""

    key: str | tuple[str | int, ...]
    message: str
    code: str
    is_about_key: bool = False
    """Whether the last key itself is wrong, not its value."""

    @property
    def path(self) -> tuple[str | int, ...]:
        """The path of keys."""
        return (self.key,) if isinstance(self.key, str) else self.key


class StepType(ABC):
    """One type of step: its keys, its checks, its connection and its calls."""

    name: ClassVar[str]
    keys: ClassVar[type[StepKeys]]
    source_keys: ClassVar[type[SourceKeys] | None] = None
    """The model of a source of this type; None for a type that calls no source."""
    timeout_ms: ClassVar[int] = 1000
    """The timeout of one attempt where neither the step nor its source sets one."""
    templated: ClassVar[tuple[str, ...]] = ()
    """The keys of a step whose texts are templates."""
    source_templated: ClassVar[tuple[str, ...]] = ()
    """The keys of a source whose texts are templates. These may refer only to the request and the context."""

    cancels_promptly: ClassVar[bool] = False
    """Whether a cancelled call ends by the next iteration of the event loop, so that a request need not keep track of it."""
    takes_shape: ClassVar[bool] = False
    """Whether calls decode their replies by the shape in their context."""
    tells_freshness: ClassVar[bool] = False
    """Whether replies say how long they are fresh, as those of HTTP do."""
    calls_out: ClassVar[bool] = True
    """Whether a call leaves the gateway. One that does not never waits, returns the same for the same inputs, and needs no mock in a
    config test."""
    selects_from_scope: ClassVar[bool] = False
    """Whether ``select`` reads arguments, steps and context instead of a raw result."""

    @abstractmethod
    def inputs(self, keys: Any, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the template tree that is rendered into the inputs of each call.

        ``templates`` has the trees of those ``templated`` keys that are set, and under ``source`` those of the step's source.
        ``arguments`` are the names of the operation's arguments in order.
        """

    def check(self, keys: Any, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield mistakes in a step that its model cannot find."""
        yield from ()

    def check_against(self, keys: Any, source: Source) -> Iterator[KeyProblem]:
        """Yield mistakes in a step that depend on its source, in addition to those of ``check``."""
        yield from ()

    def check_source(self, keys: Any) -> Iterator[KeyProblem]:
        """Yield mistakes in a source that its model cannot find."""
        yield from ()

    def check_files(self, keys: Any, folder: str) -> Iterator[KeyProblem]:
        """Yield mistakes in files that a source names. Relative paths begin at ``folder``, that of the configuration."""
        yield from ()

    def returns(self, keys: Any) -> str | None:
        """Return the GraphQL type, as text, of a step without ``returns``; None where the step type does not know it."""
        return None

    def is_read(self, keys: Any) -> bool:
        """Tell whether the step changes nothing at all, so that two equal calls may run at once (hedging)."""
        return self.is_idempotent(keys)

    def takes_selection(self, keys: Any) -> bool:
        """Tell whether calls need the client's selection below the step's value, as GraphQL text in the input ``selection``."""
        return False

    @abstractmethod
    def is_idempotent(self, keys: Any) -> bool:
        """Tell whether a call may be retried, and shared by equal calls."""

    @abstractmethod
    def describe(self, keys: Any) -> str:
        """Describe in one line what is called, without values."""

    def can_fail(self, step: Step) -> bool:
        """Tell whether a step can end without a value, so that a fallback makes sense."""
        return True

    def advise(self, step: Step) -> Iterator[KeyProblem]:
        """Yield lint findings for a step that is valid but unwise. Their codes are the ids of lint rules."""
        yield from ()

    def advise_source(self, keys: Any) -> Iterator[KeyProblem]:
        """Yield lint findings for a source that is valid but unwise. Their codes are the ids of lint rules."""
        yield from ()

    def connect(self, source: Source) -> AbstractAsyncContextManager[Any]:
        """Open the connection pool of a source, which lives as long as the generation. Only for a type that has ``source_keys``."""
        raise NotImplementedError(source.name)

    @abstractmethod
    def call(self, step: Step, connection: Any) -> Call:
        """Return the function that performs a step, given its source's pool (None without a source)."""

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return a call that uses a mocked upstream. Everything else is as in production."""

        async def mocked(inputs: Inputs, context: CallContext) -> Reply:
            answer = await upstream(inputs)
            if answer.fault is not None:
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"mocked: {answer.fault}")
            return Reply(answer.value)

        return mocked
