"""The end of a process: a mutation is finished whose client has left (O-15), and nothing that is closed can hold it up (O-16)."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.blueprint import Source
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.errors import Place
from gateway.operate.serving import serve_folder
from gateway.serve.generation.pools import Pools
from gateway.settings import SourceKeys
from resolvers import STEP_TYPES
from resolvers.value import Value
from tests.faults import FaultServer, Hang, Json
from tests.kit import virtual
from tests.kit.paths import CHECKOUT
from tests.kit.serving import Process, free_port, serve_command, wait_until, wait_until_ready, write_files
from tests.kit.timing import SLACK
from tests.process.test_process import running_upstream

STEP_SECONDS = 0.3
MUTATION = """
sources: { core: { type: api, base_url: "${UPSTREAM_URL}", retry: { attempts: 1 } } }
defaults: { api: core }
---
operation: pay
kind: mutation
deadline_ms: 20000
steps:
  - { name: one, type: api, endpoint: /one, method: POST, timeout_ms: 15000 }
  - { name: two, type: api, endpoint: /two, method: POST, timeout_ms: 15000 }
  - { name: three, type: api, endpoint: /three, method: POST, timeout_ms: 15000 }
---
operation: constant
steps: [ { name: step, type: value, value: 1 } ]
---
server:
  drain_delay_ms: 0
  shutdown_grace_ms: ${GRACE_MS:-30000}
  cors: { origins: ["https://app.example"] }
"""
PAY = json.dumps({"query": "mutation { pay { one two three } }"}).encode()


@pytest.fixture
def upstream() -> Iterator[FaultServer]:
    with running_upstream() as server:
        for path in ("/one", "/two", "/three"):
            server.script(path, Json("done", delay=STEP_SECONDS))
        yield server


def request(process: Process, body: bytes, *headers: str) -> socket.socket:
    """Send a request and return its connection."""
    address = urlsplit(process.url)
    client = socket.create_connection((address.hostname or "", address.port or 0), timeout=10)
    lines = [
        "POST /graphql HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


LEAVINGS: Mapping[str, tuple[Callable[[socket.socket], None], tuple[str, ...]]] = {
    "closed": (socket.socket.close, ()),
    "reset": (reset, ()),
    "half closed": (lambda client: client.shutdown(socket.SHUT_WR), ()),
    "closed, by ASGI": (socket.socket.close, ("origin: https://app.example",)),
    "reset, by ASGI": (reset, ("origin: https://app.example",)),
}


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one process", "two workers"])
@pytest.mark.parametrize("order", ["left before", "left after"])
@pytest.mark.case("O-15")
def test_a_mutation_is_finished_whose_client_has_left(
    tmp_path: Path, upstream: FaultServer, order: str, arguments: list[str]
) -> None:
    config = write_files(tmp_path / "config", {"graph.yaml": MUTATION})
    with serve_command(tmp_path, config, *arguments, UPSTREAM_URL=upstream.url) as process, ExitStack() as stack:
        clients = [stack.enter_context(request(process, PAY, *headers)) for _, headers in LEAVINGS.values()]
        wait_until(lambda: upstream.count("/one") == len(clients), "all mutations have begun")

        def leave() -> None:
            for client, (way, _) in zip(clients, LEAVINGS.values(), strict=True):
                way(client)
            time.sleep(0.1)

        if order == "left before":
            leave()
        process.popen.send_signal(signal.SIGTERM)
        if order == "left after":
            time.sleep(0.1)
            leave()
        assert process.popen.wait(15 + SLACK) == 0
        assert [upstream.count(path) for path in ("/one", "/two", "/three")] == [len(clients)] * 3


@pytest.mark.case("O-15")
def test_a_mutation_without_a_client_has_the_grace_time_and_no_more(tmp_path: Path, upstream: FaultServer) -> None:
    upstream.script("/two", Hang())
    config = write_files(tmp_path / "config", {"graph.yaml": MUTATION})
    with serve_command(tmp_path, config, UPSTREAM_URL=upstream.url, GRACE_MS="1000") as process:
        request(process, PAY).close()
        wait_until(lambda: upstream.count("/two") == 1, "the second step has begun")
        status, seconds = process.stop()
        assert status == 0
        assert 0.9 < seconds < 3.0 + SLACK


@pytest.mark.case("O-15")
def test_a_mutation_is_finished_before_what_embeds_the_gateway_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a reload has taken its generation out of service meanwhile, with no grace time."""

    async def run() -> None:
        async with FaultServer() as upstream:
            monkeypatch.setenv("UPSTREAM_URL", upstream.url)
            for path in ("/one", "/two", "/three"):
                upstream.script(path, Json("done", delay=0.1))
            folder = write_files(tmp_path / "config", {"graph.yaml": MUTATION, "reload.yaml": "reload: { grace_ms: 0 }\n"})
            async with serve_folder(folder, STEP_TYPES, is_watched=False) as followed:
                for paid in (1, 2):
                    assert followed.generation is not None
                    context = RequestContext("id", {}, asyncio.get_running_loop().time())
                    asking = asyncio.create_task(followed.generation.answer(GraphQLRequest("mutation { pay { one } }"), context))
                    await upstream.wait_requests("/one", paid)
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)
                    if paid == 1:
                        write_files(folder, {"graph.yaml": MUTATION.replace("attempts: 1", "attempts: 2")})
                        assert await followed.reload() == "accepted"
            assert [upstream.count(path) for path in ("/one", "/two", "/three")] == [2, 2, 2]

    asyncio.run(run())


