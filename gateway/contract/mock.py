"""What a mocked upstream answers, in the tests of a configuration."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MockAnswer:
    """What a mocked upstream answers: a value with an HTTP status and headers, with ``body`` that very text, or a ``fault``.

    A fault is ``connect``, ``reset``, or ``error`` for whatever the upstream has for one.
    """

    value: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    fault: str | None = None


MockUpstream = Callable[[Mapping[str, object]], Awaitable[MockAnswer]]
"""Gives the answer to what would be sent to an upstream, which is told as data."""
