"""Whatever appears in the folder, and whatever ends the watch: the next sound change is taken up (R-13)."""

import asyncio
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from watchfiles import awatch

from gateway.load.read.files import read_files
from gateway.operate.admin import state
from gateway.operate.prometheus import metrics_text
from gateway.operate.serving import Serving
from gateway.operate.watch import keep_running
from tests.faults.breaking import Own
from tests.faults.served import Served
from tests.kit.serving import until
from tests.kit.timing import SLACK
from tests.operate.test_serving import constant, run_together, watching

SOON = 5 + SLACK
"""Seconds in which a change is taken up, also where events are lost."""
SOUND = constant("added", 1).encode()


def named(name: bytes, text: bytes = b"x") -> Callable[[Path], None]:
    """Return a function that makes a file with a name of these bytes."""

    def make(folder: Path) -> None:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)

    return make


def linked(name: str, target: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).symlink_to(target)


def sockets(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        where = os.open(folder, os.O_RDONLY)  # the path of a socket may have 107 bytes
        bound.bind(f"/proc/self/fd/{where}/socket.yaml")
        os.close(where)


def vanishing(folder: Path) -> None:
    """Files that come and go for a while."""

    def come_and_go() -> None:
        for number in range(200):
            path = folder / f"brief{number % 3}.yaml"
            path.write_text(constant("brief", number), "utf-8")
            time.sleep(0.001)
            path.unlink()

    threading.Thread(target=come_and_go).start()


def renamed(folder: Path) -> None:
    """Replace the folder by another one, at once."""
    shutil.copytree(folder, folder.with_suffix(".new"))
    folder.rename(folder.with_suffix(".old"))
    folder.with_suffix(".new").rename(folder)


def removed(folder: Path) -> None:
    """Take the folder away for a moment."""
    away = folder.with_suffix(".away")
    folder.rename(away)
    threading.Timer(0.7, away.rename, [folder]).start()


def many(folder: Path) -> None:
    for number in range(300):
        named(b"many-%d\xff.txt" % number)(folder)


def huge(folder: Path) -> None:
    with (folder / "huge.yaml").open("wb") as file:
        file.truncate(5_000_000_000)  # takes no place on the disk


ODD: dict[str, Callable[[Path], None]] = {
    "latin-1 text": named(b"caf\xe9.txt"),
    "latin-1 without an ending": named(b"caf\xe9"),
    "latin-1 yaml, sound": named(b"caf\xe9.yaml", SOUND),
    "latin-1 yaml, broken": named(b"caf\xe9.yaml", b"operation: x\nsteps: [ { name: s, type: vale } ]\n"),
    "latin-1 graphql": named(b"caf\xe9.graphql", b"type X { id: ID }"),
    "latin-1 folder": named(b"d\xe9/x.yaml", SOUND),
    "latin-1 folder in a folder": named(b"sub/d\xe9/e\xff/notes.txt"),
    "latin-1 hidden": named(b".caf\xe9.yaml"),
    "latin-1 test": named(b"caf\xe9.test.yaml", b"test: x"),
    "half a surrogate pair": named(b"\xed\xa0\x80.yaml", SOUND),
    "many": many,
    "long name": named(b"n" * 250 + b".yaml", SOUND),
    "newline": named(b"a\nb.yaml", SOUND),
    "control characters": named(b"\x1b[31m\x07.yaml", SOUND),
    "only blanks": named(b"  .yaml", SOUND),
    "content that is no UTF-8": named(b"latin.yaml", b"operation: caf\xe9\n"),
    "nul bytes": named(b"nul.yaml", bytes(100)),
    "broken link": linked("broken.yaml", "nowhere"),
    "link to itself": linked("self.yaml", "self.yaml"),
    "loop": linked("loop", "."),
    "link to a device": linked("zero.yaml", "/dev/zero"),
    "link to a folder": linked("folder.yaml", "/proc/self/fdinfo"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe.yaml"),
    "pipe of another kind": lambda folder: os.mkfifo(folder / "pipe"),
    "socket": sockets,
    "folder named as a file": lambda folder: (folder / "x.yaml").mkdir(),
    "huge": huge,
    "vanishing": vanishing,
    "renamed": renamed,
    "removed": removed,
}


@pytest.mark.case("R-13")
def test_whatever_appears_in_the_folder_the_next_sound_change_is_taken_up(tmp_path: Path) -> None:
    async def scenario(name: str, make: Callable[[Path], None]) -> str | None:
        folder = tmp_path / name.replace(" ", "-")
        named(b"base.yaml", constant("base", 0).encode())(folder)
        async with watching(folder) as followed:
            make(folder)
            await asyncio.sleep(0.3)
            try:
                for value in (1, 2):
                    await change(folder, followed, value)
                json.dumps(state(followed), ensure_ascii=False).encode()
            except Exception as error:  # noqa: BLE001 - of which one is told, with its name
                return f"{name}: {type(error).__name__}: {error}"
        return None

    async def run() -> None:
        assert [failed for failed in await asyncio.gather(*(scenario(*item) for item in ODD.items())) if failed] == []

    run_together([run()])


async def change(folder: Path, followed: Serving, value: int) -> None:
    """Change the file ``base.yaml`` and wait until the change is served."""
    while True:
        with suppress(FileNotFoundError):
            (folder / "base.yaml").write_text(constant("base", value), "utf-8")
            break
        await asyncio.sleep(0.05)

    async def holds() -> bool:
        assert followed.generation is not None
        (step,) = followed.generation.blueprint.operations["base"].steps.values()
        return step.inputs == {"value": value}

    await until(holds, SOON)


@pytest.mark.parametrize("name", ["broken link", "huge", "content that is no UTF-8", "latin-1 yaml, broken"])
def test_what_cannot_be_read_is_a_problem_with_its_file(tmp_path: Path, name: str) -> None:
    ODD[name](tmp_path)
    assert len(read_files(tmp_path).problems) == (name != "latin-1 yaml, broken")


# -- the watch is ended by force

ENDS: dict[str, BaseException | None] = {
    "nothing": None,
    "error": RuntimeError("watchfiles: any text"),
    "defect": ZeroDivisionError(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "own": Own(),
    "cancelled": asyncio.CancelledError(),
    "group": BaseExceptionGroup("several", [SystemExit(1), ValueError()]),
    "memory": MemoryError(),
    "stop": StopAsyncIteration(),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.case("R-13")
def test_a_watch_that_ends_is_told_and_begins_anew(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun = 0

    async def ending(*arguments: Any, **keys: Any) -> AsyncIterator[Any]:
        nonlocal begun
        begun += 1
        if begun == 1:
            error = ENDS[name]
            if error is not None:
                raise error
            return
        async for changes in awatch(*arguments, **keys):
            yield changes

    monkeypatch.setattr("gateway.operate.watch.awatch", ending)
    monkeypatch.setattr("gateway.operate.watch._RETRY_SECONDS", 0.1)
    named(b"base.yaml", constant("base", 0).encode())(tmp_path)

    async def run() -> None:
        async with watching(tmp_path) as followed:
            await change(tmp_path, followed, 1)
            await change(tmp_path, followed, 2)
            assert begun >= 2
            if name in {"nothing", "error", "stop"}:  # the folder was replaced, or (a RuntimeError) the system refuses to watch
                return
            assert followed.watch_restarts == 1
            assert b"stepgraph_watch_restarts_total 1.0" in metrics_text(followed)
            (told,) = [record for record in caplog.records if "the watch of the folder has ended" in record.getMessage()]
            assert told.levelname == "ERROR"

    run_together([run()])


@pytest.mark.parametrize("name", [name for name in ENDS if name != "nothing"])
@pytest.mark.case("R-13")
def test_a_check_of_the_folder_that_ends_begins_anew(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named(b"base.yaml", constant("base", 0).encode())(tmp_path)
    left = [2]

    def failing(folder: Path) -> Any:
        error = ENDS[name]
        if left[0] and threading.current_thread() is not threading.main_thread() and error is not None:
            left[0] -= 1
            raise error
        return read_files(folder)

    async def run() -> None:
        async with watching(tmp_path) as followed:
            monkeypatch.setattr("gateway.operate.serving.read_files", failing)
            await change(tmp_path, followed, 1)
            assert followed.watch_restarts

    run_together([run()])


def test_only_a_cancellation_ends_what_is_kept_running() -> None:
    ends: list[None] = []

    async def body() -> None:
        if len(ends) < 2:
            raise Own
        await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(keep_running("it", body, lambda: ends.append(None)))

        async def both() -> bool:
            return len(ends) == 2

        await until(both, SOON)
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_together([run()])


# -- a process


@pytest.fixture(scope="module", params=[(), ("--workers", "2")], ids=["one process", "two workers"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    reload = "reload: { poll_ms: 3600000 }\n"
    config = {"base.yaml": constant("base", 0), "reload.yaml": reload}
    with Served(tmp_path_factory.mktemp("watch"), config, request.param) as served:
        yield served


@pytest.mark.case("R-13")
def test_after_a_file_name_that_is_no_utf8_changes_and_sighup_are_heard(served: Served) -> None:
    async def until_version(value: int) -> None:
        async def holds() -> bool:
            answers = [await served.gateway.ask("{ base { value } }") for _ in range(4)]
            return all(answer.data == {"base": {"value": value}} for answer in answers)

        await until(holds, SOON)

    async def scenario() -> None:
        for round_, name in enumerate((b"caf\xe9.txt", b"d\xe9/x.txt", b"caf\xe9.yaml"), 1):
            named(name)(served.folder)
            await asyncio.sleep(0.3)
            served.write({"base.yaml": constant("base", round_)})
            await until_version(round_)
        served.process.popen.send_signal(signal.SIGHUP)
        served.write({"base.yaml": constant("base", 9)})
        await until_version(9)
        lines = [json.loads(line) for line in served.process.stderr.splitlines() if line.startswith("{")]
        assert [line for line in lines if line["level"] == "error" and "watch of the folder" in line["event"]]

    served.run(scenario)


@pytest.mark.case("R-16")
def test_each_worker_tells_the_version_that_it_answers_by(served: Served) -> None:
    port = int(served.admin.rpartition(":")[2])
    workers = served.workers

    async def scenario() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for value in (20, 21):
                served.write({"base.yaml": constant("base", value)})
                version = ""

                async def holds() -> bool:
                    nonlocal version
                    answer = await served.gateway.ask("{ base { value } }")
                    version = answer.headers["x-config-version"]
                    texts = [
                        (await client.get(f"http://127.0.0.1:{port + number}/metrics")).text
                        for number in range(bool(workers), workers + 1)
                    ]
                    told = f'stepgraph_configuration_info{{version="{version}"}} 1.0'
                    return answer.data == {"base": {"value": value}} and all(told in text for text in texts)  # noqa: B023

                await until(holds, SOON)

    served.run(scenario)
