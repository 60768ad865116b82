"""Many changes of a served configuration, and changes under load: nothing is left behind, and nobody is disturbed."""

import asyncio
import gc
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.load.read.files import read_files
from gateway.operate.serving import ServeOptions, Serving, serve_folder
from resolvers import STEP_TYPES
from tests.faults import FaultServer, Json
from tests.kit.serving import Process, serve_command, until, write_files

CHURN = """
sources: {{ core: {{ type: api, base_url: {url}, timeout_ms: {timeout} }} }}
defaults: {{ api: core }}
---
operation: base
steps: [ {{ name: value, type: value, value: {value} }}, {{ name: call, type: api, endpoint: /call, returns: Reply }} ]
"""


def rss() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def resources() -> tuple[int, int, int]:
    """Count the tasks, threads and file descriptors of this process; the event loop keeps a bounded number of threads for work."""
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
    return len(asyncio.all_tasks()), len(threads), len(list(Path("/proc/self/fd").iterdir()))


async def change(folder: Path, followed: Serving, url: str, number: int) -> None:
    """Write a change and ask: every third is of the source too, every fifth of the types, every seventh is broken."""
    is_broken = number % 7 == 0
    text = CHURN.format(url=url, timeout=900 + number // 3 % 2, value="[" if is_broken else number)
    types = f"type Reply {{ a: Int }} type T{number // 5 % 2} {{ a: Int }}"
    write_files(folder, {"base.yaml": text, "types.graphql": types})
    outcome = await followed.apply(await asyncio.to_thread(read_files, folder))
    assert outcome in ({"partial", "rejected"} if is_broken else {"accepted"})
    assert followed.generation is not None
    context = RequestContext("id", {}, asyncio.get_running_loop().time())
    body = await followed.generation.answer(GraphQLRequest("{ base { value call { a } } }"), context)
    assert body["data"] == {"base": {"value": number - is_broken, "call": {"a": 1}}}


async def churn(folder: Path, url: str) -> None:
    async with serve_folder(folder, STEP_TYPES, ServeOptions(owns_process=True), is_watched=False) as followed:
        for number in range(1, 101):
            await change(folder, followed, url, number)
        await asyncio.sleep(0.1)
        before, memory = resources(), rss()
        for number in range(101, 501):
            await change(folder, followed, url, number)

        async def is_as_it_was() -> bool:
            return all(now <= then for now, then in zip(resources(), before, strict=True))

        await until(is_as_it_was, 5)
        assert rss() < memory * 1.05, f"{memory} bytes grew to {rss()}"
        assert followed.outcomes == {"accepted": 429, "partial": 14, "rejected": 57}


@pytest.mark.case("R-06")
def test_hundreds_of_reloads_leave_tasks_threads_sockets_and_memory_as_they_were(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(120), FaultServer() as upstream:
            upstream.script("/call", Json({"a": 1}))
            files = {"base.yaml": CHURN.format(url=upstream.url, timeout=1, value=0), "types.graphql": "type Reply { a: Int }"}
            await churn(write_files(tmp_path, files), upstream.url)

    try:
        asyncio.run(run())
    finally:
        gc.unfreeze()


# -- under load


@dataclass(slots=True)
class Load:
    """Requests at a steady rate, whenever the answers come: statuses, whether an answer is whole, and the values of each version."""

    url: str
    seconds: int
    rate: int
    outcomes: Counter[tuple[int, bool]] = field(default_factory=Counter)
    versions: dict[str, set[int]] = field(default_factory=dict)

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
        async with httpx.AsyncClient(trust_env=False, timeout=10, limits=limits) as client, asyncio.TaskGroup() as group:
            due = time.perf_counter()
            for _ in range(self.rate * self.seconds):
                group.create_task(self._ask(client))
                due += 1 / self.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        response = await client.post(f"{self.url}/graphql", json={"query": "{ pair { a b } }"})
        assert response.json().get("data"), response.text
        pair = response.json()["data"]["pair"]
        self.outcomes[response.status_code, pair["a"] == pair["b"]] += 1
        self.versions.setdefault(response.headers["x-config-version"], set()).add(pair["a"])


def pair(number: int) -> dict[str, str]:
    steps = (f"{{ name: {name}, type: value, value: {number} }}" for name in "ab")
    return {"pair.yaml": f"operation: pair\nsteps: [ {', '.join(steps)} ]\n"}


async def disturb(folder: Path, seconds: int, sound: int, broken: int) -> None:
    """Write sound changes, and a broken one after each of the first of them."""
    pause = seconds / (sound + broken + 1)
    for number in range(1, sound + 1):
        await asyncio.sleep(pause)
        write_files(folder, pair(number))
        if number <= broken:
            await asyncio.sleep(pause)
            write_files(folder, {"pair.yaml": "operation: pair\nsteps: ["})


@pytest.mark.parametrize(
    ("rate", "seconds", "sound", "broken"),
    [(100, 6, 4, 1), pytest.param(300, 60, 20, 5, marks=pytest.mark.load)],
    ids=["briefly", "a minute"],
)
@pytest.mark.case("R-01")
def test_changes_under_load_disturb_no_request_and_each_answer_is_of_one_version(
    tmp_path: Path, rate: int, seconds: int, sound: int, broken: int
) -> None:
    folder = write_files(tmp_path / "config", pair(0))

    async def run(process: Process) -> Load:
        load = Load(process.url, seconds, rate)
        await asyncio.gather(load.run(), disturb(folder, seconds, sound, broken))
        return load

    with serve_command(tmp_path, folder) as process:
        load = asyncio.run(run(process))
        assert load.outcomes == {(200, True): rate * seconds}
        assert all(len(values) == 1 for values in load.versions.values())
        assert {value for values in load.versions.values() for value in values} >= {0, sound}
        assert process.stop()[0] == 0
        assert "Traceback" not in process.stderr
