"""What a first-time user is told of a wrong key or value: the place, what is expected in YAML's words, and what to write."""

from pathlib import Path

import pytest

from gateway.errors import ConfigurationError
from gateway.load.build.build import build
from gateway.load.read.files import Files
from resolvers import STEP_TYPES
from tests.kit.timing import least_cpu_seconds

SOURCES = "sources: { core: { type: api, base_url: http://core }, db: { type: warehouse, url: sqlite:///x.db } }\n"
DEFAULTS = "defaults: { api: core, warehouse: db }\n"


def told(configuration: str) -> list[str]:
    """Return the problems of a configuration as ``line:column message [code]``."""
    files = Files(Path(), {"a.yaml": configuration, "sources.yaml": SOURCES + DEFAULTS}, (), "test")
    try:
        build(files, STEP_TYPES, {"SECRET": "hunter2"})
    except ConfigurationError as error:
        return [f"{found.place.line}:{found.place.column} {found.message} [{found.code}]" for found in error.problems]
    return []


def step(keys: str) -> str:
    return f"operation: one\nsteps:\n  - name: a\n    type: api\n    endpoint: /a\n    {keys}\n"


def operation(keys: str) -> str:
    return f"operation: one\nsteps: [ {{ name: a, type: api, endpoint: /a }} ]\n{keys}\n"


NAME = "a name (letters, digits and underscores, no digit at the front)"
MILLISECONDS = "a whole number of milliseconds from 1 to 3600000"
RETRIED = "one of connect, reset, timeout, or a whole number from 100 to 599"

