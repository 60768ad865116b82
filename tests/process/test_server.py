"""How a server process ends while clients go on sending (cases O-01, O-02), and how it lives through a worker's death."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults import FaultServer, Hang, Json
from tests.kit.serving import Process, serve_command, until, write_files
from tests.process.test_process import CALL, CONFIG, SOON, ask, serving_children

THREAD = """
telemetry: { access_log: "off" }
---
operation: sleeping
steps: [ { name: step, type: python, call: "tests.process.test_server:sleep", timeout_ms: 60000 } ]
---
operation: dozing
args: { number: Int }
steps: [ { name: step, type: python, call: "tests.process.test_server:sleep", inputs: { number: "{number}" }, timeout_ms: 200 } ]
---
operation: quick
steps: [ { name: step, type: python, call: "tests.process.test_server:quick", timeout_ms: 2000 } ]
"""
CONSTANT = "{ constant { step } }"
MODES = pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one process", "two workers"])


def sleep(number: int = 1) -> int:
    """Hold a thread for longer than any test lasts."""
    time.sleep(60)
    return number


def quick() -> int:
    """Need a thread, but not for long."""
    return 1


@dataclass(slots=True)
class Answer:
    """An answer, or none: status 0 is a connection that was refused or lost."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


class Caller:
    """One connection to a gateway."""

    def __init__(self, process: Process) -> None:
        address = urlsplit(process.url)
        self._host, self._port = address.hostname, address.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Answer:
        """Send a request without a body."""
        return await self._send(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())

    async def ask(self, query: str) -> Answer:
        """Ask a query."""
        body = json.dumps({"query": query}).encode()
        head = f"POST /graphql HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return await self._send(head.encode() + body)

    async def _send(self, request: bytes) -> Answer:
        try:
            self._streams = self._streams or await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(request)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            await reader.readexactly(int(headers["content-length"]))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Answer(0)
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(lines[0].split()[1]), headers)

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def ask_anew(process: Process, query: str) -> Answer:
    """Ask on a connection of its own."""
    caller = Caller(process)
    try:
        return await caller.ask(query)
    finally:
        caller.close()


async def get_anew(process: Process, path: str) -> Answer:
    """Send a request without a body on a connection of its own."""
    caller = Caller(process)
    try:
        return await caller.get(path)
    finally:
        caller.close()


async def under_way(upstream: FaultServer, path: str, count: int) -> None:
    async with asyncio.timeout(20):
        while upstream.count(path) < count:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.01)


async def repeat(ask: Callable[[], "asyncio.Future[Answer]"], every: float, seconds: float) -> list[Answer]:
    """Ask again and again, whether the answers have come or not."""
    asked, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        asked.append(ask())
        await asyncio.sleep(every)
    return await asyncio.gather(*asked)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_files(tmp_path / "config", {**CONFIG, "thread.yaml": THREAD})


@MODES
def test_a_server_that_ends_answers_everything_until_it_takes_no_more(tmp_path: Path, config: Path, arguments: list[str]) -> None:
    async def scenario() -> None:
        async with FaultServer() as upstream:
            upstream.script("/slow", Json("answered", delay=2.0))
            with serve_command(tmp_path, config, *arguments, UPSTREAM_URL=upstream.url, DRAIN_MS="1500") as process:
                asked = [asyncio.ensure_future(ask_anew(process, CALL % "slow")) for _ in range(20)]
                await under_way(upstream, "/slow", 20)
                process.popen.send_signal(signal.SIGTERM)
                ready = await repeat(lambda: asyncio.ensure_future(get_anew(process, "/health/ready")), 0.1, 0.8)
                during = await repeat(lambda: asyncio.ensure_future(ask_anew(process, CONSTANT)), 0.02, 0.4)
                under = await asyncio.gather(*asked)
                assert [answer.status for answer in ready[2:]] == [503] * len(ready[2:])
                assert {(answer.status, answer.headers["connection"]) for answer in during} == {(200, "close")}
                assert {(answer.status, answer.headers["connection"]) for answer in under} == {(200, "close")}
                assert await asyncio.to_thread(process.popen.wait, 10) == 0
                assert (await ask_anew(process, CONSTANT)).status == 0
                assert process.stderr == ""

    asyncio.run(scenario())


def ended_after(process: Process, signals: int = 1) -> tuple[int, float]:
    """Send SIGTERM so many times; return the exit status and the seconds until the end."""
    started = time.perf_counter()
    for _ in range(signals):
        process.popen.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    return process.popen.wait(15), time.perf_counter() - started


