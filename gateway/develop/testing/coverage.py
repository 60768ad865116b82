"""Blueprint + what cases reached → the steps and policies that no case reaches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Blueprint, Fallback, Operation, Step
from gateway.blueprint.step import FallbackStale, FallbackStep
from gateway.develop.testing.script import MockScript
from gateway.plan.nodes import Plan


@dataclass(frozen=True, slots=True, order=True)
class CoveragePoint:
    """Something that a case can reach: a step that runs (no ``policy``), or one way in which a policy of it decides."""

    owner: str
    step: str
    policy: str = ""

    def __str__(self) -> str:
        name = f"{self.owner}.{self.step}" if self.owner else self.step
        return f"{name}  {self.policy}".rstrip()


def points(blueprint: Blueprint) -> list[CoveragePoint]:
    """Return everything that can be reached, overlays included, in order of the files."""
    found: dict[CoveragePoint, None] = {}
    operations = list(blueprint.operations.values())
    operations += [blueprint.effective(overlay.operation, (position,)) for position, overlay in enumerate(blueprint.overlays)]
    for operation in operations:
        for step in operation.steps.values():
            found |= dict.fromkeys(_of_step(operation.name, step))
    for link in blueprint.links.values():
        found |= dict.fromkeys(_of_step("", link.step))
    return list(found)


def _of_step(owner: str, step: Step) -> Iterator[CoveragePoint]:
    yield CoveragePoint(owner, step.name)
    if step.when:
        yield CoveragePoint(owner, step.name, "when: true")
        yield CoveragePoint(owner, step.name, "when: false")
    if _is_retry_written(step):
        yield CoveragePoint(owner, step.name, "retry")
    if step.is_required:
        yield CoveragePoint(owner, step.name, "required")
    for fallback in step.fallbacks:
        yield CoveragePoint(owner, step.name, f"fallback: {_served_by(fallback)}")


def _is_retry_written(step: Step) -> bool:
    """Tell whether a retry is meant for the step: the one that every source has by default need not be tested."""
    is_written = step.keys.retry is not None or (step.source is not None and "retry" in step.source.keys.model_fields_set)
    return is_written and step.is_idempotent and step.retry.attempts > 1


def _served_by(fallback: Fallback) -> str:
    if isinstance(fallback, FallbackStep):
        return fallback.step
    return "stale" if isinstance(fallback, FallbackStale) else "value"


def reached(plan: Plan, script: MockScript, body: Mapping[str, Any]) -> set[CoveragePoint]:
    """Return what one answer shows to have been reached."""
    report = body.get("extensions", {}).get("completeness") or {"missing": (), "degraded": ()}
    found = {
        point for call in plan.calls for index in call.nodes for point in _of_run(call.operation, plan.nodes[index].step, script)
    }
    found |= {CoveragePoint(_owner(entry), entry["step"], f"fallback: {entry['served_by']}") for entry in report["degraded"]}
    found |= {
        CoveragePoint(entry["operation"], entry["step"], "when: false")
        for entry in report["missing"]
        if entry["reason"] == "condition"
    }
    return found | set(_of_blocked(plan, body.get("errors", ())))


def _owner(entry: Mapping[str, Any]) -> str:
    """Return the operation of a step; a link, which is named by its field, belongs to none."""
    return "" if "." in entry["step"] else str(entry["operation"])


def _of_run(operation: Operation, step: Step, script: MockScript) -> Iterator[CoveragePoint]:
    owner = operation.name if step.name in operation.steps else ""
    if step.name in script.ran:
        yield CoveragePoint(owner, step.name)
        if step.when:
            yield CoveragePoint(owner, step.name, "when: true")
    if step.name in script.repeated:
        yield CoveragePoint(owner, step.name, "retry")


def _of_blocked(plan: Plan, errors: Sequence[Mapping[str, Any]]) -> Iterator[CoveragePoint]:
    """Yield the required steps that have left their operations without an answer."""
    for error in errors:
        step, path = error["extensions"].get("step"), error.get("path", ())
        for root in plan.roots:
            if root.call is not None and path == [root.selected.key]:
                operation = plan.calls[root.call].operation
                if step in operation.steps and operation.steps[step].is_required:
                    yield CoveragePoint(operation.name, step, "required")
