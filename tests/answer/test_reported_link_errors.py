"""Errors that an upstream reports in replies to links: each is told below the parents with the key that it concerns, wherever these are."""

import asyncio
import json
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
limits: { max_aliases: 10000, max_tokens: 20000, max_fields: 10000, planning: 100000 }
---
sources: { people: { type: graphql, url: "https://people.test/graphql" } }
---
defaults: { graphql: people }
---
operation: whole
steps: [ { name: list, type: graphql, query: "{ whole }", returns: "[User]" } ]
aggregation: { strategy: pick, step: list }
---
operation: parts
steps: [ { name: list, type: graphql, query: "{ parts }", returns: "[User]" } ]
---
field: User.boss
returns: User
step:
  type: graphql
  query: "query($ids: [ID!]!) { boss(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: bossId, match: id, max: MAX }
---
field: User.team
returns: "[User]"
step:
  type: graphql
  query: "query($ids: [ID!]!) { team(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: id, match: bossId, max: MAX }
---
field: User.friend
returns: User
step:
  type: graphql
  query: "query($id: ID!) { friend(id: $id) }"
  variables: { id: "{parent.id}" }
---
field: Cat.owner
returns: User
step:
  type: graphql
  query: "query($ids: [ID!]!) { owner(ids: $ids) }"
  variables: { ids: "{keys}" }
  batch: { key: ownerId, match: id, max: MAX }
"""
TYPES = """
interface Animal { name: String }
type Cat implements Animal { name: String ownerId: ID }
type Dog implements Animal { name: String }
type User { id: ID! name: String bossId: ID pet: Animal }
"""
LINKS = {"boss": "bossId", "team": "id", "friend": "id", "owner": "ownerId"}
"""The field of a parent that is the key of each link."""
CODE = "DOWNSTREAM_SERVICE_ERROR"


class People:
    """An upstream that knows everyone, and adds errors to its replies at random; it records what it reports."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.reported: list[tuple[str, set[str]]] = []
        """The field of each reply with an error, and the keys of the parents of which at least one has to hear of it."""

    def user(self, number: int, boss: str | None = None) -> Any:
        pet = (
            {"__typename": "Cat", "name": "Tom", "ownerId": str(number % 3)}
            if number % 2
            else {"__typename": "Dog", "name": "Rex"}
        )
        return {"id": str(number), "name": f"n{number}", "bossId": boss or str((number * 7 + 1) % 5), "pet": pet}

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        asked = json.loads(request.body or b"")
        name = asked["query"].split("{")[1].split("(")[0].strip()
        given = asked["variables"]
        ids = given.get("ids", [given.get("id", "0")])
        value: Any
        if name in {"whole", "parts"}:
            value, keys = [self.user(number) for number in range(4)], [None] * 4
        elif name == "friend":
            value, keys = self.user(int(ids[0]) + 1), [ids[0]]
        else:
            found = [(self.user(int(one), None if name != "team" else one), one) for one in ids]
            if name == "team":
                found = [(self.user(int(one) + 10 + index, one), one) for one in ids for index in range(2)]
            self.random.shuffle(found)
            value, keys = [user for user, _ in found], [key for _, key in found]
        answer: dict[str, Any] = {"data": {name: value}}
        if self.random.random() < 0.6 and keys:
            answer["errors"] = [self.error(name, value, keys, ids)]
        return UpstreamResponse(200, {"content-type": "application/json"}, json.dumps(answer).encode())

    def error(self, name: str, value: Any, keys: list[Any], ids: list[str]) -> Any:
        if self.random.random() < 0.3:
            self.reported.append((name, set(filter(None, keys))))
            return self.random.choice(["x", {}, {"path": [name]}, {"path": None}, {"path": [name, 99]}])
        position = self.random.randrange(len(keys))
        key = keys[position]
        self.reported.append((name, set() if key is None else {key}))
        item = [name, position] if isinstance(value, list) else [name]
        return {"path": [*item, *self.random.choice([[], ["name"], ["pet", "name"], ["nothing"]])]}

    async def aclose(self) -> None: ...


@cache
def blueprint(batch: int) -> Blueprint:
    files = {"/nowhere/a.yaml": CONFIG.replace("MAX", str(batch)), "/nowhere/a.graphql": TYPES}
    return build(Files(Path("/nowhere"), files, (), "test"), STEP_TYPES, {})


def selection(random: Random, depth: int) -> str:
    parts = ["id", "bossId", random.choice(["name", "n: name", ""])]
    for link in ("boss", "team", "friend") if depth else ():
        if random.random() < 0.5:
            keys = random.sample([link, f"{link}_a{depth}", f"{link}_b{depth}"], random.choice((1, 1, 2)))
            parts += [f"{key}: {link} {selection(random, depth - 1)}" for key in keys]
    if random.random() < 0.5:
        owner = f"owner_c: owner {selection(random, depth - 1)}" if depth and random.random() < 0.7 else ""
        parts.append(f"pet {{ name ... on Cat {{ ownerId {owner} }} }}")
    return f"{{ {' '.join(parts)} }}"


def parents_of(data: Any, path: list[Any]) -> list[tuple[Any, str]]:
    """Return the objects on a path with the keys that lead on from them; the path has to exist, and may end early at a null."""
    found = []
    for part in path:
        assert data is not None, "below a null"
        if isinstance(data, dict):
            found.append((data, part))
        data = data[part]
    return found


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.integers(0, 2**32))
def test_each_error_is_told_below_a_parent_with_its_key(seed: int) -> None:
    random = Random(seed)
    people, configured = People(random), blueprint(random.choice((2, 100)))
    operation = random.choice(("whole", "parts"))
    selected = selection(random, 3)
    query = f"{{ all: {operation} {selected if operation == 'whole' else '{ list ' + selected + ' }'} }}"

    async def act() -> Any:
        step_types: dict[str, StepType] = {**STEP_TYPES, "graphql": GraphQLStep({"http1": lambda *_: people})}
        async with open_generation(configured, step_types) as generation:
            context = RequestContext("test", {}, asyncio.get_running_loop().time())
            object.__setattr__(generation, "_max_errors", 100_000)
            return json.loads(json.dumps(await generation.answer(GraphQLRequest(query), context)))

    body = asyncio.run(act())
    told: dict[str, list[list[tuple[Any, str]]]] = {}
    for error in body.get("errors", ()):
        assert error["extensions"]["code"] == CODE, error
        told.setdefault(error["extensions"]["step"].rpartition(".")[2], []).append(parents_of(body["data"], error["path"]))
    assert ("errors" in body) == bool(people.reported)
    for name, keys in people.reported:
        step = "list" if name in {"whole", "parts"} else name
        field = LINKS.get(name, "")
        heard = {parent.get(field) for parents in told[step] for parent, key in parents if key.partition("_")[0] == name}
        assert keys <= heard, (name, keys, heard)
    assert told.keys() == {"list" if name in {"whole", "parts"} else name for name, _ in people.reported}
