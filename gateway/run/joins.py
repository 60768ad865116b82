"""Links at run time: the parent objects of one level → distinct keys → batches → the value of each parent.

All parents of a level have one node, as a DataLoader has one batch for them. Their keys are collected without duplicates and requested
together. Common shapes of keys and values have fast paths here; each has a general path beside it with the same result.
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

_KEY_REFERENCE = Reference(("key",))
"""For errors of :func:`as_text`, which are caught here: no message shows it."""
Object = dict[str, object] | Shaped
_OBJECTS = (dict, Shaped)
_LISTS = (list, tuple)
"""The types of lists in values: list if decoded as plain JSON, tuple if decoded with a shape."""
_DICT_ATTRIBUTES = frozenset(dir(dict))
Key = tuple[object, ...]
"""The values of a link's key fields. Scalars are texts, as they are sent."""


Parents = Mapping[Key, Mapping[str, object]]
"""Distinct keys, each with the first parent object that has it, or for a link in batches with at least the key fields of that parent."""


class LinkResult:
    """The result of a link's node: for each key a value, or the failure of the call that requested it.

    ``parents`` has all requested keys. ``table`` is filled when all calls have ended: it maps the raw value of a parent's key field to the
    value of the link, where the key is a single field; see :func:`build_table`.
    """

    failure: Failure | None = None
    """The first failure of a call that no fallback has replaced."""
    served: Success | None = None
    """The fallback that has replaced a failed call, if any has; of several the one with the greatest age."""
    calls: "Sequence[BatchCall]" = ()
    """The calls that request the keys."""

    def __init__(self, parents: Parents, table: dict[object, object] | None = None) -> None:
        self.parents = parents
        self.values: dict[Key, object] = {}
        self.table: dict[object, object] = {} if table is None else table

    @property
    def is_whole(self) -> bool:
        """Whether every call has succeeded."""
        return self.failure is None and self.served is None

    def fail(self, keys: Iterable[Key], failure: Failure) -> None:
        """Record that a call for these keys failed."""
        self.failure = self.failure or failure
        self.values |= dict.fromkeys(keys, failure)

    def serve(self, values: Mapping[Key, object], served: Success) -> None:
        """Record the values of a fallback that replaces a failed call."""
        self.values |= values
        self.served = served if self.served is None or (served.age or 0) > (self.served.age or 0) else self.served


@dataclass(slots=True)
class BatchCall:
    """The call for one batch of keys. It is settled when each of these has a value, is a miss, or has failed."""

    batch: Parents
    context: CallContext
    is_settled: bool = False


class Missing(Enum):
    """The default of look-ups in a table whose values may be None."""

    MISSING = "missing"


MISSING = Missing.MISSING


class NullMemo(dict[object, object]):
    """A dictionary that stays empty. It replaces a table or memo where keys differ that Python takes for equal, such as 1 and true."""

    def get(self, key: object, default: object = None) -> object:
        """Return the default."""
        return default

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore the item."""


NULL_MEMO = NullMemo()
_UNAMBIGUOUS_TYPES = frozenset({str, int, NoneType})
"""Types whose values can be keys of a dictionary: equal values have equal texts. 1, 1.0 and true are equal in Python, but three keys here."""


_UNIFORM_KEY_TYPES = ({int}, {str})
"""If all keys have one of these types, distinct values have distinct texts. Of mixed types, 1 and "1" have the same text."""


def key_of(link: Link, parent: Mapping[str, object]) -> Key | None:
    """Return the key of a parent; None when it has none, which is a miss and no error.

    The keys of a batch are scalars. The call for one parent may use any value that its references lead to; optional ones (``?``) may be null.
    """
    parts: list[object] = []
    for reference in link.key:
        value = value_at(parent, reference.path)
        text = _text(value) if value is not None else None
        if text is None and (link.match or (value is None and not reference.is_optional)):
            return None
        # Objects and lists are not hashable: their text stands for them, in a tuple so that it differs from an equal string.
        parts.append((repr(value),) if text is None and value is not None else text)
    return tuple(parts)


def _text(value: object) -> str | None:
    """Return a scalar as text; None if the value is not a scalar."""
    if type(value) is str:
        return value
    try:
        return as_text(value, _KEY_REFERENCE)
    except UnusableValue:
        return None


def link_value(outcome: Outcome | None, parent: Mapping[str, object], link: Link) -> object:
    """Return the value of a link for one parent: a value, the outcome that explains its absence, or None (an empty list) for a miss.

    A parent without a key is a miss, also if the node has failed: no call was made for it.
    """
    key, value = key_of(link, parent), None
    if key is not None:
        if not isinstance(outcome, Success):
            return outcome
        assert isinstance(outcome.value, LinkResult)
        value = outcome.value.values.get(key)
    return [] if value is None and link.is_list else value


def lookup_table(outcome: Outcome | None) -> Mapping[object, object]:
    """Return the table of a link's node. For what is not in the table, call :func:`link_value`."""
    return outcome.value.table if isinstance(outcome, Success) and isinstance(outcome.value, LinkResult) else NULL_MEMO


