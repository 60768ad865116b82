"""Files that change under a running gateway: sound ones are taken up, others are not, and nobody's request is disturbed."""

import asyncio
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

from gateway.contract import KeyProblem, StepType
from gateway.load.build.build import BuildResult, build_next
from gateway.load.read.files import read_files
from gateway.operate.serving import ServeOptions, Serving, serve_folder
from resolvers import STEP_TYPES
from resolvers.value import Value
from tests.faults import FaultServer, Json
from tests.kit.serving import Gateway, serving, until, until_tasks_end, write_files
from tests.kit.timing import SLACK

SEEN_WITHIN = 2.0
"""Seconds in which a change answers."""
BASE = "operation: base\nsteps: [ { name: value, type: value, value: 1 } ]\n"


def constant(name: str, value: object) -> str:
    return f"operation: {name}\nsteps: [ {{ name: value, type: value, value: {value} }} ]\n"


async def value_of(gateway: Gateway, name: str) -> object:
    """Return the value that an operation has now; None where there is no such operation."""
    answer = await gateway.ask(f"{{ {name} {{ value }} }}")
    return answer.data[name]["value"] if "data" in answer.body else None


async def until_value(gateway: Gateway, name: str, value: object) -> None:
    """Wait until an operation has a value."""

    async def holds() -> bool:
        return await value_of(gateway, name) == value

    await until(holds, SEEN_WITHIN + SLACK)


