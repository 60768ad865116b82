"""Rules about the number of calls: a link without ``batch:`` below a list makes one call per parent, below nested lists a product of calls."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from graphql import (
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_list_type,
    is_object_type,
)

from gateway.blueprint import Link, Operation
from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.subject import LintSubject

_NESTED = 2
"""List depth at which calls multiply. A greater depth counts as this one, which also bounds the search through recursive types."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A path to the parents of a link: its operation, the number of lists on it (2 means 2 or more), and its fields as text."""

    operation: Operation
    lists: int
    path: str


def arrivals(subject: LintSubject, operations: Iterable[Operation]) -> Iterator[tuple[Link, Arrival]]:
    """Yield each link that can be reached from the operations, with the shortest of the paths through the most lists."""
    search = _Search(subject)
    for operation in operations:
        search.start(operation)
    search.run()
    yield from ((subject.blueprint.links[key], arrival) for key, arrival in search.deepest.items())


def first_arrivals(subject: LintSubject, operations: Iterable[Operation]) -> Iterator[tuple[Link, Arrival]]:
    """Yield each link with a path from the first of the operations, in the given order, from which it can be reached."""
    search = _Search(subject)
    for operation in operations:
        search.start(operation)
        search.run()
    yield from ((subject.blueprint.links[key], arrival) for key, arrival in search.first.items())


@dataclass(slots=True)
class _Search:
    """A breadth-first search through the types, so that the first path to a type with a number of lists is the shortest."""

    subject: LintSubject
    deepest: dict[tuple[str, str], Arrival] = field(default_factory=dict)
    first: dict[tuple[str, str], Arrival] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    queue: deque[tuple[GraphQLObjectType, Arrival]] = field(default_factory=deque)

    def start(self, operation: Operation) -> None:
        root = self.subject.schema.mutation_type if operation.is_mutation else self.subject.schema.query_type
        assert root is not None
        self.enqueue(Arrival(operation, 0, ""), operation.name, root.fields[operation.name].type)

    def run(self) -> None:
        while self.queue:
            parent, arrival = self.queue.popleft()
            for name, parent_field in parent.fields.items():
                self.record((parent.name, name), arrival)
                self.enqueue(arrival, name, parent_field.type)

    def record(self, key: tuple[str, str], arrival: Arrival) -> None:
        if key not in self.subject.blueprint.links:
            return
        here = Arrival(arrival.operation, arrival.lists, f"{arrival.path}.{key[1]}")
        self.first.setdefault(key, here)
        if key not in self.deepest or self.deepest[key].lists < here.lists:
            self.deepest[key] = here

    def enqueue(self, before: Arrival, name: str, returned: GraphQLOutputType) -> None:
        depth = _depth(returned)
        path = f"{before.path}.{name}".removeprefix(".") + "[]" * depth
        arrival = Arrival(before.operation, min(before.lists + depth, _NESTED), path)
        for target in _objects(self.subject, returned):
            if (target.name, arrival.lists) not in self.seen:
                self.seen.add((target.name, arrival.lists))
                self.queue.append((target, arrival))


def _depth(returned: GraphQLOutputType) -> int:
    """Count the lists around a type."""
    depth = 0
    inner = get_nullable_type(returned)
    while is_list_type(inner):
        depth += 1
        inner = get_nullable_type(inner.of_type)
    return depth


def _objects(subject: LintSubject, returned: GraphQLOutputType) -> list[GraphQLObjectType]:
    named = get_named_type(returned)
    if is_abstract_type(named):
        return list(subject.schema.get_possible_types(named))
    return [named] if is_object_type(named) else []


def links_called_for_each_parent(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield links without ``batch:`` whose parents are in one list."""
    for occurrence, lists in _unbatched(subject):
        if lists == 1:
            yield occurrence


def links_called_without_bound(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield links without ``batch:`` whose parents are in nested lists, or below themselves: the calls multiply."""
    for occurrence, lists in _unbatched(subject):
        if lists >= _NESTED:
            yield occurrence


def _unbatched(subject: LintSubject) -> Iterator[tuple[Occurrence, int]]:
    for link, arrival in arrivals(subject, subject.blueprint.operations.values()):
        if link.match or not arrival.lists or not subject.step_types[link.step.type].calls_out:
            continue
        factor = " x ".join(["n", "m"][: arrival.lists])
        message = f"{arrival.path} makes {factor} calls, one for each distinct parent; 'batch:' makes it one for each 100"
        yield (link.step.place, f"field {link.type}.{link.field}", message), arrival.lists