def has_only_type(table: Mapping[object, object], kind: type) -> bool:
    """Tell whether each value in the table of a link is null or an object of one type."""
    return {kind, NoneType}.issuperset(map(type, table.values()))


def new_memo(table: Mapping[object, object]) -> dict[object, object]:
    """Return an empty memo for what is computed from the values of a table, with the same keys."""
    return NULL_MEMO if table is NULL_MEMO else {}


def parents_at(value: object, hops: Hops) -> Sequence[Object]:
    """Return the objects at the end of a path, through lists of any depth. A value of an unexpected shape has none.

    A tuple has objects that were decoded with one shape, and nulls.
    """
    if type(value) is tuple and not hops:
        return value
    objects = _objects(list(value.values.values()) if isinstance(value, LinkResult) else [value])
    for hop in hops:
        if isinstance(hop, OfType):
            objects = [item for item in objects if isinstance(item, dict) and item.get("__typename") in hop.names]
        else:
            objects = _objects(_values(objects, hop))
    return objects


def _objects(level: Sequence[Any]) -> Sequence[Object]:
    """Return the objects in nested lists, in order; other values are left out."""
    while len(level) == 1 and isinstance(level[0], _LISTS):
        level = level[0]
    types = set(map(type, level))
    if len(types) == 1 and issubclass(next(iter(types)), _OBJECTS):  # the common case, checked in half the time of the loop
        return level
    objects: list[Object] = []
    for item in level:
        if isinstance(item, _OBJECTS):
            objects.append(item)
        elif isinstance(item, _LISTS):
            objects += _objects(item)
    return objects


def _values(objects: Sequence[Any], name: str) -> list[object]:
    """Return the value of a field in each object; None where it has no such field."""
    # Objects are nearly always of one type: either all dictionaries or all decoded with a shape. A mixture raises, and is read below.
    try:
        if objects and type(objects[0]) is dict:
            return [item.get(name) for item in objects]
        if name not in _DICT_ATTRIBUTES:  # of which a dictionary among the objects would give its method, without an error
            return _column(name)(objects)
    except (AttributeError, TypeError):
        pass
    return [item.get(name) if type(item) is dict else getattr(item, name, None) for item in objects]


@lru_cache(maxsize=1000)
def _column(name: str) -> Callable[[Iterable[object]], list[object]]:
    """Return a function that reads an attribute of each object. It is compiled for the name, which takes half the time of ``attrgetter``."""
    if not (name.isascii() and name.isidentifier()) or iskeyword(name):
        return lambda objects: list(map(attrgetter(name), objects))
    # Only a checked identifier gets into the source text, so that it cannot be anything but an attribute.
    column: Callable[[Iterable[object]], list[object]] = eval(f"lambda objects: [item.{name} for item in objects]")  # noqa: S307
    return column


