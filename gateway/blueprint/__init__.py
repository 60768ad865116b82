"""What a checked configuration means, as frozen data."""

from gateway.blueprint.blueprint import Blueprint, RateLimits
from gateway.blueprint.operation import Argument, Link, Operation, Origin, Priority, Strategy
from gateway.blueprint.overlay import Overlay
from gateway.blueprint.step import Fallback, Source, Step

__all__ = [
    "Argument",
    "Blueprint",
    "Fallback",
    "Link",
    "Operation",
    "Origin",
    "Overlay",
    "Priority",
    "RateLimits",
    "Source",
    "Step",
    "Strategy",
]
