"""Counts over a sliding window."""

import random

from gateway.run.policies.window import SlidingWindow


def test_what_is_older_than_the_window_is_forgotten_by_tenths_of_it() -> None:
    window = SlidingWindow(10.0)
    for second in range(10):
        window.add(100.0 + second, 1, second % 2)
    assert (window.calls, window.marked) == (10, 5)
    window.advance(111.5)
    assert (window.calls, window.marked) == (8, 4)
    window.advance(500.0)
    assert (window.calls, window.marked) == (0, 0)


def test_it_counts_what_a_list_of_times_would_give_or_what_is_less_than_a_tenth_older() -> None:
    chance = random.Random(7)
    window, times, now = SlidingWindow(1.0), list[float](), 0.0
    for _ in range(1500):
        now += chance.choice([0.0, 0.001, 0.01, 0.05, 0.3])
        window.count(now)
        times.append(now)
        assert sum(now - 0.89 < time for time in times) <= window.calls <= sum(now - 1.01 < time for time in times)


def test_after_it_was_cleared_nothing_is_left() -> None:
    window = SlidingWindow(10.0)
    window.add(3.0, 5, 2)
    window.clear()
    assert (window.calls, window.marked) == (0, 0)
    window.count(4.0)
    window.advance(20.0)
    assert (window.calls, window.marked) == (0, 0)
