"""Plan + calls → outcomes: each node starts when its own prerequisites have ended, and every failure is a value (paper 5.4, 7.2)."""

from gateway.engine.chain import at_once
from gateway.engine.results import Arguments, Results, Span
from gateway.engine.scheduler import run

__all__ = ["Arguments", "Results", "Span", "at_once", "run"]
