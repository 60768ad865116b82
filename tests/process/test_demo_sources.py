"""The demo's sources beside its REST services and SQLite: the GraphQL catalog, the case desk, the Parquet files, the team's Python."""

import asyncio
import json
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest
from httpx import Response
from starlette.applications import Starlette
from typer.testing import CliRunner

from playground.demo import data, lake, warehouse
from playground.demo.behaviours import DEFAULTS, Behaviour
from playground.demo.blog import POSTS, USERS
from playground.demo.scoring import Grade, Rating, advise, rate
from playground.demo.upstream import create_app

AT_ONCE = {service: Behaviour(delay_ms=0) for service in DEFAULTS}


def post(app: Starlette, path: str, body: object, **headers: str) -> Response:
    """Post JSON; headers have hyphens for underscores."""

    async def send() -> Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.post(path, content=json.dumps(body), headers={"content-type": "application/json"} | named)

    return asyncio.run(send())


def ask(query: str) -> Any:
    answer = post(create_app(AT_ONCE), "/catalog/graphql", {"query": query})
    assert answer.status_code == 200
    return answer.json()


# The catalog


def test_the_catalog_finds_companies_one_by_one_and_together() -> None:
    assert ask('{ company(id: "2") { name city } }') == {"data": {"company": {"name": "Volt Energy", "city": "Lyon"}}}
    assert ask('{ company(id: "9") { name } }') == {"data": {"company": None}}
    companies = ask('{ companies(ids: ["3", "9", "1"]) { id } }')["data"]["companies"]
    assert [company["id"] for company in companies] == ["1", "3"]


def test_every_user_works_for_a_company_of_the_catalog_and_every_company_has_users() -> None:
    companies = ask('{ companies(ids: ["1", "2", "3", "4"]) { id } }')["data"]["companies"]
    assert {str(user["companyId"]) for user in USERS.values()} == {company["id"] for company in companies}


def test_the_people_of_a_company_have_the_offers_of_one_tier() -> None:
    offers = ask('{ company(id: "2") { offers { id } } offers(tier: "gold") { id tier } }')["data"]
    assert [offer["id"] for offer in offers["company"]["offers"]] == ["gold-account", "gold-card"]
    assert {offer["tier"] for offer in offers["offers"]} == {"gold"}
    assert ask('{ offers(tier: "platinum") { id } }') == {"data": {"offers": []}}


def test_the_catalog_is_counted_and_can_be_made_to_fail_like_any_other_service() -> None:
    app = create_app({**AT_ONCE, "catalog": Behaviour(0, failure_rate=1)})
    failed = post(app, "/catalog/graphql", {"query": "{ __typename }"})
    assert (failed.status_code, failed.json()) == (503, {"error": "catalog is unavailable"})


# The case desk


def test_a_case_is_opened_once_for_each_idempotency_key() -> None:
    app = create_app(AT_ONCE)
    first, again = (post(app, "/cases/1", {"subject": "Lost card"}, idempotency_key="k1") for _ in range(2))
    other, without = (post(app, "/cases/1", {"subject": "Lost card"}, **key) for key in ({"idempotency_key": "k2"}, {}))
    assert {first.status_code, again.status_code, other.status_code} == {201}
    assert first.json() == again.json() == {**other.json(), "id": "c-1-new-1"}
    assert len({answer.json()["id"] for answer in (first, other, without)}) == 3


def test_an_opened_case_comes_first_among_the_cases_of_its_customer_and_app() -> None:
    app = create_app(AT_ONCE)
    opened = post(app, "/cases/1", {"subject": "Lost card"}).json()
    assert get(app, "/cases/1") == [opened, *data.list_cases("1")]
    assert get(app, "/cases/2") == data.list_cases("2")
    assert get(create_app(AT_ONCE), "/cases/1") == data.list_cases("1")


def get(app: Starlette, path: str) -> Any:
    async def send() -> Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo") as client:
            return await client.get(path)

    return asyncio.run(send()).json()


@pytest.mark.parametrize("body", [None, [], {}, {"subject": " "}, {"subject": 5}, "Lost card"])
def test_a_case_without_a_subject_is_refused(body: object) -> None:
    refused = post(create_app(AT_ONCE), "/cases/1", body)
    assert (refused.status_code, refused.json()) == (400, {"error": 'expected a JSON object with a "subject"'})


def test_an_unknown_customer_has_no_case() -> None:
    assert post(create_app(AT_ONCE), "/cases/0", {"subject": "Lost card"}).status_code == 404


# The files and the warehouse


def rows_in(folder: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute("SELECT * FROM read_parquet(?) ORDER BY ALL", [[*map(str, folder.iterdir())]]).fetchall()


def test_the_files_tell_how_often_each_post_was_read_by_month_and_channel(tmp_path: Path) -> None:
    lake.seed(tmp_path / "new")
    rows = rows_in(tmp_path / "new")
    assert len(rows) == len(POSTS) * len(lake.MONTHS) * len(lake.CHANNELS)
    assert {(type(post), month, channel) for post, month, channel, _ in rows} == {
        (int, month, channel) for month in lake.MONTHS for channel in lake.CHANNELS
    }
    assert min(readers for *_, readers in rows) > 0


def test_the_channels_have_names_beside_the_example() -> None:
    names = Path("schema_configs/analytics/channels.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [name.partition(",")[0] for name in names] == [*lake.CHANNELS]


def test_seeding_the_files_again_changes_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "it's a lake"
    assert CliRunner().invoke(lake.cli, [str(folder)]).exit_code == 0
    first = rows_in(folder)
    lake.seed(folder)
    assert rows_in(folder) == first
    assert sorted(path.name for path in folder.iterdir()) == [f"reads-{month}.parquet" for month in lake.MONTHS]


def test_the_warehouse_can_be_had_as_sql(tmp_path: Path) -> None:
    printed = CliRunner().invoke(warehouse.cli, ["--sql"])
    assert printed.exit_code == 0
    with duckdb.connect() as connection:
        connection.execute(printed.stdout)
        assert connection.execute("SELECT count(*) FROM ltv").fetchall() == [(12 * len(data.CUSTOMER_IDS),)]


# The team's Python


def rate_customer(customer_id: str) -> Rating:
    revenue = [{"revenue": amount} for _, amount in data.list_revenues(customer_id)]
    return rate(data.describe_account(customer_id), revenue, data.profile_risk(customer_id)["score"])


def test_customers_have_every_grade_and_each_point_has_its_reason() -> None:
    ratings = [rate_customer(customer_id) for customer_id in data.CUSTOMER_IDS]
    assert {rating.grade for rating in ratings} == set(Grade)
    assert all(0 <= rating.points <= 100 and bool(rating.points) == bool(rating.reasons) for rating in ratings)


def test_who_is_rated_best_is_offered_something() -> None:
    assert asyncio.run(advise("A", "Gold Card")) == "Offer the Gold Card."
    assert asyncio.run(advise("B", "Gold Card")) == asyncio.run(advise("A", None)) == "Nothing to offer for now."
