"""Requests of security scanners, sent to a gateway in production over real sockets: they must find nothing.

The probes are those of graphql-cop (case L-08), with what else must not be seen from outside (L-03), and hostile documents beside others (Q-05).
"""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.document.test_limits import HOSTILE
from tests.kit.serving import JSON, Answer, Stage
from tests.kit.timing import SLACK

CONFIG = {
    "graph.yaml": """
operation: n
args: { x: "[Int]", y: In, s: String, j: Int }
type: Root
steps:
  - { name: n, type: api, endpoint: /n, returns: N }
  - { name: u, type: api, endpoint: /u, returns: U }
---
operation: write
kind: mutation
steps: [ { name: done, type: api, method: POST, endpoint: /write } ]
---
sources: { core: { type: api, base_url: UPSTREAM } }
defaults: { api: core }
""",
    "types.graphql": """
type N implements I { id: ID n: N l: [N] i: I u: U }
type M implements I { id: ID n: N i: I }
interface I { id: ID n: N i: I }
union U = N | M
input In { a: Int i: In l: [In] }
""",
}
LEGACY = {"content-type": JSON, "accept": "*/*", "user-agent": "python-requests/2.31"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("probes"), CONFIG) as opened:
        yield opened


def send(stage: Stage, method: str, target: str, **request: Any) -> httpx.Response:
    """Send a request with any headers, as a scanner does; the response need not be JSON."""
    gateway = stage.production
    return stage.run(lambda: gateway.client.request(method, gateway.url + target, **request))


def probe(stage: Stage, body: object) -> Any:
    return send(stage, "POST", "/graphql", json=body, headers=LEGACY).json()


def errors_of(answer: Any) -> list[Any]:
    assert "data" not in answer
    return list(answer["errors"])


def test_aliases_directives_fields_and_batches_cannot_be_piled_up(stage: Stage) -> None:
    aliases = " ".join(f"alias{index}:__typename" for index in range(101))
    assert errors_of(probe(stage, {"query": f"query cop {{ {aliases} }}"}))
    assert errors_of(probe(stage, {"query": "query cop { " + "__typename \n" * 500 + "}"}))
    assert len(errors_of(probe(stage, {"query": "query cop { __typename " + "@aa" * 10 + " }"}))) != 10
    assert errors_of(probe(stage, [{"query": "query cop { __typename }"}] * 11))


def test_neither_introspection_nor_circles_through_it_or_through_fragments_are_answered(stage: Stage) -> None:
    inner = "name"
    for _ in range(4):
        inner = f"fields {{ type {{ {inner} }} }}"
    for query in (
        "query cop { __schema { types { name fields { name } } } }",
        f"query cop {{ __schema {{ types {{ {inner} }} }} }}",
        "query { __schema { ...A } } fragment A on __Schema { __typename ...B } fragment B on __Schema { ...A }",
        '{ __type(name: "N") { name } }',
    ):
        assert errors_of(probe(stage, {"query": query}))


@pytest.mark.parametrize(
    "query",
    [
        "query cop { __schema { directive } }",
        "{ nn }",
        "{ n { nn { id } } }",
        "{ n(xx: 1) { n { id } } }",
        "{ n { u { ... on Nn { id } } } }",
    ],
)
def test_no_name_of_the_schema_is_suggested(stage: Stage, query: str) -> None:
    assert "Did you mean" not in str(errors_of(probe(stage, {"query": query})))


def test_nothing_is_executed_for_another_site(stage: Stage) -> None:
    query = "query cop {__typename}"
    target = f"/graphql?query={quote(query)}"
    for method, request in (
        ("GET", {}),
        ("POST", {}),
        ("POST", {"data": {"query": query}}),
        ("POST", {"content": query, "headers": {"content-type": "text/plain"}}),
        ("POST", {"files": {"query": (None, query)}}),
        ("GET", {"headers": {"content-type": "text/plain"}}),
    ):
        assert "data" not in send(stage, method, target, **request).json()
    mutation = send(
        stage, "GET", f"/graphql?query={quote('mutation { write { done } }')}", headers={"graphql-require-preflight": "1"}
    )
    assert (mutation.status_code, mutation.json()["errors"][0]["extensions"]["code"]) == (
        405,
        "MUTATION_NOT_ALLOWED_OVER_HTTP_GET",
    )
    assert stage.upstream.count("/write") == 0


@pytest.mark.parametrize("path", ["/", "/graphiql", "/playground", "/playground/", "/console", "/graphql", "/docs", "/altair"])
@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "*/*"])
def test_there_is_no_page(stage: Stage, path: str, accept: str) -> None:
    answer = send(stage, "GET", path, headers={"accept": accept})
    assert answer.status_code == (400 if path == "/graphql" and accept == "*/*" else 404)
    assert not any(word in answer.text for word in ("graphiql", "GraphiQL", "Playground", "<html"))
    assert "server" not in answer.headers
    assert "x-powered-by" not in answer.headers


def test_errors_tell_nothing_of_the_inside(stage: Stage) -> None:
    for query in ("qwerty cop { abc }", "query { __typename }", "{ n { n { id } } }", "{ nn }"):
        answer = probe(stage, {"query": query, "extensions": {"tracing": True}})
        assert not any(word in str(answer).lower() for word in ("stacktrace", "exception", "tracing", "traceback", "127.0.0.1"))


def test_the_type_of_an_object_can_be_asked_for(stage: Stage) -> None:
    assert probe(stage, {"query": "{ __typename }"}) == {"data": {"__typename": "Query"}}


def test_others_are_answered_soon_while_hostile_documents_come(stage: Stage) -> None:
    """Other requests wait for one document at most. The bound has room for a busy machine."""

    async def attack() -> list[Answer]:
        async def others() -> list[Answer]:
            return [await stage.production.ask("{ __typename }") for _ in range(40)]

        queries = [query for query in HOSTILE.values() if len(query) < 10_000]
        attacks = [stage.production.ask(query) for query in queries]
        async with asyncio.TaskGroup() as group:
            answered = group.create_task(others())
            for sent in attacks:
                group.create_task(sent)
        return answered.result()

    before = len(stage.upstream.connections)
    answered = stage.run(attack)
    assert {answer.status for answer in answered} == {200}
    assert sorted(answer.seconds for answer in answered)[20] < 0.5 + SLACK
    assert len(stage.upstream.connections) - before <= 20


@pytest.mark.parametrize("name", [name for name, query in HOSTILE.items() if len(query) < 1_900_000])
def test_a_hostile_document_is_answered_in_json_and_by_no_5xx(stage: Stage, name: str) -> None:
    answer = stage.run(lambda: stage.production.ask(HOSTILE[name]))
    assert answer.status in {200, 400, 403}
