"""Short queries that ask for much: for work, memory, calls or a large answer. Nobody else waits for them (rows Q-13 to Q-18)."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import Json
from tests.faults.probes import Watch
from tests.faults.served import Served
from tests.kit.serving import Answer
from tests.kit.timing import SLACK

case = pytest.mark.case
TYPES, FIELDS = 20, 60
SDL = "\n".join(
    [
        "interface Node { id: Int child: Node }",
        *(f"type T{number} implements Node {{ id: Int name: String child: Node }}" for number in range(TYPES)),
        f"type Wide {{ {' '.join(f'f{number}: String' for number in range(FIELDS))} a: Wide b: Wide }}",
        "type Item { id: Int! name: String }",
        "type Large { text: String }",
    ]
)
GRAPH = """
sources: { core: { type: api, base_url: UPSTREAM, concurrency: 100, queue: 5000, timeout_ms: 20000 } }
defaults: { api: core }
---
limits: { max_calls: 50, introspection: true }
---
operation: deep
deadline_ms: 20000
steps:
  - { name: node, type: value, value: { __typename: T1, id: 1, child: { __typename: T2, id: 2 } }, returns: Node }
  - { name: wide, type: value, value: { f1: one }, returns: Wide }
---
operation: echo
args: { any: JSON, lists: "[[Int]]", number: Int }
steps: [ { name: value, type: value, value: { any: "{any?}", lists: "{lists?}", number: "{number?}" } } ]
---
operation: items
deadline_ms: 20000
steps: [ { name: all, type: api, endpoint: /items, returns: "[Item]" } ]
aggregation: { strategy: pick, step: all }
---
field: Item.one
returns: Item
step: { type: api, endpoint: "/one/{parent.id}", retry: { attempts: 1 } }
---
field: Item.note
args: { text: String, number: Int }
returns: Large
step: { type: value, value: { text: "{parent.id}{text?}" } }
---
field: Item.sent
args: { text: String }
returns: Item
step: { type: api, method: POST, endpoint: "/one/{parent.id}", body: { text: "{text?}" }, retry: { attempts: 1 } }
---
field: Item.large
returns: Large
step: { type: api, endpoint: "/large/{parent.name}" }
"""
MAX_WAIT = 0.1


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a graph with wide lists and an interface within itself, in production mode."""
    with Served(tmp_path_factory.mktemp("sized"), {"types.graphql": SDL, "graph.yaml": GRAPH}) as opened:
        opened.ask("{ __typename }")
        yield opened


def watched(served: Served, query: str, **variables: object) -> tuple[Answer, Watch]:
    """Ask, and measure how long health checks wait meanwhile, and how much memory is taken."""

    async def ask() -> tuple[Answer, Watch]:
        async with Watch(served.pid, served.process.url, interval=0.005) as watch:
            return await served.gateway.ask(query, variables), watch

    return served.run(ask)


def chain(levels: int) -> str:
    return "child { " * levels + "id" + " }" * levels


def on_each_type(levels: int) -> str:
    return " ".join(f"... on T{number} {{ {'child { ' * levels}id{' }' * levels} name }}" for number in range(TYPES))


@case("Q-13", "Q-14")
@pytest.mark.parametrize(
    "query",
    [
        *(f"{{ deep {{ node {{ {chain(levels)} }} }} }}" for levels in (4, 5, 12)),
        f"{{ deep {{ node {{ {on_each_type(3)} }} }} }}",
        f"{{ deep {{ node {{ child {{ {on_each_type(6)} }} {on_each_type(2)} }} }} }}",
    ],
)
def test_a_short_query_on_an_interface_holds_nobody_up(sized: Served, query: str) -> None:
    answer, watch = watched(sized, query)
    assert answer.status == 200 or (answer.status, *answer.codes) in {
        (400, "QUERY_PLAN_COMPLEXITY_EXCEEDED"),
        (400, "MAX_FIELDS_LIMIT"),
    }
    assert answer.seconds < 1 + SLACK
    assert watch.delay < MAX_WAIT + SLACK
    assert watch.grown < 20_000_000


