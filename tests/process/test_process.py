"""The command as a process: how it starts, and how signals end it."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.faults import FaultServer, Hang, Json
from tests.kit.paths import CHECKOUT
from tests.kit.serving import (
    Process,
    checked,
    children_of,
    command,
    command_line_of,
    free_port,
    run_command,
    serve_command,
    wait_until,
    wait_until_ready,
    write_files,
)
from tests.kit.timing import SLACK

CONFIG = {
    "graph.yaml": """
sources: { core: { type: api, base_url: "${UPSTREAM_URL:-http://127.0.0.1:1}", retry: { attempts: 1 } } }
defaults: { api: core }
---
operation: call
args: { path: ID! }
steps: [ { name: step, type: api, endpoint: "/{path}", timeout_ms: 20000 } ]
---
operation: constant
steps: [ { name: step, type: value, value: 1 } ]
---
server:
  drain_delay_ms: ${DRAIN_MS:-0}
  shutdown_grace_ms: ${GRACE_MS:-30000}
"""
}
CALL = '{ call(path: "%s") { step } }'
SOON = 2.0 + SLACK
"""Seconds within which a signal ends a process; it takes well under one, but the machine may be busy."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_files(tmp_path / "config", CONFIG)


@pytest.fixture
def upstream() -> Iterator[FaultServer]:
    """Run a fault server in a thread of its own, so that a test may wait for a process."""
    with running_upstream() as server:
        server.script("/slow", Json("answered", delay=0.5))
        server.script("/hanging", Hang())
        yield server


@contextmanager
def running_upstream() -> Iterator[FaultServer]:
    server, is_up, is_over = FaultServer(), threading.Event(), threading.Event()

    async def run() -> None:
        async with server:
            is_up.set()
            await asyncio.to_thread(is_over.wait)

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    assert is_up.wait(5)
    try:
        yield server
    finally:
        is_over.set()
        thread.join()


def ask(process: Process, query: str) -> httpx.Response:
    return httpx.post(f"{process.url}/graphql", json={"query": query}, trust_env=False, timeout=30)


def ask_and_stop(process: Process, upstream: FaultServer, path: str) -> tuple[httpx.Response | BaseException, int, float]:
    """Ask to end while a request is under way; return its answer, the exit status, and the seconds until the end."""
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask, process, CALL % path)
        wait_until(lambda: upstream.count(f"/{path}") == 1, "the request is under way")
        status, seconds = process.stop()
        return asking.exception() or asking.result(), status, seconds


# -- signals

MODES = pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one process", "two workers"])


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [([], signal.SIGTERM), (["--dev"], signal.SIGINT), (["--workers", "2"], signal.SIGTERM)],
    ids=["production", "development", "two workers"],
)
@pytest.mark.case("O-02")
def test_a_gateway_with_an_idle_connection_ends_with_status_0(
    tmp_path: Path, config: Path, arguments: list[str], sent: signal.Signals
) -> None:
    with serve_command(tmp_path, config, *arguments) as process, httpx.Client(trust_env=False) as client:
        for _ in range(2):
            assert checked(client.post(f"{process.url}/graphql", json={"query": "{ constant { step } }"}))["data"]
        status, seconds = process.stop(sent)
        assert (status, seconds < SOON) == (0, True)
        assert "Traceback" not in process.stderr
        wait_until(lambda: not any(map(command_line_of, process.children)), "no process is left")


@MODES
@pytest.mark.case("O-01")
def test_a_request_under_way_is_answered_before_the_end(
    tmp_path: Path, config: Path, upstream: FaultServer, arguments: list[str]
) -> None:
    with serve_command(tmp_path, config, *arguments, UPSTREAM_URL=upstream.url) as process:
        answer, status, seconds = ask_and_stop(process, upstream, "slow")
        assert isinstance(answer, httpx.Response)
        assert checked(answer)["data"] == {"call": {"step": "answered"}}
        assert (status, seconds < SOON) == (0, True)


def test_in_development_a_hanging_request_is_given_up_soon(tmp_path: Path, config: Path, upstream: FaultServer) -> None:
    with serve_command(tmp_path, config, "--dev", UPSTREAM_URL=upstream.url) as process:
        _, status, seconds = ask_and_stop(process, upstream, "hanging")
        assert (status, seconds < 1 + SOON) == (0, True)


