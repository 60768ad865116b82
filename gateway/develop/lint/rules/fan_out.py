"""Rules about the number of calls: links without batch below lists, once for each parent, or for each parent of each parent."""

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

_MANY = 2


@dataclass(frozen=True, slots=True)
class Arrival:
    """A way to the parents of a link: its operation, how many lists it goes through (two stand for more), and its fields for people."""

    operation: Operation
    lists: int
    path: str


def arrivals(subject: LintSubject, operations: Iterable[Operation]) -> Iterator[tuple[Link, Arrival]]:
    """Yield each link that some operations lead to, by the shortest way through the most lists."""
    walk = _Walk(subject)
    for operation in operations:
        walk.begin(operation)
    walk.go()
    yield from ((subject.blueprint.links[key], arrival) for key, arrival in walk.found.items())


def first_arrivals(subject: LintSubject, operations: Iterable[Operation]) -> Iterator[tuple[Link, Arrival]]:
    """Yield each link with a way from the first operation, in the given order, that leads to it."""
    walk = _Walk(subject)
    for operation in operations:
        walk.begin(operation)
        walk.go()
    yield from ((subject.blueprint.links[key], arrival) for key, arrival in walk.first.items())


@dataclass(slots=True)
class _Walk:
    """A walk through the types, breadth first, so that the first way to a type and a number of lists is the shortest."""

    subject: LintSubject
    found: dict[tuple[str, str], Arrival] = field(default_factory=dict)
    first: dict[tuple[str, str], Arrival] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    waiting: deque[tuple[GraphQLObjectType, Arrival]] = field(default_factory=deque)

    def begin(self, operation: Operation) -> None:
        root = self.subject.schema.mutation_type if operation.is_mutation else self.subject.schema.query_type
        assert root is not None
        self.arrive(Arrival(operation, 0, ""), operation.name, root.fields[operation.name].type)

    def go(self) -> None:
        while self.waiting:
            parent, arrival = self.waiting.popleft()
            for name, made in parent.fields.items():
                self.note((parent.name, name), arrival)
                self.arrive(arrival, name, made.type)

    def note(self, key: tuple[str, str], arrival: Arrival) -> None:
        if key not in self.subject.blueprint.links:
            return
        here = Arrival(arrival.operation, arrival.lists, f"{arrival.path}.{key[1]}")
        self.first.setdefault(key, here)
        if key not in self.found or self.found[key].lists < here.lists:
            self.found[key] = here

    def arrive(self, before: Arrival, name: str, returned: GraphQLOutputType) -> None:
        depth = _depth(returned)
        path = f"{before.path}.{name}".removeprefix(".") + "[]" * depth
        arrival = Arrival(before.operation, min(before.lists + depth, _MANY), path)
        for target in _objects(self.subject, returned):
            if (target.name, arrival.lists) not in self.seen:
                self.seen.add((target.name, arrival.lists))
                self.waiting.append((target, arrival))


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
    """Yield links without batch whose parents stand in one list."""
    for spot, lists in _unbatched(subject):
        if lists == 1:
            yield spot


def links_called_without_bound(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield links without batch whose parents stand in lists of lists, or below themselves: the calls multiply."""
    for spot, lists in _unbatched(subject):
        if lists >= _MANY:
            yield spot


def _unbatched(subject: LintSubject) -> Iterator[tuple[Occurrence, int]]:
    for link, arrival in arrivals(subject, subject.blueprint.operations.values()):
        if link.match or not arrival.lists or not subject.step_types[link.step.type].calls_out:
            continue
        factor = " x ".join(["n", "m"][: arrival.lists])
        message = f"{arrival.path} makes {factor} calls, one for each distinct parent; 'batch:' makes it one for each 100"
        yield (link.step.place, f"field {link.type}.{link.field}", message), arrival.lists
