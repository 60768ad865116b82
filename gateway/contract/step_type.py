"""The contract between the engine and the code that runs one type of step.

A step type (:mod:`resolvers`) turns a configured step into a :data:`Call`. A policy (:mod:`gateway.run.policies`) turns a call into a call.
The engine awaits a call and knows nothing of either.
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

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return a call that asks ``upstream`` instead of anybody outside; all else is as it is in earnest."""

        async def mocked(inputs: Inputs, context: CallContext) -> Reply:
            answer = await upstream(inputs)
            if answer.fault is not None:
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"mocked: {answer.fault}")
            return Reply(answer.value)

        return mocked
