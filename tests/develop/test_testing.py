"""``stepgraph test``: what a test of a configuration can mock and expect, how it fails, and what it reaches."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from gateway.load.read.files import read_files
from gateway.settings import Keys, validate
from gateway.settings.cases import CaseKeys
from tests.cli.test_cli import refused, run
from tests.kit.serving import write_files

CONFIG = """
sources:
  core: { type: api, base_url: "http://127.0.0.1:1" }
  once: { type: api, base_url: "http://127.0.0.1:1", retry: { attempts: 1 } }
  people: { type: graphql, url: "http://127.0.0.1:1/graphql" }
  warehouse: { type: warehouse, url: "sqlite:///nowhere.db" }
defaults: { api: core, graphql: people, warehouse: warehouse }
---
context: { tenant: request.headers.tenant }
---
operation: customer
args: { id: ID! }
deadline_ms: 2000
steps:
  - { name: account, type: api, endpoint: "/accounts/{id}", timeout_ms: 300, retry: { attempts: 2, errors: [timeout, 503] } }
  - name: credit
    type: api
    source: once
    method: POST
    endpoint: /credit
    body: { tier: "{account.tier}" }
    when: account.tier != 'basic'
    fallback: [{ stale_ms: 60000 }, { step: creditFromWarehouse }, { value: { limit: 0 } }]
    idempotent: true
  - name: creditFromWarehouse
    type: warehouse
    query: SELECT 1 AS "limit" WHERE :tier <> ''
    params: { tier: "{account.tier}" }
    expose: false
  - { name: person, type: graphql, query: "query($id: ID!) { person(id: $id) }", variables: { id: "{id}" }, returns: Person }
  - { name: rating, type: python, call: "json:dumps", inputs: { obj: "{id}" } }
  - { name: total, type: transform, select: "account.balance" }
  - { name: tenant, type: value, value: "{context.tenant?}" }
aggregation: { required_steps: [account] }
---
field: Person.friends
returns: "[Person]"
step: { type: api, endpoint: /friends, query: { of: "{keys}" }, batch: { key: id, match: of }, fallback: [{ value: [{ name: nobody }] }] }
"""
TYPES = "type Person { id: ID, of: ID, name: String }"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "config", {"graph.yaml": CONFIG, "types.graphql": TYPES})


def play(folder: Path, *tests: str, form: str = "text", status: int = 0) -> str:
    """Run tests, each without its first line, and return what is printed."""
    text = "\n---\n".join(f"test: number {index}{test}" for index, test in enumerate(tests, 1))
    write_files(folder, {"a.test.yaml": text})
    result = run("test", folder, "--format", form)
    assert result.exit_code == status, result.output
    return result.stdout


def test_every_kind_of_step_can_be_mocked_and_shows_what_it_would_send(folder: Path) -> None:
    play(
        folder,
        """
query: "query($id: ID!) { customer(id: $id) { account credit rating total tenant person { name friends { name } } } }"
variables: { id: "7" }
headers: { Tenant: gold }
steps:
  account: { value: { tier: gold, balance: 5 } }
  credit: { fault: connect }
  creditFromWarehouse: { value: [{ limit: 9 }] }
  person: { value: { name: Al, id: "7" } }
  Person.friends: { value: [{ of: "7", name: Bo }] }
  rating: { value: 0.5 }
expect:
  data:
    customer:
      account: { tier: gold, balance: 5 }
      credit: { limit: 9 }
      rating: 0.5
      total: 5
      tenant: gold
      person: { name: Al, friends: [{ name: Bo }] }
  calls:
    account: [{ request: GET /accounts/7 }]
    credit: [{ request: POST /credit, body: { tier: gold } }]
    creditFromWarehouse: [{ params: { tier: gold } }]
    person: [{ request: POST /graphql }]
    Person.friends: [{ request: GET /friends?of=7, headers: {} }]
    rating: [{ inputs: { obj: "7" } }]
    total: 1
""",
    )


def test_time_is_virtual_and_policies_are_the_real_ones(folder: Path) -> None:
    data = json.loads(
        play(
            folder,
            """
query: "{ customer(id: 7) { account } }"
steps: { account: [{ fault: timeout }, { status: 503 }, { value: never }] }
expect:
  data: { customer: null }
  errors: [{ code: SUBREQUEST_HTTP_ERROR, step: account }]
  calls: { account: 2 }
""",
            """
