"""Many equal queries at once, over real sockets: one call, a failure that all share but no later query, and a first client that disconnects.

Row U-17 of the reliability cases.
"""

import asyncio

import pytest

from tests.faults import Hold, Json, Status
from tests.kit.serving import Stage

CONFIG = {
    "graph.yaml": """
sources:
  core: { type: api, base_url: UPSTREAM, dedupe: true, retry: { attempts: 1 } }
defaults: { api: core }
---
operation: plain
args: { path: ID! }
deadline_ms: 30000
steps: [ { name: call, type: api, endpoint: "/{path}", timeout_ms: 30000 } ]
""",
    "server.yaml": "server: { dedupe_queries: true }",
}
MANY = 50


async def all_have_arrived() -> None:
    """Yield often enough for everything that clients, gateway and upstream have started: they share this event loop."""
    for _ in range(300):
        await asyncio.sleep(0.002)


def query(path: str) -> str:
    return f'{{ plain(path: "{path}") {{ call }} }}'


@pytest.mark.parametrize("name", ["given", "failing"])
def test_many_equal_queries_at_once_make_one_call_and_have_its_end_in_common(stage: Stage, name: str) -> None:
    async def scenario() -> None:
        held = Hold(Json(1) if name == "given" else Status(503))
        stage.upstream.script(f"/{name}", held, Json("later"))
        asking = [asyncio.create_task(stage.production.ask(query(name))) for _ in range(MANY)]
        await all_have_arrived()
        held.gate.set()
        answers = await asyncio.gather(*asking)
        assert stage.upstream.count(f"/{name}") == 1
        if name == "given":
            assert all(answer.data == {"plain": {"call": 1}} for answer in answers)
        else:
            assert all(answer.fault == ("SUBREQUEST_HTTP_ERROR", "call", ["plain", "call"]) for answer in answers)
        later = await stage.production.ask(query(name))
        assert later.data == {"plain": {"call": "later"}}, "what has ended is not kept"

    stage.run(scenario)


def test_when_the_client_that_came_first_leaves_the_others_are_answered(stage: Stage) -> None:
    async def scenario() -> None:
        held = Hold(Json(1))
        stage.upstream.script("/led", held)
        leader = asyncio.create_task(stage.production.ask(query("led")))
        await stage.upstream.wait_requests("/led", 1, 20)
        followers = [asyncio.create_task(stage.production.ask(query("led"))) for _ in range(20)]
        await all_have_arrived()
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        held.gate.set()
        answers = await asyncio.gather(*followers)
        assert all(answer.data == {"plain": {"call": 1}} for answer in answers)
        assert stage.upstream.count("/led") == 1

    stage.run(scenario)
