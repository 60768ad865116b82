"""The graph that steps and their prerequisites make: closure, topological order, written order, cycles. For load, plan and lint."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Protocol

Graph = Mapping[str, Collection[str]]
"""Nodes in the order of the file, each with its prerequisites."""


class GraphStep(Protocol):
    """What a step's place in the graph depends on, be the step checked already or not."""

    @property
    def is_exposed(self) -> bool:
        """Whether it fills a field."""

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """The steps that must have ended before it."""

    @property
    def fallback_steps(self) -> tuple[str, ...]:
        """The steps that can stand in for it."""


def mere_fallbacks(steps: Mapping[str, GraphStep]) -> set[str]:
    """Return the steps that stand in for others and fill no field: a mutation runs them only when they are needed."""
    return {name for step in steps.values() for name in step.fallback_steps if name in steps and not steps[name].is_exposed}


def closure(nodes: Iterable[str], prerequisites_of: Callable[[str], Iterable[str]]) -> set[str]:
    """Return nodes and all that they wait for, to any depth. Only the nodes that are reached are asked for their prerequisites."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += prerequisites_of(node)
    return found


def topological_order(graph: Graph, preferred: Graph | None = None) -> list[str]:
    """Sort nodes so that each stands after its prerequisites, and where that leaves a choice in the order of the file.

    ``preferred`` names nodes that should stand before others; where a cycle would come of that it is left aside. ``graph`` has no cycle.
    """
    preferred = preferred or {}
    before = {node: {*others, *preferred.get(node, ())} for node, others in graph.items()}
    done: set[str] = set()
    order: list[str] = []
    remaining = list(graph)
    while remaining:
        node = _first_ready(remaining, before, done) or _first_ready(remaining, graph, done)
        assert node is not None, "the graph has a cycle"
        remaining.remove(node)
        order.append(node)
        done.add(node)
    return order


def _first_ready(nodes: Iterable[str], graph: Graph, done: set[str]) -> str | None:
    return next((node for node in nodes if done.issuperset(graph[node])), None)


def written_order(graph: Graph) -> dict[str, str]:
    """Return for each node the one that is written before it, as far as that does not wait for it."""
    return {node: before for before, node in pairwise(graph) if node not in closure([before], graph.__getitem__)}


def find_cycles(graph: Graph) -> Iterator[tuple[str, ...]]:
    """Yield cycles until the rest of the graph has none: each as its nodes in order of waiting, beginning with the first in file order.

    A node stands in one reported cycle at the most.
    """
    rest = {} if _is_in_order(graph) else dict(graph)
    while rest:
        try:
            TopologicalSorter(rest).prepare()
        except CycleError as error:
            # The library names the cycle against the direction of waiting, with its first node at both ends.
            cycle = tuple(reversed(error.args[1]))[:-1]
            start = min(range(len(cycle)), key=lambda index: list(graph).index(cycle[index]))
            yield cycle[start:] + cycle[:start]
            rest = {node: [other for other in others if other not in cycle] for node, others in rest.items() if node not in cycle}
        else:
            return


def _is_in_order(graph: Graph) -> bool:
    """Tell whether each node waits only for nodes before it, as in most files: then there is no cycle."""
    before: set[str] = set()
    for node, others in graph.items():
        if not before.issuperset(others):
            return False
        before.add(node)
    return True