query: "{ customer(id: 7) { total } }"
steps: { account: { value: { balance: 1 }, delay_ms: 250 } }
expect: { data: { customer: { total: 1 } }, within_ms: 250 }
""",
            form="json",
        )
    )
    first, second = (test["virtual_ms"] for test in data["tests"])
    assert 300 <= first <= 350
    assert second == 250


def test_a_request_before_leaves_a_last_value_and_context_can_be_given(folder: Path) -> None:
    play(
        folder,
        """
query: "{ customer(id: 7) { credit tenant } }"
context: { tenant: silver }
before: { steps: { account: { value: { tier: gold } }, credit: { value: { limit: 3 } } }, wait_ms: 5000 }
steps: { account: { value: { tier: gold } }, credit: { fault: error } }
expect:
  data: { customer: { credit: { limit: 3 }, tenant: silver } }
  completeness:
    missing: []
    degraded:
      - { operation: customer, path: [customer], step: credit, served_by: stale, age_ms: 5000, reason: SUBREQUEST_HTTP_ERROR }
  calls: { account: 1, credit: 1 }
""",
    )


def test_a_refused_request_and_a_plan_can_be_expected(folder: Path) -> None:
    play(
        folder,
        '\nquery: "{ customer { account } }"\nexpect: { refused: GRAPHQL_VALIDATION_FAILED }',
        """
query: "{ customer(id: 7) { total } }"
steps: { account: { value: {} } }
expect:
  plan: |
    plan customer(id: 7)                                          critical path 1300 ms
      1  account  api        GET /accounts/{id}  required  300 ms
      2  total    transform  account.balance     optional  1000 ms  after 1
    project
      customer { total }
    pruned: credit, person, rating, tenant
""",
    )


MISSES = {
    "data: { customer: { total: 2 } }": (r'-    "total": 2\n +\+    "total": 1',),
    "data: { customer: { total: 1 } }\n  errors: [{ code: GATEWAY_TIMEOUT }]": (
        r"--- expected errors",
        r'-    "code": "GATEWAY_TIMEOUT"',
    ),
    "completeness: { missing: [] }": (r"--- expected completeness", r"\+null"),
    "refused: BAD_USER_INPUT": (r"expected BAD_USER_INPUT, but no refusal: it was answered",),
    "plan: nothing": (r"-nothing", r"\+project"),
    "calls: { account: 0 }": (r"the step 'account' was called once, not 0 times",),
    "calls: { account: [{ request: GET /accounts/8 }] }": (
        r'-    "request": "GET /accounts/8"',
        r'\+    "request": "GET /accounts/7"',
    ),
    "calls: { account: [] }": (r'\+    "request": "GET /accounts/7"',),
    "within_ms: 99": (r"the answer took 100 ms, not at most 99",),
}


@pytest.mark.parametrize("expect", MISSES)
def test_what_is_not_as_expected_is_shown_as_a_difference(folder: Path, expect: str) -> None:
    text = play(
        folder,
        f"""
query: "{{ customer(id: 7) {{ total }} }}"
steps: {{ account: {{ value: {{ balance: 1 }}, delay_ms: 100 }} }}
expect:
  {expect}
""",
        status=1,
    )
    assert "✗ number 1  100 ms" in text
    assert "✗ 0 tests passed, 1 failed" in text
    for pattern in MISSES[expect]:
        assert re.search(pattern, text), text


def test_errors_that_nobody_expects_and_calls_without_a_mock_fail_a_test(folder: Path) -> None:
    text = play(folder, '\nquery: "{ customer(id: 7) { rating } }"\nexpect: { data: { customer: { rating: null } } }', status=1)
    assert "the step 'rating' was called and has no mock" in text
    assert '+    "code": "INTERNAL_SERVER_ERROR"' in text
    refused_text = play(folder, '\nquery: "{ nothing }"\nexpect: { data: {} }', status=1)
    assert "expected an answer, but GRAPHQL_VALIDATION_FAILED: Cannot query field 'nothing'" in refused_text


def test_what_no_test_reaches_is_told(folder: Path) -> None:
    tests = (
        """
query: "{ customer(id: 7) { credit } }"
steps: { account: [{ fault: timeout }, { value: { tier: basic } }] }
expect: { data: { customer: { credit: null } } }
""",
    )
    left = json.loads(play(folder, *tests, form="json"))["not_reached"]
    assert {(point["step"], point["policy"]) for point in left} == {
        ("account", "required"),
        ("credit", None),
        ("credit", "when: true"),
        ("credit", "fallback: stale"),
        ("credit", "fallback: creditFromWarehouse"),
        ("credit", "fallback: value"),
        ("creditFromWarehouse", None),
        ("person", None),
        ("rating", None),
        ("total", None),
        ("tenant", None),
        ("Person.friends", None),
        ("Person.friends", "fallback: value"),
    }
    text = play(folder, *tests)
    assert "not reached\n  customer.account  required\n  customer.credit\n" in text
    assert "✓ 1 test passed; reached 1 of 8 steps, 2 of 8 policies" in text


def test_the_fallback_of_a_link_is_reached(folder: Path) -> None:
    test = """
