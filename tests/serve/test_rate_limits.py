"""Rate limits of clients (cases O-06, O-09): counted in memory, in Redis, and while Redis does not answer."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.blueprint import RateLimits
from gateway.blueprint.blueprint import RateLimit
from gateway.errors import ConfigurationError, RequestError
from gateway.language.expression import compile_expression
from gateway.load.build.build import load
from gateway.serve.admission.rate_limits import MAX_KEYS, ClientWindows, RateLimiter
from gateway.serve.http.request import HttpMessage, client_address
from resolvers import STEP_TYPES
from tests.faults import FaultServer, Hang, refused_port
from tests.kit.serving import Answer, Gateway, serving, write_files
from tests.kit.timing import SLACK

CONFIG = """
context:
  tenant: request.headers."x-tenant"
---
operation: constant
steps: [ { name: step, type: value, value: 1 } ]
---
server:
  trust_proxy_headers: TRUST
  RATES
"""
QUERY = "{ constant { step } }"
REDIS = os.environ.get("STEPGRAPH_TEST_REDIS", "redis://127.0.0.1:6379/0")


class Clock:
    """A manual clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(*rates: str, key: str = "peer", is_moving: bool = True) -> RateLimits:
    seconds = {"second": 1, "minute": 60, "hour": 3600}
    pairs = (rate.split("/") for rate in rates)
    rules = tuple(RateLimit(compile_expression(key), int(amount), seconds[unit], is_moving) for amount, unit in pairs)
    return RateLimits(rules, None, proxies=0, reads_context=False)


def allowed(counters: RateLimiter, limit: RateLimits, peer: object = "a", count: int = 1) -> bool:
    try:
        counters.hit(limit, {"peer": peer}, count)
    except RequestError:
        return False
    return True


# -- in memory


def test_the_eleventh_request_of_a_second_is_refused_and_tells_when_to_come_again() -> None:
    clock = Clock()
    counters, limit = RateLimiter(clock), limits("10/second")
    assert [allowed(counters, limit) for _ in range(11)] == [True] * 10 + [False]
    with pytest.raises(RequestError) as refused:
        counters.hit(limit, {"peer": "a"}, 1)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "REQUEST_RATE_LIMITED", 1)
    assert counters.refused == 2


def test_in_a_moving_window_there_are_never_more() -> None:
    clock = Clock()
    counters, limit = RateLimiter(clock), limits("10/second")
    clock.now += 0.9
    assert all(allowed(counters, limit) for _ in range(10))
    clock.now += 0.9
    assert not allowed(counters, limit)
    clock.now += 0.11
    assert [allowed(counters, limit) for _ in range(11)] == [True] * 10 + [False]


def test_a_fixed_window_ends_as_a_whole() -> None:
    clock = Clock()
    counters, limit = RateLimiter(clock), limits("2/minute", is_moving=False)
    assert [allowed(counters, limit) for _ in range(3)] == [True, True, False]
    clock.now += 59
    with pytest.raises(RequestError) as refused:
        counters.hit(limit, {"peer": "a"}, 1)
    assert refused.value.retry_after == 1
    clock.now += 1
    assert allowed(counters, limit)


def test_clients_do_not_count_for_each_other_and_those_without_a_key_count_together() -> None:
    counters, limit = RateLimiter(Clock()), limits("1/second")
    assert [allowed(counters, limit, peer) for peer in ("a", "b", 1, True, None)] == [True] * 5
    assert [allowed(counters, limit, peer) for peer in ("a", "b", 1, True, None)] == [False] * 5


def test_all_limits_hold_and_the_same_value_of_two_keys_is_not_the_same() -> None:
    counters = RateLimiter(Clock())
    assert [allowed(counters, limits("5/second", "3/minute")) for _ in range(4)] == [True] * 3 + [False]
    other = limits("3/minute", key="@.peer")
    assert allowed(counters, other)


def test_each_entry_of_a_batch_counts() -> None:
    counters, limit = RateLimiter(Clock()), limits("10/second")
    assert [allowed(counters, limit, count=4) for _ in range(3)] == [True, True, False]
    assert allowed(counters, limit, count=2)


def test_the_store_keeps_no_more_clients_than_it_may_and_forgets_who_was_not_seen_for_longest() -> None:
    windows, (rule,) = ClientWindows(Clock()), limits("1/hour").rules
    assert windows.hit(rule, "first", 1) == 0
    for number in range(MAX_KEYS - 1):
        windows.hit(rule, str(number), 1)
    assert windows.hit(rule, "first", 1) == 3600
    for number in range(3 * MAX_KEYS):
        windows.hit(rule, f"again {number}", 1)
    assert len(windows) == MAX_KEYS
    assert windows.hit(rule, "first", 1) == 0


