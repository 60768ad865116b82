"""What clients share, and what they must never share: calls, caches, headers (rows A-08, A-09 and U-17)."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults import Delay, Json, Status
from tests.faults.crowd import all_at_once, request
from tests.faults.served import Served, in_background
from tests.kit.timing import SLACK

case = pytest.mark.case

CONFIG = {
    "graph.yaml": """
server: { dedupe_queries: true }
---
sources:
  shared:
    type: api
    base_url: UPSTREAM
    dedupe: true
    retry: { attempts: 1 }
    headers:
      authorization: "{request.headers.authorization?}"
      cookie: "{request.headers.cookie?}"
      accept-language: "{request.headers.accept-language?}"
  plain: { type: api, base_url: UPSTREAM, retry: { attempts: 1 } }
defaults: { api: shared }
---
operation: mine
args: { path: ID! }
steps: [ { name: value, type: api, endpoint: "/{path}", cache: { ttl_ms: 60000 } } ]
---
operation: fresh
args: { path: ID! }
steps: [ { name: value, type: api, endpoint: "/{path}", timeout_ms: 5000 } ]
---
operation: told
args: { path: ID! }
steps: [ { name: value, type: api, source: plain, endpoint: "/{path}", cache: http, headers: { x-declared: "{request.headers.x-declared?}" } } ]
"""
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("isolation"), CONFIG) as opened:
        yield opened


IDENTITIES: list[dict[str, str]] = [
    {},
    {"authorization": "Bearer a"},
    {"authorization": "Bearer b"},
    {"authorization": "Bearer a", "cookie": "s=1"},
    {"authorization": "Bearer a", "cookie": "s=2"},
    {"authorization": "Bearer a", "accept_language": "de"},
    {"accept_language": "fr"},
]


@case("A-08")
def test_equal_queries_of_different_clients_share_no_call_and_no_cached_reply(served: Served) -> None:
    class Echo:
        """Answer with the headers that identify the client."""

        async def answer(self, exchange: object) -> None:
            headers = dict(exchange.request.headers)  # type: ignore[attr-defined]
            identity = [headers.get(name) for name in ("authorization", "cookie", "accept-language")]
            await Json(identity, delay=0.1).answer(exchange)  # type: ignore[arg-type]

    async def ask_all() -> None:
        served.upstream.script("/mine", Echo())
        for _ in range(2):
            asked = [(identity, f"host-{number}") for identity in IDENTITIES for number in range(5)]
            answers = await asyncio.gather(
                *(
                    served.gateway.ask('{ mine(path: "mine") { value } }', None, **identity, x_forwarded_host=host)
                    for identity, host in asked
                )
            )
            for (identity, _), answer in zip(asked, answers, strict=True):
                expected = [identity.get(name) for name in ("authorization", "cookie", "accept_language")]
                assert answer.data == {"mine": {"value": expected}}
            assert served.upstream.count("/mine") == len(IDENTITIES)

    served.run(ask_all)


NOT_FOR_ALL = [
    {"cache-control": "no-store"},
    {"cache-control": "private, max-age=60"},
    {"cache-control": "max-age=60", "set-cookie": "s=1"},
]
NEVER_STORED = [
    *(("mine", headers) for headers in NOT_FOR_ALL),
    *(("told", headers) for headers in (*NOT_FOR_ALL, {"cache-control": "no-cache"}, {})),
]


@case("A-08")
@pytest.mark.parametrize("number", range(len(NEVER_STORED)))
def test_what_may_not_be_stored_is_asked_for_again(served: Served, number: int) -> None:
    operation, headers = NEVER_STORED[number]
    served.upstream.script(f"/stored-{number}", Json(1, headers=headers))
    for _ in range(2):
        served.ask(f'{{ {operation}(path: "stored-{number}") {{ value }} }}')
    assert served.upstream.count(f"/stored-{number}") == 2


@case("A-09")
def test_the_upstream_gets_declared_headers_alone_and_the_client_none_of_its_own(served: Served) -> None:
    served.upstream.script("/headers", Json(1, headers={"set-cookie": "s=1", "server": "Secret/1.0", "x-own": "a"}))
    hop_by_hop = {"connection": "X-Secret, keep-alive", "te": "trailers", "upgrade": "h2c", "keep-alive": "timeout=5"}
    answer = served.run(
        lambda: served.gateway.send(
            "POST",
            "/graphql",
            content=b'{"query": "{ told(path: \\"headers\\") { value } }"}',
            headers={
                "content-type": "application/json",
                "cookie": "s=1",
                "authorization": "Bearer a",
                "x-anything": "a",
                "x-secret": "a",
                "x-declared": "b",
                "x-forwarded-for": "1.2.3.4",
                "proxy-authorization": "a",
                **hop_by_hop,
            },
        )
    )
    assert answer.data == {"told": {"value": 1}}
    sent = dict(served.upstream.requests[-1].headers)
    assert sent.pop("x-declared") == "b"
    own = {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "connection",
        "x-request-id",
        "traceparent",
        "x-request-deadline-ms",
    }
    assert sent.keys() <= own
    assert {"set-cookie", "server", "x-own", "cookie"}.isdisjoint(answer.headers.keys())


@case("U-17")
def test_five_hundred_equal_queries_at_once_are_one_call(served: Served) -> None:
    served.upstream.script("/once", Json("answered", delay=1.0))
    answers = served.run(lambda: all_at_once(served.port, [request('{ fresh(path: "once") { value } }')] * 500))
    assert [answer.body for answer in answers] == [{"data": {"fresh": {"value": "answered"}}}] * 500
    assert served.upstream.count("/once") == 1 or SLACK  # to a machine that needs a second to send them the last is another


@case("U-17")
def test_a_failure_is_told_to_all_and_not_kept(served: Served) -> None:
    async def ask_many() -> None:
        query = '{ fresh(path: "fails") { value } }'
        served.upstream.script("/fails", Delay(1.0, Status(500)))
        answers = await all_at_once(served.port, [request(query)] * 100)
        assert {tuple(answer.codes) for answer in answers} == {("SUBREQUEST_HTTP_ERROR",)}
        assert served.upstream.count("/fails") == 1 or SLACK
        served.upstream.script("/fails", Json("later"))
        assert (await served.gateway.ask(query)).data == {"fresh": {"value": "later"}}

    served.run(ask_many)


@case("U-17")
def test_when_the_first_client_leaves_the_others_are_answered(served: Served) -> None:
    async def leave() -> None:
        served.upstream.script("/led", Json("answered", delay=1.0))
        content = request('{ fresh(path: "led") { value } }')
        async with in_background(all_at_once(served.port, [content])) as leader:
            await served.upstream.wait_requests("/led", timeout=5)
            async with in_background(all_at_once(served.port, [content] * 20)) as following:
                await asyncio.sleep(0.2)
                leader.cancel()
                answers = await following
        assert [answer.body for answer in answers] == [{"data": {"fresh": {"value": "answered"}}}] * 20

    served.run(leave)
    assert served.upstream.count("/led") == 1 or SLACK
