"""Log and metrics of a gateway process under faults: one line for each failed step, and counters that agree (row T-01)."""

from collections import Counter
from collections.abc import Mapping

import pytest

from tests.faults import Behaviour, Delay, Hang, Html, Huge, Json, Reset, Status
from tests.faults.crowd import all_at_once, request
from tests.faults.served import Served, in_background

case = pytest.mark.case

FAULTS: Mapping[str, tuple[str, Behaviour | None, list[tuple[str, str, str]]]] = {
    "refused": ("{ refused { call } }", None, [("refused", "call", "SUBREQUEST_HTTP_ERROR")]),
    "refused, with a fallback": ("{ refusedRescued { call } }", None, [("refusedRescued", "call", "SUBREQUEST_HTTP_ERROR")]),
    "a status": ('{ pair(left: "told-0") { first } }', Status(500), [("pair", "first", "SUBREQUEST_HTTP_ERROR")]),
    "late": ('{ impatient(left: "told-1") { first } }', Hang(), [("impatient", "first", "GATEWAY_TIMEOUT")]),
    "no JSON": ('{ pair(left: "told-2") { first } }', Html(), [("pair", "first", "SUBREQUEST_MALFORMED_RESPONSE")]),
    "too large": ('{ long(path: "told-3") { call } }', Huge(6_000_000), [("long", "call", "SUBREQUEST_RESPONSE_TOO_LARGE")]),
    "after retries": ('{ repeated(path: "told-4") { get } }', Status(503), [("repeated", "get", "SUBREQUEST_HTTP_ERROR")]),
    "a query": ("{ endless { row } }", None, [("endless", "row", "GATEWAY_TIMEOUT")]),
    "an expression": ("{ selecting { call } }", None, [("selecting", "call", "INTERNAL_SERVER_ERROR")]),
    "two steps": (
        '{ pair(left: "told-5", right: "told-6") { first second } }',
        Delay(0.05, Reset()),
        [("pair", "first", "SUBREQUEST_HTTP_ERROR"), ("pair", "second", "SUBREQUEST_HTTP_ERROR")],
    ),
}


@case("T-01")
@pytest.mark.parametrize("name", FAULTS)
def test_a_failed_step_is_one_line_of_the_log_with_what_is_needed_to_find_it(served: Served, name: str) -> None:
    query, behaviour, expected = FAULTS[name]
    served.upstream.script("/spare", Json(1))
    served.upstream.script("/selected", Json({"secret": "x"}))
    for number in range(7):
        served.upstream.script(f"/told-{number}", behaviour or Json(1))
    request_id = f"told-{list(FAULTS).index(name)}-{len(served.upstream.requests)}"
    before = {code: served.metric(f'stepgraph_errors_total{{code="{code}"') for _, _, code in expected}
    answer = served.ask(query, x_request_id=request_id)
    lines = [line for line in served.logged(request_id, len(expected)) if "step" in line]
    assert sorted((line["operation"], line["step"], line["code"]) for line in lines) == expected
    for line in lines:
        assert line["request_id"] == request_id
        assert line["duration_ms"] >= 0
        assert line["attempts"] == (3 if name == "after retries" else 1)
        assert line["config_version"] == answer.headers["x-config-version"]
    for code, count in Counter(answer.codes).items():
        assert served.metric(f'stepgraph_errors_total{{code="{code}"') == before[code] + count


@case("T-01", "U-07")
@pytest.mark.parametrize("first", ["failed", "unfit"])
def test_a_step_of_each_operation_call_has_a_line_of_its_own_though_their_names_are_equal(served: Served, first: str) -> None:
    served.upstream.script("/told-failed", Status(500))
    served.upstream.script("/told-unfit", Json({"number": "x"}))
    served.upstream.script("/told-too", Json({"number": "x"}))
    request_id = f"equal-names-{first}"
    query = f'{{ a: typed(path: "told-{first}") {{ item {{ number }} }} b: typed(path: "told-too") {{ item {{ number }} }} }}'
    answer = served.ask(query, x_request_id=request_id)
    lines = [line for line in served.logged(request_id, 2) if "step" in line]
    assert sorted(line["code"] for line in lines) == sorted(answer.codes)
    assert len(lines) == 2


@case("T-01", "U-02")
def test_a_value_of_a_fallback_is_counted(served: Served) -> None:
    served.upstream.script("/spare", Json(1))
    start = 'stepgraph_step_fallbacks_total{operation="refusedRescued",step="call"'
    before = served.metric(start)
    assert served.ask("{ refusedRescued { call } }").codes == []
    assert served.metric(start) == before + 1


@case("T-01", "O-03")
def test_a_client_that_left_is_told_with_status_499(served: Served) -> None:
    async def leave() -> None:
        served.upstream.script("/left-and-told", Hang())
        content = request('{ long(path: "left-and-told") { call } }', "x-request-id: gone-499")
        async with in_background(all_at_once(served.port, [content])):
            await served.upstream.wait_requests("/left-and-told", timeout=5)
        await served.upstream.wait_closed("/left-and-told", 5)

    served.run(leave)
    lines = served.logged("gone-499")
    assert [line["status"] for line in lines if "status" in line] == [499]
