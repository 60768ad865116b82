"""Coverage of tests: the steps and policies of a blueprint, and which of them a case reaches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Blueprint, Operation, Step
from gateway.develop.testing.script import MockScript
from gateway.plan.nodes import Plan


@dataclass(frozen=True, slots=True, order=True)
class CoveragePoint:
    """What a case can reach: a step that runs (``policy`` is empty), or one effect of a policy of the step."""

    owner: str
    step: str
    policy: str = ""

    def __str__(self) -> str:
        name = f"{self.owner}.{self.step}" if self.owner else self.step
        return f"{name}  {self.policy}".rstrip()


def points(blueprint: Blueprint) -> list[CoveragePoint]:
    """Return all coverage points, overlays included, in the order of the files."""
    result: dict[CoveragePoint, None] = {}
    operations = list(blueprint.operations.values())
    operations += [blueprint.effective(overlay.operation, (position,)) for position, overlay in enumerate(blueprint.overlays)]
    for operation in operations:
        for step in operation.steps.values():
            result |= dict.fromkeys(_step_points(operation.name, step))
    for link in blueprint.links.values():
        result |= dict.fromkeys(_step_points("", link.step))
    return list(result)


def _step_points(owner: str, step: Step) -> Iterator[CoveragePoint]:
    yield CoveragePoint(owner, step.name)
    if step.when:
        yield CoveragePoint(owner, step.name, "when: true")
        yield CoveragePoint(owner, step.name, "when: false")
    if _is_retry_written(step):
        yield CoveragePoint(owner, step.name, "retry")
    if step.is_required:
        yield CoveragePoint(owner, step.name, "required")
    for fallback in step.fallbacks:
        yield CoveragePoint(owner, step.name, f"fallback: {fallback.served_by}")


def _is_retry_written(step: Step) -> bool:
    """Tell whether a retry is configured and can happen. The default retry of every source need not be tested."""
    is_written = step.keys.retry is not None or (step.source is not None and "retry" in step.source.keys.model_fields_set)
    return is_written and step.is_idempotent and step.retry.attempts > 1


def reached(plan: Plan, script: MockScript, body: Mapping[str, Any]) -> set[CoveragePoint]:
    """Return the points that one request has reached: steps by their calls, policies by the completeness report and the errors."""
    report = body.get("extensions", {}).get("completeness") or {"missing": (), "degraded": ()}
    result = {
        point
        for call in plan.calls
        for index in call.nodes
        for point in _called_points(call.operation, plan.nodes[index].step, script)
    }
    result |= {CoveragePoint(_owner(entry), entry["step"], f"fallback: {entry['served_by']}") for entry in report["degraded"]}
    result |= {
        CoveragePoint(entry["operation"], entry["step"], "when: false")
        for entry in report["missing"]
        if entry["reason"] == "condition"
    }
    return result | set(_required_points(plan, body.get("errors", ())))


def _owner(entry: Mapping[str, Any]) -> str:
    """Return the operation of a step; empty for the step of a link, whose name is that of a field (``Type.field``)."""
    return "" if "." in entry["step"] else str(entry["operation"])


def _called_points(operation: Operation, step: Step, script: MockScript) -> Iterator[CoveragePoint]:
    owner = operation.name if step.name in operation.steps else ""
    if step.name in script.ran:
        yield CoveragePoint(owner, step.name)
        if step.when:
            yield CoveragePoint(owner, step.name, "when: true")
    if step.name in script.repeated:
        yield CoveragePoint(owner, step.name, "retry")


def _required_points(plan: Plan, errors: Sequence[Mapping[str, Any]]) -> Iterator[CoveragePoint]:
    """Yield the points of required steps whose failure made their operation null: the error's path is that of the operation."""
    for error in errors:
        step, path = error["extensions"].get("step"), error.get("path", ())
        for root in plan.roots:
            if root.call is not None and path == [root.selected.key]:
                operation = plan.calls[root.call].operation
                if step in operation.steps and operation.steps[step].is_required:
                    yield CoveragePoint(operation.name, step, "required")
