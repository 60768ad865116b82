"""Everything from configuration to answer against graphql-core's executor, over random types, links, documents, values and failures.

Data must be equal to the order of keys, and errors in order, path, code and step; every call that the answer needs must have been made,
in a mutation in written order. A case that differs is cut down before it is shown.
More cases: ``STEPGRAPH_ORACLE_CASES=20000 pytest tests/oracle``. One of them: ``STEPGRAPH_ORACLE_FIRST=<seed>``, and 1 case.
"""

import json
import os
from collections import Counter
from collections.abc import Callable

import pytest

from gateway.contract.outcome import Success
from gateway.errors import RequestError
from tests.oracle.executor import Expected, executed
from tests.oracle.gateway_answer import Answer, answered
from tests.oracle.generate import FITTING, NOT_FINITE, Case, make_case
from tests.oracle.reduce import reduce

FIRST = int(os.environ.get("STEPGRAPH_ORACLE_FIRST", "0"))
CASES = int(os.environ.get("STEPGRAPH_ORACLE_CASES", "1000"))
SLICES = 8


def differs(case: Case) -> bool:
    """Tell whether the two answers to a case differ, or one of them cannot be given; a document that is refused is no case."""
    try:
        return not executed(case).agrees(answered(case))
    except RequestError:
        return False
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return True


def answer_of(answers: Callable[[Case], Answer | Expected], case: Case) -> str:
    try:
        answer = answers(case)
    except Exception as error:  # noqa: BLE001 - the same
        return repr(error)
    calls = answer.calls if isinstance(answer, Answer) else [*answer.steps, *answer.links]
    return "\n".join([answer.data, *map(str, answer.errors), *(f"call {call}" for call in calls)])


def shown(seed: int, case: Case) -> str:
    """Return everything that is needed to see why two answers differ."""
    used = {name for name in case.world.operations if name in case.query}
    parts = {
        "schema": case.world.schema,
        "config": "\n".join(case.world.operations[name].config for name in used),
        "query": case.query,
        "variables": json.dumps(case.variables),
        "links": "\n".join(link.config for link in case.world.links.values() if link.field in case.query),
        "headers": str(case.headers),
        "rows": "\n".join(f"{key}: {end}" for key, end in case.rows.items() if end != Success(None)),
        "gateway": answer_of(answered, case),
        "graphql-core": answer_of(executed, case),
    }
    return f"\nseed {seed}\n" + "\n".join(f"--- {title}\n{text}" for title, text in parts.items())


def check(seed: int, case: Case) -> Expected:
    """Compare the answers to a case and return the one that both give."""
    try:
        expected = executed(case)
        is_equal = expected.agrees(answered(case))
    except Exception:  # noqa: BLE001 - shown below
        is_equal = False
    if not is_equal:
        pytest.fail(shown(seed, reduce(case, differs)), pytrace=False)
    return expected


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.case("Q-11")
def test_the_gateway_gives_the_executors_answer_to_random_cases(part: int) -> None:
    for seed in range(FIRST + CASES * part // SLICES, FIRST + CASES * (part + 1) // SLICES):
        check(seed, make_case(seed))


def test_numbers_that_json_has_not_are_what_the_executor_makes_of_them() -> None:
    for seed in range(0, 200, 2):
        check(seed, make_case(seed, {**FITTING, "Float": NOT_FINITE}))


def test_random_cases_have_what_can_go_wrong_in_them() -> None:
    found: Counter[str] = Counter()
    for seed in range(0, 400, 2):
        case = make_case(seed)
        answer = executed(case)
        found["long data"] += len(answer.data) > 200
        found["no error"] += not answer.errors
        found["several errors"] += len(answer.errors) > 1
        found["a whole operation null"] += any(value is None for value in json.loads(answer.data).values())
        codes = [code for _, code, *_ in answer.errors]
        found["a mutation"] += answer.in_order
        found["a required step that failed"] += answer.is_cut
        found["a link"] += bool(answer.links)
        found["calls of several links"] += len({name for name, *_ in answer.links}) > 1
        found["a batch of several keys"] += any(len(keys) > 1 for _, _, *keys in answer.links)
        found["several calls of a link"] += max(Counter(name for name, *_ in answer.links).values(), default=0) > 1
        found["a link that failed"] += any("." in str(step) for _, _, step, _ in answer.errors)
        found["a wrong type"] += "RESPONSE_VALIDATION_FAILED" in codes
        found["a failed step"] += any(code != "RESPONSE_VALIDATION_FAILED" for code in codes)
        found["a deep error"] += any(len(path) > 4 for path, *_ in answer.errors)
        found["an error in a list"] += any(isinstance(part, int) for path, *_ in answer.errors for part in path)
        found.update(word for word in ("flatten", "pick", "merge") if f'"{word}"' in case.world.config)
        texts = case.query + case.world.schema
        marks = ("@skip", "@include", "fragment", "... on", "x_", "interface", "union")
        found.update(mark for mark in marks if mark in texts)
    rare = {what: count for what, count in found.items() if count < 3}
    assert len(found) == 25, sorted(found)
    assert not rare, rare


def test_random_cases_have_values_that_are_read_by_a_shape_and_values_that_do_not_fit_theirs() -> None:
    answers = [answered(make_case(seed)) for seed in range(0, 400, 2)]
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
