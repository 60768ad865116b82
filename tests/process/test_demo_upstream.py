"""The demo's upstream services and warehouse: what a newcomer sees, and what demos and tests may rely on."""

import asyncio
import re
import selectors
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from math import prod
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import Response
from starlette.applications import Starlette
from typer.testing import CliRunner

from playground.demo import upstream, warehouse
from playground.demo.behaviours import DEFAULTS, Behaviour
from playground.demo.data import CUSTOMER_IDS
from playground.demo.upstream import create_app
from playground.demo.warehouse import seed
from tests.kit.paths import CHECKOUT

AT_ONCE = {service: Behaviour(delay_ms=0) for service in DEFAULTS}
Server = tuple[subprocess.Popen[str], str]


class JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: adds up the time that the event loop would have waited."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.waited += timeout or 0
        return super().select(timeout and 0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer, so that delays are exact and cost nothing."""

    def __init__(self) -> None:
        self.selector = JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.waited


def ask(app: Starlette, *requests: str, body: bytes = b"", loop: JumpingLoop | None = None) -> list[Response]:
    """Send requests such as `GET /posts`, one after the other."""

    async def send() -> list[Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://demo") as client:
            return [await client.request(*request.split(" "), content=body) for request in requests]

    with asyncio.Runner(loop_factory=lambda: loop or JumpingLoop()) as runner:
        return runner.run(send())


def read(path: str, app: Starlette | None = None) -> Any:
    response = ask(app or create_app(AT_ONCE), f"GET {path}")[0]
    assert response.headers["content-type"] == "application/json"
    assert response.status_code == 200
    return response.json()


def read_error(path: str) -> tuple[int, Any]:
    response = ask(create_app(AT_ONCE), f"GET {path}")[0]
    return response.status_code, response.json()


def put(app: Starlette, path: str, body: bytes) -> tuple[int, Any]:
    response = ask(app, f"PUT {path}", body=body)[0]
    return response.status_code, response.json()


def seconds_for(app: Starlette, path: str) -> float:
    ask(app, f"GET {path}", loop=(loop := JumpingLoop()))
    return loop.time()


# Customers


def test_every_customer_has_a_complete_account_and_every_status_occurs() -> None:
    accounts = [read(f"/accounts/{customer_id}") for customer_id in CUSTOMER_IDS]
    assert [account["id"] for account in accounts] == [*map(str, range(1, 21)), "42"]
    assert {account["tier"] for account in accounts} == {"basic", "silver", "gold"}
    assert {account["status"] for account in accounts} == {"ACTIVE", "FROZEN", "CLOSED"}
    for account in accounts:
        assert " ".join(account) == "id name email tier status opened_on balance currency flags"
        assert date.fromisoformat(account["opened_on"]) < date(2026, 1, 1)
        assert isinstance(account["balance"], float)
        assert all(isinstance(flag, str) for flag in account["flags"])


def test_customers_have_0_to_12_transactions_and_both_ends_occur() -> None:
    sizes = {len(read(f"/transactions/{customer_id}")) for customer_id in CUSTOMER_IDS}
    assert {0, 12} <= sizes <= set(range(13))


def test_transactions_are_in_the_currency_of_the_account_and_the_newest_comes_first() -> None:
    transactions = read("/transactions/42")
    assert {" ".join(row) for row in transactions} == {"id amount currency merchant booked_at"}
    assert {row["currency"] for row in transactions} == {read("/accounts/42")["currency"]}
    booked = [datetime.fromisoformat(row["booked_at"]) for row in transactions]
    assert len(booked) > 1
    assert booked == sorted(booked, reverse=True)


def test_a_fraud_score_follows_from_its_signals() -> None:
    assessments = [read(f"/fraud/signals/{customer_id}") for customer_id in CUSTOMER_IDS if customer_id != "7"]
    assert {" ".join(fraud) for fraud in assessments} == {"score level signals"}
    assert {" ".join(row) for fraud in assessments for row in fraud["signals"]} == {"name weight"}
    for fraud in assessments:
        score = 1.0 - prod(1 - row["weight"] for row in fraud["signals"])
        assert fraud["score"] == pytest.approx(score, abs=0.001)
        assert fraud["level"] == ("low" if score < 0.3 else "medium" if score < 0.6 else "high")


def test_customer_7_has_an_account_but_no_fraud_service() -> None:
    assert read("/accounts/7")["id"] == "7"
    assert read_error("/fraud/signals/7") == (503, {"error": "fraud is unavailable"})


def test_each_tier_has_credit_terms_and_a_higher_one_the_better_terms() -> None:
    credits_ = [read(f"/credit/{tier}") for tier in ("basic", "silver", "gold")]
    assert {" ".join(credit) for credit in credits_} == {"tier limit rate"}
    limits, rates = [row["limit"] for row in credits_], [row["rate"] for row in credits_]
    assert limits == sorted(set(limits))
    assert rates == sorted(set(rates), reverse=True)


def test_cases_and_disputes_are_lists_of_rows() -> None:
    cases, disputes = read("/cases/42"), read("/disputes/42")
    assert {" ".join(row) for row in cases} == {"id subject status opened_at"}
    assert {" ".join(row) for row in disputes} == {"id amount reason"}
    assert {row["amount"] for row in disputes} <= {row["amount"] for row in read("/transactions/42")}


@pytest.mark.parametrize("path", ["/accounts", "/transactions", "/fraud/signals", "/cases", "/disputes"])
@pytest.mark.parametrize("customer_id", ["0", "21", "abc", "01"])
def test_an_unknown_customer_is_a_404(path: str, customer_id: str) -> None:
    assert read_error(f"{path}/{customer_id}") == (404, {"error": "no such customer"})


def test_anything_else_unknown_is_a_404_in_json() -> None:
    assert read_error("/credit/platinum") == (404, {"error": "no such tier"})
    assert read_error("/posts/101") == (404, {"error": "no such post"})
    assert read_error("/users/11") == read_error("/users/x/posts") == (404, {"error": "no such user"})
    assert read_error("/nowhere") == (404, {"error": "Not Found"})


# Posts and users


def test_there_are_100_posts_by_10_users_with_whole_numbers_as_ids() -> None:
    posts = read("/posts")
    assert [post["id"] for post in posts] == list(range(1, 101))
    assert {post["userId"] for post in posts} == set(range(1, 11))
    assert {" ".join(post) for post in posts} == {"id userId title body"}
    assert len({post["title"] for post in posts}) == 100
    assert read("/posts/17") == posts[16]


def test_there_are_10_users_each_with_a_company() -> None:
    users = read("/users")
    assert [user["id"] for user in users] == list(range(1, 11))
    assert {" ".join(user) for user in users} == {"id name username email phone website companyId"}
    assert all(isinstance(user["companyId"], int) for user in users)
    assert read("/users/3") == users[2]


@pytest.mark.parametrize(
    ("query", "ids"),
    [("id=1&id=2", [1, 2]), ("id=9&id=2&id=9", [2, 9]), ("id=5&id=99&id=x", [5]), ("id=99", []), ("id=", [])],
)
def test_users_can_be_asked_for_by_ids_and_come_once_each_in_order(query: str, ids: list[int]) -> None:
    assert [user["id"] for user in read(f"/users?{query}")] == ids


def test_the_posts_of_a_user_are_those_that_name_the_user() -> None:
    assert read("/users/4/posts") == [post for post in read("/posts") if post["userId"] == 4]


# Behaviours and counts


def test_services_start_with_the_documented_behaviours() -> None:
    behaviours = read("/_behaviour", create_app())
    assert {behaviour["failure_rate"] for behaviour in behaviours.values()} == {0}
    delays = [f"{service} {behaviour['delay_ms']}" for service, behaviour in behaviours.items()]
    assert delays[:5] == ["accounts 30", "transactions 50", "fraud 20", "credit 20", "cases 40"]
    assert delays[5:] == ["disputes 25", "posts 20", "users 20", "catalog 30"]


def test_behaviours_given_to_the_app_leave_the_other_services_alone() -> None:
    behaviours = read("/_behaviour", create_app({"cases": Behaviour(5, 0.25)}))
    assert behaviours["cases"] == {"delay_ms": 5, "failure_rate": 0.25}
    assert behaviours["fraud"] == {"delay_ms": 20, "failure_rate": 0}


def test_an_app_for_an_unknown_service_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"^unknown service 'acounts'; did you mean 'accounts'\?$"):
        create_app({"acounts": Behaviour(0)})


def test_a_delay_set_at_run_time_holds_for_the_next_call_of_that_service_alone() -> None:
    app = create_app()
    assert seconds_for(app, "/accounts/1") == pytest.approx(0.03, abs=0.001)
    changed = put(app, "/_behaviour/accounts", b'{"delay_ms": 1500}')
    assert changed == (200, {"delay_ms": 1500, "failure_rate": 0})
    assert seconds_for(app, "/accounts/1") == pytest.approx(1.5, abs=0.001)
    assert seconds_for(app, "/transactions/1") == pytest.approx(0.05, abs=0.001)


def test_a_service_with_failure_rate_1_always_fails_until_it_is_mended() -> None:
    app = create_app(AT_ONCE)
    put(app, "/_behaviour/posts", b'{"failure_rate": 1.0}')
    failures = ask(app, *["GET /posts/1"] * 20)
    assert {response.status_code for response in failures} == {503}
    assert failures[0].json() == {"error": "posts is unavailable"}
    assert read("/users/1", app)["id"] == 1
    put(app, "/_behaviour/posts", b'{"failure_rate": 0}')
    assert read("/posts/1", app)["id"] == 1


def test_a_failure_rate_of_a_half_fails_about_half_of_the_calls_and_the_same_ones_in_each_run() -> None:
    def list_statuses() -> list[int]:
        app = create_app({"accounts": Behaviour(0, failure_rate=0.5)})
        return [response.status_code for response in ask(app, *["GET /accounts/1"] * 200)]

    first_run = list_statuses()
    assert 70 < first_run.count(503) < 130
    assert first_run.count(503) + first_run.count(200) == 200
    assert first_run == list_statuses()


NOT_JSON = [b"", b"{", b"\xff", b"[" * 100_000]
NO_CHANGE = [b"[]", b"{}", b'"fast"', b'{"delay": 5}', b'{"delay_ms": 5, "fail": 1}']
NO_DELAY = [b'{"delay_ms": %s}' % value for value in (b"-1", b"60001", b'"5"', b"null", b"true", b"[]")]
NO_RATE = [b'{"failure_rate": %s}' % value for value in (b"1.01", b"-0.1", b"NaN", b"Infinity", b"false")]


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        (NOT_JSON, "the body is not JSON"),
        (NO_CHANGE, 'expected a JSON object with one or both of {"delay_ms": 1500, "failure_rate": 1.0}'),
        (NO_DELAY, "'delay_ms' must be a number from 0 to 60000"),
        (NO_RATE, "'failure_rate' must be a number from 0 to 1"),
    ],
)
def test_a_behaviour_that_makes_no_sense_is_a_400_and_changes_nothing(bodies: list[bytes], message: str) -> None:
    app = create_app()
    for body in bodies:
        assert put(app, "/_behaviour/users", body) == (400, {"error": message}), body[:40]
    assert read("/_behaviour", app)["users"] == {"delay_ms": 20, "failure_rate": 0}


def test_the_behaviour_of_an_unknown_service_is_a_404_with_the_nearest_name() -> None:
    error = {"error": "unknown service 'user'; did you mean 'users'?"}
    assert put(create_app(), "/_behaviour/user", b'{"delay_ms": 1}') == (404, error)


def test_calls_are_counted_by_service_whether_they_succeed_or_not() -> None:
    app = create_app(AT_ONCE)
    ask(app, "GET /accounts/1", "GET /accounts/none", "GET /fraud/signals/7", "GET /users/1/posts")
    ask(app, "GET /_behaviour", "GET /_calls", "GET /nowhere")
    assert read("/_calls", app) == {**dict.fromkeys(DEFAULTS, 0), "accounts": 2, "fraud": 1, "posts": 1}


def test_counts_can_be_reset_and_belong_to_one_app() -> None:
    app = create_app(AT_ONCE)
    ask(app, "GET /posts", "GET /posts")
    assert read("/_calls")["posts"] == 0
    assert ask(app, "DELETE /_calls", "GET /posts")[0].status_code == 204
    assert read("/_calls", app)["posts"] == 1


# The command line


@pytest.fixture
def server() -> Iterator[Server]:
    """Start a real server on a free port, and give its process and address."""
    command = [sys.executable, "-m", "playground.demo.upstream", "--port", "0"]
    options = ["--delay", "users=0", "--delay", "cases=30000", "--fail", "fraud=1"]
    root = CHECKOUT
    with subprocess.Popen([*command, *options], cwd=root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        addresses = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)
        yield process, next(address[0] for address in addresses if address)
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_as_told_and_ends_with_0_and_without_an_access_log(server: Server, number: signal.Signals) -> None:
    process, address = server
    assert len(httpx.get(f"{address}/users").json()) == 10
    assert httpx.get(f"{address}/fraud/signals/1").status_code == 503
    process.send_signal(number)
    _, log = process.communicate(timeout=5)
    assert process.returncode == 0
    assert "/users" not in log
    assert "Traceback" not in log


def test_a_slow_answer_does_not_keep_the_command_from_ending(server: Server) -> None:
    process, address = server
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{address}/cases/1", timeout=0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--delay acounts=5", "did you mean 'accounts'"),
        ("--delay accounts", "has no '='"),
        ("--delay accounts=slow", "'slow' is not a number"),
        ("--delay accounts=-1", "'delay_ms' must be a number from 0 to 60000"),
        ("--fail fraud=1.5", "'failure_rate' must be a number from 0 to 1"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_starts(option: str, message: str) -> None:
    result = CliRunner().invoke(upstream.cli, option.split())
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())  # however wide the terminal is


# The warehouse


def select(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Seed a warehouse in a folder of its own that did not exist."""
    path = tmp_path / "new folder" / "warehouse.db"
    seed(path)
    return path


def test_the_warehouse_tells_the_same_story_as_the_services(path: Path) -> None:
    profiles = {row[0]: row for row in select(path, "SELECT customer_id, score, segment FROM risk_profiles")}
    assert set(profiles) == set(CUSTOMER_IDS)
    assert profiles["42"][1] == read("/fraud/signals/42")["score"]
    assert {segment for _, _, segment in profiles.values()} == {"standard", "watch", "review"}
    for tier, limit, rate in select(path, "SELECT tier, credit_limit, rate FROM credit"):
        assert read(f"/credit/{tier}") == {"tier": tier, "limit": limit, "rate": rate}


def test_the_warehouse_holds_12_months_of_revenue_for_each_customer(path: Path) -> None:
    rows = select(path, "SELECT customer_id, count(*), min(month), max(month) FROM ltv GROUP BY customer_id")
    assert {row[0] for row in rows} == set(CUSTOMER_IDS)
    assert {row[1:] for row in rows} == {(12, "2025-01", "2025-12")}
    assert select(path, "SELECT min(revenue) > 0 FROM ltv") == [(1,)]


def test_seeding_twice_gives_the_same_warehouse_and_leaves_nothing_else_behind(path: Path) -> None:
    first = dump(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM credit")
    seed(path)
    assert dump(path) == first
    assert list(path.parent.iterdir()) == [path]


def test_a_seeding_that_fails_leaves_the_old_warehouse(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(path)
    monkeypatch.setattr(warehouse, "TABLES", "CREATE TABLE credit (tier TEXT)")
    with pytest.raises(sqlite3.OperationalError):
        seed(path)
    assert dump(path) == before
    assert list(path.parent.iterdir()) == [path]


def test_what_a_crashed_writer_left_is_not_played_into_the_new_warehouse(path: Path, tmp_path: Path) -> None:
    expected = dump(path)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        writer.execute("CREATE TABLE half_done (id)")
        shutil.copytree(path.parent, tmp_path / "crashed")
    crashed = tmp_path / "crashed" / path.name
    assert (tmp_path / "crashed" / "warehouse.db-wal").stat().st_size
    seed(crashed)
    assert dump(crashed) == expected


def test_the_warehouse_command_seeds_the_given_path(tmp_path: Path) -> None:
    result = CliRunner().invoke(warehouse.cli, [str(tmp_path / "demo.db")])
    assert result.exit_code == 0
    assert select(tmp_path / "demo.db", "SELECT count(*) FROM credit") == [(3,)]
