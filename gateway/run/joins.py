"""Links at run time: the parents of one level → keys → batches → what was found for each parent.

A level is one node whatever the number of its parents: their keys are gathered, equal ones once, and asked for together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import islice
from keyword import iskeyword
from operator import attrgetter, itemgetter
from types import NoneType
from typing import Any, cast

from gateway.blueprint import Link
from gateway.contract import CallContext
from gateway.contract.outcome import Failure, Outcome, Success
from gateway.contract.shape import Shaped
from gateway.language.template import Reference, UnusableValue, as_text, value_at
from gateway.plan.nodes import Hops, OfType

_NOWHERE = Reference(("key",))
Object = dict[str, object] | Shaped
_OBJECTS = (dict, Shaped)
_LISTS = (list, tuple)
"""What values have for a list: the one as JSON, the other where they were read by a shape."""
Key = tuple[object, ...]
"""The values that tell what is asked for: scalars as the text that is sent."""


Parents = Mapping[Key, Mapping[str, object]]
"""Distinct keys, each with the first parent that has it; for a batch, with what of that parent is the key."""


class Joined:
    """What the node of a link found: by key a value, or the failure of the call that asked for it.

    ``parents`` has all keys that are asked for. ``table`` has, when everything was asked for, what a parent gets by the very value of its
    key, where that alone tells; see :func:`tabulate`.
    """

    failure: Failure | None = None
    """The first failure, if any call failed and nothing stood in for it."""
    served: Success | None = None
    """What a fallback gave instead of a call, if any did; of several the oldest."""
    calls: "Sequence[BatchCall]" = ()
    """The calls that ask for the keys."""

    def __init__(self, parents: Parents, table: dict[object, object] | None = None) -> None:
        self.parents = parents
        self.values: dict[Key, object] = {}
        self.table: dict[object, object] = {} if table is None else table

    @property
    def is_whole(self) -> bool:
        """Whether each call gave its own values."""
        return self.failure is None and self.served is None

    def fail(self, keys: Iterable[Key], failure: Failure) -> None:
        """Record that a call for these keys failed."""
        self.failure = self.failure or failure
        self.values |= dict.fromkeys(keys, failure)

    def serve(self, values: Mapping[Key, object], served: Success) -> None:
        """Record what a fallback gave instead of a call."""
        self.values |= values
        self.served = served if self.served is None or (served.age or 0) > (self.served.age or 0) else self.served


@dataclass(slots=True)
class BatchCall:
    """The call for one batch of keys. It is settled when these have values, are misses, or have failed."""

    batch: Parents
    context: CallContext
    is_settled: bool = False


class Missing(Enum):
    """What a look-up gives for a key that it does not know."""

    MISSING = "missing"


MISSING = Missing.MISSING


class NullMemo(dict[object, object]):
    """A table that knows nothing and keeps nothing, whatever it is asked: for keys that a dictionary would mix up, such as 1 and true."""

    def get(self, key: object, default: object = None) -> object:
        """Return the default."""
        return default

    def __setitem__(self, key: object, value: object) -> None:
        """Keep nothing."""


FORGETFUL = NullMemo()
_TELLING = frozenset({str, int, NoneType})
"""The types whose equal values are the same key as text. 1, 1.0 and true are equal to Python and three keys to us."""


_ONE_KIND = ({int}, {str})


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
    if type(value) is str:
        return value
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
        assert isinstance(outcome.value, Joined)
        value = outcome.value.values.get(key)
    return [] if value is None and link.is_list else value


def table_of(outcome: Outcome | None) -> Mapping[object, object]:
    """Return the table of a link's node: what it does not know, :func:`found` knows."""
    return outcome.value.table if isinstance(outcome, Success) and isinstance(outcome.value, Joined) else FORGETFUL


def fits(table: Mapping[object, object], kind: type) -> bool:
    """Tell whether all that is in the table of a link is null or an object of one type."""
    return {kind, NoneType}.issuperset(map(type, table.values()))


def memory_for(table: Mapping[object, object]) -> dict[object, object]:
    """Return an empty memory for what is made of the values of a table, by the same keys."""
    return FORGETFUL if table is FORGETFUL else {}


def parents_of(value: object, hops: Hops) -> Sequence[Object]:
    """Return the objects that hops lead to, through lists of any depth; what is not of the expected shape has none.

    A tuple is of objects that were read by one shape, and nulls.
    """
    if type(value) is tuple and not hops:
        return value
    objects = _objects(list(value.values.values()) if isinstance(value, Joined) else [value])
    for hop in hops:
        if isinstance(hop, OfType):
            objects = [item for item in objects if isinstance(item, dict) and item.get("__typename") in hop.names]
        else:
            objects = _objects(_values(objects, hop))
    return objects


