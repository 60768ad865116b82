"""The truth table of outcomes (paper 7.2): what becomes of a step, its field, and the steps that depend on it.

One operation `o` with a step `n` under some policy, which ends in some way, and a step `d` that depends on it: that reads its value
(`data`), that only comes after it (`order`), or that has it in its condition (`when`). `n` itself reads a step `x`. The deadline is at
100 ms, where `n` has timed out at 50 ms or been cut off; its fallback step `f` takes 10 ms. Each row says what the outcome of `n` is,
what `n` is in the answer, and for each kind of `d` what its outcome is. The errors and the completeness follow from a row by the rules
that stand at :func:`expected_errors` and :func:`expected_completeness`.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from gateway.contract.outcome import Failure, Outcome, Skipped, Success
from gateway.errors import Code, StepFault
from tests.oracle import HANGS, Part, RunResult, Stage, perform

TABLE = """
policy                | n ends by     | outcome of n                                   | n is    | d: data   | d: order  | d: when
----------------------+---------------+------------------------------------------------+---------+-----------+-----------+----------
optional              | ok            | success                                        | N       | D         | D         | D
optional              | timeout       | failure GATEWAY_TIMEOUT                        | null    | no input  | D         | no input
optional              | error         | failure SUBREQUEST_HTTP_ERROR                  | null    | no input  | D         | no input
optional              | bad json      | failure SUBREQUEST_MALFORMED_RESPONSE          | null    | no input  | D         | no input
optional              | missing input | skipped missing_input                          | null    | no input  | D         | no input
optional              | condition     | skipped condition                              | null    | no input  | D         | no input
optional              | deadline      | failure GATEWAY_TIMEOUT                        | null    | late      | late      | late
optional              | null argument | failure BAD_USER_INPUT                         | null    | no input  | D         | no input
required              | ok            | success                                        | N       | D         | D         | D
required              | timeout       | failure GATEWAY_TIMEOUT                        | blocked | cancelled | cancelled | cancelled
required              | error         | failure SUBREQUEST_HTTP_ERROR                  | blocked | cancelled | cancelled | cancelled
required              | bad json      | failure SUBREQUEST_MALFORMED_RESPONSE          | blocked | cancelled | cancelled | cancelled
required              | missing input | skipped missing_input                          | null    | no input  | D         | no input
required              | condition     | skipped condition                              | null    | no input  | D         | no input
required              | deadline      | failure GATEWAY_TIMEOUT                        | blocked | cancelled | cancelled | cancelled
required              | null argument | failure BAD_USER_INPUT                         | blocked | cancelled | cancelled | cancelled
else f                | ok            | success                                        | N       | D         | D         | D
else f                | timeout       | f instead of GATEWAY_TIMEOUT                   | F       | D         | D         | D
else f                | error         | f instead of SUBREQUEST_HTTP_ERROR             | F       | D         | D         | D
else f                | bad json      | f instead of SUBREQUEST_MALFORMED_RESPONSE     | F       | D         | D         | D
else f                | missing input | f instead of missing_input                     | F       | D         | D         | D
else f                | condition     | skipped condition                              | null    | no input  | D         | no input
else f                | deadline      | failure GATEWAY_TIMEOUT                        | null    | late      | late      | late
else f                | null argument | failure BAD_USER_INPUT                         | null    | no input  | D         | no input
else value            | ok            | success                                        | N       | D         | D         | D
else value            | timeout       | value instead of GATEWAY_TIMEOUT               | V       | D         | D         | D
else value            | error         | value instead of SUBREQUEST_HTTP_ERROR         | V       | D         | D         | D
else value            | bad json      | value instead of SUBREQUEST_MALFORMED_RESPONSE | V       | D         | D         | D
else value            | missing input | value instead of missing_input                 | V       | D         | D         | D
else value            | condition     | skipped condition                              | null    | no input  | D         | no input
else value            | deadline      | value instead of GATEWAY_TIMEOUT               | V       | late      | late      | late
else value            | null argument | failure BAD_USER_INPUT                         | null    | no input  | D         | no input
else failing          | ok            | success                                        | N       | D         | D         | D
else failing          | timeout       | failure GATEWAY_TIMEOUT                        | null    | no input  | D         | no input
else failing          | error         | failure SUBREQUEST_HTTP_ERROR                  | null    | no input  | D         | no input
else failing          | bad json      | failure SUBREQUEST_MALFORMED_RESPONSE          | null    | no input  | D         | no input
else failing          | missing input | skipped missing_input                          | null    | no input  | D         | no input
else failing          | condition     | skipped condition                              | null    | no input  | D         | no input
else failing          | deadline      | failure GATEWAY_TIMEOUT                        | null    | late      | late      | late
else failing          | null argument | failure BAD_USER_INPUT                         | null    | no input  | D         | no input
required else f       | error         | f instead of SUBREQUEST_HTTP_ERROR             | F       | D         | D         | D
required else f       | deadline      | failure GATEWAY_TIMEOUT                        | blocked | cancelled | cancelled | cancelled
required else value   | deadline      | value instead of GATEWAY_TIMEOUT               | V       | late      | late      | late
required else failing | error         | failure SUBREQUEST_HTTP_ERROR                  | blocked | cancelled | cancelled | cancelled
required else failing | missing input | skipped missing_input                          | null    | no input  | D         | no input
"""

FALLBACKS = {"else f": "[{ step: f }]", "else failing": "[{ step: f }]", "else value": "[{ value: V }]"}
IN_SHORT = {
    "D": "success",
    "no input": "skipped missing_input",
    "cancelled": "skipped cancelled",
    "late": "failure GATEWAY_TIMEOUT",
}
"""The outcomes of `d`."""
DEPENDENTS = {"data": "input: '{n}'", "order": "depends_on: [n]", "when": "when: n != 'other'"}
ENDS = {
    "ok": Part("N", after=5),
    "timeout": HANGS,
    "error": Part(after=5, raises=StepFault(Code.SUBREQUEST_HTTP_ERROR, kind="503", status=503)),
    "bad json": Part(after=5, raises=StepFault(Code.SUBREQUEST_MALFORMED_RESPONSE)),
    "deadline": HANGS,
}


@dataclass(frozen=True, slots=True)
class Row:
    policy: str
    ends: str
    outcome: str
    value: str
    dependents: dict[str, str]

    @property
    def is_blocked(self) -> bool:
        return self.value == "blocked"

    @property
    def code(self) -> str:
        """The code of the failure or the reason of the skipping."""
        return self.outcome.rpartition(" ")[2]


def rows() -> list[Row]:
    lines = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()[2:]]
    return [
        Row(policy, ends, outcome, value, dict(zip(DEPENDENTS, (IN_SHORT[end] for end in of_d), strict=True)))
        for policy, ends, outcome, value, *of_d in lines
    ]


ROWS = [pytest.param(row, id=f"{row.policy} · {row.ends}") for row in rows()]


def play(row: Row, dependent: str | None, selection: str) -> tuple[RunResult, Stage]:
    read = "{id}" if row.ends == "null argument" else "{x}"
    condition = ", when: x == 'never'" if row.ends == "condition" else ""
    timeout = 50 if row.ends == "timeout" else 60_000
    fallback = next((text for policy, text in FALLBACKS.items() if row.policy.endswith(policy)), "[]")
    steps = [
        f"{{ name: n, type: act, input: '{read}', timeout_ms: {timeout}, fallback: {fallback}{condition} }}",
        "{ name: x, type: act, expose: false }",
        "{ name: f, type: act, expose: false }",
        *([f"{{ name: d, type: act, {DEPENDENTS[dependent]} }}"] if dependent else []),
    ]
    required = "n" if row.policy.startswith("required") else ""
    config = f"{{ operation: o, args: {{ id: ID }}, deadline_ms: 100, steps: [{', '.join(steps)}], aggregation: {{ required_steps: [{required}] }} }}"
    fails = Part(after=10, raises=StepFault(Code.DOWNSTREAM_SERVICE_ERROR))
    stage = Stage(
        {
            "n": ENDS.get(row.ends, Part("N")),
            "x": Part(None if row.ends == "missing input" else "X"),
            "f": fails if row.policy.endswith("failing") else Part("F", after=10),
            "d": Part("D", after=5),
        }
    )
    return perform(config, f"{{ o {{ {selection} }} }}", stage), stage


def written(outcome: Outcome | None) -> str:
    """Write an outcome as the table does."""
    if isinstance(outcome, Failure):
        return f"failure {outcome.code}"
    if isinstance(outcome, Skipped):
        return f"skipped {outcome.reason}"
    assert isinstance(outcome, Success)
    if outcome.instead_of is None:
        return "success"
    return f"{outcome.served_by} instead of {written(outcome.instead_of).partition(' ')[2]}"


def error(path: list[str], code: str, step: str) -> dict[str, Any]:
    status = {"http": {"status": 503}} if code == "SUBREQUEST_HTTP_ERROR" else {}
    return {"path": path, "extensions": {"code": code, "step": step, **status}}


def expected_errors(row: Row, dependent: str | None) -> list[dict[str, Any]]:
    """Return one error at the operation when it is blocked, otherwise one at the field of each failure; what was skipped has none."""
    if row.is_blocked:
        return [error(["o"], row.code, "n")]
    errors = [error(["o", "n"], row.code, "n")] if row.outcome.startswith("failure") else []
    if dependent and row.dependents[dependent].startswith("failure"):
        errors.append(error(["o", "d"], "GATEWAY_TIMEOUT", "d"))
    return errors


def expected_completeness(row: Row, dependent: str | None) -> dict[str, Any] | None:
    """Return what has no value as missing, and what a fallback gave as degraded; nothing is said of the fallbacks themselves."""
    missing, degraded = [], []
    if " instead of " in row.outcome:
        degraded.append({"step": "n", "served_by": row.outcome.partition(" ")[0], "reason": row.code})
    elif row.outcome != "success":
        missing.append({"step": "n", "reason": row.code})
    if dependent and row.dependents[dependent] != "success":
        missing.append({"step": "d", "reason": row.dependents[dependent].partition(" ")[2]})
    place = {"operation": "o", "path": ["o"]}
    found = {"missing": [place | entry for entry in missing], "degraded": [place | entry for entry in degraded]}
    return found if missing or degraded else None


@pytest.mark.parametrize("dependent", [None, *DEPENDENTS])
@pytest.mark.parametrize("row", ROWS)
def test_a_step_and_what_depends_on_it_end_as_the_table_says(row: Row, dependent: str | None) -> None:
    performance, stage = play(row, dependent, "n d" if dependent else "n")
    expected = {"n": None if row.value == "null" else row.value}
    if dependent:
        expected["d"] = "D" if row.dependents[dependent] == "success" else None
        assert written(performance.outcome("d")) == row.dependents[dependent]
        assert len(stage.of("d")) == (row.dependents[dependent] == "success")
    assert written(performance.outcome("n")) == row.outcome
    assert performance.body["data"] == {"o": None if row.is_blocked else expected}
    assert all(found.pop("message") for found in performance.body["errors"])
    assert performance.body["errors"] == expected_errors(row, dependent)
    assert performance.body["completeness"] == expected_completeness(row, dependent)


@pytest.mark.parametrize("dependent", DEPENDENTS)
@pytest.mark.parametrize("row", ROWS)
def test_a_failure_that_nothing_shows_is_told_by_what_it_took_the_input_from(row: Row, dependent: str) -> None:
    performance, _ = play(row, dependent, "d")
    expected = [found for found in expected_errors(row, dependent) if found["path"] != ["o", "n"]]
    if row.outcome.startswith("failure") and row.dependents[dependent] == "skipped missing_input":
        expected = [error(["o", "d"], row.code, "n")]
    assert all(found.pop("message") for found in performance.body["errors"])
    assert performance.body["errors"] == expected
    assert performance.body["completeness"] == expected_completeness(row, dependent)


def test_calls_are_made_when_and_only_when_the_table_needs_them() -> None:
    for row in rows():
        _, stage = play(row, None, "n")
        was_called = row.ends not in {"missing input", "condition", "null argument"}
        assert len(stage.of("n")) == was_called, row
        fell_back = row.policy.endswith(("else f", "failing")) and row.ends not in {
            "ok",
            "condition",
            "null argument",
            "deadline",
        }
        assert len(stage.of("f")) == fell_back, row


def test_the_table_has_every_policy_with_every_end() -> None:
    policies = ("optional", "required", *FALLBACKS)
    ends = ("ok", "timeout", "error", "bad json", "missing input", "condition", "deadline", "null argument")
    found = [(row.policy, row.ends) for row in rows()]
    assert {(policy, end) for policy in policies for end in ends} <= set(found)
    assert len(found) == len(set(found))
