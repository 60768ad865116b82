"""Shapes: which selections have one, and how replies are decoded by it. The oracle shows that responses are the same without shapes."""

import json
from typing import Any

import orjson
import pytest

from gateway.answer.errors import Errors
from gateway.answer.projection import projection_source
from gateway.contract.outcome import Failure, Success
from gateway.contract.shape import MAX_SHAPE_MISMATCHES, Shape, ShapeMismatch, encode_shaped, to_builtins
from gateway.errors import Code, StepFault
from gateway.run.joins import build_table, collect_keys, match_results, parents_at
from resolvers.json_body import decode_at_once
from resolvers.transport.transport import UpstreamResponse
from tests.kit.documents import budget
from tests.oracle import CompiledConfiguration, Stage
from tests.plan.test_planner import node, plan_of

TYPES = """
type Post { id: Int! userId: Int title: String tags: [String] score: Float isOpen: Boolean author: Author kind: Kind class: String
            token: ID any: JSON }
type Author { id: ID! name: String! team: Team }
type Team { name: String town: Town }
type Town { name: String }
type Thing { id: Int name: String }
enum Kind { A B }
scalar JSON
"""
POSTS = 'operation: posts\nsteps: [{ name: list, type: act, returns: "[Post]" }]\naggregation: { strategy: pick, step: list }'
LINKS = """
field: Post.user
returns: Author
step: { type: act, input: "{keys}", batch: { key: userId, match: id } }
---
field: Post.first
returns: Thing
step: { type: act, input: "{parent.id}" }
---
field: Post.must
returns: Thing!
step: { type: act, input: "{keys}", batch: { key: userId, match: id } }
---
field: Post.thing
returns: Thing
step: { type: act, input: "{keys}", batch: { key: userId, match: id } }
---
field: Post.comments
returns: "[Thing]"
step: { type: act, input: "{keys}", batch: { key: id, match: id } }
"""
MANY = """
operation: many
steps:
  - { name: plain, type: act, returns: "[Thing]" }
  - { name: read, type: act, returns: Thing }
  - { name: reader, type: act, input: "{read.id}", returns: Thing }
  - { name: chosen, type: act, select: "x", returns: Thing }
  - { name: safe, type: act, fallback: [{ value: {} }], returns: Thing }
  - { name: stood, type: act, fallback: [{ step: standIn }], returns: Thing }
  - { name: standIn, type: act, returns: Thing }
  - { name: kept, type: act, cache: { ttl_ms: 10 }, returns: Thing }
  - { name: text, type: act, returns: String }
"""
COMPILED = CompiledConfiguration.open(f"{POSTS}\n---\n{LINKS}\n---\n{MANY}", Stage(), TYPES)


def shape_of(fields: str, step: str = "list") -> Shape:
    shape = node(plan_of(f"{{ posts {{ {fields} }} }}", COMPILED), step).shape
    assert shape is not None
    return shape


def read(fields: str, text: str | bytes) -> Any:
    value = shape_of(fields).read(text.encode() if isinstance(text, str) else text)
    assert json.loads(encode_shaped(value)) == to_builtins(value)
    return to_builtins(value)


def test_no_more_is_read_than_what_is_selected() -> None:
    assert read("title id", '[{"id": 1, "title": "a", "body": "long"}, null]') == [{"title": "a", "id": 1}, None]


def test_what_is_not_there_is_null_where_it_may_be() -> None:
    assert read("title score author { id }", "[{}]") == [{"title": None, "score": None, "author": None}]


def test_objects_and_lists_within_objects_are_read_too() -> None:
    value = [{"tags": ["a", None], "author": {"id": 1, "name": "b", "team": {"name": "c"}}}]
    assert read("tags author { id name team { name } }", json.dumps(value)) == value


def test_the_key_of_a_link_and_that_of_its_results_are_read_although_nobody_has_selected_them() -> None:
    assert read("title user { name }", '[{"userId": 3, "title": "a"}]') == [{"title": "a", "user": None, "userId": 3}]
    results = shape_of("title user { name }", "Post.user").read(b'[{"id": "3", "name": "x"}]')
    assert to_builtins(results) == [{"name": "x", "id": "3"}]


