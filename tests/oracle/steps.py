"""What the steps of one operation call come to, by the rules of the design told once more: one recursive definition, no time, no plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.contract.outcome import Failure, Outcome, Skipped, SkipReason, Success
from tests.oracle.generate import Case
from tests.oracle.specs import OperationSpec, StepSpec
from tests.oracle.upstream import Call, as_json, of_step


@dataclass(slots=True)
class Steps:
    """The steps of an operation with one set of arguments; ``calls`` are those that are made, in order."""

    case: Case
    spec: OperationSpec
    arguments: Mapping[str, object]
    calls: list[Call] = field(default_factory=list)
    known: dict[str, Outcome] = field(default_factory=dict)

    def run(self, asked: Iterable[str]) -> Failure | None:
        """Run the steps that are asked for and all that they wait for; return the failure of the required one."""
        wanted = self._closure(asked)
        for name in self.spec.steps:
            outcome = self.outcome(name) if name in wanted else None
            if name == self.spec.required and isinstance(outcome, Failure):
                return outcome
        return None

    def outcome(self, name: str) -> Outcome:
        """Return how a step ends, its fallback included."""
        if name not in self.known:
            step = self.spec.steps[name]
            outcome = self._primary(step)
            if step.stand_in and (isinstance(outcome, Failure) or outcome == Skipped(SkipReason.MISSING_INPUT, _cause(outcome))):
                instead = self.outcome(step.stand_in)
                outcome = instead if isinstance(instead, Success) else outcome
            self.known[name] = outcome
        return self.known[name]

    def _primary(self, step: StepSpec) -> Outcome:
        before = self.outcome(step.after) if step.after else None
        if before is not None and not isinstance(before, Success):
            return Skipped(SkipReason.MISSING_INPUT, _cause(before))
        said = self.case.headers.get(step.name)
        if step.gate == "skip" and said == "skip":
            return Skipped(SkipReason.CONDITION)
        if step.gate == "input" and said is None:
            return Skipped(SkipReason.MISSING_INPUT)
        self.calls.append((step.name, self.spec.name, as_json(self.arguments)))
        return of_step(self.case, self.spec.name, step.name, self.arguments)

    def _closure(self, asked: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(asked)
        while waiting:
            name = waiting.pop()
            waiting += self.spec.steps[name].waits_for if name not in found else ()
            found.add(name)
        return found


def _cause(outcome: Outcome) -> Failure | None:
    return outcome if isinstance(outcome, Failure) else outcome.cause if isinstance(outcome, Skipped) else None
