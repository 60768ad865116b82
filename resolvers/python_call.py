"""``type: python``: a Python function of the user's. An ``async`` function runs in a task, any other in a thread.

A thread cannot be stopped, nor a coroutine that ignores its cancellation. Therefore no request waits for either after its deadline, and each
function has a thread pool of its own: one that hangs takes no thread from other functions or from the gateway.

Whatever a function raises is the failure of its step, ``SystemExit`` and ``KeyboardInterrupt`` included. It is caught inside the thread or
the task: an event loop stops at these two when a task ends with them.
"""

import asyncio
import contextvars
import dataclasses
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
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
"""The most concurrent calls of one function in threads; further ones wait."""
MAX_ABANDONED = 1000
"""The most calls of one ``async`` function that go on although they were cancelled; with so many of them, further calls fail at once."""

Outcome = tuple[Any, BaseException | None]
"""What a function has returned, as JSON data, or what it has raised."""
Perform = Callable[[Mapping[str, Any]], Coroutine[Any, Any, Outcome]]


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
        self._abandoned: dict[str, set[asyncio.Task[Outcome]]] = {}
        """The tasks of each function that have been cancelled and still run."""

    def inputs(self, keys: PythonKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the templates of the keyword arguments."""
        return {"inputs": templates["inputs"]}

    def check(self, keys: PythonKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield the problems of the function: it must exist and accept the inputs."""
        try:
            function = _load_function(keys.call)
            inspect.signature(function).bind(**dict.fromkeys(keys.inputs))
        except FunctionError as error:
            yield KeyProblem("call", f"'{keys.call}' cannot be loaded: {error}", "bad-function")
        except (TypeError, ValueError) as error:
            yield KeyProblem("inputs", f"'{keys.call}' does not take these inputs: {error}", "bad-function")

    def returns(self, keys: PythonKeys) -> str | None:
        """Return the GraphQL type of the function's return annotation, or None."""
        try:
            text: str | None = _python_types().returned_type(_load_function(keys.call))
        except FunctionError:
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
        perform = (
            self._in_task(keys.call, function) if inspect.iscoroutinefunction(function) else self._in_thread(keys.call, function)
        )

        async def run(inputs: Inputs, context: CallContext) -> Reply:
            value, error = await perform(inputs["inputs"])
            if error is None:
                return Reply(value)
            if isinstance(error, StepFault):
                raise error
            detail = f"{keys.call}: {type(error).__name__}: {_python_types().exception_text(error)}"
            raise StepFault(Code.INTERNAL_SERVER_ERROR, detail=detail) from error

        return run

    def _in_task(self, path: str, function: Callable[..., Any]) -> Perform:
        """Return a coroutine function that runs ``function`` in a task of its own.

        So a function that cancels its task ends nothing but itself, and one that ignores its cancellation does not hold up the request.
        """
        abandoned = self._abandoned.setdefault(path, set())

        async def run(inputs: Mapping[str, Any]) -> Outcome:
            if len(abandoned) >= MAX_ABANDONED:
                return None, RuntimeError(f"{MAX_ABANDONED} calls of it have been cancelled and still run")
            task = asyncio.create_task(_await(functools.partial(function, **inputs)))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                task.cancel()
                abandoned.add(task)
                task.add_done_callback(abandoned.discard)
                raise

        return run

    def _in_thread(self, path: str, function: Callable[..., Any]) -> Perform:
        """Return a coroutine function that runs ``function`` in its thread pool, in the caller's context, as ``asyncio.to_thread`` does."""
        threads = self._threads.get(path)
        if threads is None:
            threads = self._threads[path] = ThreadPoolExecutor(MAX_THREADS, path)
        # A function that is not declared `async` may still return something to await, for example one that is decorated.
        finish = self._in_task(path, _awaited)

        async def run(inputs: Mapping[str, Any]) -> Outcome:
            bound_call = functools.partial(contextvars.copy_context().run, _call, function, inputs)
            value, error = await asyncio.get_running_loop().run_in_executor(threads, bound_call)
            return await finish({"awaitable": value}) if inspect.isawaitable(value) else (value, error)

        return run


def _call(function: Callable[..., Any], inputs: Mapping[str, Any]) -> Outcome:
    """Call a function in a thread. The value is made JSON data there too, as that may run code of its objects."""
    try:
        value = function(**inputs)
        return (value if inspect.isawaitable(value) else to_json_data(value)), None
    except BaseException as error:  # noqa: BLE001 - see the head of this module
        return None, error


async def _await(function: Callable[[], Any]) -> Outcome:
    """Call an ``async`` function and await it."""
    try:
        return to_json_data(await function()), None
    except BaseException as error:  # noqa: BLE001 - see the head of this module
        return None, error


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


@cache
def _python_types() -> Any:
    """Import the module that uses Strawberry. That takes 60 ms, which only configurations with python steps pay."""
    return import_module("gateway.language.python_types")


class FunctionError(Exception):
    """A function cannot be loaded; the message says why."""


def _load_function(path: str) -> Callable[..., Any]:
    """Return the function that ``package.module:function`` names.

    :raises FunctionError: there is none, or its module raises an exception when it is imported.
    """
    types = _python_types()
    try:
        function = types.load_object(path)
    except (ImportError, AttributeError) as error:
        raise FunctionError(f"{types.exception_text(error)}{types.import_suggestion(error)}") from error
    if not callable(function):
        raise FunctionError(f"'{path}' is no function")
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
        return {_python_types().scalar_text(str(key)): to_json_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_data(item) for item in value]
    return _python_types().scalar_text(value)