def test_a_few_clients_with_very_many_requests_take_no_more_memory_than_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.serve.admission.rate_limits.MAX_TIMESTAMPS", 1000)
    windows, (rule,) = ClientWindows(Clock()), limits("1000/hour").rules
    for number in range(50):
        windows.hit(rule, str(number), 500)
    assert len(windows) <= 4


def test_a_rate_is_a_number_and_a_time(tmp_path: Path) -> None:
    rates = ["10/second", "5/minutes", "100/5 minutes", "7/2 hours", "1/day"]
    text = CONFIG.replace("RATES", f"rate_limits: {json.dumps([{'key': 'peer', 'limit': rate} for rate in rates])}")
    rate_limits = load(write_files(tmp_path, {"graph.yaml": text.replace("TRUST", "false")}), STEP_TYPES).rate_limits
    assert rate_limits is not None
    assert [(rule.amount, rule.seconds) for rule in rate_limits.rules] == [(10, 1), (5, 60), (100, 300), (7, 7200), (1, 86_400)]


def test_a_key_of_any_length_takes_the_same_room_and_cannot_be_read() -> None:
    counters, limit = RateLimiter(Clock()), limits("1/second")
    assert allowed(counters, limit, "x" * 100_000)
    assert allowed(counters, limit, "\ud800")
    (key, *_) = counters._windows._windows
    assert len(key) < 100
    assert "xx" not in key


# -- through the gateway


@asynccontextmanager
async def limited(folder: Path, rates: str, trust: str = "false") -> AsyncIterator[Gateway]:
    text = CONFIG.replace("RATES", rates).replace("TRUST", trust)
    async with serving(write_files(folder, {"graph.yaml": text})) as gateway:
        yield gateway


async def statuses(gateway: Gateway, count: int, **headers: str) -> list[int]:
    return [answer.status for answer in await answers(gateway, count, **headers)]


async def answers(gateway: Gateway, count: int, **headers: str) -> list[Answer]:
    return [await gateway.ask(QUERY, None, **headers) for _ in range(count)]


def test_other_tenants_are_unaffected(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with limited(tmp_path, "rate_limits: [ { key: context.tenant, limit: 10/minute } ]") as gateway:
            *good, last = await answers(gateway, 11, x_tenant="a")
            assert {answer.status for answer in good} == {200}
            assert (last.status, last.codes, last.body.keys()) == (429, ["REQUEST_RATE_LIMITED"], {"errors"})
            assert 1 <= int(last.headers["retry-after"]) <= 60
            assert await statuses(gateway, 3, x_tenant="b") == [200] * 3
            assert await statuses(gateway, 11) == [200] * 10 + [429]

    asyncio.run(scenario())


def test_a_reload_forgets_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with limited(tmp_path, "rate_limits: [ { key: peer, limit: 2/minute } ]") as gateway:
            first = (await answers(gateway, 2))[-1].headers["x-config-version"]
            path = tmp_path / "graph.yaml"
            path.write_text(path.read_text("utf-8") + "  dedupe_queries: true\n", "utf-8")
            async with asyncio.timeout(15):
                while (answer := await gateway.ask(QUERY)).headers["x-config-version"] == first:
                    assert answer.status == 429
            assert answer.status == 429

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "6.6.6.6", "peer"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"),
        (2, "1.1.1.1", "peer"),
        (1, "", "peer"),
        (1, None, "peer"),
    ],
)
def test_only_addresses_that_own_proxies_have_written_are_believed(proxies: int, forwarded: str | None, address: str) -> None:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert client_address(HttpMessage("GET", b"", headers, b"", "id", 0.0, "peer"), proxies) == address


def test_a_client_cannot_forge_its_address_unless_a_proxy_is_trusted(tmp_path: Path) -> None:
    async def scenario() -> None:
        rates = "rate_limits: [ { key: peer, limit: 2/minute } ]"
        async with limited(tmp_path / "direct", rates) as gateway:
            assert [(await statuses(gateway, 1, x_forwarded_for=str(number)))[0] for number in range(3)] == [200, 200, 429]
        async with limited(tmp_path / "behind", rates, trust="1") as gateway:
            assert [(await statuses(gateway, 1, x_forwarded_for=str(number)))[0] for number in range(3)] == [200, 200, 200]

    asyncio.run(scenario())


POST = {"content-type": "application/json", "accept": "application/json"}
JUNK: Mapping[str, tuple[str, str, bytes, Mapping[str, str]]] = {
    "no JSON": ("POST", "", b"{", POST),
    "no UTF-8": ("POST", "", b'{"query": "\xff"}', POST),
    "nothing": ("POST", "", b"", POST),
    "no object": ("POST", "", b"7", POST),
    "no query": ("POST", "", b"{}", POST),
    "an empty batch": ("POST", "", b"[]", POST),
    "a batch of junk": ("POST", "", b"[7]", POST),
    "no document": ("POST", "", b'{"query": "{"}', POST),
    "no such field": ("POST", "", b'{"query": "{ nothing }"}', POST),
    "another media type": ("POST", "", b"{}", {**POST, "content-type": "text/plain"}),
    "another answer": ("POST", "", b"{}", {**POST, "accept": "text/plain"}),
    "compressed": ("POST", "", b"{}", {**POST, "content-encoding": "br"}),
    "another method": ("PUT", "", b"{}", POST),
    "GET without a query": ("GET", "", b"", POST),
    "GET of a page": ("GET", "", b"", {"accept": "text/html"}),
    "GET of a mutation": ("GET", "?query=mutation%20%7B%20x%20%7D", b"", POST),
}


