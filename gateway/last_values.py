"""The last good value of each call, for steps that fall back to it (``stale_ms``): bounded, and as old as its generation at the most.

A call is known by what it does and all of its rendered inputs, so a header that tells who is asking is part of it: nobody gets what
was fetched for another. A new generation begins with nothing, as the same source may be another system there.
"""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from gateway.blueprint import FallbackStale, Step
from gateway.resolver import Call, CallContext, Inputs, Reply

MAX_VALUES = 10_000
MAX_SIZE = 64_000_000
"""Of all values together, in characters of their text: about as many bytes of JSON."""


@dataclass(frozen=True, slots=True)
class LastValue:
    """A value, and the time (event loop clock) when it was good."""

    value: object
    at: float
    size: int


class LastValues:
    """Values by call. When there is no room the one that was kept longest ago leaves."""

    def __init__(self, max_values: int = MAX_VALUES, max_size: int = MAX_SIZE) -> None:
        self._values: OrderedDict[tuple[str, bytes], LastValue] = OrderedDict()
        self._max_values = max_values
        self._max_size = max_size
        self.size = 0

    def __len__(self) -> int:
        return len(self._values)

    def keep(self, step: Step, inputs: Inputs, value: object, now: float) -> None:
        """Keep the value of a call, unless it is larger than all the room there is."""
        identity = _identity(step, inputs)
        self._drop(identity)
        size = len(repr(value)) + len(identity[1])
        if size > self._max_size:
            return
        self._values[identity] = LastValue(value, now, size)
        self.size += size
        while len(self._values) > self._max_values or self.size > self._max_size:
            self._drop(next(iter(self._values)))

    def find(self, step: Step, inputs: Inputs) -> LastValue | None:
        """Return the last good value of a call."""
        return self._values.get(_identity(step, inputs))

    def _drop(self, identity: tuple[str, bytes]) -> None:
        dropped = self._values.pop(identity, None)
        self.size -= dropped.size if dropped else 0


def with_last_value(call: Call, step: Step, last_values: LastValues) -> Call:
    """Keep what a call gives, if its step falls back to that."""
    if not any(isinstance(fallback, FallbackStale) for fallback in step.fallbacks):
        return call

    async def kept(inputs: Inputs, context: CallContext) -> Reply:
        reply = await call(inputs, context)
        last_values.keep(step, inputs, reply.value, asyncio.get_running_loop().time())
        return reply

    return kept


def _identity(step: Step, inputs: Inputs) -> tuple[str, bytes]:
    return step.fingerprint, hashlib.sha256(repr(inputs).encode("utf-8", "surrogatepass")).digest()
