"""GraphQL objects → the same without what points around in circles, which only the collector of cycles could free.

A gateway keeps its collector away from what lives long (:mod:`gateway.background`), so what is let go is taken apart by hand.
"""

import asyncio
from collections.abc import Iterable

from graphql import GraphQLNamedType, GraphQLSchema, Node, is_introspection_type, is_specified_scalar_type

_AT_ONCE = 50


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