def _objects(level: Sequence[Any]) -> Sequence[Object]:
    while len(level) == 1 and isinstance(level[0], _LISTS):
        level = level[0]
    kinds = set(map(type, level))
    if len(kinds) == 1 and issubclass(next(iter(kinds)), _OBJECTS):  # as it nearly always is, and looked at twice as fast
        return level
    objects: list[Object] = []
    for item in level:
        if isinstance(item, _OBJECTS):
            objects.append(item)
        elif isinstance(item, _LISTS):
            objects += _objects(item)
    return objects


def _values(objects: Sequence[Any], name: str) -> list[object]:
    """Return the values that a field has in objects; None for those that have not got it. They are nearly always of one kind."""
    try:
        return [item.get(name) for item in objects] if objects and type(objects[0]) is dict else _column(name)(objects)
    except (AttributeError, TypeError):
        return [item.get(name) if type(item) is dict else getattr(item, name, None) for item in objects]


@lru_cache(maxsize=1000)
def _column(name: str) -> Callable[[Iterable[object]], list[object]]:
    """Return the function that gives an attribute of each object: written for its name, as that takes half the time of ``attrgetter``."""
    if not (name.isascii() and name.isidentifier()) or iskeyword(name):
        return lambda objects: list(map(attrgetter(name), objects))
    column: Callable[[Iterable[object]], list[object]] = eval(f"lambda objects: [item.{name} for item in objects]")  # noqa: S307
    return column


def wanted(link: Link, parents: Sequence[Object]) -> Joined:
    """Return the distinct keys of parents, with nothing found yet. Shaped parents have a single key, and are asked for in batches."""
    name = link.single
    values = _values(parents, name) if name is not None else []
    if name is None or not (type(parents) is tuple or _TELLING.issuperset(map(type, values))):
        owned = parents if name is None else [item if type(item) is dict else {name: getattr(item, name)} for item in parents]
        return Joined(_any_keys(link, cast("Sequence[Mapping[str, object]]", owned)), table=FORGETFUL)
    owners: Sequence[Any] = parents
    if link.match:  # a batch is asked for by the keys alone, a single call by all that its parent has
        unique = dict.fromkeys(values)
        unique.pop(None, None)
        if set(map(type, unique)) in _ONE_KIND:  # then no two of them are one key
            return Joined({(str(value),): {name: value} for value in unique})
        owners = [{name: value} for value in unique]
        values = list(unique)
    keys: dict[Key, Mapping[str, object]] = {}
    for value, owner in zip(values, owners, strict=True):
        if value is not None:
            keys.setdefault((str(value),), owner)
    return Joined(keys)


def _any_keys(link: Link, parents: Sequence[Mapping[str, object]]) -> Parents:
    keys: dict[Key, Mapping[str, object]] = {}
    for parent in parents:
        key = key_of(link, parent)
        if key is not None:
            keys.setdefault(key, parent)
    return keys


def tabulate(link: Link, joined: Joined) -> None:
    """Fill the table of what was found, now that it is complete: a parent then costs one look-up, without its key as text."""
    if link.single is None or joined.table is FORGETFUL:
        return
    values: Iterable[object] = map(joined.values.get, joined.parents)
    if link.is_list:
        values = [[] if value is None else value for value in values]
    joined.table = dict(zip(map(itemgetter(link.single), joined.parents.values()), values, strict=True))
    joined.table[None] = [] if link.is_list else None


def batches(link: Link, keys: Parents) -> list[Parents]:
    """Cut the keys into batches, one for each call."""
    if len(keys) <= link.max:
        return [keys] if keys else []
    items = iter(keys.items())
    return list(iter(lambda: dict(islice(items, link.max)), {}))


def scope_of(link: Link, batch: Parents) -> dict[str, object]:
    """Return what ``{keys}`` or ``{parent}`` stands for in one call. Values keep the type that the parent gave them."""
    if not link.match:
        return {"parent": next(iter(batch.values()))}
    if link.single is not None:
        return {"keys": list(map(itemgetter(link.single), batch.values()))}
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
    items = value if isinstance(value, _LISTS) else [] if value is None else [value]
    keys = _keys_of(link, items)
    if keys is None:
        return None
    if not link.is_list:
        first = dict(zip(reversed(keys), reversed(items), strict=True))
        return dict(zip(batch, map(first.get, batch), strict=True))
    groups: dict[Key, Any] = dict.fromkeys(batch)
    for key, item in zip(keys, items, strict=True):
        if key in groups:
            group = groups[key]
            if group is None:
                groups[key] = [item]
            else:
                group.append(item)
    return groups


def _keys_of(link: Link, items: Sequence[Any]) -> list[Key] | None:
    """Return whose each result is; None when one of them is no object."""
    if type(items) is not tuple and not all(issubclass(kind, _OBJECTS) for kind in set(map(type, items))):
        return None
    columns = [_values(items, name) for name in link.match]
    if len(columns) == 1:
        (parts,) = columns
        texts = map(str, parts) if set(map(type, parts)) == {int} else map(_text, parts)
        return list(zip(texts))
    return [tuple(map(_text, parts)) for parts in zip(*columns, strict=True)]
