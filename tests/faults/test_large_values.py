"""Values that take long to work on: expressions over very many items, replies of very many values (rows I-14 and U-21). Nobody waits for them."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults import Json, Status
from tests.faults.probes import Watch
from tests.faults.served import Served
from tests.kit.serving import Answer
from tests.kit.timing import SLACK

case = pytest.mark.case

COUNT = 40_000
SELECTS = {
    "sorted": ("sort_by([], &a)[].a | length(@)", COUNT),
    "reversed": ("sort_by(@, &a) | reverse(@) | [0].a", COUNT - 1),
    "filtered": ("[?a > `100` && a != `7`] | length(@)", COUNT - 101),
    "mapped": ("map(&a, @) | sum(@)", sum(range(COUNT))),
    "objects": ("[].{a: a, b: a} | [-1].b", COUNT - 1),
    "doubled": ("[] | [@, @][] | [@, @][] | length(@)", 4 * COUNT),
    "as text": ("to_string(@) | length(@)", None),
    "joined": ("[].to_string(a) | join(',', @) | length(@)", None),
}
STEPS = "\n".join(
    f'  - {{ name: s{number}, type: api, endpoint: /many, select: "{select}", timeout_ms: 30000 }}'
    for number, (select, _) in enumerate(SELECTS.values())
)
CONFIG = {
    "graph.yaml": f"""
sources:
  core: {{ type: api, base_url: UPSTREAM, retry: {{ attempts: 1 }}, breaker: {{ enabled: false }} }}
  people: {{ type: graphql, url: UPSTREAM/graphql, retry: {{ attempts: 1 }}, breaker: {{ enabled: false }} }}
defaults: {{ api: core }}
---
operation: many
deadline_ms: 60000
steps:
{STEPS}
---
operation: most
deadline_ms: 60000
steps: [ {{ name: sorted, type: api, endpoint: /most, timeout_ms: 30000, select: "sort_by([], &a)[].a | length(@)" }} ]
---
operation: brief
steps:
  - {{ name: cut, type: api, endpoint: /most, timeout_ms: 100, select: "sort_by([], &to_string(a))[].a | length(@)" }}
  - {{ name: whole, type: value, value: 1 }}
---
operation: when
deadline_ms: 60000
steps:
  - {{ name: many, type: api, endpoint: /many, expose: false }}
  - {{ name: few, type: value, value: 1, timeout_ms: 30000, when: "length(many[?a > `5`]) > `100`" }}
  - {{ name: none, type: value, value: 1, timeout_ms: 30000, when: "length(many[?a > `5`]) < `100`" }}
---
operation: tiny
args: {{ path: ID! }}
deadline_ms: 60000
steps:
  - {{ name: any, type: api, endpoint: "/{{path}}", timeout_ms: 30000 }}
  - {{ name: numbers, type: api, endpoint: "/{{path}}", timeout_ms: 30000, returns: "[Int]" }}
  - {{ name: posts, type: api, endpoint: "/{{path}}", timeout_ms: 30000, returns: "[Post]" }}
  - {{ name: asked, type: graphql, source: people, query: "{{ posts }}", timeout_ms: 30000, returns: "[Post]" }}
---
operation: passed
deadline_ms: 60000
steps:
  - {{ name: texts, type: api, endpoint: /texts, timeout_ms: 30000 }}
  - {{ name: sent, type: api, method: POST, endpoint: /refused, body: "{{texts}}", timeout_ms: 30000 }}
