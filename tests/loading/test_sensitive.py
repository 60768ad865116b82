"""What is declared sensitive, by a key or in the SDL: which steps, arguments and plans it makes silent."""

from pathlib import Path
from typing import Any

import pytest
from graphql import parse, print_schema

from gateway.blueprint import Blueprint
from gateway.blueprint.redaction import MASK, redact_detail
from gateway.blueprint.view import blueprint_json
from gateway.document.redaction import Redaction, read_redaction
from gateway.errors import ConfigurationError
from gateway.load.build.build import load
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES
from tests.cli.test_cli import run
from tests.kit.serving import run_command, write_files

TYPES = """
type Account { id: ID ssn: String @sensitive }
type Holder { account: Account name: String }
type Plain { id: ID }
type Declared { shown: String hidden: String @sensitive }
input Filter { name: String ssn: String @sensitive }
"""
SOURCES = """
sources:
  core: { type: api, base_url: "https://core.internal", headers: { authorization: "Bearer hush-hush-token" } }
  store: { type: warehouse, url: "postgresql://user:hush%2Dhush@db.internal/shop" }
defaults: { api: core, warehouse: store }
---
"""


def built(folder: Path, config: str) -> Blueprint:
    return load(write_files(folder, {"a.yaml": SOURCES + config, "types.graphql": TYPES}), STEP_TYPES)


def silent(blueprint: Blueprint, operation: str = "o") -> set[str]:
    return {name for name, step in blueprint.operations[operation].steps.items() if step.is_sensitive}


def test_a_step_is_silent_when_it_says_so_and_so_is_whatever_reads_it(tmp_path: Path) -> None:
    config = """
operation: o
args: { id: ID! }
steps:
  - { name: a, type: api, endpoint: "/a/{id}", sensitive: true }
  - { name: b, type: api, endpoint: "/b/{a.x}" }
  - { name: c, type: transform, select: "b.x" }
  - { name: d, type: api, endpoint: "/d/{id}", when: "c" }
  - { name: e, type: api, endpoint: "/e/{id}", depends_on: [a] }
"""
    assert silent(built(tmp_path, config)) == {"a", "b", "c", "d"}


def test_a_step_that_is_given_a_sensitive_argument_is_silent(tmp_path: Path) -> None:
    config = """
operation: o
args: { id: ID!, ssn: { type: ID!, sensitive: true }, filter: Filter }
steps:
  - { name: a, type: api, endpoint: "/a/{id}" }
  - { name: b, type: api, endpoint: "/b/{ssn}" }
  - { name: c, type: api, endpoint: "/c/{args.ssn}" }
  - { name: d, type: api, endpoint: "/d", query: { q: "{filter.name}" } }
  - { name: e, type: api, endpoint: "/e/{args.id}" }
"""
    blueprint = built(tmp_path, config)
    assert silent(blueprint) == {"b", "c", "d"}
    assert blueprint.sensitive == {"ssn", "filter"}


def test_a_step_whose_type_has_something_sensitive_in_it_is_silent(tmp_path: Path) -> None:
    config = """
operation: o
steps:
  - { name: a, type: api, endpoint: /a, returns: "[Holder!]" }
  - { name: b, type: api, endpoint: /b, returns: Plain }
---
operation: declared
steps:
  - { name: shown, type: api, endpoint: /a }
  - { name: hidden, type: api, endpoint: /b }
---
field: Account.friends
returns: "[Plain]"
step: { type: api, endpoint: "/friends/{parent.ssn}" }
---
field: Plain.account
returns: Account
step: { type: api, endpoint: "/accounts", query: { id: "{keys}" }, batch: { key: id, match: id } }
---
field: Plain.other
returns: Plain
step: { type: api, endpoint: "/plain/{parent.id}" }
"""
    blueprint = built(tmp_path, config)
    assert (silent(blueprint), silent(blueprint, "declared")) == ({"a"}, {"hidden"})
    links = {link.step.name for link in blueprint.links.values() if link.step.is_sensitive}
    assert links == {"Account.friends", "Plain.account"}


def test_clients_do_not_see_what_is_sensitive_as_such(tmp_path: Path) -> None:
    blueprint = built(tmp_path, "operation: o\nsteps: [ { name: a, type: api, endpoint: /a, returns: Account } ]")
    assert "sensitive" not in print_schema(build_schema(blueprint))


def test_an_overlay_makes_a_step_silent_too(tmp_path: Path) -> None:
    config = """
context: { tenant: 'request.headers."x-tenant"' }
---
operation: o
steps: [ { name: a, type: api, endpoint: /a } ]
---
overlay: gold
when: { tenant: gold }
operation: o
steps: [ { name: a, sensitive: true } ]
"""
    blueprint = built(tmp_path, config)
    assert silent(blueprint) == set()
    assert blueprint.effective("o", (0,)).steps["a"].is_sensitive


