"""Types and functions that a team writes in Python: Strawberry classes beside the SDL, functions typed by their annotations."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import print_schema

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.errors import ConfigurationError
from gateway.load.build.build import load
from gateway.serve.generation.generation import Generation, open_generation
from resolvers import STEP_TYPES

MODULE = """
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Optional, Union
from uuid import UUID

import strawberry

threads = []
begun, released = threading.Event(), threading.Event()
released.set()


@strawberry.enum
class Tier(Enum):
    GOLD = "g"
    BASIC = strawberry.enum_value("b", name="basic", deprecation_reason="it is free now")


@strawberry.interface(description="Who owns things.")
class Owner:
    id: strawberry.ID


@strawberry.type(description="Who buys.")
class Customer(Owner):
    first_name: str = strawberry.field(name="firstName", description="As in the passport.")
    tier: Tier
    since: datetime
    born: date | None
    spent: Decimal
    key: UUID


@strawberry.type(name="Firm")
class Company(Owner):
    staff: list[Customer]


@strawberry.type
class Search:
    hits: list[Annotated[Union[Customer, Company], strawberry.union("Hit")]]


@strawberry.type
class Computed:
    @strawberry.field
    def now(self) -> int:
        return 1


def customer(id: str) -> Customer:
    at = datetime(2024, 1, 31, 12, tzinfo=UTC)
    return Customer(id=id, first_name="Ada", tier=Tier.BASIC, since=at, born=None, spent=Decimal("12.50"), key=UUID(int=5))


async def search() -> Search:
    threads.append(threading.current_thread())
    return Search(hits=[customer("1"), Company(id="2", staff=[customer("3")])])


def one(id: str) -> Optional[Customer]:
    threads.append(threading.current_thread())
    return customer(id) if id != "0" else None


def slow() -> list[int]:
    begun.set()
    return [1, 2] if released.wait(10) else []


def broken() -> str:
    raise RuntimeError("the password is hunter2")


def untyped():
    return {"price": Decimal("1.5"), "at": date(2024, 1, 31)}


class Plain:
    pass
