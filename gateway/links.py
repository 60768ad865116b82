"""Links at run time: the parents of one level → keys → batches → what was found for each parent.

A level is one node whatever the number of its parents: their keys are gathered, equal ones once, and asked for together.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from gateway.blueprint import Link
from gateway.outcome import Failure, Outcome, Success
from gateway.plan import Hops, OfType
from gateway.template import Reference, UnusableValue, as_text, value_at

_NOWHERE = Reference(("key",))
Key = tuple[object, ...]
"""The values that tell what is asked for: scalars as the text that is sent."""
Batch = Mapping[Key, Mapping[str, object]]
"""The keys of one call, each with a parent that has it."""


@dataclass(slots=True)
class Found:
    """What the node of a link found: by key a value, or the failure of the call that asked for it."""

    values: dict[Key, object] = field(default_factory=dict)
    failure: Failure | None = None
    """The first failure, if any call failed."""

    def fail(self, keys: Iterable[Key], failure: Failure) -> None:
        """Record that a call for these keys failed."""
        self.failure = self.failure or failure
        for key in keys:
            self.values.setdefault(key, failure)


def key_of(link: Link, parent: Mapping[str, object]) -> Key | None:
    """Return the key of a parent; None when it has none, which is a miss and no error.

    A batch asks by scalars. A call for one parent is given whatever its references lead to, and those with ``?`` may lead nowhere.
    """
    parts: list[object] = []
    for reference in link.key:
        value = value_at(parent, reference.path)
        text = _text(value) if value is not None else None
        if text is None and (link.match or (value is None and not reference.is_optional)):
            return None
        parts.append((repr(value),) if text is None and value is not None else text)
    return tuple(parts)


def _text(value: object) -> str | None:
    """Return a scalar as text, None for what is none."""
    try:
        return as_text(value, _NOWHERE)
    except UnusableValue:
        return None


def found(outcome: Outcome | None, parent: Mapping[str, object], link: Link) -> object:
    """Return what a link's node has for a parent: a value, the outcome that says why there is none, or a miss.

    For a parent without a key nobody is called, so it is a miss whatever became of the others.
    """
    key, value = key_of(link, parent), None
    if key is not None:
        if not isinstance(outcome, Success):
            return outcome
        assert isinstance(outcome.value, Found)
        value = outcome.value.values.get(key)
    return [] if value is None and link.is_list else value


def parents_of(value: object, hops: Hops) -> Iterator[Mapping[str, object]]:
    """Yield the objects that hops lead to, through lists of any depth; what is not of the expected shape has none."""
    level = list(value.values.values()) if isinstance(value, Found) else [value]
    for hop in (*hops, None):
        objects = list(_objects(level))
        if isinstance(hop, OfType):
            level = [item for item in objects if item.get("__typename") == hop.name]
        elif hop is not None:
            level = [item.get(hop) for item in objects]
    yield from objects


def _objects(level: Iterable[object]) -> Iterator[Mapping[str, object]]:
    for item in level:
        if isinstance(item, dict):
            yield item
        elif isinstance(item, list):
            yield from _objects(item)


def wanted(link: Link, parents: Iterator[Mapping[str, object]]) -> dict[Key, Mapping[str, object]]:
    """Return the distinct keys of parents, each with the first parent that has it."""
    keys: dict[Key, Mapping[str, object]] = {}
    for parent in parents:
        key = key_of(link, parent)
        if key is not None:
            keys.setdefault(key, parent)
    return keys


def batches(link: Link, keys: Mapping[Key, Mapping[str, object]]) -> list[dict[Key, Mapping[str, object]]]:
    """Cut the keys into batches, one for each call."""
    items = iter(keys.items())
    return list(iter(lambda: dict(islice(items, link.max)), {}))


def scope_of(link: Link, batch: Mapping[Key, Mapping[str, object]]) -> dict[str, object]:
    """Return what ``{keys}`` or ``{parent}`` stands for in one call. Values keep the type that the parent gave them."""
    if not link.match:
        return {"parent": next(iter(batch.values()))}
    names = [reference.path[0] for reference in link.key]
    if len(names) == 1:
        return {"keys": [parent[names[0]] for parent in batch.values()]}
    return {"keys": [dict(zip(link.match, (parent[name] for name in names), strict=True)) for parent in batch.values()]}


def match(link: Link, batch: Mapping[Key, object], value: object) -> dict[Key, object] | None:
    """Return the results of one call for each of its keys, null for a miss; None when they are no list of objects.

    Results that nobody asked for are left aside. Of several results for a key a single-valued link takes the first.
    """
    if not link.match:
        return {next(iter(batch)): value}
    results: dict[Key, object] = dict.fromkeys(batch)
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        if not isinstance(item, dict):
            return None
        key = tuple(_text(item.get(name)) for name in link.match)
        if key not in results:
            continue
        group = results[key]
        if isinstance(group, list):
            group.append(item)
        elif group is None:
            results[key] = [item] if link.is_list else item
    return results