@pytest.mark.parametrize("name", JUNK)
@pytest.mark.parametrize(
    "further", ["", "---\noperation: high\npriority: high\nsteps: [ { name: step, type: value, value: 1 } ]\n", REDIS]
)
def test_what_cannot_be_read_counts_like_any_other_request(tmp_path: Path, name: str, further: str) -> None:
    """Also where the operations have priorities, and where Redis counts."""
    if further == REDIS:
        needs_redis()
    rates = f"rate_limits: [ {{ key: context.tenant, limit: 3/minute }} ]\n{f'  rate_limit_store: {REDIS}' if further == REDIS else further}"
    method, target, content, headers = JUNK[name]
    tenant = {"x-tenant": uuid.uuid4().hex}

    async def scenario() -> None:
        async with limited(tmp_path, rates) as gateway:
            first, second, third, fourth = [
                await gateway.send(method, f"/graphql{target}", content=content, headers={**headers, **tenant}) for _ in range(4)
            ]
            assert first.status == second.status == third.status != 429
            assert (fourth.status, fourth.codes) == (429, ["REQUEST_RATE_LIMITED"])
            assert await statuses(gateway, 1, x_tenant=tenant["x-tenant"]) == [429]
            assert await statuses(gateway, 1, x_tenant=uuid.uuid4().hex) == [200]

    asyncio.run(scenario())


# -- in Redis


def needs_redis() -> None:
    address = REDIS.partition("://")[2].partition("/")[0]

    async def connect() -> None:
        host, _, port = address.partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()

    try:
        asyncio.run(connect())
    except OSError:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Redis answers at {address}; STEPGRAPH_TEST_REDIS says where one is")


@pytest.mark.parametrize("window", ["moving", "fixed"])
def test_two_gateways_count_together_in_redis(tmp_path: Path, window: str) -> None:
    needs_redis()
    rule = {"key": "context.tenant", "limit": "10/minute", "window": window}
    rates = f"rate_limits: [ {json.dumps(rule)} ]\n  rate_limit_store: {REDIS}"
    tenant = uuid.uuid4().hex

    async def scenario() -> None:
        async with limited(tmp_path / "one", rates) as one, limited(tmp_path / "other", rates) as other:
            assert await statuses(one, 6, x_tenant=tenant) == [200] * 6
            *good, last = await answers(other, 5, x_tenant=tenant)
            assert [answer.status for answer in good] == [200] * 4
            assert (last.status, last.codes) == (429, ["REQUEST_RATE_LIMITED"])
            assert 1 <= int(last.headers["retry-after"]) <= 61
            assert await statuses(one, 1, x_tenant=tenant + "b") == [200]

    asyncio.run(scenario())


def test_a_store_needs_the_client_of_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CONFIG.replace("RATES", "rate_limits: [ { key: peer, limit: 1/minute } ]\n  rate_limit_store: redis://127.0.0.1")
    folder = write_files(tmp_path, {"graph.yaml": text.replace("TRUST", "false")})
    assert load(folder, STEP_TYPES).rate_limits
    monkeypatch.setattr("gateway.load.build.rate_limits.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as refused:
        load(folder, STEP_TYPES)
    (problem,) = refused.value.problems
    assert (problem.code, problem.place.line) == ("missing-package", 11)
    assert "stepgraph[redis]" in problem.message


def test_while_redis_hangs_requests_wait_a_moment_at_most_and_are_let_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with FaultServer() as silent:
            silent.script("/", Hang())
            store = silent.url.replace("http://", "redis://")
            rates = f"rate_limits: [ {{ key: peer, limit: 1/minute }} ]\n  rate_limit_store: {store}"
            async with limited(tmp_path, rates) as gateway:
                started = time.perf_counter()
                assert await statuses(gateway, 20) == [200] * 20
                assert time.perf_counter() - started < 3 + SLACK

    asyncio.run(scenario())
    assert "Redis does not count requests; they are let in" in caplog.text


def test_without_redis_requests_are_let_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        rates = f"rate_limits: [ {{ key: peer, limit: 1/minute }} ]\n  rate_limit_store: redis://127.0.0.1:{refused_port()}"
        async with limited(tmp_path, rates) as gateway:
            assert await statuses(gateway, 5) == [200] * 5

    asyncio.run(scenario())
    assert caplog.text.count("Redis does not count requests") >= 1
