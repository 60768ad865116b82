"""The graph of steps and their prerequisites: closure, topological order, written order, cycles. Used by load, plan and lint."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Protocol

Graph = Mapping[str, Collection[str]]
"""Nodes in file order, each with its prerequisites."""


class GraphStep(Protocol):
    """What the graph needs to know of a step. Both a draft and a checked step have it."""

    @property
    def is_exposed(self) -> bool:
        """Whether it fills a field."""

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """The steps that must have ended before it."""

    @property
    def fallback_steps(self) -> tuple[str, ...]:
        """The steps that are its fallbacks."""


def fallback_only_steps(steps: Mapping[str, GraphStep]) -> set[str]:
    """Return the steps that are fallbacks of others and fill no field: a mutation runs them only when they are needed."""
    return {name for step in steps.values() for name in step.fallback_steps if name in steps and not steps[name].is_exposed}


def closure(nodes: Iterable[str], prerequisites_of: Callable[[str], Iterable[str]]) -> set[str]:
    """Return nodes and all of their direct and indirect prerequisites. ``prerequisites_of`` is called only for nodes that are reached."""
    reached: set[str] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending += prerequisites_of(node)
    return reached


def topological_order(graph: Graph, preferred: Graph | None = None) -> list[str]:
    """Sort nodes so that each follows its prerequisites; where that leaves a choice, keep file order.

    ``preferred`` maps nodes to others that should precede them as well. It is ignored where it would cause a cycle, but ``graph`` itself
    must not have a cycle.
    """
    preferred = preferred or {}
    before = {node: {*others, *preferred.get(node, ())} for node, others in graph.items()}
    done: set[str] = set()
    order: list[str] = []
    remaining = list(graph)
    while remaining:
        # With the preferences alone there may be a cycle, for example of steps that are each other's fallbacks: then prerequisites decide.
        node = _first_ready(remaining, before, done) or _first_ready(remaining, graph, done)
        assert node is not None, "the graph has a cycle"
        remaining.remove(node)
        order.append(node)
        done.add(node)
    return order


def _first_ready(nodes: Iterable[str], graph: Graph, done: set[str]) -> str | None:
    return next((node for node in nodes if done.issuperset(graph[node])), None)


def written_order(graph: Graph) -> dict[str, str]:
    """Return for each node the one that precedes it in the file, unless that depends on it."""
    return {node: before for before, node in pairwise(graph) if node not in closure([before], graph.__getitem__)}


def find_cycles(graph: Graph) -> Iterator[tuple[str, ...]]:
    """Yield cycles until the rest of the graph has none. Each is its nodes, a node before its prerequisite, from the first in file order.

    A node is in at most one of the cycles.
    """
    rest = {} if _is_in_order(graph) else dict(graph)
    while rest:
        try:
            TopologicalSorter(rest).prepare()
        except CycleError as error:
            # graphlib lists a cycle in the opposite direction, from prerequisite to dependent, and repeats the first node at the end.
            cycle = tuple(reversed(error.args[1]))[:-1]
            start = min(range(len(cycle)), key=lambda index: list(graph).index(cycle[index]))
            yield cycle[start:] + cycle[:start]
            rest = {node: [other for other in others if other not in cycle] for node, others in rest.items() if node not in cycle}
        else:
            return


def _is_in_order(graph: Graph) -> bool:
    """Tell whether each node depends only on nodes before it, as in most files: then there is no cycle."""
    before: set[str] = set()
    for node, others in graph.items():
        if not before.issuperset(others):
            return False
        before.add(node)
    return True