@MODES
@pytest.mark.parametrize("query", [CALL % "hanging", "{ sleeping { step } }"], ids=["a call", "a thread"])
def test_what_hangs_is_cut_off_when_the_grace_time_is_over(
    tmp_path: Path, config: Path, arguments: list[str], query: str
) -> None:
    async def scenario() -> None:
        async with FaultServer() as upstream:
            upstream.script("/hanging", Hang())
            with serve_command(tmp_path, config, *arguments, UPSTREAM_URL=upstream.url, GRACE_MS="700") as process:
                hanging = asyncio.ensure_future(ask_anew(process, query))
                await asyncio.sleep(0.5)
                status, seconds = await asyncio.to_thread(ended_after, process)
                await hanging
                assert status == 0
                assert 0.7 <= seconds < 0.7 + SOON

    asyncio.run(scenario())


@MODES
def test_functions_that_hang_hold_up_neither_others_nor_a_change_nor_the_end(
    tmp_path: Path, config: Path, arguments: list[str]
) -> None:
    async def scenario() -> None:
        with serve_command(tmp_path, config, *arguments) as process:
            hanging = "{ dozing(number: %d) { step } }"
            await asyncio.gather(*(ask_anew(process, hanging % number) for number in range(80)))
            quick = ask(process, "{ quick { step } }")
            assert quick.json() == {"data": {"quick": {"step": 1}}}
            (config / "graph.yaml").write_text(CONFIG["graph.yaml"].replace("value: 1", "value: 2"), "utf-8")
            await until(lambda: has_changed(process), SOON + 2)
            status, seconds = await asyncio.to_thread(ended_after, process)
            assert status == 0
            assert seconds < SOON

    async def has_changed(process: Process) -> bool:
        answers = [ask(process, CONSTANT).json() for _ in range(8)]
        return answers == [{"data": {"constant": {"step": 2}}}] * 8

    asyncio.run(scenario())


@MODES
def test_a_second_signal_ends_it_at_once(tmp_path: Path, config: Path, arguments: list[str]) -> None:
    with serve_command(tmp_path, config, *arguments, DRAIN_MS="20000") as process:
        assert ended_after(process, signals=2)[1] < SOON
        assert "Traceback" not in process.stderr


def test_an_idle_connection_does_not_hold_a_server_that_ends(tmp_path: Path, config: Path) -> None:
    async def scenario() -> None:
        with serve_command(tmp_path, config) as process:
            callers = [Caller(process) for _ in range(5)]
            assert [(await caller.ask(CONSTANT)).status for caller in callers] == [200] * 5
            status, seconds = await asyncio.to_thread(ended_after, process)
            for caller in callers:
                caller.close()
            assert (status, seconds < SOON) == (0, True)

    asyncio.run(scenario())


def test_the_death_of_a_worker_is_nothing_to_the_connections_of_the_others(tmp_path: Path, config: Path) -> None:
    async def call(caller: Caller, answers: list[Answer], is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            answers.append(await caller.ask(CONSTANT))
            await asyncio.sleep(0.01)
        caller.close()

    async def scenario() -> None:
        with serve_command(tmp_path, config, "--workers", "2") as process:
            answers: list[list[Answer]] = [[] for _ in range(30)]
            is_over = asyncio.Event()
            calling = []
            for of_one in answers:  # one after the other: the second worker may have begun later than the first
                calling.append(asyncio.ensure_future(call(Caller(process), of_one, is_over)))
                await asyncio.sleep(0.15)
            victim = serving_children(process)[0]
            os.kill(victim, signal.SIGKILL)
            async with asyncio.timeout(20):
                while len(set(serving_children(process)) - {victim}) < 2:  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.5)
            is_over.set()
            await asyncio.gather(*calling)
            lost = [sum(answer.status == 0 for answer in of_one) for of_one in answers]
            assert {answer.status for of_one in answers for answer in of_one} <= {200, 0}
            assert max(lost) <= 1, "a connection of the dead worker is lost once, and the next one is good"
            assert 0 in lost
            assert (await asyncio.to_thread(ended_after, process))[0] == 0
            assert "a worker has died" in process.stderr

    asyncio.run(scenario())


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path, config: Path) -> None:
    with serve_command(tmp_path, config, "--workers", "2") as process:
        workers = serving_children(process)
        process.popen.kill()
        process.popen.wait()
        give_up = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < give_up
            time.sleep(0.05)
