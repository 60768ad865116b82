"""Errors that an upstream reports, of any form, beside values of any shape, under any selection: each is told at its nearest place."""

import asyncio
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.blueprint import Blueprint
from gateway.contract import RequestContext, StepType
from gateway.contract.request import GraphQLRequest
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.generation.generation import open_generation
from resolvers import STEP_TYPES
from resolvers.graphql import GraphQLStep
from resolvers.transport.transport import UpstreamRequest, UpstreamResponse

CONFIG = """
sources: { people: { type: graphql, url: "https://people.test/graphql" } }
defaults: { graphql: people }
---
limits: { max_aliases: 10000, max_tokens: 20000 }
---
operation: whole
steps: [ { name: people, type: graphql, query: "{ people }", returns: "[User]" } ]
aggregation: { strategy: pick, step: people }
---
operation: parts
steps:
  - { name: people, type: graphql, query: "{ people }", returns: "[User]" }
  - { name: first, type: value, value: "{people.0.name?}" }
"""
TYPES = """
interface Animal { name: String }
type Cat implements Animal { name: String lives: Int }
type Dog implements Animal { name: String owner: User }
type User { id: ID name: String! tags: [String] boss: User friends: [User!] pet: Animal }
"""
FIELDS: Mapping[str, Mapping[str, str]] = {
    "User": {"id": "", "name": "", "tags": "[]", "boss": "User", "friends": "[User]", "pet": "Animal"},
    "Cat": {"name": "", "lives": ""},
    "Dog": {"name": "", "owner": "User"},
}
CODE = "DOWNSTREAM_SERVICE_ERROR"
Tree = dict[str, dict[str, tuple[str, Any]]]
"""The fields that are selected of an object, by its concrete type: response key → field and what is selected of it."""
Upstream = dict[str, Any]


class OneAnswer:
    """A transport whose upstream has one answer."""

    def __init__(self, answer: Upstream) -> None:
        self.body = json.dumps(answer).encode()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        return UpstreamResponse(200, {"content-type": "application/json"}, self.body)

    async def aclose(self) -> None: ...


@cache
def blueprint() -> Blueprint:
    folder = Path("/nowhere")
    return build(Files(folder, {str(folder / "a.yaml"): CONFIG, str(folder / "a.graphql"): TYPES}, (), "test"), STEP_TYPES, {})


def answer(query: str, upstream: Upstream) -> Any:
    step_types: dict[str, StepType] = {**STEP_TYPES, "graphql": GraphQLStep({"http1": lambda *_: OneAnswer(upstream)})}

    configured = blueprint()

    async def act() -> Any:
        async with open_generation(configured, step_types) as generation:
            context = RequestContext("test", {}, asyncio.get_running_loop().time())
            return json.loads(json.dumps(await generation.answer(GraphQLRequest(query), context)))

    return asyncio.run(act())


def selection(random: Random, kind: str, depth: int) -> Tree:
    """Select fields of objects of a type at random, each under up to two keys."""
    types = ("Cat", "Dog") if kind == "Animal" else (kind,)
    tree: Tree = {}
    for name in types:
        tree[name] = {}
        for field, below in FIELDS[name].items():
            inner = below.strip("[]")
            if random.random() < 0.5 or (inner and depth == 0):
                continue
            for key in random.sample([field, f"a{name}{field}", f"b{name}{field}"], random.choice((1, 1, 2))):
                tree[name][key] = (field, selection(random, inner, depth - 1) if inner else None)
    return tree


def text(tree: Tree) -> str:
    """Return a selection as GraphQL."""
    groups = []
    for name, fields in tree.items():
        own = " ".join(f"{key}: {field} {text(below) if below is not None else ''}" for key, (field, below) in fields.items())
        groups.append(f"... on {name} {{ __typename {own} }}")
    return f"{{ {' '.join(groups)} }}"


