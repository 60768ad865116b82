"""Rules about time: the worst-case latency of an operation against its deadline."""

from collections.abc import Iterator

from gateway.blueprint import Operation
from gateway.blueprint.worst_case import longest_call, worst_case
from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.rules.fan_out import first_arrivals
from gateway.develop.lint.subject import LintSubject


def operations_over_their_deadline(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield operations whose longest path exceeds the deadline."""
    for variants in subject.operations.values():
        # variants[0] is the operation without overlays: if that is too long already, its overlays are not reported too.
        too_long = [(operation, worst) for operation in variants if (worst := worst_case(operation)).seconds > operation.deadline]
        for operation, worst in too_long[:1] if too_long and too_long[0][0] is variants[0] else too_long:
            message = f"at the worst its steps take {worst.seconds * 1000:.0f} ms ({worst}), and {_deadline(operation)}"
            yield subject.at(operation.place, "deadline_ms"), f"operation {operation.name} · deadline_ms", message


def links_over_a_deadline(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield links of which one call can take longer than the shortest deadline of the operations that lead to them."""
    tightest_first = sorted(subject.blueprint.operations.values(), key=lambda operation: operation.deadline)
    for link, arrival in first_arrivals(subject, tightest_first):
        longest = longest_call(link.step)
        if longest > arrival.operation.deadline:
            message = f"at the worst one call takes {longest * 1000:.0f} ms; by {arrival.path}, {_deadline(arrival.operation)}"
            yield subject.at(link.step.place, "timeout_ms"), f"field {link.type}.{link.field}", message


def _deadline(operation: Operation) -> str:
    advice = "what is not there by then is left out; lower timeouts or attempts, or raise it"
    return f"the deadline of '{operation.name}' is {operation.deadline * 1000:.0f} ms: {advice}"
