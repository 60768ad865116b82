"""Steps → their calls, each created on first use."""

from collections.abc import Callable

from gateway.blueprint import Step
from gateway.contract import Call

MAX_CALLS = 10_000


class StepCalls(dict[Step, Call]):
    """The calls of steps, created on first use because most steps of a large configuration are never called. Evicts the oldest."""

    def __init__(self, make: Callable[[Step], Call]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, step: Step) -> Call:
        if len(self) >= MAX_CALLS:
            del self[next(iter(self))]
        call = self[step] = self._make(step)
        return call