---
operation: given
args: {{ items: JSON }}
steps: [ {{ name: most, type: transform, select: "items[].{{a: a, b: a}} | sort_by(@, &b)[-1].a" }} ]
""",
    "types.graphql": "type Post { id: ID title: String n: Int }",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("large"), CONFIG) as opened:
        opened.upstream.script("/many", Json([{"a": number} for number in range(COUNT)]))
        opened.upstream.script("/most", Json([{"a": number} for number in range(200_000)]))
        yield opened


async def watched(served: Served, query: str, variables: dict[str, object] | None = None) -> tuple[Watch, Answer]:
    async with Watch(served.pid, served.process.url) as watch:
        return watch, await served.gateway.ask(query, variables)


@case("I-14")
@pytest.mark.parametrize("name", SELECTS)
def test_an_expression_over_very_many_items_holds_nobody_up(served: Served, name: str) -> None:
    expected = SELECTS[name][1]
    watch, answer = served.run(lambda: watched(served, f"{{ many {{ it: s{list(SELECTS).index(name)} }} }}"))
    assert "errors" not in answer.body
    assert expected is None or answer.data == {"many": {"it": expected}}
    assert watch.delay < 0.1 + SLACK


@case("I-14")
def test_an_expression_that_takes_too_long_ends_at_the_timeout_of_its_step(served: Served) -> None:
    watch, answer = served.run(lambda: watched(served, "{ brief { cut whole } }"))
    assert answer.data == {"brief": {"cut": None, "whole": 1}}
    assert answer.fault == ("GATEWAY_TIMEOUT", "cut", ["brief", "cut"])
    assert answer.seconds < 1 + SLACK
    assert watch.delay < 0.1 + SLACK


@case("I-14")
def test_a_condition_over_very_many_items_is_evaluated_all_the_same(served: Served) -> None:
    answer = served.ask("{ when { few none } }")
    assert answer.body == {
        "data": {"when": {"few": 1, "none": None}},
        "extensions": {
            "completeness": {
                "missing": [{"operation": "when", "path": ["when"], "step": "none", "reason": "condition"}],
                "degraded": [],
            }
        },
    }


@case("I-14")
def test_an_expression_over_a_large_argument_needs_no_service_to_be_bounded(served: Served) -> None:
    items = [{"a": number} for number in range(9_000)]  # nearly as many values as variables may have
    watch, answer = served.run(lambda: watched(served, "query($items: JSON) { given(items: $items) { most } }", {"items": items}))
    assert answer.body == {"data": {"given": {"most": 8_999}}}
    assert watch.delay < 0.1 + SLACK


@case("I-14")
def test_many_such_requests_at_once_hold_nobody_up(served: Served) -> None:
    async def ask_all() -> Watch:
        async with Watch(served.pid, served.process.url) as watch:
            answers = await asyncio.gather(*(served.gateway.ask("{ most { sorted } }") for _ in range(3)))
            assert all(answer.body == {"data": {"most": {"sorted": 200_000}}} for answer in answers)
            return watch

    assert served.run(ask_all).delay < 0.1 + SLACK


ITEMS = {"nested": "[" * 127 + "]" * 127, "objects": "{}", "numbers": "1", "lists": "[]", "texts": '""', "pairs": '{"a":1}'}
READERS = {"any": "any", "numbers": "numbers", "posts": "posts { id title n }", "renamed": "posts { a: id b: title c: n }"}


def body_of(item: str, size: int) -> bytes:
    """Return a list of one item over and over, of a size in bytes."""
    return f"[{','.join([item] * (size // (len(item) + 1)))}]".encode()


@case("U-21")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ITEMS)
def test_five_megabytes_of_tiny_values_hold_nobody_up(served: Served, name: str, reader: str) -> None:
    served.upstream.script(f"/{name}", Status(200, body_of(ITEMS[name], 4_990_000), {"content-type": "application/json"}))
    watch, answer = served.run(lambda: watched(served, f'{{ tiny(path: "{name}") {{ it: {READERS[reader]} }} }}'))
    assert answer.data == {"tiny": {"it": None}}
    assert answer.codes == ["SUBREQUEST_RESPONSE_TOO_LARGE"]
    assert watch.delay < 0.1 + SLACK


@case("U-21")
@pytest.mark.parametrize(("name", "reader"), [("nested", "any"), ("objects", "posts"), ("numbers", "numbers"), ("lists", "any")])
def test_as_many_values_as_allowed_hold_nobody_up_either(served: Served, name: str, reader: str) -> None:
    item = ITEMS[name]
    values = 127 if name == "nested" else 1
    body = f"[{','.join([item] * (120_000 // values))}]".encode()
    served.upstream.script(f"/most-{name}", Status(200, body, {"content-type": "application/json"}))
    watch, answer = served.run(lambda: watched(served, f'{{ tiny(path: "most-{name}") {{ it: {READERS[reader]} }} }}'))
    assert "errors" not in answer.body
    assert len(answer.data["tiny"]["it"]) == 120_000 // values
    assert watch.delay < 0.1 + SLACK


@case("U-21")
def test_the_limit_holds_for_graphql_services_as_well(served: Served) -> None:
    body = b'{"data":{"posts":' + body_of("{}", 4_900_000) + b"}}"
    served.upstream.script("/graphql", Status(200, body, {"content-type": "application/json"}))
    watch, answer = served.run(lambda: watched(served, '{ tiny(path: "x") { asked { id } } }'))
    assert answer.fault == ("SUBREQUEST_RESPONSE_TOO_LARGE", "asked", ["tiny", "asked"])
    assert watch.delay < 0.1 + SLACK


@case("U-21")
def test_a_large_ordinary_reply_is_answered(served: Served) -> None:
    posts = [{"id": str(number), "title": "a, b, [c] {d}" * 15, "n": number} for number in range(20_000)]
    served.upstream.script("/ordinary", Json(posts))
    answer = served.ask('{ tiny(path: "ordinary") { posts { id title n } renamed: posts { a: id b: title } } }')
    assert answer.data["tiny"]["posts"] == posts
    assert answer.data["tiny"]["renamed"] == [{"a": post["id"], "b": post["title"]} for post in posts]


@case("U-21")
def test_a_failed_call_that_sent_very_many_values_holds_nobody_up_and_tells_none_of_them(served: Served) -> None:
    served.upstream.script("/texts", Json([f"secret {number}" for number in range(300_000)]))
    served.upstream.script("/refused", Status(500, b"no secret 12345"))
    watch, answer = served.run(lambda: watched(served, "{ passed { sent } }"))
    assert answer.fault == ("SUBREQUEST_HTTP_ERROR", "sent", ["passed", "sent"])
    assert watch.delay < 0.1 + SLACK
    (line,) = [line for line in served.logged(answer.headers["x-request-id"], 2) if line["event"] == "step failed"]
    assert "secret" not in line["detail"]
