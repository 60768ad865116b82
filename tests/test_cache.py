"""Caches that share one limit: compared with a plain list of what was used when."""

import random

import pytest

from gateway.cache import Cache, Capacity

LIMIT = 1000


class Model:
    """What caches should hold, as lists of (key, size, when it was used), the least recently used first; the clock counts what was put."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.held: dict[str, list[tuple[int, int, int]]] = {kind: [] for kind in shares}
        self.puts = 0

    def size(self, *kinds: str) -> int:
        return sum(size for kind in kinds or self.held for _, size, _ in self.held[kind])

    def use(self, kind: str, key: int) -> bool:
        sizes = [size for held, size, _ in self.held[kind] if held == key]
        self.drop(kind, key)
        self.held[kind] += [(key, size, self.puts) for size in sizes]
        return bool(sizes)

    def drop(self, kind: str, key: int) -> None:
        self.held[kind] = [item for item in self.held[kind] if item[0] != key]

    def put(self, kind: str, key: int, size: int) -> None:
        self.drop(kind, key)
        if size <= LIMIT * self.shares[kind]:
            self.puts += 1
            self.held[kind].append((key, size, self.puts))
            self.make_room(kind)

    def grow(self, kind: str, key: int, more: int) -> None:
        self.held[kind] = [(held, size + more * (held == key), used) for held, size, used in self.held[kind]]
        self.make_room(kind)

    def make_room(self, kind: str) -> None:
        while self.size(kind) > LIMIT * self.shares[kind]:
            del self.held[kind][0]
        while self.size() > LIMIT:
            oldest = min((name for name in self.held if self.held[name]), key=lambda name: self.held[name][0][2])
            del self.held[oldest][0]


@pytest.mark.case("Q-15")
@pytest.mark.parametrize("seed", range(20))
def test_what_was_used_last_stays_and_all_together_stay_below_the_limit(seed: int) -> None:
    rng, shares = random.Random(seed), {"a": 1.0, "b": 0.4, "c": 1.0}
    capacity, model = Capacity(LIMIT), Model(shares)
    caches: dict[str, Cache[int, str]] = {kind: capacity.cache(kind, share) for kind, share in shares.items()}
    for _ in range(600):
        kind, key = rng.choice("abc"), rng.randrange(12)
        match rng.randrange(5):
            case 0:
                assert (caches[kind].get(key) == f"{kind}{key}") == model.use(kind, key)
            case 1:
                size = rng.choice([0, 10, 200, 390, 500, 1001])
                caches[kind].put(key, f"{kind}{key}", size)
                model.put(kind, key, size)
            case 2:
                size = rng.choice([5, 100, 700])
                caches[kind].grow(key, size)
                model.grow(kind, key, size)
            case 3:
                caches[kind].drop(key)
                model.drop(kind, key)
            case _:
                assert [key for key, _ in caches[kind].most_used(99)] != [-1]
        assert capacity.bytes == model.size() == sum(cache.bytes for cache in caches.values()) <= LIMIT
        assert {name: len(cache) for name, cache in caches.items()} == {name: len(held) for name, held in model.held.items()}
    assert sum(cache.evicted for cache in caches.values()) > 0


def test_the_most_used_come_first_and_clearing_gives_all_back() -> None:
    capacity = Capacity(LIMIT)
    cache: Cache[str, int] = capacity.cache("a")
    for number, name in enumerate(["one", "two", "three"]):
        cache.put(name, number, 100)
        for _ in range(number):
            assert cache.get(name) == number
    assert [name for name, _ in cache.most_used(2)] == ["three", "two"]
    cache.clear()
    assert (capacity.bytes, cache.bytes, len(cache), cache.get("one")) == (0, 0, 0, None)