@pytest.mark.load
@case("Q-15")
def test_conditions_in_all_combinations_take_bounded_memory(sized: Served) -> None:
    names = [f"v{bit}" for bit in range(6)]
    declared = " ".join(f"${name}: Boolean!" for name in names)

    def query(number: int) -> str:
        fields = " ".join(
            f"w{number}x{bit}: wide @include(if: ${name}) {{ {' '.join(f'f{(number + bit + part) % FIELDS}' for part in range(12))} }}"
            for bit, name in enumerate(names)
        )
        return f"query ({declared}) {{ deep {{ node {{ id }} {fields} }} }}"

    async def ask_all() -> tuple[Watch, list[float]]:
        took = []
        async with Watch(sized.pid, sized.process.url) as watch:
            for number in range(40):
                text = query(number)
                for values in itertools.product([False, True], repeat=6):
                    answer = await sized.gateway.ask(text, dict(zip(names, values, strict=True)))
                    assert answer.status == 200
                    took.append(answer.seconds)
        return watch, took

    watch, took = sized.run(ask_all)
    assert watch.grown < 60_000_000
    assert statistics.median(took) < 0.01 + SLACK / 10
    assert sized.metric('stepgraph_cache_bytes{kind="documents"}') < 50_000_000
    assert sized.metric('stepgraph_cache_evicted{kind="documents"}') > 0


@case("Q-16")
@pytest.mark.parametrize(
    ("query", "code"),
    [
        (f"{{ items {{ {'a' * 60_000}: id }} }}", "MAX_ALIASES_LIMIT"),
        (f"{{ items {{ {' '.join(f'{chr(97 + number) * 2_000}: id' for number in range(20))} }} }}", "MAX_ALIASES_LIMIT"),
        (f"{{ {' '.join(f'a{number}: items {{ id name }}' for number in range(20))} }}", "RESPONSE_TOO_LARGE"),
        ("{ items { large { text } } }", "RESPONSE_TOO_LARGE"),
    ],
    ids=["one alias", "several aliases", "a list many times", "a link to the same"],
)
def test_an_answer_is_not_larger_than_allowed(sized: Served, query: str, code: str) -> None:
    sized.upstream.script("/items", Json([{"id": number, "name": "same" * 40} for number in range(10_000)]))
    sized.upstream.script(f"/large/{'same' * 40}", Json({"text": "x" * 100_000}))
    answer, watch = watched(sized, query)
    assert (answer.status, answer.codes) == (400, [code])
    assert watch.grown < 50_000_000
    assert watch.delay < MAX_WAIT + SLACK


@case("Q-17")
def test_a_request_makes_so_many_calls_and_the_rest_fails(sized: Served) -> None:
    sized.upstream.forget()
    sized.upstream.script("/items", Json([{"id": number} for number in range(100_000)]))
    for number in range(50):
        sized.upstream.script(f"/one/{number}", Json({"id": -number}))
    answer, watch = watched(sized, "{ items { id one { id } } }")
    items: list[Any] = answer.data["items"]
    assert len(items) == 100_000
    assert [item["one"] for item in items[:50]] == [{"id": -number} for number in range(50)]
    assert {item["one"] is None for item in items[50:]} == {True}
    errors = answer.body["errors"]
    assert {error["extensions"]["code"] for error in errors[:-1]} == {"REQUEST_LIMIT_EXCEEDED"}
    assert errors[0]["message"] == "'Item.one' was not called: the links of one request may make 50 calls."
    assert "99900 more errors" in errors[-1]["message"]
    assert watch.delay < MAX_WAIT + SLACK
    assert sum(sized.upstream.count(f"/one/{number}") for number in range(200)) == 50


