"""Parsed GraphQL texts → the same without the chain of their tokens, of which each points to those beside it.

A chain like that is a cycle, which only the collector of cycles can free; nobody reads it after parsing.
"""

from collections.abc import Iterable

from graphql import Node


def cut_tokens(nodes: Iterable[Node]) -> None:
    """Take the tokens of parsed nodes apart; where a node stands is known as before."""
    for node in nodes:
        token = node.loc.start_token if node.loc else None
        while token is not None:
            token.prev, token.next, token = None, None, token.next
