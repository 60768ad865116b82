"""The outcomes of the steps of one operation call: a second implementation of the rules, recursive, without time or plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from tests.oracle.generate import Case
from tests.oracle.specs import OperationSpec, StepSpec
from tests.oracle.upstream import Call, as_json, step_result


@dataclass(slots=True)
class Steps:
    """The steps of an operation with one set of arguments; ``calls`` are the calls made, in order."""

    case: Case
    spec: OperationSpec
    arguments: Mapping[str, object]
    calls: list[Call] = field(default_factory=list)
    known: dict[str, Outcome] = field(default_factory=dict)

    def run(self, requested: Iterable[str]) -> Failure | None:
        """Run the requested steps and their dependencies; return the failure of the required step, if it failed."""
        wanted = self._closure(requested)
        for name in self.spec.steps:
            outcome = self.outcome(name) if name in wanted else None
            if name == self.spec.required and isinstance(outcome, Failure):
                return outcome
        return None

    def outcome(self, name: str) -> Outcome:
        """Return the outcome of a step, including its fallback."""
        if name not in self.known:
            step = self.spec.steps[name]
            outcome = self._primary(step)
            if step.fallback_step and (
                isinstance(outcome, Failure) or outcome == Skipped(SkipReason.MISSING_INPUT, _cause(outcome))
            ):
                fallback = self.outcome(step.fallback_step)
                outcome = fallback if isinstance(fallback, Success) else outcome
            self.known[name] = outcome
        return self.known[name]

    def _primary(self, step: StepSpec) -> Outcome:
        before = self.outcome(step.after) if step.after else None
        if before is not None and not isinstance(before, Success):
            return Skipped(SkipReason.MISSING_INPUT, _cause(before))
        header = self.case.headers.get(step.name)
        if step.gate == "skip" and header == "skip":
            return Skipped(SkipReason.CONDITION)
        if step.gate == "input" and header is None:
            return Skipped(SkipReason.MISSING_INPUT)
        self.calls.append((step.name, self.spec.name, as_json(self.arguments)))
        return step_result(self.case, self.spec.name, step.name, self.arguments)

    def _closure(self, requested: Iterable[str]) -> set[str]:
        closure: set[str] = set()
        pending = list(requested)
        while pending:
            name = pending.pop()
            pending += self.spec.steps[name].waits_for if name not in closure else ()
            closure.add(name)
        return closure


def _cause(outcome: Outcome) -> Failure | None:
    return outcome if isinstance(outcome, Failure) else outcome.cause if isinstance(outcome, Skipped) else None