def user(random: Random, depth: int) -> Any:
    """Return an object of an upstream with all of its fields, some of them null."""
    if depth < 0 or random.random() < 0.15:
        return None
    pet = {"__typename": "Cat", "name": "Tom", "lives": 9}
    if random.random() < 0.5:
        pet = {"__typename": "Dog", "name": "Rex", "owner": user(random, depth - 2)}
    return {
        "id": random.choice(("1", None)),
        "name": random.choice(("Al", "Al", "Al", None)),
        "tags": random.choice((None, ["a", None, "b"], [])),
        "boss": user(random, depth - 1),
        "friends": random.choice((None, [user(random, depth - 1) for _ in range(2)])),
        "pet": random.choice((None, pet)),
    }


JUNK: tuple[Any, ...] = (-1, 10**12, 1.5, None, True, {}, [], "nothing", 7, "name", 0, "")


def error(random: Random, people: Any) -> Any:
    """Return an error whose path leads into the value for a while, then ends or leaves it; or one without a usable path."""
    if random.random() < 0.15:
        return random.choice((None, "down", 7, {}, [], {"message": "down"}, {"path": "people"}, {"path": ["other"]}))
    path: list[Any] = ["people"]
    value = people
    while random.random() < 0.85 and isinstance(value, dict | list) and value:
        part = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        path.append(part)
        value = value[part]
    return {"message": "secret", "path": path + random.sample(JUNK, random.choice((0, 0, 1, 2)))}


def nearest(tree: Tree | None, value: Any, data: Any, path: list[Any]) -> set[tuple[Any, ...]]:
    """Return the places in the response that are nearest to a path in an upstream's value."""
    if data is None or not path:
        return {()}
    part = path[0]
    if isinstance(value, list):
        if type(part) is not int or not 0 <= part < len(value):
            return {()}
        return {(part, *rest) for rest in nearest(tree, value[part], data[part], path[1:])}
    if not isinstance(value, dict) or tree is None or type(part) is not str or part not in value:
        return {()}
    fields = tree.get(value.get("__typename", "User"), {})
    keys = {key: below for key, (field, below) in fields.items() if field == part}
    found = {(key, *rest) for key, below in keys.items() for rest in nearest(below, value[part], data[key], path[1:])}
    return found or {()}


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.integers(0, 2**32))
def test_each_error_is_told_at_the_nearest_place_that_was_selected(seed: int) -> None:
    random = Random(seed)
    operation = random.choice(("whole", "parts"))
    tree, people = selection(random, "User", 3), [user(random, 4) for _ in range(random.randrange(4))]
    errors = [error(random, people) for _ in range(random.choice((1, 2, 5)))]
    selected = text(tree) if operation == "whole" else f"{{ folk: people {text(tree)} first }}"
    body = answer(f"{{ all: {operation} {selected} }}", {"data": {"people": people}, "errors": errors})
    prefix = ("all",) if operation == "whole" else ("all", "folk")
    shown = body["data"]["all"] if operation == "whole" else body["data"]["all"]["folk"]
    expected: set[tuple[Any, ...]] = set()
    for one in errors:
        path = one.get("path") if isinstance(one, dict) else None
        inner = path[1:] if isinstance(path, list) and path[:1] == ["people"] else []
        places = {(*prefix, *place) for place in nearest(tree, people, shown, inner)}
        expected |= places
    told = {tuple(one["path"]) for one in body["errors"] if one["extensions"]["code"] == CODE}
    # A null that must not be one may have made the nulls above it: then the exact place is told, which is below what is shown.
    assert all(any(exact[: len(place)] == place for exact in told) for place in expected)
    assert all(any(exact[: len(place)] == place for place in expected) for exact in told)
    assert "secret" not in json.dumps(body)
    assert body["extensions"]["completeness"]["missing"]


def test_without_errors_nothing_is_looked_for() -> None:
    people = [{"id": "1"}]
    body = answer("{ whole { id } }", {"data": {"people": people}})
    assert body == {"data": {"whole": people}}
