"""Hostile clients beside good ones, for ten minutes: the good ones notice nothing of them, and nothing grows (rows O-08, O-10, Q-13 to Q-18)."""

import asyncio
import contextlib
import gc
import itertools
import os
import random
import signal
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import Delay, Json
from tests.faults.crowd import Client, RawResponse, Tally, closed_loop, open_loop, percentile, request
from tests.faults.probes import Watch, processor_seconds, resident
from tests.faults.served import Served, connection
from tests.kit.timing import SLACK

SECONDS = float(os.environ.get("STEPGRAPH_SOAK_SECONDS", "600"))
SHARE_OF_GOOD_CLIENTS = 0.2
"""How much of what the gateway can do at most the good clients ask for. With the hostile ones it is at work for about 80 % of the time."""
TYPES, FIELDS = 20, 60
SDL = "\n".join(
    [
        "interface Node { id: Int child: Node }",
        *(f"type T{number} implements Node {{ id: Int name: String child: Node }}" for number in range(TYPES)),
        f"type Wide {{ {' '.join(f'f{number}: String' for number in range(FIELDS))} a: Wide b: Wide }}",
        "type Item { id: Int! name: String }",
    ]
)
STEPS = """
import asyncio, os, sys

class Ends(BaseException):
    pass

def leaves():
    sys.exit(3)

async def leaves_async():
    sys.exit(3)

def interrupts():
    raise KeyboardInterrupt

async def ends():
    raise Ends

async def is_gone():
    raise GeneratorExit
"""
CRASHES = ("leaves", "leaves_async", "interrupts", "ends", "is_gone")
GRAPH = """
sources: { core: { type: api, base_url: UPSTREAM, concurrency: 200, queue: 5000 } }
defaults: { api: core }
---
context: { tenant: request.headers."x-tenant" }
---
operation: items
args: { count: Int }
steps: [ { name: all, type: api, endpoint: "/items/{count}", returns: "[Item]" } ]
aggregation: { strategy: pick, step: all }
---
field: Item.same
returns: Item
step: { type: api, endpoint: /same, query: { id: "{keys}" }, batch: { key: id, match: id } }
---
field: Item.one
returns: Item
step: { type: api, endpoint: "/one", query: { id: "{parent.id}" } }
---
operation: deep
steps:
  - { name: node, type: value, value: { __typename: T1, id: 1, child: { __typename: T2, id: 2 } }, returns: Node }
  - { name: wide, type: value, value: { f1: one }, returns: Wide }
  - { name: slow, type: api, endpoint: /slow }
---
operation: crash
steps:
""" + "".join(f'  - {{ name: {name}, type: python, call: "crashing:{name}" }}\n' for name in CRASHES)
ODD_NAMES = [b"caf\xe9.yaml", b"line\nbreak.yaml", b"x" * 200 + b".yaml", b"empty.yaml"]
CONSTANT = "operation: constant\nsteps: [ { name: one, type: value, value: VALUE } ]\n"


