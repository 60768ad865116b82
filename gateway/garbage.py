"""What the collector of cycles may look at, and when; what it is kept from is taken apart by hand.

A gateway keeps its collector away from what lives long: a look at the whole heap would stop every request. What is let go, as an old schema,
points around in circles, which only that collector could free. So its cycles are cut where it is let go.
"""

import asyncio
import atexit
import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from graphql import GraphQLNamedType, GraphQLSchema, Node, is_introspection_type, is_specified_scalar_type

atexit.register(gc.unfreeze)  # or else libraries complain at the end of what they take for leaks

_AT_ONCE = 50
_SWITCH = 0.0001
"""Seconds after which the thread gives up the interpreter to the event loop; Python's own 5 ms would be added to every wait of a request."""

_NEVER = 1_000_000
_YOUNG = 10_000
"""How many objects more than before there must be until the collector of cycles looks at the new ones. With Python's own 700 a single answer
of a hundred rows calls it; a hundred of them at once spent a tenth of their time in it, for cycles that there are not."""


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


def cut_tokens(nodes: Iterable[Node]) -> None:
    """Take the chain of tokens of parsed nodes apart, of which each points to those beside it; where a node stands is known as before."""
    for node in nodes:
        token = node.loc.start_token if node.loc else None
        while token is not None:
            token.prev, token.next, token = None, None, token.next


async def take_apart(schema: GraphQLSchema) -> None:
    """Empty the types of a schema that nobody uses any more."""
    await take_types_apart(schema.type_map.values())


async def take_types_apart(types: Iterable[GraphQLNamedType]) -> None:
    """Empty types that nobody uses any more, a few at a time: they refer to each other."""
    for position, found in enumerate(types):
        if not is_introspection_type(found) and not is_specified_scalar_type(found):
            vars(found).clear()
        if position % _AT_ONCE == 0:
            await asyncio.sleep(0)
