"""``type: python``: a function of the team's own. An ``async`` one is awaited, any other runs in a thread.

A thread cannot be stopped. So each function has threads of its own: one that hangs takes none from the others, nor from the gateway.
"""

import asyncio
import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, KeyProblem, Reply, StepType
from gateway.errors import Code, StepFault
from gateway.settings import FunctionPath, StepKeys, Text, empty

MAX_THREADS = 32
"""How many calls of one function run at once at the most; further ones wait."""


class PythonKeys(StepKeys):
    """The keys of a python step: a function of the team's own."""

    example = """\
- name: rating
  type: python
  call: "my_team.rating:rate"
  inputs: { tier: "{account.tier}" }
  returns: Float
"""

    call: FunctionPath
    """The function, as `package.module:function`; it takes the inputs as keyword arguments."""
    inputs: dict[Text, Any] = empty(dict)
    """Keyword arguments; texts in them are templates."""
    idempotent: bool = False
    """Whether the function may be called again after a failure, and once for equal inputs."""


class PythonCall(StepType):
    """The step type ``python``."""

    name = "python"
    keys = PythonKeys
    timeout_ms = 5000
    templated = ("inputs",)

    def __init__(self) -> None:
        self._threads: dict[str, ThreadPoolExecutor] = {}
        """The threads of each function, for as long as the process lives."""

    def inputs(self, keys: PythonKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the tree of the keyword arguments."""
        return {"inputs": templates["inputs"]}

    def check(self, keys: PythonKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield what is wrong with the function: it must be there and take the inputs."""
        try:
            function = _load(keys.call)
            inspect.signature(function).bind(**dict.fromkeys(keys.inputs))
        except (ImportError, AttributeError) as error:
            yield KeyProblem("call", f"'{keys.call}' cannot be loaded: {error}{_objects().meant(error)}", "bad-function")
        except TypeError as error:
            yield KeyProblem("inputs", f"'{keys.call}' does not take these inputs: {error}", "bad-function")

    def returns(self, keys: PythonKeys) -> str | None:
        """Return what the function's annotation says."""
        try:
            text: str | None = _objects().returned_type(_load(keys.call))
        except (ImportError, AttributeError):
            return None
        return text

    def is_idempotent(self, keys: PythonKeys) -> bool:
        """Tell whether the function is declared to be."""
        return keys.idempotent

    def describe(self, keys: PythonKeys) -> str:
        """Return the function."""
        return keys.call

    def call(self, step: Step, connection: None) -> Call:
        """Return a call of the function."""
        keys = step.keys
        assert isinstance(keys, PythonKeys)
        function = _load(keys.call)
        perform = function if inspect.iscoroutinefunction(function) else self._in_thread(keys.call, function)

        async def run(inputs: Inputs, context: CallContext) -> Reply:
            try:
                value = await perform(**inputs["inputs"])
            except StepFault:
                raise
            except Exception as error:
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"{keys.call}: {type(error).__name__}: {error}") from error
            return Reply(plain(value))

        return run

    def _in_thread(self, path: str, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """Return what calls a function in one of its threads, in the context of the caller, as ``asyncio.to_thread`` does."""
        threads = self._threads.get(path)
        if threads is None:
            threads = self._threads[path] = ThreadPoolExecutor(MAX_THREADS, path)

        def run(**inputs: Any) -> Awaitable[Any]:
            work = functools.partial(contextvars.copy_context().run, function, **inputs)
            return asyncio.get_running_loop().run_in_executor(threads, work)

        return run


@cache
def _objects() -> Any:
    """Return the module that knows Strawberry: importing that takes 60 ms, for which only a configuration with Python steps shall wait."""
    return import_module("gateway.language.python_types")


def _load(path: str) -> Callable[..., Any]:
    function = _objects().load_object(path)
    if not callable(function):
        raise AttributeError(f"'{path}' is no function")  # noqa: TRY004 - to the configuration it is one that is missing
    return function  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """Return a value as JSON data: objects of Strawberry types and data classes as mappings, enums by name, times and the like as text."""
    if (fields := _objects().object_data(value)) is not None:
        return {name: plain(item) for name, item in fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"__typename": type(value).__name__} | {
            item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
    if isinstance(value, Enum):
        return _objects().enum_name(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return _objects().scalar_text(value)
