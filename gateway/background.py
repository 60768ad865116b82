"""Work that computes for long, done in a thread beside the event loop so that requests hardly notice it."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_MOST_IN_VIEW = 200_000
"""Objects that the collector of cycles walks in about 50 ms."""
_SWITCH = 0.0005
"""Seconds after which the thread gives up the interpreter to the event loop; Python's own 5 ms would be added to every wait of a request."""


async def in_background(work: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Do work in a thread."""
    return await asyncio.to_thread(work, *arguments, **keywords)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let requests be served well while a thread computes. Process-wide, so only for a process that is all the gateway's.

    The collector of cycles would stop everything while it walks the whole heap (0.4 s for 1,000 operations): it rests meanwhile, and what
    has been made is taken out of its sight. See :func:`collect`.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        sys.setswitchinterval(before)


def is_heap_small() -> bool:
    """Tell whether all that was taken out of the collector's sight may be looked at without a pause that requests notice."""
    return gc.get_freeze_count() < _MOST_IN_VIEW


def collect() -> None:
    """Free the cycles of what is not needed any more, in all of the heap."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
