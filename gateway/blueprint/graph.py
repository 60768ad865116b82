"""Cycles of a directed graph."""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


def find_cycles(edges: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Yield cycles until the rest of the graph has none: each as its nodes in order of waiting, beginning with the first in file order.

    ``edges`` maps a node to what it waits for. A node stands in one reported cycle at the most.
    """
    rest = {} if _is_in_order(edges) else dict(edges)
    while rest:
        try:
            TopologicalSorter(rest).prepare()
        except CycleError as error:
            # The library names the cycle against the direction of waiting, with its first node at both ends.
            cycle = tuple(reversed(error.args[1]))[:-1]
            start = min(range(len(cycle)), key=lambda index: list(edges).index(cycle[index]))
            yield cycle[start:] + cycle[:start]
            rest = {node: [other for other in others if other not in cycle] for node, others in rest.items() if node not in cycle}
        else:
            return


def _is_in_order(edges: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether each node waits only for nodes before it, as in most files: then there is no cycle."""
    before: set[str] = set()
    for node, others in edges.items():
        if not before.issuperset(others):
            return False
        before.add(node)
    return True


def closure(edges: Mapping[str, Sequence[str]], names: Sequence[str]) -> set[str]:
    """Return nodes and all that they wait for."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        waiting += edges[name] if name not in found else ()
        found.add(name)
    return found
