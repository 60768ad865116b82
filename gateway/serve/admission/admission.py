"""Requests that arrive → those that are let in: no more at once than allowed, and fewer while the event loop cannot keep up.

A cap alone does not keep one event loop from doing more than it can: what it has read it works on, and everybody waits for everybody. So
the loop is watched, in the manner of CoDel (Nichols and Jacobson, 2012): a burst may take as long as it likes, but a queue that stands is
cut down to one that does not. Refusing costs a small part of answering, so that most of the time still goes into answers.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from gateway.blueprint import Blueprint, Priority

LONG_TURN = 0.040
"""Seconds. When two turns of the event loop in a row take longer there is more to do than can be done."""
SHORT_TURN = 0.008
"""Seconds. A turn that takes no longer shows that nothing is waiting any more."""
SLICES = {Priority.LOW: -1.0, Priority.NORMAL: 0.010, Priority.HIGH: 0.030}
"""Seconds from the beginning of a turn within which new requests of a priority are still let in when there is too much to do; those of low
priority never are."""
LOOK = 0.002
"""Seconds between two looks at the event loop while it keeps up, so that looking costs next to nothing."""
REASONS = ("in_flight", "pressure")
"""Why a request is not let in: all places are taken, or the event loop cannot keep up."""
MANY = 100
"""How many refusals within ``LATELY`` seconds make the gateway say for ``AVOIDED`` seconds that it is not ready."""
LATELY = 5.0
AVOIDED = 10.0


@dataclass(frozen=True, slots=True)
class PriorityShare:
    """What the requests of one priority may take: places among those under way, and seconds of a turn of an overloaded event loop."""

    places: int
    slice: float


class PriorityShares:
    """The shares of all priorities in a configuration. Where all operations are of one priority, that has everything."""

    def __init__(self, blueprint: Blueprint) -> None:
        all_places = blueprint.server.max_in_flight
        known = {operation.priority for operation in blueprint.operations.values()} | {Priority.NORMAL}
        self.is_ranked = len(known) > 1
        """Whether it matters what a request asks for."""
        places = {Priority.LOW: -(-all_places // 2), Priority.NORMAL: all_places, Priority.HIGH: all_places}
        if Priority.HIGH in known:
            places[Priority.NORMAL] = -(-all_places * 9 // 10)
        self._by_priority = {priority: PriorityShare(places[priority], SLICES[priority]) for priority in Priority}
        self.best = self._by_priority[max(known)]
        """The largest share: whoever is refused this one is refused in any case."""

    def of(self, priority: Priority) -> PriorityShare:
        """Return the share of a priority."""
        return self._by_priority[priority]


class Admission:
    """Counts the requests under way in this process, and refuses those for which there is no place or no time."""

    def __init__(self, rejected: Counter[str] | None = None) -> None:
        self.in_flight = 0
        """How many requests wait for somebody else; one that is answered at once takes no place."""
        self.rejected = Counter() if rejected is None else rejected
        """How many requests were refused because all places were taken (``in_flight``) or the event loop could not keep up (``pressure``)."""
        self._pressure = LoopLag()
        self._refused_at: deque[float] = deque(maxlen=MANY + 1)
        self._avoided_until = 0.0

    def admits(self, arrived_at: float, share: PriorityShare) -> bool:
        """Tell whether a request that arrived at a time (event loop clock) is let in, as its share is not used up."""
        if self.in_flight >= share.places:
            return self._refuse("in_flight")
        pressure = self._pressure
        if pressure.is_watching:
            if pressure.is_high and pressure.turn_age() > share.slice:
                return self._refuse("pressure")
        elif arrived_at >= pressure.look_at:
            pressure.look()
        return True

    def take(self, share: PriorityShare) -> bool:
        """Take a place if there is one; whoever does so gives it back by :meth:`leave`."""
        if self.in_flight >= share.places:
            return self._refuse("in_flight")
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.in_flight -= 1

    @property
    def is_overloaded(self) -> bool:
        """Whether so many requests were refused lately that new ones had better go elsewhere."""
        return asyncio.get_running_loop().time() < self._avoided_until

    def _refuse(self, reason: str) -> bool:
        self.rejected[reason] += 1
        now = asyncio.get_running_loop().time()
        self._refused_at.append(now)
        if len(self._refused_at) > MANY and now - self._refused_at[0] <= LATELY:
            self._avoided_until = now + AVOIDED
        return False


class LoopLag:
    """Measures the turns of the event loop: how long it takes until a function that is to be called soon is called.

    While they are short one is measured now and then, when a request comes; from a long one on each is, until one is short again. (The
    loop does not sleep meanwhile, so an idle one has a short turn at once.)
    """

    def __init__(self) -> None:
        self.look_at = 0.0
        """When the next look is due (event loop clock)."""
        self.is_watching = False
        self.is_high = False
        """Whether there is more to do than can be done."""
        self._began = 0.0
        self._was_long = False
        self._loop: asyncio.AbstractEventLoop

    def look(self) -> None:
        """Begin to measure a turn."""
        self.is_watching = True
        self._loop = asyncio.get_running_loop()
        self._begin()

    def turn_age(self) -> float:
        """Return the seconds since the turn began that is measured."""
        return self._loop.time() - self._began

    def _begin(self) -> None:
        self._began = self._loop.time()
        self._loop.call_soon(self._end)

    def _end(self) -> None:
        now = self._loop.time()
        seconds = now - self._began
        is_long = seconds > LONG_TURN
        self.is_high = seconds > SHORT_TURN and (self.is_high or (is_long and self._was_long))
        self._was_long = is_long
        self.is_watching = seconds > SHORT_TURN
        if self.is_watching:
            self._begin()
        else:
            self.look_at = now + LOOK
