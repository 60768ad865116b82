"""``type: python``: a Python function of the user's. An ``async`` function is awaited, any other runs in a thread.

A thread cannot be stopped. Therefore each function has a thread pool of its own: one that hangs takes no thread from other functions or
from the gateway.
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
"""The most concurrent calls of one function; further ones wait."""


class PythonKeys(StepKeys):
    """The keys of a python step: a Python function of your own."""

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
        """The thread pool of each function, for the lifetime of the process: a reload must not wait for a function that hangs."""

    def inputs(self, keys: PythonKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the templates of the keyword arguments."""
        return {"inputs": templates["inputs"]}

    def check(self, keys: PythonKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield the problems of the function: it must exist and accept the inputs."""
        try:
            function = _load_function(keys.call)
            inspect.signature(function).bind(**dict.fromkeys(keys.inputs))
        except (ImportError, AttributeError) as error:
            yield KeyProblem(
                "call", f"'{keys.call}' cannot be loaded: {error}{_python_types().import_suggestion(error)}", "bad-function"
            )
        except TypeError as error:
            yield KeyProblem("inputs", f"'{keys.call}' does not take these inputs: {error}", "bad-function")

    def returns(self, keys: PythonKeys) -> str | None:
        """Return the GraphQL type of the function's return annotation, or None."""
        try:
            text: str | None = _python_types().returned_type(_load_function(keys.call))
        except (ImportError, AttributeError):
            return None
        return text

    def is_idempotent(self, keys: PythonKeys) -> bool:
        """Tell whether the step is declared idempotent."""
        return keys.idempotent

    def describe(self, keys: PythonKeys) -> str:
        """Return the path of the function."""
        return keys.call

    def call(self, step: Step, connection: None) -> Call:
        """Return a call that runs the function once."""
        keys = step.keys
        assert isinstance(keys, PythonKeys)
        function = _load_function(keys.call)
        perform = function if inspect.iscoroutinefunction(function) else self._in_thread(keys.call, function)

        async def run(inputs: Inputs, context: CallContext) -> Reply:
            try:
                value = await perform(**inputs["inputs"])
            except StepFault:
                raise
            # Whatever a user's function raises is a failure of its step, not of the request.
            except Exception as error:
                raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=f"{keys.call}: {type(error).__name__}: {error}") from error
            return Reply(to_json_data(value))

        return run

    def _in_thread(self, path: str, function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """Return a coroutine function that runs ``function`` in its thread pool, in the caller's context, as ``asyncio.to_thread`` does."""
        threads = self._threads.get(path)
        if threads is None:
            threads = self._threads[path] = ThreadPoolExecutor(MAX_THREADS, path)

        def run(**inputs: Any) -> Awaitable[Any]:
            bound_call = functools.partial(contextvars.copy_context().run, function, **inputs)
            return asyncio.get_running_loop().run_in_executor(threads, bound_call)

        return run


@cache
def _python_types() -> Any:
    """Import the module that uses Strawberry. That takes 60 ms, which only configurations with python steps pay."""
    return import_module("gateway.language.python_types")


def _load_function(path: str) -> Callable[..., Any]:
    function = _python_types().load_object(path)
    if not callable(function):
        raise AttributeError(f"'{path}' is no function")  # noqa: TRY004 - reported like a missing function
    return function  # type: ignore[no-any-return]


def to_json_data(value: Any) -> Any:
    """Return a value as JSON data: Strawberry objects and dataclasses as mappings, enums by name, times and similar values as text."""
    if (fields := _python_types().object_data(value)) is not None:
        return {name: to_json_data(item) for name, item in fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"__typename": type(value).__name__} | {
            item.name: to_json_data(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
    if isinstance(value, Enum):
        return _python_types().enum_name(value)
    if isinstance(value, Mapping):
        return {str(key): to_json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_data(item) for item in value]
    return _python_types().scalar_text(value)
