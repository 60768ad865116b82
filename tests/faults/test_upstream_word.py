"""What an upstream says of its own reply is heeded: that it may not be kept, and which part of it has errors (rows A-10, A-11 and U-20)."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.faults import Delay, Json, Status
from tests.faults.served import Served
from tests.kit.serving import Answer

case = pytest.mark.case

CONFIG = {
    "graph.yaml": """
sources:
  people: { type: graphql, url: UPSTREAM/graphql, retry: { attempts: 1 }, breaker: { enabled: false } }
  core: { type: api, base_url: UPSTREAM, retry: { attempts: 1 }, breaker: { enabled: false } }
defaults: { graphql: people, api: core }
---
operation: plain
steps: [ { name: list, type: graphql, query: "{ people }", returns: "[User!]" } ]
aggregation: { strategy: pick, step: list }
---
operation: parts
steps:
  - { name: list, type: graphql, query: "{ people }", returns: "[User!]" }
  - { name: unread, type: value, value: "{list.0.name?}" }
---
operation: api
args: { policy: ID! }
steps:
  - { name: ttl, type: api, endpoint: /api, query: { v: "{policy}" }, cache: { ttl_ms: 60000 }, returns: "[User!]" }
  - { name: http, type: api, endpoint: /api, query: { v: "{policy}" }, cache: http, returns: "[User!]" }
  - { name: stale, type: api, endpoint: /api, query: { v: "{policy}" }, fallback: [ { stale_ms: 60000 } ], returns: "[User!]" }
  - { name: lost, type: api, endpoint: /api, query: { v: "{policy}" }, cache: { ttl_ms: 60000 }, not_found: null, returns: "[User!]" }
---
operation: graphql
args: { policy: ID! }
steps:
  - name: ttl
    type: graphql
    query: "query($v: ID!) { people(v: $v) }"
    variables: { v: "{policy}" }
    cache: { ttl_ms: 60000 }
    returns: "[User!]"
  - { name: http, type: graphql, query: "query($v: ID!) { people(v: $v) }", variables: { v: "{policy}" }, cache: http, returns: "[User!]" }
  - name: stale
    type: graphql
    query: "query($v: ID!) { people(v: $v) }"
    variables: { v: "{policy}" }
    fallback: [ { stale_ms: 60000 } ]
    returns: "[User!]"
---
operation: posts
args: { policy: ID! }
steps: [ { name: list, type: value, value: [ { id: "1", policy: "{policy}" }, { id: "2", policy: "{policy}" } ], returns: "[Post!]" } ]
aggregation: { strategy: pick, step: list }
---
field: Post.ttl
returns: User
step:
  type: graphql
  query: "query($ids: [ID!]!) { people(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: policy, match: name }
  cache: { ttl_ms: 60000 }
---
field: Post.http
returns: User
step:
  type: graphql
  query: "query($ids: [ID!]!) { people(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: policy, match: name }
  cache: http
---
field: Post.stale
returns: User
step:
  type: graphql
  query: "query($ids: [ID!]!) { people(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: policy, match: name }
  fallback: [ { stale_ms: 60000 } ]
---
field: Post.author
returns: User
step:
  type: graphql
  query: "query($ids: [ID!]!) { people(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: id, match: id }
---
field: Post.likes
returns: "[User!]"
step:
  type: graphql
  query: "query($ids: [ID!]!) { people(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: id, match: post }
""",
    "types.graphql": """