query: "{ customer(id: 7) { person { friends { name } } } }"
steps: { person: { value: { id: 7 } }, Person.friends: { fault: error } }
expect: { data: { customer: { person: { friends: [{ name: nobody }] } } } }
"""
    left = json.loads(play(folder, test, form="json"))["not_reached"]
    assert not any(point["step"] == "Person.friends" for point in left)


def test_junit_has_a_case_for_each_test(folder: Path) -> None:
    good = '\nquery: "{ customer(id: 7) { tenant } }"\nexpect: { data: { customer: { tenant: null } } }'
    text = play(folder, good, good.replace("tenant: null", "tenant: 1"), form="junit", status=1)
    suite = ET.fromstring(text)  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    passed, failed = suite.findall("testcase")
    assert passed.find("failure") is None
    failure = failed.find("failure")
    assert failure is not None
    assert '+    "tenant": null' in str(failure.text)


# -- files

MISTAKES = {
    "query: 5\nexpect: { data: {} }": (2, 8, "wrong-type"),
    "query: a\nexpect: { dta: {} }": (3, 11, "unknown-key"),
    "query: a\nexpect: {}": (3, 9, "missing-key"),
    "query: a": (1, 1, "missing-key"),
    "query: a\nsteps: { acount: { value: 1 } }\nexpect: { data: {} }": (3, 10, "unknown-step"),
    "query: a\nsteps: { account: { fault: tmeout } }\nexpect: { data: {} }": (3, 28, "bad-value"),
    "query: a\nsteps: { total: { value: 1 } }\nexpect: { data: {} }": (3, 10, "unused-mock"),
    "query: a\ncontext: { tennant: 1 }\nexpect: { data: {} }": (3, 12, "unknown-context"),
    "query: a\nexpect: { calls: { acount: 1 } }": (3, 20, "unknown-step"),
    "query: [": (3, 1, "yaml-syntax"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_test_is_a_problem_with_its_place(folder: Path, text: str) -> None:
    write_files(folder, {"tests/a.test.yaml": f"test: it\n{text}\n"})
    line, column, code = MISTAKES[text]
    told = refused("test", folder)
    assert f"{folder}/tests/a.test.yaml:{line}:{column}  " in told
    assert f"[{code}]" in told


def test_tests_are_no_configuration(folder: Path) -> None:
    before = read_files(folder)
    write_files(folder, {"a.test.yaml": "not: a configuration", "tests/b.test.yml": "nor: this"})
    assert read_files(folder) == before
    assert run("check", folder).exit_code == 0


def test_tests_are_found_where_they_are_said_to_be(folder: Path, tmp_path: Path) -> None:
    good = 'test: it\nquery: "{ customer(id: 7) { tenant } }"\nexpect: { data: { customer: { tenant: null } } }\n'
    write_files(tmp_path / "elsewhere", {"a.test.yaml": good, ".hidden/b.test.yaml": "nonsense", "c.yaml": "nonsense"})
    assert "✓ 1 test passed" in run("test", folder, "--tests", tmp_path / "elsewhere").stdout
    assert "✓ 1 test passed" in run("test", folder, "--tests", tmp_path / "elsewhere" / "a.test.yaml").stdout
    assert "no test below" in refused("test", folder)
    assert "no such file or folder" in refused("test", folder, "--tests", tmp_path / "nowhere")


def models(model: type[Keys]) -> list[type[Keys]]:
    return [other for other in Keys.__subclasses__() if other.__module__ == model.__module__]


@pytest.mark.parametrize("model", models(CaseKeys), ids=lambda model: model.__name__)
def test_every_example_of_the_keys_holds(model: type[Keys]) -> None:
    value: Any = yaml.safe_load(model.example)
    if model is not CaseKeys:
        (value,) = value.values()
    for item in value if isinstance(value, list) else [value]:
        assert isinstance(validate(model, item), model)


# -- the examples


def test_the_examples_pass_and_reach_every_step_and_policy() -> None:
    result = run("test", "schema_configs")
    assert result.exit_code == 0, result.output
    assert "not reached" not in result.stdout