@case("Q-18")
def test_new_documents_without_end_let_others_through(sized: Served) -> None:
    numbers = itertools.count()

    def new_query() -> str:
        number = next(numbers)
        half = " ".join(f"f{index}" for index in range(FIELDS))
        parts = " ".join(f"{field} {{ {half} a {{ {half} }} b {{ {half} }} }}" for field in ("a", "b"))
        return f"{{ deep {{ wide {{ n{number}: f1 {parts} }} }} }}"

    async def scenario() -> list[float]:
        stop = time.monotonic() + 4

        async def ask_anew() -> None:
            while time.monotonic() < stop:
                assert (await sized.gateway.ask(new_query())).status == 200

        async def measure() -> list[float]:
            took = []
            while time.monotonic() < stop:
                took.append((await sized.gateway.ask("{ __typename }")).seconds)
                await asyncio.sleep(0.02)
            return took

        measuring = asyncio.create_task(measure())
        await asyncio.gather(*(ask_anew() for _ in range(3)))
        return await measuring

    assert statistics.median(sized.run(scenario)) < 0.1 + SLACK / 10


REPEATED = " ".join(["$v"] * 600)


@pytest.mark.parametrize("argument", [f"any: [{REPEATED}]", f"lists: [{REPEATED}]", f"any: {{ a: [{{ b: [{REPEATED}] }}] }}"])
@pytest.mark.parametrize("given", [list(range(19_000)), "x" * 1_900_000], ids=["values", "text"])
def test_a_literal_that_repeats_a_large_variable_is_refused(sized: Served, argument: str, given: object) -> None:
    if argument.startswith("lists") and isinstance(given, str):
        given = given[:100]
    kind = "[Int]" if argument.startswith("lists") else "JSON"
    answer, watch = watched(sized, f"query ($v: {kind}) {{ echo({argument}) {{ value }} }}", v=given)
    assert answer.codes == ["BAD_USER_INPUT"]
    assert watch.delay < MAX_WAIT + SLACK
    assert watch.grown < 20_000_000


def test_a_literal_may_repeat_a_small_variable(sized: Served) -> None:
    answer, _ = watched(sized, "query ($v: JSON) { echo(any: [$v, { a: $v }]) { value } }", v=[1, "x"])
    assert answer.data == {"echo": {"value": {"any": [[1, "x"], {"a": [1, "x"]}]}}}


def test_one_large_variable_in_many_fields_holds_nobody_up(sized: Served) -> None:
    fields = " ".join(f"a{number}: echo(any: $v, number: {number}) {{ __typename }}" for number in range(20))
    answer, watch = watched(sized, f"query ($v: JSON) {{ {fields} }}", v=list(range(19_900)))
    assert not answer.codes
    assert watch.delay < MAX_WAIT + SLACK


def test_a_long_answer_to_introspection_holds_nobody_up(sized: Served) -> None:
    types = " ".join(f"a{number}: types {{ name fields {{ name type {{ name ofType {{ name }} }} }} }}" for number in range(28))
    for _ in range(2):  # also where the plan is known
        answer, watch = watched(sized, f"{{ __schema {{ {types} }} }}")
        assert not answer.codes
        assert watch.delay < MAX_WAIT + SLACK


@pytest.mark.parametrize("field", ["note(text: $v) { text }", "sent(text: $v) { id }"])
def test_a_large_argument_of_a_link_is_not_repeated_for_each_item(sized: Served, field: str) -> None:
    sized.upstream.script("/items", Json([{"id": number} for number in range(2_000)]))
    answer, watch = watched(sized, f"query ($v: String) {{ items {{ id {field} }} }}", v="x" * 1_900_000)
    assert set(answer.codes) <= {"REQUEST_LIMIT_EXCEEDED", "RESPONSE_TOO_LARGE"}
    assert answer.codes
    assert watch.grown < 100_000_000


def test_links_repeat_small_arguments_within_their_calls(sized: Served) -> None:
    sized.upstream.script("/items", Json([{"id": number} for number in range(100)]))
    answer, _ = watched(sized, 'query { items { note(text: "a") { text } } }')
    assert [item["note"]["text"] for item in answer.data["items"][:50]] == [f"{number}a" for number in range(50)]
