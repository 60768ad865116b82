"""Caches that share one limit in bytes: whatever is kept, and whoever asks for it, together it stays below the limit.

Clients choose what is kept (documents, variables, arguments), so a number of entries is no limit: entries differ a thousandfold in size. Sizes
are estimates of what an entry takes in memory; each user of a cache says how it comes to them.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Capacity:
    """The bytes that some caches may keep together. When they are used up, what was not used for the longest time goes first, in any of them."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.caches: dict[str, Cache[object, object]] = {}
        self.bytes = 0
        self.puts = 0
        """How often anything was put into any of the caches: the clock of uses."""

    def cache(self, kind: str, share: float = 1.0) -> "Cache[K, V]":
        """Return a new cache; ``kind`` is its name in metrics, ``share`` how much of the limit it may take at most."""
        cache: Cache[K, V] = Cache(self, int(self.max_bytes * share))
        self.caches[kind] = cache  # type: ignore[assignment]
        return cache

    def make_room(self) -> None:
        """Evict entries until the limit is kept."""
        while self.bytes > self.max_bytes:
            min((cache for cache in self.caches.values() if len(cache)), key=lambda cache: cache.oldest_use).evict()


class _Entry(Generic[V]):
    __slots__ = ("size", "used", "uses", "value")

    def __init__(self, value: V, size: int, used: int) -> None:
        self.value = value
        self.size = size
        self.used = used
        self.uses = 1


class Cache(Generic[K, V]):
    """Values by key. It belongs to one thread."""

    def __init__(self, capacity: Capacity, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self.bytes = 0
        self.evicted = 0
        """How many entries had to go for lack of room."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest_use(self) -> int:
        """When the entry was used that was not used for the longest time: how many entries had been put into all caches until then."""
        return next(iter(self._entries.values())).used

    def get(self, key: K) -> V | None:
        """Return a value and note its use; None if it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        entry.used = self._capacity.puts
        entry.uses += 1
        return entry.value

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of so many bytes, unless it is larger than the whole cache may be."""
        self.drop(key)
        if size > self._max_bytes:
            return
        self._capacity.puts += 1
        self._entries[key] = _Entry(value, size, self._capacity.puts)
        self._grow(size)

    def grow(self, key: K, size: int) -> None:
        """Note that an entry has become larger, or smaller, by so many bytes. It is gone if it has become too large."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.size += size
            self._grow(size)

    def drop(self, key: K) -> None:
        """Drop an entry, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._grow(-entry.size)

    def evict(self) -> None:
        """Drop the entry that was not used for the longest time."""
        self.drop(next(iter(self._entries)))
        self.evicted += 1

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self._grow(-self.bytes)

    def most_used(self, number: int) -> Iterator[tuple[K, V]]:
        """Yield the entries that were used most often, and their keys. Those that were used only once are no candidates."""
        used = [item for item in self._entries.items() if item[1].uses > 1]
        entries = sorted(used, key=lambda item: item[1].uses, reverse=True)
        yield from ((key, entry.value) for key, entry in entries[:number])

    def _grow(self, size: int) -> None:
        self.bytes += size
        self._capacity.bytes += size
        if size > 0:
            while self.bytes > self._max_bytes:
                self.evict()
            self._capacity.make_room()
