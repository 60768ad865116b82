"""Operation → its worst-case duration: attempts times timeout plus waits, fallbacks included, along the longest path of its steps.

Time in the queue of a source is not included: it depends on the load, not on the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.blueprint.graph import topological_order
from gateway.blueprint.operation import Operation
from gateway.blueprint.step import Step


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The duration of the longest path in seconds, and the steps on it in order, each with its own duration."""

    seconds: float
    path: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        return " → ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in self.path)


def longest_call(step: Step) -> float:
    """Return the worst-case duration of a call in seconds, with all that its policies add."""
    seconds = step.timeout
    for policy in step.policies.values():
        seconds = policy.longest(seconds)
    return seconds


def worst_case(operation: Operation) -> WorstCase:
    """Return the longest path of an operation. The steps of a mutation run one after another, so all of them are on it."""
    steps = operation.steps
    if operation.is_mutation:
        whole = tuple((name, longest_call(step)) for name, step in steps.items())
        return WorstCase(sum(seconds for _, seconds in whole), whole)
    ready: dict[str, float] = {}
    ended: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for name in topological_order({name: step.prerequisites_with_fallbacks for name, step in steps.items()}):
        step = steps[name]
        last = max(step.prerequisites, key=lambda other: ended[other], default=None)
        before[name], ready[name] = last, ended[last] if last else 0.0
        end = ready[name] + longest_call(step)
        for fallback in step.fallback_steps:
            # A fallback starts when the step has failed, or when its own prerequisites have ended if that is later.
            end = max(end, ready[fallback]) + ended[fallback] - ready[fallback]
        ended[name] = end
    return _path_to(max(ended, key=lambda name: ended[name]), steps, ended, before)


def _path_to(last: str, steps: Mapping[str, Step], ended: Mapping[str, float], before: Mapping[str, str | None]) -> WorstCase:
    """Return the path that ends with a step, followed backwards through the prerequisite that ended last."""
    path: list[tuple[str, float]] = []
    name: str | None = last
    while name is not None:
        start = ended[before[name] or ""] if before[name] else 0.0
        shown = " or ".join([name, *steps[name].fallback_steps])
        path.append((shown, ended[name] - start))
        name = before[name]
    return WorstCase(ended[last], tuple(reversed(path)))