# -- workers


def test_two_workers_answer_and_one_that_dies_is_replaced(tmp_path: Path, config: Path) -> None:
    with serve_command(tmp_path, config, "--workers", "2") as process:
        workers = serving_children(process)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: len(set(serving_children(process)) - {workers[0]}) == 2, "a new worker is there", 10)
        assert all(checked(ask(process, "{ constant { step } }"))["data"] for _ in range(4))
        assert process.stop()[0] == 0


@pytest.mark.parametrize(
    "broken", ["operation: [constant", "steps: 1\noperation: constant", None], ids=["no YAML", "no operation", "gone"]
)
def test_a_worker_that_takes_the_place_of_another_serves_what_the_others_do_though_the_files_are_broken(
    tmp_path: Path, config: Path, broken: str | None
) -> None:
    with serve_command(tmp_path, config, "--workers", "2") as process:
        for path in config.iterdir():
            path.unlink() if broken is None else path.write_text(broken, "utf-8")
        wait_until(lambda: process.stderr.count("configuration has problems") == 2, "both have looked at the files")
        before = versions_answered(process, 20)
        workers = serving_children(process)
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: process.stderr.count("configuration has problems") == 3, "the new worker has looked at them too", 15)
        assert versions_answered(process, 20) == before
        assert all(checked(ask(process, "{ constant { step } }"))["data"]["constant"] for _ in range(20))
        assert len(serving_children(process)) == 2


def versions_answered(process: Process, count: int = 1) -> set[str]:
    """Return the versions that answer: each new connection may come to another worker."""
    return {ask(process, "{ constant { step } }").headers["x-config-version"] for _ in range(count)}


def serving_children(process: Process) -> list[int]:
    """Return the worker processes; Python's resource tracker is a child too."""
    return [pid for pid, line in children_of(process.popen.pid).items() if b"spawn_main" in line]


# -- what keeps it from starting

BROKEN = {"a.yaml": "operation: a\nsteps:\n  - { name: b, type: vlaue, value: 1 }\n", "b.yaml": "operation: b\nsteps: []\n"}


@dataclass(frozen=True, slots=True)
class FailedStart:
    """How a command ended that could not start, and the seconds that it took."""

    status: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True, slots=True)
class FailedStarts:
    """Commands that could not start, by name; the port that was taken, and one that the others should have left free."""

    taken: int
    free: int
    folder: Path
    by_name: dict[str, FailedStart]

    def __getitem__(self, name: str) -> FailedStart:
        return self.by_name[name]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> FailedStarts:
    """Run every command that fails to start, several at a time: each is a second of waiting for Python's imports."""
    folder = tmp_path_factory.mktemp("failed")
    sound, broken = write_files(folder / "sound", CONFIG), write_files(folder / "broken", BROKEN)

    def start(arguments: list[object]) -> FailedStart:
        started = time.perf_counter()
        done = run_command(*map(str, arguments))
        return FailedStart(done.returncode, done.stdout, done.stderr, time.perf_counter() - started)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(3) as pool:
        taken, free = listening.getsockname()[1], free_port()
        commands: dict[str, list[object]] = {
            "port in use": ["serve", sound, "--port", taken],
            "port in use by workers": ["serve", sound, "--port", taken, "--workers", 2],
            "no port": ["serve", sound, "--port", 70000],
            "no host": ["serve", sound, "--host", "no.such.host.invalid"],
            "broken": ["serve", broken],
            "missing": ["serve", folder / "nowhere"],
            "demo, gateway": ["demo", "--port", taken, "--upstream-port", free],
            "demo, upstream": ["demo", "--port", free_port(), "--upstream-port", taken],
        }
        results = dict(zip(commands, pool.map(start, commands.values()), strict=True))
    return FailedStarts(taken, free, folder, results)


FAILURES = ["port in use", "port in use by workers", "no port", "no host", "broken", "missing", "demo, gateway", "demo, upstream"]


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.case("R-05")
def test_what_cannot_start_says_why_on_standard_error_and_ends_with_status_1(failed: FailedStarts, name: str) -> None:
    assert (failed[name].status, failed[name].stdout) == (1, "")
    assert "Traceback" not in failed[name].stderr
    assert failed[name].stderr.strip()
    assert failed[name].seconds < 8 + 5 * SLACK


