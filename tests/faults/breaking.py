"""Functions of python steps that raise what should end a process, a task or an event loop."""

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn


class Own(BaseException):
    """An exception that is no ``Exception``."""


class Mute(Exception):
    """An exception whose texts cannot be made."""

    def __str__(self) -> str:
        raise SystemExit(4)

    def __repr__(self) -> str:
        raise Own


class MuteText(str):
    """A text that ends the process when it is asked for its text."""

    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit(5)


class Wary:
    """An object whose attributes end the process."""

    def __getattr__(self, name: str) -> NoReturn:
        sys.exit(7)


class Dying:
    """An object whose end ends the process."""

    def __del__(self) -> None:
        sys.exit(6)


def raising(error: Callable[[], BaseException]) -> Callable[[], object]:
    def function() -> object:
        raise error()

    return function


def endless() -> object:
    return endless()


def grouped() -> BaseException:
    return BaseExceptionGroup("several", [SystemExit(3), ValueError("x"), BaseExceptionGroup("inner", [KeyboardInterrupt()])])


KINDS: dict[str, Callable[[], object]] = {
    "exit": lambda: sys.exit(3),
    "exit text": raising(lambda: SystemExit("a secret text")),
    "exit 0": lambda: sys.exit(0),
    "interrupt": raising(KeyboardInterrupt),
    "own": raising(Own),
    "generator exit": raising(GeneratorExit),
    "cancelled": raising(asyncio.CancelledError),
    "stop iteration": raising(lambda: StopIteration(1)),
    "stop async iteration": raising(StopAsyncIteration),
    "recursion": endless,
    "memory": raising(MemoryError),
    "group": raising(grouped),
    "mute": raising(Mute),
    "timeout": raising(TimeoutError),
    "object": Wary,
    "objects": lambda: {"a": [Wary()]},
    "class": lambda: Wary,
    "generator": lambda: (part for part in "ab"),
}
PROCESS_KINDS: dict[str, Callable[[], object]] = {"dying": Dying}
"""What tells of itself on standard error, so that only a process of its own may do it."""
HARMLESS: dict[str, Callable[[], object]] = {"text": lambda: MuteText("text")}
"""Values that do harm only to who asks them for their text."""


def in_thread(kind: str = "", **_: object) -> object:
    """Do it in the thread that the gateway gives to functions which are not ``async``."""
    return (KINDS | PROCESS_KINDS | HARMLESS)[kind]()


async def in_task(kind: str = "", **_: object) -> object:
    """Do it in a coroutine, after the event loop had a turn."""
    await asyncio.sleep(0)
    return (KINDS | PROCESS_KINDS | HARMLESS)[kind]()


async def at_once(kind: str = "", **_: object) -> object:
    """Do it in a coroutine, before it waits for anything."""
    return (KINDS | PROCESS_KINDS | HARMLESS)[kind]()


def returned(kind: str = "", **_: object) -> Awaitable[object]:
    """Return a coroutine that does it."""
    return in_task(kind)


# -- what a coroutine can do to its event loop


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _exit() -> None:
    await asyncio.sleep(0)
    sys.exit(3)


async def await_task() -> None:
    await asyncio.create_task(_exit())


async def await_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_exit())
        group.create_task(_exit())


async def gather() -> None:
    await asyncio.gather(_exit(), _exit())


async def leave_task() -> NoReturn:
    task = asyncio.create_task(_exit())
    await asyncio.wait([task])
    raise ValueError


async def call_soon() -> NoReturn:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    loop.call_soon(sys.exit, 3)
    loop.call_later(0.001, done.set)
    await done.wait()
    raise ValueError


async def stop_loop() -> NoReturn:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    raise ValueError


async def start_thread() -> NoReturn:
    thread = threading.Thread(target=sys.exit, args=[3])
    thread.start()
    await asyncio.to_thread(thread.join)
    raise ValueError


async def run_loop() -> None:
    asyncio.run(_exit())


LOOP_KINDS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    function.__name__: function
    for function in (
        cancel_itself,
        await_task,
        await_group,
        gather,
        leave_task,
        call_soon,
        stop_loop,
        start_thread,
        run_loop,
    )
}


async def on_loop(kind: str) -> None:
    """Do something to the event loop."""
    await LOOP_KINDS[kind]()


async def ignore_cancellation() -> int:
    """Run on when the task is cancelled."""
    for _ in range(50):
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            continue
    return 1


def die(status: int) -> None:
    """End the process without a chance for anybody to catch it."""
    os._exit(status)
