"""Caches that share one limit: compared with a plain list of what was used when."""

import random

import pytest

from gateway.cache import Cache, Capacity

LIMIT = 1000


class Model:
    """What caches should hold, as a list of (kind, key, size), the least recently used first."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.held: list[tuple[str, int, int]] = []

    def size(self, kind: str | None = None) -> int:
        return sum(size for name, _, size in self.held if kind in {None, name})

    def find(self, kind: str, key: int) -> tuple[str, int, int] | None:
        return next((item for item in self.held if item[:2] == (kind, key)), None)

    def use(self, kind: str, key: int) -> bool:
        item = self.find(kind, key)
        if item is not None:
            self.held.remove(item)
            self.held.append(item)
        return item is not None

    def drop(self, kind: str, key: int) -> None:
        self.held = [item for item in self.held if item[:2] != (kind, key)]

    def put(self, kind: str, key: int, size: int) -> None:
        self.drop(kind, key)
        if size <= LIMIT * self.shares[kind]:
            self.held.append((kind, key, size))
            self.make_room()

    def grow(self, kind: str, key: int, size: int) -> None:
        self.held = [(*item[:2], item[2] + size) if item[:2] == (kind, key) else item for item in self.held]
        self.make_room()

    def make_room(self) -> None:
        for kind, share in self.shares.items():
            while self.size(kind) > LIMIT * share:
                self.held.remove(next(item for item in self.held if item[0] == kind))
        while self.size() > LIMIT:
            del self.held[0]


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
        assert {name: len(cache) for name, cache in caches.items()} == {
            name: sum(item[0] == name for item in model.held) for name in shares
        }
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