@pytest.mark.parametrize("name", ["port in use", "port in use by workers", "demo, gateway", "demo, upstream"])
def test_a_port_in_use_is_one_clear_line(failed: FailedStarts, name: str) -> None:
    (line,) = failed[name].stderr.splitlines()
    assert f"127.0.0.1:{failed.taken}" in line
    assert "in use" in line


@pytest.mark.parametrize(("name", "word"), [("no port", "70000"), ("no host", "no.such.host.invalid")])
def test_an_address_that_cannot_be_listened_on_is_one_clear_line(failed: FailedStarts, name: str, word: str) -> None:
    (line,) = failed[name].stderr.splitlines()
    assert word in line


@pytest.mark.case("R-05")
def test_a_configuration_with_problems_ends_the_start_with_all_of_them(failed: FailedStarts) -> None:
    told = failed["broken"].stderr
    assert f"{failed.folder / 'broken' / 'a.yaml'}:3:22" in told
    assert f"{failed.folder / 'broken' / 'b.yaml'}:2:8" in told


WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-net_bind_service,-dac_override,-dac_read_search", "--"]
"""What takes from root what nobody else has."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sound", "--port", "80"], ["127.0.0.1:80", "Permission denied"]),
        (["sound", "--port", "80", "--workers", "2"], ["127.0.0.1:80", "Permission denied"]),
        (["sound", "--admin-port", "80"], ["127.0.0.1:80", "Permission denied", "--admin-port"]),
        (["sound", "--host", "203.0.113.9"], ["203.0.113.9", "Cannot assign requested address"]),
        (["sound", "--host", ""], ["the host is empty"]),
        (["closed file"], ["closed file/b.yaml", "cannot be read: Permission denied"]),
        (["closed folder"], ["closed folder/b", "cannot be read: Permission denied"]),
    ],
    ids=["privileged port", "of workers", "of the admin listener", "foreign host", "no host", "file", "folder"],
)
def test_what_the_process_may_not_have_is_said_without_a_trace(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    for name in ("sound", "closed file", "closed folder"):
        write_files(tmp_path / name, CONFIG)
    write_files(tmp_path / "closed file", {"b.yaml": ""})
    (tmp_path / "closed file" / "b.yaml").chmod(0)
    (tmp_path / "closed folder" / "b").mkdir(mode=0)
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may have anything, and there is no 'setpriv' that takes it away")
    prefix = WITHOUT_RIGHTS if os.geteuid() == 0 else []
    folder, *options = arguments
    command = [*prefix, sys.executable, "-m", "gateway", "serve", str(tmp_path / folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=CHECKOUT)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert [word for word in words if word not in done.stderr] == []


def test_a_missing_folder_is_named(failed: FailedStarts) -> None:
    assert str(failed.folder / "nowhere") in failed["missing"].stderr


def test_a_demo_that_cannot_start_leaves_nothing_running(failed: FailedStarts) -> None:
    assert "--upstream-port" in failed["demo, upstream"].stderr
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", failed.free)) != 0


# -- the demo


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[Process, int]]:
    upstream_port = free_port()
    with command(tmp_path, "demo", "--upstream-port", str(upstream_port)) as process:
        wait_until_ready(process)
        yield process, upstream_port


def test_the_demo_answers_and_an_interrupt_ends_all_of_it(demo: tuple[Process, int]) -> None:
    process, upstream_port = demo
    query = "{ customer360(customer_id: 42) { accountService { name } riskProfile { segment } } }"
    assert checked(ask(process, query))["data"]["customer360"]["accountService"]["name"]
    assert httpx.get(f"http://127.0.0.1:{upstream_port}/_calls", trust_env=False).json()["accounts"] == 1
    assert f"127.0.0.1:{process.url.rpartition(':')[2]}" in process.stdout
    assert "customer360" in process.stdout
    assert len(children_of(process.popen.pid)) >= 1
    status, seconds = process.stop(signal.SIGINT)
    assert (status, seconds < SOON) == (0, True)
    wait_until(lambda: not any(map(command_line_of, process.children)), "no process is left")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{upstream_port}/_calls", trust_env=False)
    assert "Traceback" not in process.stderr