"""

CONFIG = """
types: [ "team_code:Search", "team_code:Customer" ]
---
operation: team
args: { id: ID! }
steps:
  - { name: search, type: python, call: "team_code:search" }
  - { name: one, type: python, call: "team_code:one", inputs: { id: "{id}" } }
  - { name: slow, type: python, call: "team_code:slow" }
  - { name: broken, type: python, call: "team_code:broken" }
  - { name: untyped, type: python, call: "team_code:untyped" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "team_code.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "team.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "config"
    sys.modules.pop("team_code", None)


async def ask(generation: Generation, query: str) -> dict[str, Any]:
    context = RequestContext("test", {}, asyncio.get_running_loop().time())
    return await generation.answer(GraphQLRequest(query), context)


def answer(folder: Path, query: str) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        async with open_generation(await asyncio.to_thread(load, folder, STEP_TYPES), STEP_TYPES) as generation:
            return await ask(generation, query)

    return asyncio.run(run())


def test_the_types_of_classes_and_of_annotations_are_in_the_schema(folder: Path) -> None:
    async def run() -> str:
        async with open_generation(await asyncio.to_thread(load, folder, STEP_TYPES), STEP_TYPES) as generation:
            return print_schema(generation.schema)

    printed = asyncio.run(run())
    assert (
        'type Customer implements Owner {\n  id: ID!\n\n  """As in the passport."""\n  firstName: String!\n  tier: Tier!'
        in printed
    )
    assert "union Hit = Customer | Firm" in printed
    assert 'basic @deprecated(reason: "it is free now")' in printed
    assert '"""Who owns things."""\ninterface Owner' in printed
    assert "type Team {\n  search: Search\n  one: Customer\n  slow: [Int!]\n  broken: String\n  untyped: JSON\n}" in printed


def test_objects_of_the_classes_are_answered_by_their_graphql_names(folder: Path) -> None:
    query = """{ team(id: 7) {
      one { __typename id firstName tier since born spent key }
      search { hits { __typename ... on Owner { id } ... on Firm { staff { firstName } } } }
      untyped
    } }"""
    ada = {"id": "7", "firstName": "Ada", "tier": "basic", "since": "2024-01-31T12:00:00+00:00", "born": None, "spent": "12.50"}
    key = "00000000-0000-0000-0000-000000000005"
    hits = [{"__typename": "Customer", "id": "1"}, {"__typename": "Firm", "id": "2", "staff": [{"firstName": "Ada"}]}]
    assert answer(folder, query) == {
        "data": {
            "team": {
                "one": {"__typename": "Customer", **ada, "key": key},
                "search": {"hits": hits},
                "untyped": {"price": "1.5", "at": "2024-01-31"},
            }
        }
    }


def test_an_optional_object_may_be_null(folder: Path) -> None:
    assert answer(folder, "{ team(id: 0) { one { id } } }") == {"data": {"team": {"one": None}}}


def test_an_async_function_runs_on_the_event_loop_and_a_plain_one_in_a_thread(folder: Path) -> None:
    answer(folder, "{ team(id: 1) { search { hits { __typename } } } }")
    answer(folder, "{ team(id: 1) { one { id } } }")
    threads = sys.modules["team_code"].threads
    assert [thread is threading.main_thread() for thread in threads] == [True, False]


def test_a_plain_function_does_not_hold_up_the_event_loop(folder: Path) -> None:
    """The function ends only after the event loop has done something beside it."""

    async def run() -> dict[str, Any]:
        async with open_generation(await asyncio.to_thread(load, folder, STEP_TYPES), STEP_TYPES) as generation:
            module = sys.modules["team_code"]
            module.released.clear()
            asking = asyncio.ensure_future(ask(generation, "{ team(id: 1) { slow } }"))
            assert await asyncio.to_thread(module.begun.wait, 10)
            module.released.set()
            return await asking

    assert asyncio.run(run()) == {"data": {"team": {"slow": [1, 2]}}}


def test_nothing_of_an_exception_is_told_to_the_client(folder: Path) -> None:
    body = answer(folder, "{ team(id: 1) { broken } }")
    (error,) = body["errors"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "step": "broken"}
    assert not any(word in str(body) for word in ("hunter2", "password", "RuntimeError", "team_code"))


@pytest.mark.parametrize(
    ("old", "new", "sdl", "code", "part"),
    [
        ("team_code:Search", "team_code:Serch", "", "bad-class", "no attribute 'Serch'"),
        ("team_code:Search", "no_code:Search", "", "bad-class", "No module named 'no_code'"),
        ("team_code:Search", "team_code:Plain", "", "bad-class", "decorate it with @strawberry.type"),
        ("team_code:Search", "team_code:Computed", "", "bad-class", "'Computed.now' is computed by a method"),
        ("team_code:Search", "team_code:Search", "type Customer { id: ID }", "type-conflict", "makes the type 'Customer'"),
    ],
)
def test_what_cannot_join_the_types_is_a_problem(folder: Path, old: str, new: str, sdl: str, code: str, part: str) -> None:
    (folder / "team.yaml").write_text(CONFIG.replace(old, new), encoding="utf-8")
    (folder / "types.graphql").write_text(sdl, encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(folder, STEP_TYPES)
    problem = next(problem for problem in raised.value.problems if problem.code == code)
    assert part in problem.message
    assert (Path(problem.place.file).name, problem.place.line) == ("team.yaml", 2)


def test_a_type_on_both_sides_is_one_problem_and_no_more(folder: Path) -> None:
    (folder / "types.graphql").write_text("type Customer { id: ID }", encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(folder, STEP_TYPES)
    assert [problem.code for problem in raised.value.problems if "'Customer'" in problem.message] == ["type-conflict"]


def test_an_annotation_whose_class_is_not_named_says_where_to_name_it(folder: Path) -> None:
    types = 'types: [ "team_code:Search", "team_code:Customer" ]\n---\n'
    assert types in CONFIG
    (folder / "team.yaml").write_text(CONFIG.replace(types, ""), encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load(folder, STEP_TYPES)
    assert {problem.code for problem in raised.value.problems} == {"unknown-type"}
    assert all("name its class in 'types:'" in problem.message for problem in raised.value.problems)


def test_scalars_may_be_declared_on_both_sides(folder: Path) -> None:
    (folder / "types.graphql").write_text('"Exact." scalar Decimal', encoding="utf-8")
    assert answer(folder, "{ team(id: 7) { one { spent } } }") == {"data": {"team": {"one": {"spent": "12.50"}}}}


def test_what_the_configuration_says_of_a_step_comes_before_its_annotation(folder: Path) -> None:
    config = CONFIG.replace('call: "team_code:slow"', 'call: "team_code:slow", returns: "[ID]"')
    (folder / "team.yaml").write_text(config, encoding="utf-8")
    assert answer(folder, "{ team(id: 7) { slow } }") == {"data": {"team": {"slow": ["1", "2"]}}}
