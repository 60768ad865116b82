"""Garbage collection: keep the cyclic collector away from long-lived objects, and break reference cycles by hand.

A full collection walks the whole heap and would stall every request, so long-lived objects are frozen (``gc.freeze``) and never scanned again.
A discarded schema is full of reference cycles, which only the collector could free. So its cycles are broken where it is discarded.
"""

import asyncio
import atexit
import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from graphql import ASTValidationRule, GraphQLNamedType, GraphQLSchema, Node, is_introspection_type, is_specified_scalar_type

atexit.register(gc.unfreeze)  # or else libraries report frozen objects as leaks when the process ends

_TYPES_PER_TURN = 50
"""How many types are cleared before the event loop gets a turn."""
_SWITCH_INTERVAL = 0.0001
"""Seconds after which a thread hands the interpreter over to the event loop; Python's default of 5 ms would be added to every wait of a request."""

_NEVER = 1_000_000
_YOUNG_THRESHOLD = 10_000
"""How many new objects start a collection of the youngest generation. With Python's default of 700 a single answer of a hundred rows starts one;
a hundred such answers at once spent a tenth of their time in it, without a cycle to free."""


@contextmanager
def startup_without_gc() -> Iterator[None]:
    """Disable the cyclic collector during startup, where it would take a fifth of the time: imports and a first build leave it nothing to free.

    Their objects live long and are frozen at the end. The effect is process-wide, so use it only in a process that the gateway owns.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_YOUNG_THRESHOLD, *gc.get_threshold()[1:])
        gc.enable()


@contextmanager
def without_full_collections() -> Iterator[None]:
    """Keep request latency low while a thread computes. The effect is process-wide, so use it only in a process that the gateway owns.

    A full collection would stop everything while it walks the whole heap (0.4 s for 1,000 operations). Meanwhile only the young generations
    are collected, and the new objects are frozen at the end: discarded configuration generations have their cycles broken by hand.
    """
    switch_interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        yield
    finally:
        gc.collect(1)  # free the young cycles first: freezing would keep them for good
        gc.freeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch_interval)


def unlink_tokens(nodes: Iterable[Node]) -> None:
    """Unlink the tokens of parsed nodes, a doubly linked list and so a chain of cycles. The locations of the nodes stay known."""
    for node in nodes:
        token = node.loc.start_token if node.loc else None
        while token is not None:
            token.prev, token.next, token = None, None, token.next


def unlink_visitors(visitors: Iterable[ASTValidationRule]) -> None:
    """Unlink the visitors of a validation from its context and their own methods. Both hold the document, which would become garbage with them."""
    for visitor in visitors:
        vars(visitor.context).clear()
    for visitor in visitors:
        vars(visitor).clear()


async def clear_schema(schema: GraphQLSchema) -> None:
    """Clear the types of a schema that is no longer in use."""
    await clear_types(schema.type_map.values())


async def clear_types(types: Iterable[GraphQLNamedType]) -> None:
    """Clear types that are no longer in use, which refer to each other; the event loop gets a turn after every few."""
    for position, named in enumerate(types):
        if not is_introspection_type(named) and not is_specified_scalar_type(named):  # these are shared by all schemas
            vars(named).clear()
        if position % _TYPES_PER_TURN == 0:
            await asyncio.sleep(0)