# -- what hangs while it is closed


@contextmanager
def stranger(kind: str) -> Iterator[int]:
    """Yield a port on which nobody listens (``closed``), or somebody who accepts connections and hangs up (``reset``) or never answers."""
    if kind == "closed":
        yield free_port()
        return
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(listening.accept()[0])
                    if kind == "reset":
                        reset(held.pop())

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for connection in held:
                connection.close()


TRACED = "telemetry: { tracing: true }\n---\n"
CONSTANT = "operation: constant\nsteps: [ { name: step, type: value, value: 1 } ]\n---\nserver:\n  drain_delay_ms: 0\n"
COUNTED = '  rate_limits: [ { key: peer, limit: 1000/second } ]\n  rate_limit_store: "redis://127.0.0.1:${STRANGER}"\n'
TWENTY = 20


def ask_and_stop(process: Process) -> None:
    """Ask twenty times; then the process must end within three seconds, with status 0."""
    for _ in range(TWENTY):
        assert httpx.post(f"{process.url}/graphql", json={"query": "{ constant { step } }"}, trust_env=False).status_code == 200
    status, seconds = process.stop()
    assert status == 0
    assert seconds < 3.0 + SLACK


@pytest.mark.parametrize("kind", ["closed", "hang", "reset"])
@pytest.mark.parametrize(
    "text", [TRACED + CONSTANT, CONSTANT + COUNTED, TRACED + CONSTANT + COUNTED], ids=["traces", "rate limits", "both"]
)
@pytest.mark.case("O-16")
def test_a_service_that_hangs_does_not_hold_up_the_end(tmp_path: Path, text: str, kind: str) -> None:
    config = write_files(tmp_path / "config", {"graph.yaml": text})
    with (
        stranger(kind) as port,
        serve_command(
            tmp_path,
            config,
            STRANGER=str(port),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as process,
    ):
        ask_and_stop(process)


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one process", "two workers"])
@pytest.mark.case("O-16")
def test_everything_at_once_does_not_hold_up_the_end(tmp_path: Path, arguments: list[str]) -> None:
    """A collector, a Redis, a client of the admin listener, a history that is locked, a thread, and a reader of the log that all hang."""
    thread = 'operation: sleep\nsteps: [ { name: step, type: python, call: "tests.process.test_server:sleep", timeout_ms: 100 } ]\n---\n'
    config = write_files(tmp_path / "config", {"graph.yaml": TRACED + thread + CONSTANT + COUNTED})
    admin = free_port()
    with (
        stranger("hang") as port,
        serve_command(
            tmp_path,
            config,
            "--admin-port",
            str(admin),
            "--state",
            str(tmp_path / "state"),
            *arguments,
            STRANGER=str(port),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        ) as process,
        socket.create_connection(("127.0.0.1", admin)) as hanging,
        contextlib.closing(sqlite3.connect(tmp_path / "state" / "history.db")) as locking,
    ):
        httpx.post(f"{process.url}/graphql", json={"query": "{ sleep { step } }"}, trust_env=False)
        hanging.sendall(b"POST /admin/reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n")
        locking.execute("BEGIN EXCLUSIVE")
        write_files(config, {"more.yaml": "operation: more\nsteps: [ { name: step, type: value, value: 2 } ]\n"})
        time.sleep(0.8)
        ask_and_stop(process)


class Clinging(Value):
    """A step type whose connections do not close, each in the way that its source is named after."""

    name = "clinging"

    @asynccontextmanager
    async def connect(self, source: Source) -> AsyncIterator[None]:
        yield
        if source.name == "raises":
            raise ZeroDivisionError
        if source.name == "clings":  # to what it does, until it is told for the second time
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        if source.name != "sound":
            await asyncio.Event().wait()


@pytest.mark.case("O-16")
def test_pools_that_do_not_close_are_given_up_together(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> float:
        sources = [
            Source(name, SourceKeys(type="clinging"), ".", Place("a.yaml")) for name in ("hangs", "raises", "sound", "clings")
        ]
        pools = Pools({"clinging": Clinging()})
        async with pools.use(sources):
            started = asyncio.get_running_loop().time()
        assert not pools.states()
        return asyncio.get_running_loop().time() - started

    assert virtual.run(run()) == 1.0
    assert {record.__dict__["source"] for record in caplog.records} == {"hangs", "raises", "clings"}


@pytest.mark.case("O-16")
def test_a_reader_of_the_log_that_stops_holds_up_neither_requests_nor_the_end(tmp_path: Path) -> None:
    logged = "telemetry: { access_log: all }\n---\n"
    config = write_files(tmp_path / "config", {"graph.yaml": logged + CONSTANT})
    port, (reading, writing) = free_port(), os.pipe()
    popen = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", str(config), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=writing,
        cwd=CHECKOUT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        start_new_session=True,
    )
    os.close(writing)
    process = Process(popen, f"http://127.0.0.1:{port}", tmp_path / "none", tmp_path / "none")
    try:
        wait_until_ready(process)
        with httpx.Client(trust_env=False) as client:
            for _ in range(1000):  # some 250 kB of lines; a pipe holds 64 kB
                assert client.post(f"{process.url}/graphql", json={"query": "{ constant { step } }"}).status_code == 200
        ask_and_stop(process)
    finally:
        popen.kill()
        popen.wait()
        os.close(reading)
