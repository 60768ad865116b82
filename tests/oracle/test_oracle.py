"""Compare the gateway, from configuration to response, with graphql-core's executor over random types, links, documents and results.

Data must be equal, including the order of keys, and errors in order, path, code and step. Every call that the response needs must have
been made, in a mutation in written order. A case that differs is reduced before it is reported.
More cases: ``STEPGRAPH_ORACLE_CASES=20000 pytest tests/oracle``. One of them: ``STEPGRAPH_ORACLE_FIRST=<seed>``, and 1 case.
"""

import json
import os
from collections import Counter
from collections.abc import Callable

import pytest

from gateway.contract.outcome import Success
from gateway.errors import RequestError
from tests.oracle.executor import Expected, answer_by_executor
from tests.oracle.gateway_answer import Answer, answer_by_gateway
from tests.oracle.generate import FITTING, NOT_FINITE, Case, make_case
from tests.oracle.reduce import reduce

FIRST = int(os.environ.get("STEPGRAPH_ORACLE_FIRST", "0"))
CASES = int(os.environ.get("STEPGRAPH_ORACLE_CASES", "1000"))
SLICES = 8


def differs(case: Case) -> bool:
    """Tell whether the two answers to a case differ, or one raises; a document that the gateway refuses does not count."""
    try:
        return not answer_by_executor(case).agrees(answer_by_gateway(case))
    except RequestError:
        return False
    except Exception:  # noqa: BLE001 - any exception means that there is no answer
        return True


def answer_text(answers: Callable[[Case], Answer | Expected], case: Case) -> str:
    try:
        answer = answers(case)
    except Exception as error:  # noqa: BLE001 - the same
        return repr(error)
    calls = answer.calls if isinstance(answer, Answer) else [*answer.steps, *answer.links]
    return "\n".join([answer.data, *map(str, answer.errors), *(f"call {call}" for call in calls)])


def report(seed: int, case: Case) -> str:
    """Return everything that explains why two answers differ."""
    used = {name for name in case.world.operations if name in case.query}
    parts = {
        "schema": case.world.schema,
        "config": "\n".join(case.world.operations[name].config for name in used),
        "query": case.query,
        "variables": json.dumps(case.variables),
        "links": "\n".join(link.config for link in case.world.links.values() if link.field in case.query),
        "headers": str(case.headers),
        "rows": "\n".join(f"{key}: {end}" for key, end in case.rows.items() if end != Success(None)),
        "gateway": answer_text(answer_by_gateway, case),
        "graphql-core": answer_text(answer_by_executor, case),
    }
    return f"\nseed {seed}\n" + "\n".join(f"--- {title}\n{text}" for title, text in parts.items())


def check(seed: int, case: Case) -> Expected:
    """Compare the answers to a case and return the common one."""
    try:
        expected = answer_by_executor(case)
        is_equal = expected.agrees(answer_by_gateway(case))
    except Exception:  # noqa: BLE001 - reported below
        is_equal = False
    if not is_equal:
        pytest.fail(report(seed, reduce(case, differs)), pytrace=False)
    return expected


@pytest.mark.parametrize("slice_index", range(SLICES))
@pytest.mark.case("Q-11")
def test_the_gateway_gives_the_executors_answer_to_random_cases(slice_index: int) -> None:
    for seed in range(FIRST + CASES * slice_index // SLICES, FIRST + CASES * (slice_index + 1) // SLICES):
        check(seed, make_case(seed))


def test_numbers_that_json_has_not_are_what_the_executor_makes_of_them() -> None:
    for seed in range(0, 200, 2):
        check(seed, make_case(seed, {**FITTING, "Float": NOT_FINITE}))


def test_random_cases_have_what_can_go_wrong_in_them() -> None:
    seen: Counter[str] = Counter()
    for seed in range(0, 400, 2):
        case = make_case(seed)
        answer = answer_by_executor(case)
        seen["long data"] += len(answer.data) > 200
        seen["no error"] += not answer.errors
        seen["several errors"] += len(answer.errors) > 1
        seen["a whole operation null"] += any(value is None for value in json.loads(answer.data).values())
        codes = [code for _, code, *_ in answer.errors]
        seen["a mutation"] += answer.in_order
        seen["a required step that failed"] += answer.is_cut
        seen["a link"] += bool(answer.links)
        seen["calls of several links"] += len({name for name, *_ in answer.links}) > 1
        seen["a batch of several keys"] += any(len(keys) > 1 for _, _, *keys in answer.links)
        seen["several calls of a link"] += max(Counter(name for name, *_ in answer.links).values(), default=0) > 1
        seen["a link that failed"] += any("." in str(step) for _, _, step, _ in answer.errors)
        seen["a wrong type"] += "RESPONSE_VALIDATION_FAILED" in codes
        seen["a failed step"] += any(code != "RESPONSE_VALIDATION_FAILED" for code in codes)
        seen["a deep error"] += any(len(path) > 4 for path, *_ in answer.errors)
        seen["an error in a list"] += any(isinstance(key, int) for path, *_ in answer.errors for key in path)
        seen.update(word for word in ("flatten", "pick", "merge") if f'"{word}"' in case.world.config)
        texts = case.query + case.world.schema
        marks = ("@skip", "@include", "fragment", "... on", "x_", "interface", "union")
        seen.update(mark for mark in marks if mark in texts)
    rare = {what: count for what, count in seen.items() if count < 3}
    assert len(seen) == 25, sorted(seen)
    assert not rare, rare


def test_random_cases_have_values_that_are_read_by_a_shape_and_values_that_do_not_fit_theirs() -> None:
    answers = [answer_by_gateway(make_case(seed)) for seed in range(0, 400, 2)]
    assert sum(answer.shaped > 0 for answer in answers) > 15
    assert sum(answer.misfits > 0 for answer in answers) > 5
    assert sum(answer.shaped > 0 and bool(answer.errors) for answer in answers) > 5


def test_the_order_of_keys_and_the_kinds_of_numbers_count() -> None:
    assert Answer('{"a": 1, "b": 2}', [], []) != Answer('{"b": 2, "a": 1}', [], [])
    assert json.dumps([1, 1.0, True]) == "[1, 1.0, true]"


def test_a_case_that_differs_is_cut_down_to_what_matters() -> None:
    case = next(case for case in map(make_case, range(0, 400, 2)) if "@skip" in case.query and "fragment" in case.query)
    name = next(name for name in case.world.operations if name in case.query)
    reduced = reduce(case, lambda smaller: name in smaller.query)
    assert len(reduced.query) < 90 < len(case.query)
    assert "fragment" not in reduced.query
    assert set(reduced.rows.values()) <= {Success(None)}
