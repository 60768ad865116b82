"""The examples in `schema_configs/`: every query that they show is answered, and makes the calls that its plan says."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import FieldNode, OperationDefinitionNode, parse, print_ast

from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.load.build.build import build, load
from gateway.load.read.files import Files, read_files
from gateway.serve.generation.generation import open_generation
from playground.demo.data import CUSTOMER_IDS
from playground.demo.warehouse import DEFAULT_PATH, seed, statements
from resolvers import STEP_TYPES
from tests.kit.databases import ask, database, run_with_timeout
from tests.kit.demo import EXAMPLES, copy_examples, running_demo, serving_examples
from tests.kit.serving import run_command

PAPER = EXAMPLES / "customer360" / "customer360.yaml"
"""It is the paper's, verbatim; its queries are in the README and in `gold.yaml`."""
WITHOUT_QUERIES = {PAPER.name, "sources.yaml"}
FILES = [path for path in map(Path, read_files(EXAMPLES).texts) if path.suffix == ".yaml" and path.name not in WITHOUT_QUERIES]


def shown(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the queries at the head of a file, each with the line of words over it."""
    heading = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        if line.startswith("#   "):
            yield heading, line.removeprefix("#   ")
        else:
            heading = line


QUERIES = [(path, heading, query) for path in FILES for heading, query in shown(path)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the demo as a newcomer does; give its URL."""
    with running_demo(copy_examples(tmp_path_factory.mktemp("checkout"))) as (url, _):
        yield url


# -- what a newcomer finds


def test_every_file_shows_a_query_and_every_operation_and_link_is_in_one() -> None:
    assert {path for path, _, _ in QUERIES} == set(FILES)
    found = load(EXAMPLES, STEP_TYPES, {})
    words = set(re.findall(r"\w+", " ".join(query for _, _, query in QUERIES)))
    assert found.operations.keys() <= words
    assert {field for _, field in found.links} <= words


def test_every_step_type_has_an_example() -> None:
    operations = load(EXAMPLES, STEP_TYPES, {}).operations.values()
    assert {step.type for operation in operations for step in operation.steps.values()} == set(STEP_TYPES)


@pytest.mark.parametrize(("path", "heading", "query"), QUERIES, ids=[f"{path.stem}: {query[:50]}" for path, _, query in QUERIES])
def test_the_demo_answers_what_the_examples_show(demo: str, path: Path, heading: str, query: str) -> None:
    answer = posted(demo, query)
    assert ("errors" in answer) == ("on purpose" in heading), answer.get("errors")
    assert all(value is not None for value in answer["data"].values())
    if header := dict(re.findall(r'"([\w-]+): (\w+)"', heading)):
        assert posted(demo, query, header)["data"] != answer["data"]


def posted(demo: str, query: str, headers: Mapping[str, str] | None = None) -> Any:
    """Ask the demo."""
    return httpx.post(f"{demo}/graphql", json={"query": query}, headers=headers).json()


# -- as many calls as the plan says

EVERY_KIND = """{
  advice(customer_id: 42) { account { name } rating { grade } offers { name } }
  posts { title user { name company { name } } readership { month readers } }
}"""


@pytest.fixture
def performed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Note what steps are performed in this process: the call as a plan tells it, and what goes in."""
    calls: list[tuple[str, Any]] = []

    def noting(original: Callable[..., Call]) -> Callable[..., Call]:
        def call(self: Any, step: Any, connection: Any) -> Call:
            perform = original(self, step, connection)

            async def noted(inputs: Inputs, context: CallContext) -> Reply:
                calls.append((step.description, inputs))
                return await perform(inputs, context)

            return noted

        return call

    for step_type in STEP_TYPES.values():
        kind: Any = type(step_type)
        monkeypatch.setattr(kind, "call", noting(kind.call))
    return calls


def plan_of(folder: Path, query: str) -> list[dict[str, Any]]:
    """Return the nodes of a plan as the command prints them."""
    file = folder.parent / "query.graphql"
    file.write_text(query, encoding="utf-8")
    printed = json.loads(run_command("plan", str(folder), str(file), "--format", "json").stdout)
    return [node for operation in printed["operations"] for node in operation["nodes"]]


def asked(folder: Path, query: str) -> tuple[Any, list[str]]:
    """Ask the examples in a folder; return the data, and what the upstream was asked for."""

    async def once() -> tuple[Any, list[str]]:
        async with serving_examples(folder) as (gateway, upstream):
            answer = await gateway.ask(query)
            assert "errors" not in answer.body
            return answer.data, upstream.calls

    return run_with_timeout(once())


def test_a_query_over_rest_sql_graphql_and_python_makes_exactly_the_calls_of_its_plan(
    tmp_path: Path, performed: list[tuple[str, Any]]
) -> None:
    folder = copy_examples(tmp_path)
    nodes = plan_of(folder, EVERY_KIND)
    data, upstream = asked(folder, EVERY_KIND)
    assert [(node["step"], node["type"], node["batch"]) for node in nodes] == [
        ("account", "api", None),
        ("risk", "warehouse", None),
        ("revenue", "warehouse", None),
        ("rating", "python", None),
        ("offers", "graphql", None),
        ("list", "api", None),
        ("Post.user", "api", 100),
        ("User.company", "graphql", 100),
        ("Post.readership", "warehouse", 500),
    ]
    # Each node was performed once, and nothing else: no batch here is larger than what one call takes.
    assert sorted(call for call, _ in performed) == sorted(node["call"] for node in nodes)
    # What left the process is what these calls say, no more.
    assert sorted(map(without_selection, upstream)) == sorted(
        expected(node["call"]) for node in nodes if node["type"] in {"api", "graphql"}
    )
    assert len(data["posts"]) == 100
    assert data["posts"][0]["user"]["company"]["name"]
    assert [row["month"] for row in data["posts"][0]["readership"]] == ["2025-10", "2025-11", "2025-12"]
    assert data["advice"]["rating"]["grade"] in {"A", "B", "C"}


def expected(call: str) -> str:
    """Return the request of a call of the plan, by the data of the demo."""
    if not call.startswith("GET "):
        return f"POST /catalog/graphql {field_of(call)}"
    users = "&".join(f"id={number}" for number in range(1, 11))
    return call.replace("{customer_id}", "42").replace("id={keys}", users)


def without_selection(request: str) -> str:
    """Return a request that the upstream got; of one that asks GraphQL, the document without what the client selects."""
    target, is_graphql, body = request.partition("/graphql ")
    return f"{target}{is_graphql}{field_of(json.loads(body)['query'])}" if is_graphql else request


def field_of(document: str) -> str:
    """Return the variables and the one field of a document, without what is selected under it."""
    (definition,) = parse(document).definitions
    assert isinstance(definition, OperationDefinitionNode)
    (field,) = definition.selection_set.selections
    assert isinstance(field, FieldNode)
    return " ".join(print_ast(node) for node in (*(definition.variable_definitions or ()), field.name, *(field.arguments or ())))


# -- batches

POSTS_AND_COMPANIES = "{ posts { user { company { name } } } }"


def test_a_hundred_posts_with_their_ten_users_are_two_calls(tmp_path: Path) -> None:
    data, calls = asked(copy_examples(tmp_path), "{ posts { user { id } } }")
    assert [len(data["posts"]), len({post["user"]["id"] for post in data["posts"]})] == [100, 10]
    assert [call.partition("?")[0] for call in calls] == ["GET /posts", "GET /users"]


def test_without_a_batch_they_are_one_call_for_each_user(tmp_path: Path) -> None:
    folder = copy_examples(tmp_path)
    rewrite(folder / "blog" / "blog.yaml", r"  endpoint: /users\n(  .*\n)*", '  endpoint: "/users/{parent.userId}"\n')
    data, calls = asked(folder, "{ posts { user { id } } }")
    assert len({post["user"]["id"] for post in data["posts"]}) == 10
    assert sorted(calls) == sorted(["GET /posts", *(f"GET /users/{number}" for number in range(1, 11))])


def test_three_companies_in_batches_of_two_are_four_calls_with_the_posts_and_users(tmp_path: Path) -> None:
    folder = copy_examples(tmp_path)
    rewrite(folder / "catalog" / "catalog.yaml", "max: 100", "max: 2")
    data, calls = asked(folder, POSTS_AND_COMPANIES)
    assert len({post["user"]["company"]["name"] for post in data["posts"]}) == 3
    ids = [json.loads(call.partition("/graphql ")[2])["variables"]["ids"] for call in calls if call.startswith("POST")]
    assert [call.partition("?")[0] for call in calls[:2]] == ["GET /posts", "GET /users"]
    assert [len(calls), sorted(map(len, ids)), sorted(chain(*ids))] == [4, [1, 2], [1, 2, 3]]


def rewrite(path: Path, pattern: str, replacement: str) -> None:
    """Replace what stands once in a file."""
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
    assert count == 1
    path.write_text(text, encoding="utf-8")


# -- one operation, three databases

FROM_THE_WAREHOUSE = """query($id: ID!) {
  customer360(customer_id: $id) { riskProfile { score segment } }
  revenue(customer_id: $id) { months { month revenue } summary { total best_month } }
}"""


def from_the_warehouse(files: Files, environment: Mapping[str, str]) -> dict[str, Any]:
    """Ask the examples' warehouse for everything that it has about all customers."""

    async def once() -> dict[str, Any]:
        async with open_generation(build(files, STEP_TYPES, environment), STEP_TYPES, is_development=True) as generation:
            return {number: await ask(generation, FROM_THE_WAREHOUSE, id=number) for number in (*CUSTOMER_IDS, "0")}

    return run_with_timeout(once())


@pytest.mark.parametrize("kind", ["postgresql", "duckdb"])
def test_the_warehouse_moves_to_another_database_by_its_url_alone(kind: str, tmp_path: Path) -> None:
    seed(DEFAULT_PATH)
    files = read_files(copy_examples(tmp_path))
    before = from_the_warehouse(files, {})
    assert not any("errors" in answer for answer in before.values())
    assert len(before["42"]["data"]["revenue"]["months"]) == 12
    assert before["0"]["data"]["customer360"] == {"riskProfile": None}
    with database(kind, files.folder, *statements()) as url:
        assert url.startswith(kind)
        assert from_the_warehouse(files, {"WAREHOUSE_URL": url}) == before