def run_together(scenarios: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run scenarios at the same time: what a change waits for is time, not work."""

    async def run() -> None:
        async with asyncio.timeout(30):
            await asyncio.gather(*scenarios)

    asyncio.run(run())


def with_gateway(folder: Path, files: Mapping[str, str], scenario: Callable[[Gateway], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), serving(write_files(folder, files)) as gateway:
            await scenario(gateway)

    asyncio.run(run())


def replace_by_rename(path: Path, text: str) -> None:
    """Save as most editors and all deployments do."""
    other = path.with_name(f".{path.name}.swp")
    other.write_text(text, "utf-8")
    other.rename(path)


def truncate_and_write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def delete_and_create(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text, "utf-8")


@pytest.mark.case("R-09")
def test_a_saved_change_answers_within_two_seconds_however_it_is_saved(tmp_path: Path) -> None:
    async def scenario(save: Callable[[Path, str], None]) -> None:
        folder = write_files(tmp_path / save.__name__, {"base.yaml": BASE})
        async with serving(folder) as gateway:
            assert await value_of(gateway, "base") == 1
            save(folder / "base.yaml", BASE.replace("value: 1", "value: 2"))
            await until_value(gateway, "base", 2)

    run_together(map(scenario, (truncate_and_write, replace_by_rename, delete_and_create)))


def test_a_file_that_comes_and_goes_brings_and_takes_its_operation(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway) -> None:
        assert await value_of(gateway, "added") is None
        write_files(tmp_path, {"new/folder/added.yml": constant("added", 1)})
        await until_value(gateway, "added", 1)
        (tmp_path / "new/folder/added.yml").unlink()
        await until_value(gateway, "added", None)
        write_files(tmp_path, {"new/folder/added.yml": constant("added", 3)})
        await until_value(gateway, "added", 3)
        shutil.rmtree(tmp_path / "new")
        await until_value(gateway, "added", None)
        assert await value_of(gateway, "base") == 1

    with_gateway(tmp_path, {"base.yaml": BASE}, scenario)


def test_types_change_with_their_file(tmp_path: Path) -> None:
    files = {
        "base.yaml": "operation: base\nsteps: [ { name: value, type: value, value: { a: 1, b: 2 }, returns: Pair } ]\n",
        "types.graphql": "type Pair { a: Int }\n",
    }

    async def scenario(gateway: Gateway) -> None:
        assert (await gateway.ask("{ base { value { b } } }")).codes == ["GRAPHQL_VALIDATION_FAILED"]
        (tmp_path / "types.graphql").write_text("type Pair { a: Int b: Int }\n", "utf-8")

        async def holds() -> bool:
            answer = await gateway.ask("{ base { value { b } } }")
            return bool(answer.body == {"data": {"base": {"value": {"b": 2}}}})

        await until(holds, SEEN_WITHIN + SLACK)

    with_gateway(tmp_path, files, scenario)


BROKEN = {
    "no yaml": b"operation: [",
    "an unknown type": BASE.replace("type: value", "type: vlaue").encode(),
    "a duplicate operation": (BASE + "---\n" + BASE).encode(),
    "no utf-8": b"\xff\xfe",
    "nothing at all": b"",
}


@pytest.mark.case("R-02")
def test_a_broken_file_leaves_the_last_good_one_until_it_is_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def complaints(folder: Path) -> list[str]:
        texts = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
        return [text for text in texts if str(folder) in text]

    async def scenario(name: str) -> None:
        folder = write_files(tmp_path / name, {"base.yaml": BASE})
        async with serving(folder) as gateway:
            (folder / "base.yaml").write_bytes(BROKEN[name])

            async def is_told() -> bool:
                assert await value_of(gateway, "base") == 1
                return bool(complaints(folder))

            await until(is_told, SEEN_WITHIN + SLACK)
            (text,) = complaints(folder)
            assert f"{folder / 'base.yaml'}:" in text or name == "nothing at all"
            assert await value_of(gateway, "base") == 1
            (folder / "base.yaml").write_text(BASE.replace("value: 1", "value: 2"), "utf-8")
            await until_value(gateway, "base", 2)

    run_together(map(scenario, BROKEN))


@pytest.mark.case("R-09")
def test_a_request_under_way_ends_on_the_generation_that_it_began_with(tmp_path: Path) -> None:
    config = """
sources: {{ core: {{ type: api, base_url: {url} }} }}
defaults: {{ api: core }}
---
operation: base
steps:
  - {{ name: value, type: value, value: {value} }}
  - {{ name: slow, type: api, endpoint: /slow }}
  - {{ name: then, type: api, endpoint: "/then/{{slow.next}}" }}
"""

    async def run() -> None:
        async with FaultServer() as upstream, FaultServer() as other:
            for server in (upstream, other):
                server.script("/slow", Json({"next": 1}, delay=1.2))
                server.script("/then/1", Json("done"))
            write_files(tmp_path, {"base.yaml": config.format(url=upstream.url, value=1)})
            async with serving(tmp_path) as gateway:
                asking = asyncio.create_task(gateway.ask("{ base { value slow then } }"))
                await upstream.wait_requests("/slow")
                (tmp_path / "base.yaml").write_text(config.format(url=other.url, value=2), "utf-8")
                await until_value(gateway, "base", 2)
                assert not asking.done()
                assert (await asking).data == {"base": {"value": 1, "slow": {"next": 1}, "then": "done"}}
                assert other.requests == []
                await upstream.wait_closed("/then/1", 5)

    asyncio.run(run())


async def has_one_database_thread() -> bool:
    """Tell whether one SQLite connection is open; each has a thread of its own."""
    return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate()) == 1


SOURCES = """
sources:
  core: {{ type: api, base_url: {url}, timeout_ms: {timeout} }}
  data: {{ type: warehouse, url: "sqlite:///data.db", timeout_ms: {timeout} }}
defaults: {{ api: core, warehouse: data }}
---
operation: base
steps:
  - {{ name: value, type: value, value: {value} }}
  - {{ name: call, type: api, endpoint: /call }}
  - {{ name: rows, type: warehouse, query: SELECT 1 AS one }}
"""


@pytest.mark.parametrize("is_source_changed", [True, False], ids=["the source changes", "the source stays"])
@pytest.mark.case("R-07")
def test_the_pools_of_a_source_that_changes_are_closed_and_those_of_others_stay(
    tmp_path: Path, *, is_source_changed: bool
) -> None:
    with closing(sqlite3.connect(tmp_path / "data.db")) as database:
        database.execute("CREATE TABLE t (x)")

    async def run() -> None:
        async with FaultServer() as upstream:
            upstream.script("/call", Json("answered"))

            def config(value: int) -> str:
                return SOURCES.format(url=upstream.url, value=value, timeout=900 + value * is_source_changed)

            write_files(tmp_path, {"base.yaml": config(0)})
            async with serving(tmp_path) as gateway:
                tasks = 0
                for value in range(4):
                    (tmp_path / "base.yaml").write_text(config(value), "utf-8")
                    await until_value(gateway, "base", value)
                    answer = await gateway.ask("{ base { call rows } }")
                    assert answer.data == {"base": {"call": "answered", "rows": {"one": 1}}}
                    for connection in upstream.connections[:-1]:
                        await upstream.wait_closed(connection, 5)
                    await until(has_one_database_thread, 1.5 + SLACK)
                    tasks = tasks or len(asyncio.all_tasks())
                    await until_tasks_end(tasks, 1.5 + SLACK)
                assert len(upstream.connections) == (4 if is_source_changed else 1)

    asyncio.run(run())


@pytest.mark.case("R-03")
def test_a_file_written_byte_by_byte_is_never_taken_in_part(tmp_path: Path) -> None:
    """The empty file and every beginning of the last value are sound configurations: only the wait tells that there is more."""
    path = tmp_path / "slow.yaml"
    new = f"operation: slow\nsteps:\n  - name: value\n    type: value\n    value: {'x' * 100}"
    gaps: list[float] = []

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            written = time.perf_counter()
            for byte in new.encode():
                file.write(bytes([byte]))
                time.sleep(0.005)
                gaps.append(time.perf_counter() - written)
                written = time.perf_counter()

    async def scenario(gateway: Gateway) -> None:
        writing = asyncio.create_task(asyncio.to_thread(write))
        seen = set()
        while not writing.done():
            seen.add(await value_of(gateway, "slow"))
            await asyncio.sleep(0.01)
        if max(gaps) < 0.15:  # or the file stood still for so long that it could be taken for whole
            assert seen <= {0, "x" * 100}
        await until_value(gateway, "slow", "x" * 100)

    with_gateway(tmp_path, {"base.yaml": BASE, "slow.yaml": constant("slow", 0)}, scenario)


# -- without a server


@asynccontextmanager
async def watching(folder: Path, step_types: Mapping[str, StepType] = STEP_TYPES) -> AsyncIterator[Serving]:
    """Follow a folder; the watch has begun."""
    async with asyncio.timeout(30), serve_folder(folder, step_types) as followed:
        await asyncio.sleep(0.05)
        yield followed


async def until_next(followed: Serving, within: float = SEEN_WITHIN + SLACK) -> None:
    """Wait until there is another generation."""
    now = followed.generation

    async def holds() -> bool:
        return followed.generation is not now

    await until(holds, within)


def test_what_changes_no_configuration_makes_no_generation(tmp_path: Path) -> None:
    async def run() -> None:
        async with watching(write_files(tmp_path, {"base.yaml": BASE, "notes.txt": "a"})) as followed:
            first = followed.generation
            (tmp_path / "base.yaml").touch()
            (tmp_path / "notes.txt").write_text("b", "utf-8")
            (tmp_path / ".base.yaml.swp").write_text("operation: [", "utf-8")
            write_files(tmp_path, {".git/config.yaml": "operation: ["})
            replace_by_rename(tmp_path / "base.yaml", BASE)
            await asyncio.sleep(1.2)
            assert followed.generation is first

    asyncio.run(run())


def test_of_many_quick_changes_the_last_one_stays(tmp_path: Path) -> None:
    async def run() -> None:
        async with watching(write_files(tmp_path, {"base.yaml": BASE})) as followed:
            for value in range(2, 40):
                replace_by_rename(tmp_path / "base.yaml", BASE.replace("value: 1", f"value: {value}"))
                await asyncio.sleep(0.02)

            async def holds() -> bool:
                assert followed.generation is not None
                (step,) = followed.generation.blueprint.operations["base"].steps.values()
                return step.inputs == {"value": 39}

            await until(holds, SEEN_WITHIN + SLACK)

    asyncio.run(run())


class Explosive(Value):
    """A step type with a defect that one value brings out."""

    name = "explosive"

    def check(self, keys: Any, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        if keys.value == "boom":
            raise ZeroDivisionError
        yield from ()


def test_a_defect_of_a_step_type_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "operation: base\nsteps: [ { name: value, type: explosive, value: calm } ]\n"

    async def run() -> None:
        types = {**STEP_TYPES, "explosive": Explosive()}
        async with watching(write_files(tmp_path, {"base.yaml": text}), types) as followed:
            first = followed.generation
            (tmp_path / "base.yaml").write_text(text.replace("calm", "boom"), "utf-8")

            async def is_told() -> bool:
                return any(record.exc_info for record in caplog.records)

            await until(is_told, SEEN_WITHIN + SLACK)
            assert followed.generation is first
            (tmp_path / "base.yaml").write_text(text.replace("calm", "mended"), "utf-8")
            await until_next(followed)

    asyncio.run(run())


def test_where_no_more_folders_may_be_watched_changes_are_noticed_by_looking(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> AsyncIterator[object]:
        raise RuntimeError("Error creating recommended watcher: Too many open files (os error 24)")

    monkeypatch.setattr("gateway.operate.watch.awatch", refuse)
    write_files(tmp_path, {"base.yaml": BASE, "reload.yaml": "reload: { poll_ms: 200 }"})

    async def run() -> None:
        async with watching(tmp_path) as followed:
            (tmp_path / "base.yaml").write_text(constant("base", 2), "utf-8")
            await until_next(followed)
            (tmp_path / "base.yaml").write_text(constant("base", 3), "utf-8")
            await until_next(followed)

    asyncio.run(run())
    assert [record.message for record in caplog.records if record.name == "stepgraph.watch"] == [
        "the folder cannot be watched; it is polled instead"
    ]


def test_a_folder_that_goes_while_it_is_read_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has listed it, and then it is gone."""
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *given, **named: [*walk(*given, **named), (str(tmp_path / "gone"), [], ["a.yaml"])])
    files = read_files(write_files(tmp_path / "config", {"base.yaml": BASE}))
    assert [Path(name).name for name in files.texts] == ["base.yaml"]
    assert not files.problems


