"""Work that computes for long, done in a thread beside the event loop so that requests hardly notice it."""

import asyncio
import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

atexit.register(gc.unfreeze)  # or else libraries complain at the end of what they take for leaks

P = ParamSpec("P")
T = TypeVar("T")

_SWITCH = 0.0001
"""Seconds after which the thread gives up the interpreter to the event loop; Python's own 5 ms would be added to every wait of a request."""

_NEVER = 1_000_000
_YOUNG = 10_000
"""How many objects more than before there must be until the collector of cycles looks at the new ones. With Python's own 700 a single answer
of a hundred rows calls it; a hundred of them at once spent a tenth of their time in it, for cycles that there are not."""


async def in_background(work: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Do work in a thread."""
    return await asyncio.to_thread(work, *arguments, **keywords)


@contextmanager
def starting() -> Iterator[None]:
    """Start a process without the collector of cycles, which would take a fifth of the time: imports and a first build leave it nothing.

    What they make lives long, and is taken out of its sight. Process-wide, so only for a process that is all the gateway's.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        gc.enable()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let requests be served well while a thread computes. Process-wide, so only for a process that is all the gateway's.

    The collector of cycles would stop everything each time that it walks the whole heap (0.4 s for 1,000 operations). It looks at what is
    new alone meanwhile, and what has been made is then taken out of its sight: generations that are let go have their cycles cut.
    """
    switch, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH)
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        yield
    finally:
        gc.collect(1)
        gc.freeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch)