@pytest.mark.parametrize(
    "text",
    [
        "[{}]",
        '[{"id": "1"}]',
        '[{"id": 1.5}]',
        '[{"id": true}]',
        '[{"id": 2147483648}]',
        '[{"id": null}]',
        "{}",
        "7",
        '[{"id": 1}',
        "",
    ],
)
def test_what_does_not_fit_the_schema_does_not_fit_the_shape(text: str) -> None:
    with pytest.raises(ShapeMismatch):
        read("id", text)


NOT_JSON = [
    b'[{"id":1,"x":NaN}]',
    b'[{"id":1,"x":01}]',
    b'[{"id":1,"x":1.}]',
    b'[{"id":1,"x":"\\x"}]',
    b'[{"id":1,"x":"\\ud800"}]',
    b'[{"id":1,"x":"\x01"}]',
    b'[{"id":1,"x":"\xff"}]',
    b'[{"id":1,"\xff":1}]',
    b'[{"id":1}] x',
    b'[{"id":1,}]',
    b'\xef\xbb\xbf[{"id":1}]',
    b'[{"id":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    b'[{"id":1,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}]",
]


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: repr(text[:24]))
@pytest.mark.case("U-06")
def test_what_is_no_json_is_no_answer_although_the_mistake_is_in_a_part_that_is_left_out(text: bytes) -> None:
    response = UpstreamResponse(200, {"content-type": "application/json"}, text)
    with pytest.raises(StepFault) as raised:
        decode_at_once(response, shape_of("id"))
    assert raised.value.code is Code.SUBREQUEST_MALFORMED_RESPONSE


def test_what_is_left_out_is_passed_over_however_deep_it_is_as_long_as_it_is_json() -> None:
    text = b'[{"id":1,"x":' + b"[" * 130 + b"]" * 130 + b"}]"
    assert to_builtins(decode_at_once(UpstreamResponse(200, {}, text), shape_of("id"))) == [{"id": 1}]
    with pytest.raises(StepFault):
        decode_at_once(UpstreamResponse(200, {}, text))


@pytest.mark.parametrize("text", ['[{"id": "x", "title": 5}]', '{"id": 1}', "null", '"text"'])
def test_what_does_not_fit_is_read_as_if_there_were_no_shape(text: str) -> None:
    response = UpstreamResponse(200, {}, text.encode())
    value = decode_at_once(response, shape_of("id title"))
    assert value == orjson.loads(text)


def test_a_shape_that_never_fits_is_given_up() -> None:
    shape = shape_of("id")
    for _ in range(MAX_SHAPE_MISMATCHES):
        with pytest.raises(ShapeMismatch):
            shape.read(b"{}")
    with pytest.raises(ShapeMismatch):
        shape.read(b'[{"id": 1}]')


@pytest.mark.parametrize(
    "fields",
    [
        "kind",
        "any",
        "__typename class",
        "first { name }",
        "must { name }",
        "author { team { town { name } } }",
        "a: author { id } b: author { name }",
    ],
)
def test_what_cannot_be_told_beforehand_has_no_shape(fields: str) -> None:
    assert node(plan_of(f"{{ posts {{ id {fields} }} }}", COMPILED), "list").shape is None


@pytest.mark.parametrize(
    ("step", "fields", "is_shaped"),
    [
        ("plain", "plain { id }", True),
        ("plain", "plain { other: id __typename }", True),
        ("read", "read { id }", True),
        ("read", "read { id } reader { id }", False),
        ("reader", "reader { id }", True),
        ("chosen", "chosen { id }", False),
        ("safe", "safe { id }", False),
        ("standIn", "standIn { id }", True),
        ("standIn", "stood { id } standIn { id }", False),
        ("kept", "kept { id }", False),
        ("text", "text", False),
    ],
)
def test_only_a_value_that_nobody_else_looks_at_has_a_shape(step: str, fields: str, is_shaped: bool) -> None:
    plan = plan_of(f"{{ many {{ {fields} }} }}", COMPILED)
    assert (node(plan, step).shape is not None) is is_shaped