@pytest.mark.case("R-06")
def test_what_is_made_of_a_change_that_is_refused_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector of cycles does not see it any more."""
    made: list[BuildResult] = []

    def build(*given: Any) -> BuildResult:
        made.append(build_next(*given))
        return made[-1]

    monkeypatch.setattr("gateway.operate.serving.build_next", build)
    folder = write_files(tmp_path, {"base.yaml": BASE, "types.graphql": "type T { a: Int }"})

    async def run() -> None:
        async with serve_folder(folder, STEP_TYPES, ServeOptions(owns_process=True), is_watched=False) as followed:
            write_files(folder, {"other.yaml": "operation: other\nsteps: 1"})
            assert await followed.apply(await asyncio.to_thread(read_files, folder)) == "rejected"
            served, refused = (built.blueprint for built in made)
            assert served is not None
            assert refused is not None
            assert all(map(vars, served.types.values()))
            assert not any(map(vars, refused.types.values()))

    asyncio.run(run())


def test_a_change_before_the_watch_has_begun_is_noticed_by_looking(tmp_path: Path) -> None:
    write_files(tmp_path, {"base.yaml": BASE, "reload.yaml": "reload: { poll_ms: 200 }"})

    async def run() -> None:
        async with asyncio.timeout(30), serve_folder(tmp_path, STEP_TYPES) as followed:
            (tmp_path / "base.yaml").write_text(BASE.replace("value: 1", "value: 2"), "utf-8")
            await until_next(followed)

    asyncio.run(run())


def test_a_folder_that_another_takes_the_place_of_is_noticed_by_looking(tmp_path: Path) -> None:
    """The file system tells of the old folder alone, which is elsewhere now."""
    folder = write_files(tmp_path / "config", {"base.yaml": BASE})

    async def run() -> None:
        async with watching(folder) as followed:
            folder.rename(tmp_path / "old")
            write_files(folder, {"base.yaml": constant("base", 2)})
            await until_next(followed)
            (folder / "base.yaml").write_text(constant("base", 3), "utf-8")
            await until_next(followed)

    asyncio.run(run())


@pytest.mark.case("O-10")
def test_reading_files_on_the_event_loop_is_a_mistake_in_any_test(tmp_path: Path) -> None:
    async def read() -> None:
        read_files(tmp_path)

    with pytest.raises(BlockingError, match=r"os\.stat"):
        asyncio.run(read())