STEP_SLIPS = {
    "timeout_ms: 1s": f"6:17 expected {MILLISECONDS}, not a text; write 1000 [wrong-type]",
    "timeout_ms: 1.5 min": f"6:17 expected {MILLISECONDS}, not a text; write 90000 [wrong-type]",
    "timeout_ms: '500'": f"6:17 expected {MILLISECONDS}, not a text; write 500 [wrong-type]",
    "timeout_ms: ${SECRET}": f"6:17 expected {MILLISECONDS}, not a text [wrong-type]",
    "timeout_ms: 0": f"6:17 expected {MILLISECONDS}, not 0 [bad-value]",
    "timeout_ms: 1.5": f"6:17 expected {MILLISECONDS}, not 1.5 [wrong-type]",
    "timeout_ms: true": f"6:17 expected {MILLISECONDS}, not true [wrong-type]",
    "timeout: 500": "6:5 unknown key 'timeout'; did you mean 'timeout_ms'? [unknown-key]",
    "retry: 3": (
        "6:12 expected a mapping with the keys attempts, errors, base_ms, cap_ms, budget_percent, budget_min, not 3; "
        "for example { attempts: 3 } [wrong-type]"
    ),
    "retry: { attempts: 99 }": "6:24 expected a whole number from 1 to 10, not 99 [bad-value]",
    "retry: { attemps: 3 }": "6:14 unknown key 'attemps'; did you mean 'attempts'? [unknown-key]",
    "retry: { errors: [conect] }": f"6:23 expected {RETRIED}, not 'conect'; did you mean 'connect'? [bad-value]",
    "retry: { errors: timeout }": f"6:22 expected a list of which each is {RETRIED}, not a text; write [timeout] [wrong-type]",
    "retry: { timeout_ms: 3 }": "6:14 unknown key 'timeout_ms'; it belongs beside 'retry:', not under it [unknown-key]",
    "attempts: 3": "6:5 unknown key 'attempts'; it belongs under 'retry:' [unknown-key]",
    "deadline_ms: 3": "6:5 unknown key 'deadline_ms'; it is a key of a document with 'operation:', not of this mapping [unknown-key]",
    "method: get": "6:13 expected one of GET, HEAD, POST, PUT, PATCH, DELETE, not 'get'; did you mean 'GET'? [bad-value]",
    "method: 5": "6:13 expected one of GET, HEAD, POST, PUT, PATCH, DELETE, not 5 [bad-value]",
    "depends_on: b": "6:17 expected a list of names, not a text; write [b] [wrong-type]",
    "depends_on: { b: 1 }": "6:17 expected a list of names, not a mapping; begin each entry with '- ', as in '- account' [wrong-type]",
    "expose: no": "6:13 expected true or false, not a text; write false [wrong-type]",
    "returns: [Post]": '6:14 expected a GraphQL type, not a list; write "[Post]", in quotes [wrong-type]',
    "headers: { x-a: 5 }": '6:21 expected a text, not 5; write "5", in quotes [wrong-type]',
    "headers: { x-a: {request.id} }": '6:21 expected a text, not a mapping; write "{request.id}", in quotes [wrong-type]',
    "query: x=1": '6:12 expected a mapping of names to values, not a text; for example { userId: "{user_id}" } [wrong-type]',
    "query: { id: {customer_id} }": '6:18 a reference needs quotes, else YAML reads a mapping; write "{customer_id}" [unquoted-reference]',
    "fallback: { value: 1 }": "6:15 expected a list of mappings, not a mapping; begin each entry with '- ', as in '- { step: other }' [wrong-type]",
    "fallback: [other]": "6:16 expected a mapping with the keys step, value, stale_ms, not a text [wrong-type]",
    "batch: { key: [a, 5], match: id }": f"6:23 expected {NAME}, not 5 [wrong-type]",
    "batch: { key: id }": "6:12 the key 'match' is missing; for example 'match: id' [missing-key]",
    "expect: 200": "6:13 expected a list of whole numbers, not 200; write [200] [wrong-type]",
    "not_found: nul": "6:16 expected null or error, not 'nul'; did you mean 'null'? [bad-value]",
    "as: 5x": f"6:9 expected {NAME}, not '5x' [bad-value]",
    "as: my-field": f"6:9 expected {NAME}, not 'my-field'; write my_field [bad-value]",
}
OPERATION_SLIPS = {
    "args: [id]": "3:7 expected a mapping of names to GraphQL types, not a list; for example { id: ID! } [wrong-type]",
    "args: { id: }": "3:13 expected a GraphQL type, or a mapping with the keys type, default, description, deprecated, "
    "sensitive, but there is no value; for example Account [wrong-type]",
    "args: { 1x: ID }": f"3:9 expected {NAME}, not '1x' [bad-value]",
    "required_steps: [a]": "3:1 unknown key 'required_steps'; it belongs under 'aggregation:' [unknown-key]",
    "aggregation: { required_steps: a }": "3:32 expected a list of names, not a text; write [a] [wrong-type]",
    "aggregation: { strategy: Merge }": "3:26 expected one of merge, flatten, pick, not 'Merge'; did you mean 'merge'? [bad-value]",
    "sources: {}": "3:1 unknown key 'sources'; it begins a document of its own: put a line '---' before it [unknown-key]",
}
LINK_SLIP = "field: Post\nreturns: User\nstep: { type: api, endpoint: /a }"
NO_ENDPOINT = "operation: one\nsteps: [ { name: a, type: api } ]"
STEPS_BY_NAME = "operation: one\nsteps:\n  a: { type: value }"
ENTRY = "begin each entry with '- ', as in '- "
A_STEP = '{ name: account, type: api, endpoint: "/accounts/{id}" }'
DOCUMENT_SLIPS = {
    "operation: 5\nsteps: [ { name: a, type: value, value: 1 } ]": f"1:12 expected {NAME}, not 5; for example customer360 [wrong-type]",
    STEPS_BY_NAME: f"3:3 expected a list of steps, not a mapping; {ENTRY}{A_STEP}' [wrong-type]",
    "operation: one\nsteps: []": f"2:8 expected a list of steps, not an empty list; for example [{A_STEP}] [bad-value]",
    "operation: one\nsteps: [a]": f"2:9 expected a mapping with the keys of a step, not a text; for example {A_STEP} [wrong-type]",
    "operation: one\nsteps: [ { name: 5, type: value, value: 1 } ]": f"2:18 expected {NAME}, not 5; for example account [wrong-type]",
    "operation: one\nsteps: [ { name: a, type: [api] } ]": f"2:27 expected one of {', '.join(STEP_TYPES)}, not a list [unknown-step-type]",
    NO_ENDPOINT: "2:10 the key 'endpoint' is missing; for example 'endpoint: /accounts/{customer_id}' [missing-key]",
    "operation: one\nsteps: [ { name: a, type: api, endpoint: {id} } ]": '2:42 expected a text, not a mapping; write "{id}", in quotes [wrong-type]',
    "sources: { my-api: { type: api, base_url: http://x } }": f"1:12 expected {NAME}, not 'my-api'; write my_api [bad-value]",
    "sources: { other: { type: api, base_url: http://x, queue: -1 } }": "1:59 expected a whole number from 0 to 100000, not -1 [bad-value]",
    "defaults: api": "1:11 expected a mapping of names to names, not a text; for example { api: core } [wrong-type]",
    LINK_SLIP: "1:8 expected a type and a field with a dot between them, not 'Post'; for example Post.user [bad-value]",
}
SLIPS = {
    **{step(slip): message for slip, message in STEP_SLIPS.items()},
    **{operation(slip): message for slip, message in OPERATION_SLIPS.items()},
    **DOCUMENT_SLIPS,
}


@pytest.mark.parametrize("configuration", SLIPS)
def test_a_slip_is_told_in_the_words_of_yaml(configuration: str) -> None:
    assert SLIPS[configuration] in told(configuration)


@pytest.mark.parametrize("configuration", [slip for slip in SLIPS if "type: [api]" not in slip and "query: { id: {" not in slip])
def test_no_words_of_the_validator_come_through(configuration: str) -> None:
    for word in ("pydantic", "Input should", "dictionary", "string", "integer", "literal", "Extra inputs"):
        assert word not in "\n".join(told(configuration))


def test_a_value_from_the_environment_is_not_repeated() -> None:
    for slip in ("timeout_ms: ${SECRET}", "retry: ${SECRET}", "query: ${SECRET}", "expose: ${SECRET}"):
        (problem,) = told(step(slip))
        assert "hunter2" not in problem


def test_a_constant_body_may_have_a_key_without_a_value() -> None:
    assert told(step("method: POST\n    body: { filter: { since: null } }")) == []


def test_thousands_of_slips_are_told_in_a_time_that_grows_with_their_number() -> None:
    slips = "".join(f"    key{number}: 1\n" for number in range(8_000))
    found: list[int] = []
    assert least_cpu_seconds(lambda: found.append(len(told(step("timeout_ms: 5\n" + slips)))), 4) < 4
    assert set(found) == {8_000}
