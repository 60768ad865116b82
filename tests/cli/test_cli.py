"""Every command of ``stepgraph``: what it prints, where, and its exit status; ``serve`` and ``demo`` as processes are in ``tests/process``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from graphql import build_schema
from typer.testing import CliRunner, Result

from gateway import __version__
from gateway.cli import command_line
from tests.kit.serving import run_command, write_files

COMMANDS = ["serve", "check", "schema", "blueprint", "plan", "test", "demo"]
CONFIG = {
    "graph.yaml": """
sources:
  core: { type: api, base_url: "http://127.0.0.1:1" }
  warehouse: { type: warehouse, url: "sqlite:///nowhere.db" }
defaults: { api: core, warehouse: warehouse }
---
operation: customer
steps:
  - { name: account, type: api, endpoint: "/accounts/{customer_id}", returns: Account }
  - { name: credit, type: api, endpoint: "/credit/{account.tier}", fallback: [ { value: { limit: 0 } } ] }
  - { name: risk, type: warehouse, query: "SELECT 1 AS one WHERE ? > 0" }
aggregation: { required_steps: [account] }
---
operation: keyed
args: { number: Int! }
steps:
  - { name: row, type: warehouse, query: "SELECT :key::text", params: { key: "{number}" } }
""",
    "types.graphql": '"An :heart: account." type Account { id: ID! tier: String }\n',
}
QUERY = "query Q($id: ID!, $all: Boolean = false) { customer(customer_id: $id) { account { id } credit @include(if: $all) } }"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_files(tmp_path / "config", CONFIG)


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "query.graphql"
    path.write_text(QUERY, "utf-8")
    return path


def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
    """Run a command in this process; nothing but an orderly exit may end it."""
    result = CliRunner().invoke(command_line(), [str(argument) for argument in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def refused(*arguments: object, stdin: str | bytes | None = None) -> str:
    """Return what a command says that fails: on standard error alone."""
    result = run(*arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


# -- help


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f" {name} " in result.stdout.partition("Usage:")[2].splitlines()[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("serve", ["--host", "--port", "--workers", "--dev", "CONFIG_DIR"]),
        ("check", ["CONFIG_DIR", "--lint", "--format", "--fail-on"]),
        ("test", ["CONFIG_DIR", "--tests", "--format"]),
        ("schema", ["CONFIG_DIR"]),
        ("plan", ["--variables", "--operation", "--format", "CONFIG_DIR", "QUERY_FILE"]),
        ("demo", ["--port", "--upstream-port"]),
    ],
)
def test_help_names_every_option(name: str, options: list[str]) -> None:
    text = run(name, "--help").stdout
    assert [option for option in options if option not in text] == []


def test_no_command_is_a_request_for_help() -> None:
    assert "Usage:" in run().output


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["check", "--nothing"],
        ["plan"],
        ["serve", "--port", "many"],
        ["serve", "--workers", "0"],
        ["check", "a", "b"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_wrong_has_the_exit_status_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error" in result.stderr


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"{__version__}\n"


# -- check and schema


def test_check_sums_up_a_sound_configuration(config: Path) -> None:
    result = run("check", config)
    assert (result.exit_code, result.stderr) == (0, "")
    words = result.stdout.split()
    for word in ("customer", "keyed", "merge", "(inferred)", "Int!"):
        assert word in words
    assert "2 operations, 2 sources, version" in result.stdout


def test_check_warns_of_inferred_arguments_that_are_much_alike(tmp_path: Path) -> None:
    steps = "steps:\n" + "".join(
        f'  - {{ name: step{index}, type: value, value: "{{{name}}}" }}\n'
        for index, name in enumerate(("customer_id", "custmer_id", "since", "until"))
    )
    warned = run("check", write_files(tmp_path / "inferred", {"a.yaml": f"operation: one\n{steps}"}))
    assert warned.exit_code == 0
    assert warned.stderr.startswith(
        "! the operation 'one' has the arguments 'customer_id' and 'custmer_id', which are inferred and very similar;"
    )
    assert warned.stderr.count("\n") == 1
    written = "operation: two\nargs: { customer_id: ID!, custmer_id: ID!, since: ID!, until: ID! }\n"
    assert run("check", write_files(tmp_path / "written", {"a.yaml": written + steps})).stderr == ""


@pytest.mark.parametrize("name", ["check", "schema", "serve"])
def test_problems_are_told_all_at_once_with_place_and_code(tmp_path: Path, name: str) -> None:
    broken = {
        "a.yaml": "operation: a\nsteps:\n  - { name: b, type: vlaue, value: 1 }\n  - { name: c, type: value, vlaue: 1 }\n",
        "b.yaml": "operation: [",
    }
    text = refused(name, write_files(tmp_path, broken))
    for place in ("a.yaml:3:22", "a.yaml:4:29", "b.yaml:"):
        assert f"{tmp_path}/{place}" in text
    for code in ("[unknown-step-type]", "[unknown-key]", "[yaml-syntax]"):
        assert code in text
    assert "did you mean 'value'?" in text


def test_a_folder_that_is_missing_or_empty_or_a_file_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("operation: a\n", "utf-8")
    assert "no such folder here; give" in refused("check", tmp_path / "nowhere")
    assert "is a file; give the folder of your configuration files  [no-folder]" in refused("check", file)
    assert "[no-operation]" in refused("check", write_files(tmp_path / "empty", {}))


def test_without_a_folder_the_default_one_is_taken(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.rename(config.with_name("schema_configs"))
    monkeypatch.chdir(config.parent)
    assert "2 operations" in run("check").stdout
    assert "type Customer" in run("schema").stdout


def test_schema_prints_sdl(config: Path) -> None:
    printed = run("schema", config).stdout
    query_type = build_schema(printed).query_type
    assert query_type is not None
    assert {name: str(field.type) for name, field in query_type.fields.items()} == {"customer": "Customer", "keyed": "Keyed"}


# -- plan


def test_plan_prints_what_a_query_needs(config: Path, query: Path) -> None:
    result = run("plan", config, query, "--variables", '{"id": "7"}')
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("plan customer(customer_id: $id)")
    assert "GET /accounts/{customer_id}" in result.stdout
    assert "/credit/" not in result.stdout
    assert "pruned: " in result.stdout


def test_a_variable_decides_what_is_planned(config: Path, query: Path) -> None:
    assert "/credit/" in run("plan", config, query, "--variables", '{"id": "7", "all": true}').stdout


def test_plan_reads_standard_input(config: Path) -> None:
    assert run("plan", config, "-", stdin="{ keyed(number: 1) { row } }").stdout.startswith("plan keyed(number: 1)")


def test_plan_gives_json(config: Path, query: Path) -> None:
    plan = json.loads(run("plan", config, query, "--format", "json", "--variables", '{"id": 7, "all": true}').stdout)
    (operation,) = plan["operations"]
    assert operation["operation"] == "customer"
    assert [(node["step"], node["role"], node["needs"]) for node in operation["nodes"]] == [
        ("account", "required", []),
        ("credit", "optional", [1]),
    ]
    assert operation["pruned"] == ["risk"]


def test_the_operation_of_a_document_can_be_chosen(config: Path) -> None:
    document = "query A { keyed(number: 1) { row } } query B { keyed(number: 2) { row } }"
    assert "number: 2" in run("plan", config, "-", "--operation", "B", stdin=document).stdout
    assert "operation name" in refused("plan", config, "-", stdin=document)
    assert "'C'" in refused("plan", config, "-", "--operation", "C", stdin=document)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "Syntax Error"),
        ("{ custmer }", "<stdin>:1:3: Cannot query field 'custmer' on type 'Query'. Did you mean 'customer'"),
        ("", "Syntax Error"),
        ("fragment F on Query { __typename }", "no operation"),
        ('{ keyed(number: "x") { row } }', "Int cannot represent"),
    ],
)
def test_a_document_that_cannot_be_planned_is_told_in_one_line(config: Path, document: str, words: str) -> None:
    text = refused("plan", config, "-", stdin=document)
    assert words in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "variables",
    [
        "{",
        "",
        "{'id': 7}",
        '{"id": null}',
        '{"id": {}}',
        "{}",
        "null",
        "7",
        "[7]",
        '"id"',
    ],
)
def test_variables_that_do_not_fit_are_told_in_one_line(config: Path, query: Path, variables: str) -> None:
    text = refused("plan", config, query, "--variables", variables)
    assert text.startswith("✗ --variables")
    assert len(text.splitlines()) == 1


def test_a_query_file_that_cannot_be_read_is_told_in_one_line(config: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.graphql", tmp_path):
        text = refused("plan", config, path)
        assert str(path) in text
        assert len(text.splitlines()) == 1


def test_a_query_in_the_place_of_its_file_is_told_where_it_goes(config: Path) -> None:
    assert "echo '{ … }' | stepgraph plan CONFIG_DIR -" in refused("plan", config, "{ keyed(number: 1) { row } }")


def test_a_query_file_that_is_not_utf8_is_told_in_one_line(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin.graphql"
    path.write_bytes(b"{ k\xe9yed }")
    assert str(path) in refused("plan", config, path)


# -- in a pipe


def test_a_narrow_pipe_breaks_neither_json_nor_plans_nor_places(config: Path, query: Path) -> None:
    arguments = ["plan", str(config), str(query), "--variables", '{"id": "7", "all": true}']
    narrow = run_command(*arguments, "--format", "json", COLUMNS="20")
    assert narrow.returncode == 0
    assert "\x1b" not in narrow.stdout
    assert json.loads(narrow.stdout)["operations"][0]["nodes"][0]["call"] == "GET /accounts/{customer_id}"
    assert run_command(*arguments, COLUMNS="20").stdout == run(*arguments).stdout


def test_a_narrow_pipe_does_not_break_problems(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"a.yaml": "operation: a\nsteps:\n  - { name: b, type: vlaue, value: 1 }\n"})
    place, message, _ = run_command("check", str(folder), COLUMNS="20").stderr.splitlines()
    assert place.startswith(f"{folder / 'a.yaml'}:3:22 ")
    assert message.strip().startswith("unknown type 'vlaue'; did you mean 'value'?")


def test_text_between_colons_is_printed_as_it_is(config: Path) -> None:
    plan = run("plan", config, "-", "--format", "json", stdin="{ keyed(number: 1) { row } }").stdout
    assert json.loads(plan)["operations"][0]["nodes"][0]["call"] == "SELECT :key::text"
    assert ":heart:" in run("schema", config).stdout


def test_a_server_imports_nothing_of_other_commands_nor_what_its_configuration_does_not_ask_for() -> None:
    code = "import sys; from gateway.cli import command_line; command_line(['serve']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    imported = done.stdout.split()
    strangers = (
        "strawberry",
        "httpx",
        "asyncpg",
        "duckdb",
        "markdown_it",
        "gateway.develop.lint",
        "gateway.develop.importing",
        "gateway.develop.testing",
    )
    assert [name for name in strangers if name in imported] == []