def collect_keys(link: Link, parents: Sequence[Object]) -> LinkResult:
    """Return a result with the distinct keys of parents, and no values yet.

    Parents that were decoded with a shape have a key of a single field, in links with batches only.
    """
    name = link.single
    values = _values(parents, name) if name is not None else []
    if name is None or not (type(parents) is tuple or _UNAMBIGUOUS_TYPES.issuperset(map(type, values))):
        # The general path: compound or nested keys, and values such as 1.0 or true that a dictionary would mix up.
        owned = parents if name is None else [item if type(item) is dict else {name: getattr(item, name)} for item in parents]
        return LinkResult(_any_keys(link, cast("Sequence[Mapping[str, object]]", owned)), table=NULL_MEMO)
    owners: Sequence[Any] = parents
    if link.match:  # a batch needs the keys alone, the call for one parent may read all fields of it
        unique = dict.fromkeys(values)
        unique.pop(None, None)
        if set(map(type, unique)) in _UNIFORM_KEY_TYPES:
            return LinkResult({(str(value),): {name: value} for value in unique})
        owners = [{name: value} for value in unique]
        values = list(unique)
    keys: dict[Key, Mapping[str, object]] = {}
    for value, owner in zip(values, owners, strict=True):
        if value is not None:
            keys.setdefault((str(value),), owner)
    return LinkResult(keys)


def _any_keys(link: Link, parents: Sequence[Mapping[str, object]]) -> Parents:
    """Return the distinct keys of parents, of any fields and types."""
    keys: dict[Key, Mapping[str, object]] = {}
    for parent in parents:
        key = key_of(link, parent)
        if key is not None:
            keys.setdefault(key, parent)
    return keys


def build_table(link: Link, result: LinkResult) -> None:
    """Fill the table of a complete result. A parent then costs the projection one look-up, without converting its key to text."""
    if link.single is None or result.table is NULL_MEMO:
        return
    values: Iterable[object] = map(result.values.get, result.parents)
    if link.is_list:
        values = [[] if value is None else value for value in values]
    result.table = dict(zip(map(itemgetter(link.single), result.parents.values()), values, strict=True))
    result.table[None] = [] if link.is_list else None


def split_batches(link: Link, keys: Parents, max_calls: int) -> tuple[list[Parents], Parents]:
    """Split the keys into batches of at most ``link.max``, one for each call. Also return the keys that would take more than ``max_calls``."""
    items = iter(keys.items())
    batches: list[Parents] = [dict(islice(items, link.max)) for _ in range(min(max_calls, -(-len(keys) // link.max)))]
    return batches, dict(items)


def batch_scope(link: Link, batch: Parents) -> dict[str, object]:
    """Return the value of ``{keys}`` or ``{parent}`` for one call. Values keep the types that they have in the parent."""
    if not link.match:
        return {"parent": next(iter(batch.values()))}
    if link.single is not None:
        return {"keys": list(map(itemgetter(link.single), batch.values()))}
    names = [reference.path[0] for reference in link.key]
    if len(names) == 1:
        return {"keys": [parent[names[0]] for parent in batch.values()]}
    return {"keys": [dict(zip(link.match, (parent[name] for name in names), strict=True)) for parent in batch.values()]}


def match_results(link: Link, batch: Mapping[Key, object], value: object) -> dict[Key, object] | None:
    """Match the reply to one call with its keys: return the result of each key, None for a miss; None if it is not a list of objects.

    Results for keys that were not requested are ignored. A link to a single object takes the first of several results.
    """
    if not link.match:
        return {next(iter(batch)): value}
    items = value if isinstance(value, _LISTS) else [] if value is None else [value]
    keys = keys_of(link, items)
    if keys is None:
        return None
    if not link.is_list:
        # Reversed, so that the first of several results for a key is the one that stays.
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


def keys_of(link: Link, items: Sequence[Any]) -> list[Key] | None:
    """Return the key of each result; None if one of them is not an object."""
    if type(items) is not tuple and not all(issubclass(item_type, _OBJECTS) for item_type in set(map(type, items))):
        return None
    columns = [_values(items, name) for name in link.match]
    if len(columns) == 1:
        (parts,) = columns
        texts = map(str, parts) if set(map(type, parts)) == {int} else map(_text, parts)
        return list(zip(texts))
    return [tuple(map(_text, parts)) for parts in zip(*columns, strict=True)]