class Summary(list[RawResponse]):
    """What a million answers showed, without the answers: as objects they would stop the test itself for seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = array("d")
        self.statuses: Counter[int] = Counter()
        self.with_errors = 0

    def append(self, answer: RawResponse) -> None:
        """Note an answer."""
        self.seconds.append(answer.seconds)
        self.statuses[answer.status] += 1
        self.with_errors += b'"errors"' in answer.content


Attack = Callable[[], Awaitable[object]]


def good(number: int) -> bytes:
    """Return a request of a good client."""
    kinds = ["{ items(count: 20) { id name same { name } } }", "{ constant { one } }", "{ items(count: 20) { id name } }"]
    return request(kinds[number % 3], f"x-tenant: t{number % 10}")


def chain(levels: int) -> str:
    return "child { " * levels + "id" + " }" * levels


class Hostile:
    """The hostile clients of one gateway: each attack is made again and again, with pauses."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.rng = random.Random(1)
        self.numbers = itertools.count()
        self.made: Counter[str] = Counter()

    @property
    def attacks(self) -> dict[Attack, float]:
        """The attacks, each with the seconds between two of them."""
        return {
            self.new_short_documents: 0.02,
            self.new_long_documents: 0.25,
            self.conditions: 0.02,
            self.interfaces: 0.1,
            self.aliases: 0.2,
            self.calls: 1.0,
            self.pipelines: 1.0,
            self.heads: 0.05,
            self.crashes: 0.1,
            self.files: 3.0,
            self.leaves: 0.05,
        }

    async def ask(self, query: str, *lines: str, **variables: object) -> None:
        """Send one request on a new connection; what is answered does not matter, but it is."""
        async with Client(self.served.port) as client:
            answer = await client.send(request(query, *lines, variables=variables))
            assert answer.status < 500 or answer.codes == ["REQUEST_CONCURRENCY_LIMITED"], answer.content[:200]

    async def new_short_documents(self) -> None:
        await self.ask(f"{{ constant {{ n{next(self.numbers)}: one }} }}", f"x-tenant: t{next(self.numbers)}")

    async def new_long_documents(self) -> None:
        half = " ".join(f"f{index}" for index in range(FIELDS))
        parts = " ".join(f"{field} {{ {half} a {{ {half} }} b {{ {half} }} }}" for field in ("a", "b"))
        await self.ask(f"{{ deep {{ wide {{ n{next(self.numbers)}: f1 {parts} }} }} }}")

    async def conditions(self) -> None:
        names = [f"v{bit}" for bit in range(6)]
        number = self.rng.randrange(40)
        fields = " ".join(f"w{number}x{bit}: wide @include(if: ${name}) {{ f{bit} f{number} }}" for bit, name in enumerate(names))
        declared = " ".join(f"${name}: Boolean!" for name in names)
        values = {name: self.rng.random() < 0.5 for name in names}
        await self.ask(f"query ({declared}) {{ deep {{ node {{ id }} {fields} }} }}", **values)

    async def interfaces(self) -> None:
        levels = self.rng.choice([3, 5, 12])
        each = " ".join(f"... on T{number} {{ {chain(2)} name }}" for number in range(self.rng.randint(1, TYPES)))
        await self.ask(f"{{ deep {{ n{next(self.numbers)}: node {{ {chain(levels)} {each} }} }} }}")

    async def aliases(self) -> None:
        alias = "a" * self.rng.choice([10, 1_000, 60_000])
        await self.ask(f"{{ items(count: 5000) {{ {alias}: id {' '.join(f'b{index}: name' for index in range(25))} }} }}")

    async def calls(self) -> None:
        await self.ask("{ items(count: 5000) { id one { id } } }")

    async def pipelines(self) -> None:
        count = self.rng.choice([50, 300])
        content = request("{ deep { slow } }") + request("{ constant { one } }") * count
        async with connection(self.served.port) as (reader, writer):
            writer.write(content)
            for _ in range(count + 1):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                await reader.readexactly(length)

    async def heads(self) -> None:
        lines = self.rng.choice(
            [
                ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"],
                ["x-tenant: a", "x-tenant: b"],
                [f"x-a: {'a' * 70_000}"],
                [f"x-{number}: a" for number in range(150)],
                ["transfer-encoding: chunked"],
            ]
        )
        content = self.rng.choice(
            [request("{ constant { one } }", *lines), b"CONNECT evil:443 HTTP/1.1\r\nhost: evil:443\r\n\r\n", b"\x16\x03\x01\0\0"]
        )
        async with connection(self.served.port) as (reader, writer):
            writer.write(content)
            writer.write_eof()
            assert await reader.read(100)

    async def crashes(self) -> None:
        await self.ask(f"{{ crash {{ {self.rng.choice(CRASHES)} }} }}")

    async def files(self) -> None:
        """Put odd files into the folder, change a sound one, and take the odd ones away."""
        odd = [self.served.folder / os.fsdecode(name) for name in ODD_NAMES]
        for path in odd:
            await asyncio.to_thread(path.write_bytes, b"")
        value = str(next(self.numbers))
        await asyncio.to_thread(self.served.write, {"constant.yaml": CONSTANT.replace("VALUE", value)})
        await asyncio.sleep(1)
        for path in odd:
            await asyncio.to_thread(path.unlink)

    async def leaves(self) -> None:
        content = request("{ deep { slow } }")
        async with connection(self.served.port) as (_, writer):
            writer.write(content[: self.rng.choice([10, 100, len(content)])])
            await writer.drain()

    async def go_on(self, attack: Attack, pause: float, end: float) -> None:
        while time.monotonic() < end:
            # A client of this kind may be cut off at any time.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await attack()
            self.made[attack.__name__] += 1
            await asyncio.sleep(pause)

    async def attack(self, seconds: float) -> None:
        """Make all attacks side by side for so long."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for attack, pause in self.attacks.items():
                group.create_task(self.go_on(attack, pause, end))


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Served]:
    """Serve the graph in production mode."""
    (tmp_path / "crashing.py").write_text(STEPS, "utf-8")
    config = {"types.graphql": SDL, "graph.yaml": GRAPH, "constant.yaml": CONSTANT.replace("VALUE", "1")}
    with Served(tmp_path, config, PYTHONPATH=str(tmp_path)) as opened:
        for count in (20, 5000):
            opened.upstream.script(f"/items/{count}", Json([{"id": number, "name": f"name {number}"} for number in range(count)]))
        opened.upstream.script("/same", Json([{"id": number, "name": f"name {number}"} for number in range(20)]))
        opened.upstream.script("/one", Json({"id": 1}))
        opened.upstream.script("/slow", Delay(0.3, Json(1)))
        yield opened


@pytest.mark.case("O-08", "O-10", "P-11", "P-12", "Q-13", "Q-15", "Q-18", "O-14", "R-13")
@pytest.mark.parametrize(
    "seconds",
    [pytest.param(20.0, id="20 s", marks=pytest.mark.load), pytest.param(SECONDS, id="10 min", marks=pytest.mark.soak)],
)
def test_good_clients_notice_nothing_of_hostile_ones(attacked: Served, seconds: float) -> None:
    attacked.limit = 2 * seconds + 120

    summary = Summary()

    async def scenario() -> tuple[Tally, Watch, float, int]:
        started = time.monotonic()
        await closed_loop(attacked.port, 16, 4_000, good)
        most = 4_000 / (time.monotonic() - started)
        hostile, cold = Hostile(attacked), resident(attacked.pid)
        await hostile.attack(min(60.0, seconds / 2))  # caches fill, and some reloads have taken what they need
        hostile.made.clear()
        before, worked = resident(attacked.pid), processor_seconds(attacked.pid)
        async with Watch(attacked.pid, attacked.process.url) as watch:
            tally, _ = await asyncio.gather(
                open_loop(attacked.port, SHARE_OF_GOOD_CLIENTS * most, seconds, good, tally=Tally(answers=summary)),
                hostile.attack(seconds),
            )
        load = (processor_seconds(attacked.pid) - worked) / seconds
        times = summary.seconds
        print(  # noqa: T201 - what it measures is what it is run for
            f"\n{len(times)} good requests at {len(times) / seconds:.0f}/s (of {most:.0f}/s), at work {load:.0%} of the time; "
            f"p50 {percentile(times, 0.5) * 1000:.1f} ms, p99 {percentile(times, 0.99) * 1000:.0f}, most {max(times) * 1000:.0f} "
            f"(the test's own delay: {watch.own_delay * 1000:.0f}); memory {cold / 1e6:.0f} MB, "
            f"{before / 1e6:.0f} with full caches, at most +{watch.grown / 1e6:.0f}; "
            f"hostile: {dict(hostile.made)}"
        )
        attacked.upstream.forget()
        return tally, watch, max(times), resident(attacked.pid) - before

    gc.collect()
    gc.disable()
    try:
        tally, watch, worst, grown = attacked.run(scenario)
    finally:
        gc.enable()
    assert tally.lost == {}
    assert summary.statuses.keys() == {200}
    assert summary.with_errors == 0
    assert worst - watch.own_delay < 0.25 + SLACK
    assert grown < 60_000_000
    assert not [line for line in attacked.process.stderr.splitlines() if "Traceback" in line and "stepgraph.http" in line]
    attacked.process.popen.send_signal(signal.SIGTERM)
    assert attacked.process.popen.wait(40) == 0