def test_a_constant_of_a_silent_step_is_in_no_view(tmp_path: Path) -> None:
    config = "operation: o\nsteps: [ { name: a, type: api, endpoint: /a, sensitive: true, fallback: [ { value: geheim } ] } ]"
    blueprint = built(tmp_path / "config", config)
    assert "geheim" not in str(blueprint_json(blueprint))
    (tmp_path / "q.graphql").write_text("{ o { a } }", "utf-8")
    for form in ("tree", "json", "mermaid", "dot"):
        shown = run("plan", str(tmp_path / "config"), str(tmp_path / "q.graphql"), "--format", form)
        assert shown.exit_code == 0
        assert "geheim" not in shown.output


@pytest.mark.parametrize(
    ("inputs", "detail", "told"),
    [
        ({}, "token hush-hush-token", f"token {MASK}"),
        ({"headers": {"x-user": "Jane Doe"}}, "unknown user Jane Doe (Jane)", f"unknown user {MASK} ({MASK})"),
        ({"endpoint": ("4711",)}, "status 404: b'no 4711'", "status 404: b'no 4711'"),
        ({"endpoint": ("jane.doe@example.com",)}, "no jane.doe@example.com", f"no {MASK}"),
        ({"body": {"a": [{"b": "a long text"}]}}, 'got {"b": "a long text"}', f'got {{"b": "{MASK}"}}'),
        ({"body": {"a": "line\nbreak!"}}, "b'line\\nbreak!'", f"b'{MASK}'"),
        ({"body": {"a": "größer als"}}, "b'gr\\xc3\\xb6\\xc3\\x9fer als'", f"b'{MASK}'"),
        ({"selection": "{ identifier }"}, "no field identifier", "no field identifier"),
    ],
)
def test_what_was_sent_is_taken_out_of_what_came_back(tmp_path: Path, inputs: dict[str, Any], detail: str, told: str) -> None:
    blueprint = built(tmp_path, "operation: o\nsteps: [ { name: a, type: api, endpoint: /a } ]")
    assert redact_detail(blueprint.operations["o"].steps["a"], inputs, detail) == told


def test_the_password_of_a_url_is_taken_out_as_it_is_and_decoded(tmp_path: Path) -> None:
    blueprint = built(tmp_path, "operation: o\nsteps: [ { name: a, type: warehouse, query: SELECT 1 AS one } ]")
    told = redact_detail(blueprint.operations["o"].steps["a"], None, "hush%2Dhush or hush-hush for user")
    assert told == f"{MASK} or {MASK} for user"


def test_of_a_silent_step_the_kind_of_its_failure_is_told_alone(tmp_path: Path) -> None:
    blueprint = built(tmp_path, "operation: o\nsteps: [ { name: a, type: api, endpoint: /a, sensitive: true } ]")
    assert redact_detail(blueprint.operations["o"].steps["a"], None, "status 503: b'Jane'", "503") == f"503 {MASK}"


def test_values_of_a_document_are_found_wherever_the_argument_stands() -> None:
    document = parse('query($v: ID) { a(x: 1, ssn: "one") { b(ssn: { deep: [$v, TWO] }) } ...F } fragment F on Q { c(ssn: 3.5) }')
    found = read_redaction(document, frozenset({"ssn"}))
    assert found == Redaction(frozenset({"v"}), frozenset({"one", "TWO", "3.5"}))
    assert found.redact({"message": "one TWO 1 given"}, {"v": {"a": ["given"]}}) == {"message": f"{MASK} {MASK} 1 {MASK}"}


def test_a_value_of_the_environment_is_shown_as_it_is_written(tmp_path: Path) -> None:
    config = """
sources: { core: { type: api, base_url: "https://core.internal", headers: { authorization: "Bearer ${TOKEN}" } } }
defaults: { api: core }
---
context: { tenant: 'request.headers."x-tenant"' }
---
operation: o
steps: [ { name: a, type: api, endpoint: "/a/${TOKEN}", query: { key: "${TOKEN}", short: "${SHORT}" } } ]
---
overlay: gold
when: { tenant: gold }
operation: o
steps: [ { name: a, headers: { authorization: "Bearer literal-token" }, query: { key: "${TOKEN}" } } ]
"""
    write_files(tmp_path / "config", {"a.yaml": config})
    write_files(tmp_path, {"q.graphql": "{ o { a } }"})
    environment = {"TOKEN": "canary-f00dfeed", "SHORT": "gold"}
    config_dir = str(tmp_path / "config")
    plan = ["plan", config_dir, str(tmp_path / "q.graphql"), "--context", "tenant=gold"]
    for arguments in (plan, ["blueprint", config_dir]):
        done = run_command(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        assert "canary" not in done.stdout
        assert "literal-token" not in done.stdout
        assert "GET /a/${TOKEN}?key=${TOKEN}&short=gold" in done.stdout


def test_a_problem_with_a_value_of_the_environment_shows_it_as_it_is_written(tmp_path: Path) -> None:
    config = 'operation: o\nsteps: [ { name: a, type: api, method: "${TOKEN}", endpoint: /a } ]'
    with pytest.raises(ConfigurationError, match=r"not '\$\{TOKEN\}'") as raised:
        load(write_files(tmp_path, {"a.yaml": config}), STEP_TYPES, {"TOKEN": "canary-f00dfeed"})
    assert "canary" not in str(raised.value)
