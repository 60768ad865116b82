"""Mocked upstreams, for config tests."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MockAnswer:
    """The answer of a mocked upstream: a value with an HTTP status and headers, the raw text ``body``, or a ``fault``.

    A fault is ``connect``, ``reset``, or ``error`` for the upstream's own kind of error.
    """

    value: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    fault: str | None = None


MockUpstream = Callable[[Mapping[str, object]], Awaitable[MockAnswer]]
"""Takes what would be sent to an upstream, as data, and returns the answer."""
