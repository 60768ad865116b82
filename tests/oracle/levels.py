"""What links lead to, level by level: the parents of a place of the response, their keys, the calls, and the results by key.

A place is the way to a field by response keys and types, without the indexes of lists: all objects there make up one level.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import GraphQLOutputType, get_named_type, is_abstract_type

from gateway.contract.outcome import Failure, Skipped, SkipReason
from gateway.errors import Code
from tests.oracle.generate import Case
from tests.oracle.specs import LinkSpec
from tests.oracle.upstream import Call, Key, as_json, as_key, of_link

Place = tuple[tuple[str, str], ...]
"""The type and the response key of each field on the way."""
Level = Mapping[Key, object]
"""Values, or failures, by key in the order in which parents have them."""


@dataclass(slots=True)
class Levels:
    """The levels of one response. ``names`` and ``types`` are those of the fields that were met, ``values`` what steps gave."""

    case: Case
    names: dict[Place, str] = field(default_factory=dict)
    types: dict[Place, GraphQLOutputType] = field(default_factory=dict)
    values: dict[Place, object] = field(default_factory=dict)
    links: dict[Place, Level] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def meet(self, place: Place, name: str, returned: GraphQLOutputType) -> None:
        """Take note of a field."""
        self.names[place], self.types[place] = name, returned

    def found(self, link: LinkSpec, place: Place, arguments: Mapping[str, object], parent: Mapping[str, object]) -> object:
        """Return what a link has for a parent: a value, a failure, or a miss."""
        if place not in self.links:
            self.links[place] = self._level(link, place, arguments)
        key = key_of(link, parent)
        value = self.links[place].get(key) if key is not None else None
        return [] if value is None and link.is_list else value

    def _level(self, link: LinkSpec, place: Place, arguments: Mapping[str, object]) -> Level:
        met = (key_of(link, parent) for parent in self._parents(place))
        keys = list(dict.fromkeys(key for key in met if key is not None))
        if any(arguments[name] is None for name in link.needed):
            return dict.fromkeys(keys, Failure(link.name, Code.BAD_USER_INPUT, "An argument is null."))
        if link.needs_header and link.field not in self.case.headers:
            return dict.fromkeys(keys, Skipped(SkipReason.MISSING_INPUT))
        results: dict[Key, object] = {}
        for start in range(0, len(keys), link.max):
            chunk = keys[start : start + link.max]
            self.calls.append((link.name, as_json(arguments), *chunk))
            results |= _results(link, chunk, of_link(self.case, link, arguments, chunk))
        return results

    def _parents(self, place: Place) -> Iterator[Mapping[str, object]]:
        """Yield the objects that a field is of, whether or not the response has them at last."""
        owner, above = place[-1][0], place[:-1]
        is_abstract = is_abstract_type(get_named_type(self.types[above]))
        for value in _objects(self._values(above)):
            if not is_abstract or value.get("__typename") == owner:
                yield value

    def _values(self, place: Place) -> Sequence[object]:
        if place in self.values:
            return [self.values[place]]
        if place in self.links:
            return list(self.links[place].values())
        return [parent.get(self.names[place]) for parent in self._parents(place)]


def key_of(link: LinkSpec, parent: Mapping[str, object]) -> Key | None:
    """Return the key of a parent, None when something is missing that may not be left out."""
    values = [_dig(parent, path.rstrip("?").split(".")) for path in link.key]
    if any(value is None and not path.endswith("?") for value, path in zip(values, link.key, strict=True)):
        return None
    if link.match and not all(isinstance(value, str | int | float) for value in values):
        return None
    return as_key(values)


def _dig(value: object, path: Sequence[str]) -> object:
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        else:
            value = value[int(name)] if isinstance(value, list) and name.isdecimal() and int(name) < len(value) else None
    return value


def _results(link: LinkSpec, chunk: Sequence[Key], ending: object) -> Mapping[Key, object]:
    """Return what one call has for each of its keys."""
    if isinstance(ending, Failure):
        return dict.fromkeys(chunk, Failure(link.name, ending.code, "The call failed.", ending.status))
    value = ending.value  # type: ignore[attr-defined]
    if not link.match:
        return {chunk[0]: value}
    items = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(item, dict) for item in items):
        return dict.fromkeys(chunk, Failure(link.name, Code.RESPONSE_VALIDATION_FAILED, "No objects."))
    matches = [(as_key([item.get(name) for name in link.match]), item) for item in items]
    found = {key: [item for of, item in matches if of == key] for key in chunk}
    return {key: (mine if link.is_list else mine[0]) if mine else None for key, mine in found.items()}


def _objects(values: Sequence[object]) -> Iterator[Mapping[str, object]]:
    for value in values:
        if isinstance(value, dict):
            yield value
        elif isinstance(value, list):
            yield from _objects(value)
