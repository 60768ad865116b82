"""The engine: run a plan. Each node starts when its own prerequisites have ended, and every failure is a value (paper 5.4, 7.2)."""

from gateway.document.coercion import Arguments
from gateway.run.chain import run_without_waiting
from gateway.run.results import Results, Span
from gateway.run.scheduler import run

__all__ = ["Arguments", "Results", "Span", "run", "run_without_waiting"]