def test_answers_are_objects_as_they_were_read_where_they_can_be_and_others_where_they_cannot() -> None:
    query = "{ posts { id title } again: many { plain { number: id __typename name } } }"
    planned, *_ = COMPILED.plan(COMPILED.documents.read(query), {})
    first, second = (node(planned.plan, name).shape for name in ("list", "plain"))
    assert first is not None
    assert second is not None
    values = {"list": first.read(b'[{"id": 1, "title": "a"}]'), "plain": second.read(b'[{"id": 2}]')}
    outcomes = [Success(values[each.step.name]) for each in planned.plan.nodes]
    results: Any = type("Results", (), {"outcomes": outcomes, "blocked": [None, None]})
    data: Any = planned.project(results, {}, Errors())
    assert data["posts"] is values["list"]
    assert data["again"] == {"plain": [{"number": 2, "__typename": "Thing", "name": None}]}


def linked(posts: str, things: str | None) -> tuple[Any, list[Any]]:
    """Return the data of a query with a link, and its errors. ``things`` is the reply to the call of the link, None if it has failed."""
    query = "{ posts { id userId thing { id name } } }"
    planned, *_ = COMPILED.plan(COMPILED.documents.read(query), {})
    parent, child = planned.plan.nodes
    assert parent.shape is not None
    assert child.shape is not None
    assert child.use is not None
    value, link = parent.shape.read(posts.encode()), child.use.link
    joined = collect_keys(link, parents_at(value, ()))
    if things is None:
        joined.fail(joined.parents, Failure("Post.thing", Code.GATEWAY_TIMEOUT, "too late"))
    else:
        joined.values |= match_results(link, joined.parents, child.shape.read(things.encode())) or {}
        build_table(link, joined)
    results: Any = type("Results", (), {"outcomes": [Success(value), Success(joined)], "blocked": [None]})
    errors = Errors()
    return to_builtins(planned.project(results, {}, errors)["posts"]), errors


X, Y = {"id": 1, "name": "x"}, {"id": 2, "name": None}


@pytest.mark.parametrize(
    ("posts", "found"),
    [
        ([7, 7], []),
        ([1, 2, 1], [X, Y, X]),
        ([2, 3, 1], [Y, None, X]),
        ([1, None, 2], [X, None, Y]),
        ([], []),
    ],
)
def test_objects_are_given_what_their_links_have_found(posts: list[int | None], found: list[Any]) -> None:
    found = found or [None] * len(posts)
    text = json.dumps([{"id": 5, "userId": key} for key in posts])
    answer, errors = linked(text, json.dumps([Y, X]))
    assert answer == [{"id": 5, "userId": key, "thing": thing} for key, thing in zip(posts, found, strict=True)]
    assert not errors


def test_a_null_among_objects_stays_one_beside_what_links_have_found() -> None:
    answer, errors = linked('[{"id": 5, "userId": 1}, null, {"id": 6, "userId": 2}]', json.dumps([X, Y]))
    assert answer == [{"id": 5, "userId": 1, "thing": X}, None, {"id": 6, "userId": 2, "thing": Y}]
    assert not errors


def test_each_object_has_an_error_of_its_own_where_a_link_has_failed() -> None:
    answer, errors = linked('[{"id": 5, "userId": 1}, {"id": 6, "userId": 1}, {"id": 7}]', None)
    assert [each["thing"] for each in answer] == [None, None, None]
    assert [error["path"] for error in errors] == [["posts", 0, "thing"], ["posts", 1, "thing"]]


def test_the_projection_of_objects_with_links_that_are_answered_as_they_are_is_short() -> None:
    planned, *_ = COMPILED.plan(COMPILED.documents.read("{ posts { id userId thing { id name } } }"), {})
    assert ".thing = h" in projection_source(planned.plan, budget())