type User { id: ID  name: String  boss: User  tags: [String]  post: ID  any: JSON }
type Post { id: ID!  policy: ID }
""",
}
DOWN = "DOWNSTREAM_SERVICE_ERROR"
Headers = Mapping[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("word"), CONFIG) as opened:
        yield opened


# -- what may be kept

KEEPS = {"ttl": True, "http": True, "stale": True}
SAID: Mapping[str, tuple[Headers, Mapping[str, bool]]] = {
    "nothing": ({}, KEEPS | {"http": False}),
    "max-age": ({"cache-control": "max-age=60"}, KEEPS),
    "s-maxage": ({"cache-control": "public, s-maxage=60"}, KEEPS),
    "too old": ({"cache-control": "max-age=60", "age": "60"}, KEEPS | {"http": False}),
    "no-cache": ({"cache-control": "no-cache"}, KEEPS | {"http": False}),
    "varies": ({"cache-control": "max-age=60", "vary": "accept"}, KEEPS),
    "no-store": ({"cache-control": "no-store"}, {}),
    "No-Store": ({"Cache-Control": "max-age=60, No-Store"}, {}),
    "private": ({"cache-control": "private, max-age=60"}, {}),
    "private fields": ({"cache-control": 'private="x-a, x-b", max-age=60'}, {}),
    "a cookie": ({"cache-control": "max-age=60", "set-cookie": "s=1"}, {}),
    "varies by all": ({"cache-control": "max-age=60", "vary": "accept, *"}, {}),
}
STEPS = ("ttl", "http", "stale")
PEOPLE = ("api", "graphql", "posts")


def reply(operation: str, value: object, headers: Headers, errors: object = None) -> Json:
    if operation == "api":
        return Json(value, headers=headers)
    return Json({"data": {"people": value}} | ({} if errors is None else {"errors": errors}), headers=headers)


def query(operation: str, step: str, policy: str) -> str:
    return f'{{ {operation}(policy: "{policy}") {{ {step} {{ name tags }} }} }}'


def asked_twice(served: Served, operation: str, step: str, policy: str, first: Json) -> tuple[Answer, int, Answer]:
    """Ask, and ask again: for a stale value while the service is down. Return the answers, and how often the service was asked."""
    path = "/api" if operation == "api" else "/graphql"
    sound = reply(operation, [{"name": policy, "tags": ["later"]}], {})
    served.upstream.script(path, first, Status(500) if step == "stale" else sound)
    before = served.upstream.count(path)
    answers = [served.ask(query(operation, step, policy)) for _ in range(2)]
    return answers[0], served.upstream.count(path) - before, answers[1]


@case("A-10")
@pytest.mark.parametrize("operation", PEOPLE)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("said", SAID)
def test_a_reply_is_kept_only_if_its_service_allows_it(served: Served, operation: str, step: str, said: str) -> None:
    headers, keeps = SAID[said]
    policy = f"{operation} {step} {said}"
    first, calls, second = asked_twice(
        served, operation, step, policy, reply(operation, [{"name": policy, "tags": ["first"]}], headers)
    )
    assert "errors" not in first.body
    if step == "stale":
        assert calls == 2
        assert (second.data == first.data and bool(second.degraded)) == keeps.get(step, False)
    else:
        assert calls == (1 if keeps.get(step, False) else 2)
        assert ("later" in str(second.data)) == (not keeps.get(step, False))


@case("A-10")
def test_that_something_is_not_found_is_kept_only_if_its_service_allows_it(served: Served) -> None:
    for policy, headers, calls in (("kept", {}, 1), ("not kept", {"cache-control": "no-store"}, 2)):
        served.upstream.script("/api", Status(404, headers=headers))
        before = served.upstream.count("/api")
        for _ in range(2):
            assert served.ask(query("api", "lost", policy)).body == {"data": {"api": {"lost": None}}}
        assert served.upstream.count("/api") - before == calls


PARTIAL: Mapping[str, tuple[list[dict[str, object]], object]] = {
    "at a null": ([{"name": None, "tags": None}], [{"message": "x", "path": ["people", 0, "tags"]}]),
    "at a value": ([{"name": "Al", "tags": []}], [{"message": "x", "path": ["people", 0, "name"]}]),
    "without a path": ([{"name": "Al", "tags": []}], [{"message": "x"}]),
    "no object": ([{"name": "Al", "tags": []}], ["x"]),
}


@case("A-11")
@pytest.mark.parametrize("operation", ["graphql", "posts"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("errors", PARTIAL)
def test_a_reply_with_errors_is_used_once_and_never_again(served: Served, operation: str, step: str, errors: str) -> None:
    policy = f"{operation} {step} {errors}"
    (value, reported) = PARTIAL[errors]
    value = [{**value[0], "name": policy}]
    first, calls, second = asked_twice(
        served, operation, step, policy, reply(operation, value, {"cache-control": "max-age=60"}, reported)
    )
    assert calls == 2
    assert set(first.codes) == {DOWN}
    if step == "stale":
        assert set(second.codes) == {"SUBREQUEST_HTTP_ERROR"}  # not the value that had errors
    else:
        assert "errors" not in second.body
        assert "later" in str(second.data)


@case("A-11")
def test_the_last_value_without_errors_stays_the_last_good_one(served: Served) -> None:
    (bad, errors), policy = PARTIAL["at a value"], "stays"
    good = reply("graphql", [{"name": "Good", "tags": []}], {})
    served.upstream.script("/graphql", good, reply("graphql", bad, {}, errors), Status(500))
    answers = [served.ask(query("graphql", "stale", policy)) for _ in range(3)]
    assert answers[1].codes == [DOWN]
    assert answers[2].data == answers[0].data
    assert answers[2].degraded == [("stale", "stale", "SUBREQUEST_HTTP_ERROR")]


# -- errors beside whole data

WHOLE = [
    {"id": "1", "name": "Al", "boss": {"id": "2", "name": "Bo"}, "tags": ["a", "b"], "any": {"k": [1]}},
    {"id": "2", "name": "Bo", "boss": None, "tags": [], "any": None},
]
FORMS: Mapping[str, tuple[object, list[str | int]]] = {
    "no path": ({"message": "secret"}, []),
    "a null path": ({"message": "secret", "path": None}, []),
    "an empty path": ({"message": "secret", "path": []}, []),
    "a text as path": ({"message": "secret", "path": "people"}, []),
    "a number as path": ({"message": "secret", "path": 3}, []),
    "an object as path": ({"message": "secret", "path": {"people": 0}}, []),
    "the field itself": ({"message": "secret", "path": ["people"]}, []),
    "another field": ({"message": "secret", "path": ["others", 0, "name"]}, []),
    "an alias": ({"message": "secret", "path": ["folk", 0, "name"]}, []),
    "an index as field": ({"message": "secret", "path": [0, "people"]}, []),
    "an item": ({"message": "secret", "path": ["people", 1]}, [1]),
    "a value": ({"message": "secret", "path": ["people", 0, "name"]}, [0, "nick"]),
    "a null": ({"message": "secret", "path": ["people", 1, "boss"]}, [1, "boss"]),
    "below a null": ({"message": "secret", "path": ["people", 1, "boss", "name"]}, [1, "boss"]),
    "too deep": ({"message": "secret", "path": ["people", 0, "name", "x", "y"]}, [0, "nick"]),
    "in a scalar": ({"message": "secret", "path": ["people", 0, "any", "k", 0]}, [0, "any"]),
    "an item of a list below": ({"message": "secret", "path": ["people", 0, "tags", 1]}, [0, "tags", 1]),
    "not selected": ({"message": "secret", "path": ["people", 0, "post"]}, [0]),
    "too large an index": ({"message": "secret", "path": ["people", 10**12, "name"]}, []),
    "a huge index": ({"message": "secret", "path": ["people", 10**30, "name"]}, []),
    "a negative index": ({"message": "secret", "path": ["people", -1, "name"]}, []),
    "a fraction": ({"message": "secret", "path": ["people", 0.0, "name"]}, []),
    "a text for an index": ({"message": "secret", "path": ["people", "0", "name"]}, []),
    "an index for a text": ({"message": "secret", "path": ["people", 0, 1]}, [0]),
    "null in the path": ({"message": "secret", "path": ["people", 0, None]}, [0]),
    "true in the path": ({"message": "secret", "path": ["people", True, "name"]}, []),
    "an object in the path": ({"message": "secret", "path": ["people", {}, "name"]}, []),
    "a list in the path": ({"message": "secret", "path": ["people", ["name"]]}, []),
    "a path without end": ({"message": "secret", "path": ["people", *[0] * 100_000]}, [0]),
    "a text": ("secret", []),
    "null": (None, []),
    "a number": (7, []),
    "a list": ([["secret"]], []),
    "an empty object": ({}, []),
    "no message": ({"path": ["people", 0, "name"]}, [0, "nick"]),
    "a message that is no text": ({"message": {"a": 1}, "path": ["people", 0, "name"]}, [0, "nick"]),
    "extensions that are no object": ({"message": "secret", "extensions": [1]}, []),
    "a code that is no text": ({"message": "secret", "extensions": {"code": {}}}, []),
    "another code": ({"message": "secret", "extensions": {"code": "FORBIDDEN"}}, []),
}
SELECTION = "{ nick: name boss { name } tags any }"
SHOWN = [
    {"nick": "Al", "boss": {"name": "Bo"}, "tags": ["a", "b"], "any": {"k": [1]}},
    {"nick": "Bo", "boss": None, "tags": [], "any": None},
]


@case("U-20")
@pytest.mark.parametrize("form", FORMS)
def test_an_error_beside_whole_data_is_told_at_the_nearest_place(served: Served, form: str) -> None:
    error, place = FORMS[form]
    served.upstream.script("/graphql", reply("graphql", WHOLE, {}, [error]))
    answer = served.ask(f"{{ folk: plain {SELECTION} }}")
    assert answer.data == {"folk": SHOWN}
    assert answer.fault == (DOWN, "list", ["folk", *place])
    assert answer.missing == [("plain", "list", DOWN)]
    assert "secret" not in str(answer.body)
    (line,) = [line for line in served.logged(answer.headers["x-request-id"]) if line["event"] == "step failed"]
    assert (line["step"], line["code"]) == ("list", DOWN)
    assert "upstream errors" in line["detail"]


@case("U-20")
@pytest.mark.parametrize("errors", [[], None])
def test_an_empty_list_of_errors_is_none(served: Served, errors: object) -> None:
    served.upstream.script("/graphql", Json({"data": {"people": WHOLE}, "errors": errors}))
    assert served.ask(f"{{ folk: plain {SELECTION} }}").body == {"data": {"folk": SHOWN}}


@case("U-20")
@pytest.mark.parametrize("errors", [{}, {"message": "x"}, "", "down", 0, 1, True, False, 0.5], ids=repr)
def test_errors_that_are_no_list_make_the_response_malformed(served: Served, errors: object) -> None:
    served.upstream.script("/graphql", Json({"data": {"people": WHOLE}, "errors": errors}))
    answer = served.ask(f"{{ folk: plain {SELECTION} }}")
    assert answer.data == {"folk": None}
    assert answer.fault == ("SUBREQUEST_MALFORMED_RESPONSE", "list", ["folk"])


@case("U-20")
def test_hundreds_of_errors_are_bounded(served: Served) -> None:
    many = [{"message": "m" * 1000, "path": ["people", number % 2, "name"]} for number in range(1000)]
    many += [{"message": "m", "path": ["people", 0, "tags", number]} for number in range(1000)]
    served.upstream.script("/graphql", reply("graphql", WHOLE, {}, many))
    answer = served.ask(f"{{ folk: plain {SELECTION} }}")
    paths = [error["path"][1:] for error in answer.body["errors"]]
    assert paths == [[0, "nick"], [1, "nick"], [0, "tags", 0], [0, "tags", 1], [0, "tags"]]
    (line,) = [line for line in served.logged(answer.headers["x-request-id"]) if line["event"] == "step failed"]
    assert len(line["detail"]) < 1000


@case("U-20")
def test_an_error_at_what_another_step_reads_is_told_at_the_operation(served: Served) -> None:
    served.upstream.script("/graphql", reply("graphql", WHOLE, {}, [{"message": "x", "path": ["people", 0, "name"]}]))
    answer = served.ask("{ two: parts { unread } }")
    assert answer.data == {"two": {"unread": "Al"}}
    assert answer.fault == (DOWN, "list", ["two"])


@case("U-20")
def test_an_error_stands_at_every_alias_and_under_every_root_field(served: Served) -> None:
    served.upstream.script("/graphql", reply("graphql", WHOLE, {}, [{"message": "x", "path": ["people", 0, "name"]}]))
    answer = served.ask("{ one: parts { list { a: name b: name } } two: parts { a: list { name } } }")
    paths = [error["path"] for error in answer.body["errors"]]
    assert paths == [["one", "list", 0, "a"], ["one", "list", 0, "b"], ["two", "a", 0, "name"]]


LINKED: Mapping[str, tuple[str, Any, Any, list[list[str | int]]]] = {
    "an error of one parent": ("author", [{"id": "1"}, {"id": "2"}], ["people", 1, "name"], [[1, "by", "name"]]),
    "in another order": ("author", [{"id": "2"}, {"id": "1"}], ["people", 0], [[1, "by"]]),
    "without a path": ("author", [{"id": "1"}, {"id": "2"}], None, [[0, "by"], [1, "by"]]),
    "a null for one": ("author", [{"id": "1"}, None], ["people", 1], [[1, "by"]]),
    "a null for the other": ("author", [None, {"id": "2"}], ["people", 0], [[0, "by"]]),
    "nulls for both": ("author", [None, None], ["people", 0], [[0, "by"], [1, "by"]]),
    "a null and no path": ("author", [{"id": "1"}, None], None, [[0, "by"], [1, "by"]]),
    "a result for nobody": ("author", [{"id": "1"}, {"id": "2"}, {"id": "3"}], ["people", 2], [[0, "by"], [1, "by"]]),
    "a second result for one": ("author", [{"id": "1"}, {"id": "1"}, {"id": "2"}], ["people", 1, "name"], [[0, "by"]]),
    "an index outside": ("author", [{"id": "1"}, {"id": "2"}], ["people", 9], [[0, "by"], [1, "by"]]),
    "in a group": ("likes", [{"post": "2"}, {"post": "1"}, {"post": "1"}], ["people", 2, "name"], [[0, "by", 1, "name"]]),
    "of a group": ("likes", [{"post": "2"}, {"post": "1"}], ["people", 0], [[1, "by", 0]]),
}


@case("U-20")
@pytest.mark.parametrize("form", LINKED)
def test_an_error_of_a_batch_is_told_to_the_parents_that_it_concerns(served: Served, form: str) -> None:
    link, people, path, places = LINKED[form]
    value = [person and {"name": "Al", **person} for person in people]
    served.upstream.script("/graphql", reply("graphql", value, {}, [{"message": "x", "path": path}]))
    answer = served.ask(f'{{ all: posts(policy: "{form}") {{ by: {link} {{ name }} }} }}')
    assert {*answer.codes} == {DOWN}
    assert [error["path"][1:] for error in answer.body["errors"]] == places
    assert {error["extensions"]["step"] for error in answer.body["errors"]} == {f"Post.{link}"}
    names = str(answer.data).count("Al")
    assert names == sum(person is not None and person.get("id") != "3" for person in people) - (form == "a second result for one")


@case("U-20")
def test_a_late_reply_with_errors_is_shared_as_one_without(served: Served) -> None:
    served.upstream.script("/graphql", Delay(0.1, reply("graphql", WHOLE, {}, ["x"])))
    answer = served.ask("{ one: parts { list { name } } two: plain { name } }")
    assert [error["path"] for error in answer.body["errors"]] == [["one", "list"], ["two"]]
