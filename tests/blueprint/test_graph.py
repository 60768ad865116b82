"""The graph of steps, against definitions that are as plain as they are slow."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.blueprint.graph import (
    closure,
    fallback_only_steps,
    find_cycles,
    topological_order,
    written_order,
)

NODES = "abcdef"
Edges = dict[str, list[str]]

graphs: st.SearchStrategy[Edges] = st.fixed_dictionaries({node: st.lists(st.sampled_from(NODES), max_size=3) for node in NODES})
"""Any graph of six nodes, cycles, loops and double edges included."""


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> Edges:
    """Draw a graph without cycles whose file order is not its topological order."""
    order = draw(st.permutations(NODES))
    edges = {node: draw(st.lists(st.sampled_from(order[:index]), max_size=3)) for index, node in enumerate(order) if index}
    return {node: edges.get(node, []) for node in NODES}


def reachable(graph: Mapping[str, list[str]]) -> set[tuple[str, str]]:
    """Return all pairs of a node and one that it waits for, by joining pairs until none is new."""
    pairs = {(node, other) for node, others in graph.items() for other in others}
    while new := {(a, d) for (a, b), (c, d) in product(pairs, pairs) if b == c} - pairs:
        pairs |= new
    return pairs


@dataclass(frozen=True)
class Step:
    prerequisites: tuple[str, ...] = ()
    fallback_steps: tuple[str, ...] = ()
    is_exposed: bool = True


# -- closure


@given(graphs, st.sets(st.sampled_from(NODES)))
def test_a_closure_has_the_nodes_and_whatever_can_be_reached_from_them(graph: Edges, nodes: set[str]) -> None:
    assert closure(nodes, graph.__getitem__) == nodes | {other for node, other in reachable(graph) if node in nodes}


def test_the_closure_of_nothing_is_empty() -> None:
    assert closure([], {"a": ["b"], "b": []}.__getitem__) == set()


# -- topological order


@given(acyclic_graphs(), graphs)
def test_each_node_stands_after_its_prerequisites_whatever_is_preferred(graph: Edges, preferred: Edges) -> None:
    order = topological_order(graph, preferred)
    assert sorted(order) == sorted(graph)
    assert all(order.index(other) < order.index(node) for node, others in graph.items() for other in others)


@given(acyclic_graphs())
def test_of_the_nodes_that_are_ready_the_first_of_the_file_is_next(graph: Edges) -> None:
    order = topological_order(graph)
    for index, node in enumerate(order):
        ready = [other for other in graph if other not in order[:index] and set(graph[other]) <= set(order[:index])]
        assert node == ready[0]


@given(acyclic_graphs(), st.data())
def test_what_is_preferred_holds_where_no_cycle_comes_of_it(graph: Edges, data: st.DataObject) -> None:
    later, earlier = data.draw(st.lists(st.sampled_from(NODES), min_size=2, max_size=2, unique=True))
    order = topological_order(graph, {later: [earlier]})
    assert (order.index(earlier) < order.index(later)) == ((earlier, later) not in reachable(graph))


def test_a_cycle_of_preferences_does_not_put_a_node_before_its_prerequisite() -> None:
    graph = {"a": ["x"], "x": [], "p": ["f"], "f": []}
    assert topological_order(graph, {"f": ["a"], "x": ["p"]}) == ["x", "a", "f", "p"]


# -- written order


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": [], "b": [], "c": []}, {"b": "a", "c": "b"}),
        ({"a": ["b"], "b": [], "c": []}, {"c": "b"}),
        ({"a": ["c"], "b": [], "c": ["b"]}, {"c": "b"}),
        ({"a": []}, {}),
        ({}, {}),
    ],
)
def test_a_node_follows_the_one_written_before_it_unless_that_waits_for_it(graph: Edges, expected: dict[str, str]) -> None:
    assert written_order(graph) == expected


# -- cycles


@settings(deadline=None)
@given(graphs)
def test_cycles_are_found_exactly_where_a_node_waits_for_itself(graph: Edges) -> None:
    cycles = list(find_cycles(graph))
    assert bool(cycles) == any(node == other for node, other in reachable(graph))
    for cycle in cycles:
        assert all(after in graph[node] for node, after in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert cycle[0] == min(cycle, key=list(graph).index)
    told = [node for cycle in cycles for node in cycle]
    assert len(told) == len(set(told)), "a node stands in one cycle at the most"
    rest = {node: [other for other in others if other not in told] for node, others in graph.items() if node not in told}
    assert not any(node == other for node, other in reachable(rest)), "a cycle is left"


# -- steps


def test_mere_fallbacks_are_those_that_fill_no_field_and_stand_in_for_others() -> None:
    steps = {
        "a": Step(fallback_steps=("hidden", "shown", "nobody")),
        "hidden": Step(is_exposed=False),
        "shown": Step(),
        "helper": Step(is_exposed=False),
    }
    assert fallback_only_steps(steps) == {"hidden"}
