"""The values of links, level by level: the parents of a field, their keys, the calls, and the results by key.

A field path has types and response keys, without list indexes: all objects at a path make up one level, which is fetched in batches. Concrete
types of an interface or union of which the same is selected below a field share a path.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import GraphQLOutputType, get_named_type, is_abstract_type

from gateway.contract.outcome import Failure, Skipped, SkipReason
from gateway.errors import Code
from tests.oracle.generate import Case
from tests.oracle.specs import LinkSpec
from tests.oracle.upstream import Call, Key, as_json, as_key, link_result

FieldPath = tuple[tuple[frozenset[str], str], ...]
"""The types and the response key of each field from the root."""
Level = Mapping[Key, object]
"""Values or failures by key, in the order of the parents."""


@dataclass(slots=True)
class Levels:
    """The levels of one response. ``names`` and ``types`` are those of the fields executed so far, ``values`` the results of steps."""

    case: Case
    names: dict[FieldPath, str] = field(default_factory=dict)
    types: dict[FieldPath, GraphQLOutputType] = field(default_factory=dict)
    values: dict[FieldPath, object] = field(default_factory=dict)
    links: dict[FieldPath, Level] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def note_field(self, path: FieldPath, name: str, returned: GraphQLOutputType) -> None:
        """Record the name and type of a field."""
        self.names[path], self.types[path] = name, returned

    def value_for(self, link: LinkSpec, path: FieldPath, arguments: Mapping[str, object], parent: Mapping[str, object]) -> object:
        """Return the value of a link for a parent: a value, a failure, or null (an empty list) for a miss."""
        if path not in self.links:
            self.links[path] = self._level(link, path, arguments)
        key = key_of(link, parent)
        value = self.links[path].get(key) if key is not None else None
        return [] if value is None and link.is_list else value

    def _level(self, link: LinkSpec, path: FieldPath, arguments: Mapping[str, object]) -> Level:
        keys_met = (key_of(link, parent) for parent in self._parents(path))
        keys = list(dict.fromkeys(key for key in keys_met if key is not None))
        if any(arguments[name] is None for name in link.needed):
            return dict.fromkeys(keys, Failure(link.name, Code.BAD_USER_INPUT, "An argument is null."))
        if link.needs_header and link.field not in self.case.headers:
            return dict.fromkeys(keys, Skipped(SkipReason.MISSING_INPUT))
        results: dict[Key, object] = {}
        for start in range(0, len(keys), link.max):
            chunk = keys[start : start + link.max]
            self.calls.append((link.name, as_json(arguments), *chunk))
            results |= _results(link, chunk, link_result(self.case, link, arguments, chunk))
        return results

    def _parents(self, path: FieldPath) -> Iterator[Mapping[str, object]]:
        """Yield the parent objects of a field, including those that null propagation removes from the response."""
        owners, above = path[-1][0], path[:-1]
        is_abstract = is_abstract_type(get_named_type(self.types[above]))
        for value in _objects(self._values(above)):
            if not is_abstract or value.get("__typename") in tuple(owners):
                yield value

    def _values(self, path: FieldPath) -> Sequence[object]:
        if path in self.values:
            return [self.values[path]]
        if path in self.links:
            return list(self.links[path].values())
        return [parent.get(self.names[path]) for parent in self._parents(path)]


def key_of(link: LinkSpec, parent: Mapping[str, object]) -> Key | None:
    """Return the key of a parent, or None when a part that is not optional is missing."""
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


def _results(link: LinkSpec, chunk: Sequence[Key], result: object) -> Mapping[Key, object]:
    """Return the result of one call for each of its keys."""
    if isinstance(result, Failure):
        return dict.fromkeys(chunk, Failure(link.name, result.code, "The call failed.", result.status))
    value = result.value  # type: ignore[attr-defined]
    if not link.match:
        return {chunk[0]: value}
    items = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(item, dict) for item in items):
        return dict.fromkeys(chunk, Failure(link.name, Code.RESPONSE_VALIDATION_FAILED, "No objects."))
    matches = [(as_key([item.get(name) for name in link.match]), item) for item in items]
    matches_by_key = {key: [item for item_key, item in matches if item_key == key] for key in chunk}
    return {key: (items if link.is_list else items[0]) if items else None for key, items in matches_by_key.items()}


def _objects(values: Sequence[object]) -> Iterator[Mapping[str, object]]:
    for value in values:
        if isinstance(value, dict):
            yield value
        elif isinstance(value, list):
            yield from _objects(value)
