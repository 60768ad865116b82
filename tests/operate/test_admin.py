"""A served configuration as the people see it who change it: signals, the admin listener, versions, memory, and load meanwhile."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.operate.serving import Serving, serve_folder
from resolvers import STEP_TYPES
from tests.faults import FaultServer, Json
from tests.kit.serving import Process, free_port, run_command, serve_command, serving, wait_until, write_files
from tests.kit.timing import SLACK
from tests.operate.test_serving import BASE, constant, replace_by_rename, until_value, value_of

SOON = 3.5 + 5 * SLACK
BROKEN = BASE.replace("type: value", "type: vlaue")


@contextmanager
def served(tmp_path: Path, *arguments: str, **files: str) -> Iterator[tuple[Process, Path, str]]:
    """Serve a folder with an admin listener; give the process, the folder, and the URL of the listener."""
    folder = write_files(tmp_path / "config", files or {"base.yaml": BASE})
    port = free_port()
    with serve_command(tmp_path, folder, "--admin-port", str(port), *arguments) as process:
        yield process, folder, f"http://127.0.0.1:{port}"


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=20, **options)


def post(url: str, **options: Any) -> httpx.Response:
    return httpx.post(url, trust_env=False, timeout=20, **options)


def ask(process: Process, name: str = "base") -> httpx.Response:
    return post(f"{process.url}/graphql", json={"query": f"{{ {name} {{ value }} }}"})


def value(process: Process) -> object:
    return ask(process).json()["data"]["base"]["value"]


# -- the admin listener


@pytest.mark.case("R-02")
def test_the_admin_listener_tells_the_state_and_where_a_problem_is(tmp_path: Path) -> None:
    files = {"base.yaml": BASE, "other.yaml": constant("other", 1), "reload.yaml": "reload: { poll_ms: 200 }"}
    with served(tmp_path, **files) as (process, folder, admin):
        first = get(f"{admin}/admin/config").json()
        assert (first["state"], first["problems"], first["changes"]) == ("current", [], {})
        assert first["units"] == {"operation base": {"state": "current"}, "operation other": {"state": "current"}}
        write_files(folder, {"base.yaml": BROKEN, "other.yaml": constant("other", 2), "new.yaml": "operation: new\nsteps: 1"})
        answer = post(f"{admin}/admin/reload")
        assert (answer.status_code, answer.json()["outcome"]) in {(200, "partial"), (200, "unchanged")}
        now = get(f"{admin}/admin/config").json()
        assert now["state"] == "problems"
        assert now["version"] != first["version"]
        assert now["problems"][0]["place"] == f"{folder / 'base.yaml'}:2:31"
        assert {name: unit["state"] for name, unit in now["units"].items()} == {
            "operation base": "kept",
            "operation other": "current",
            "operation new": "left out",
        }
        assert now["units"]["operation base"]["since"] >= first["since"]
        assert (value(process), ask(process, "other").json()["data"]["other"]["value"]) == (1, 2)
        assert get(f"{process.url}/health/ready").status_code == 200
        checked = run_command("check", str(folder))
        assert f"{folder / 'base.yaml'}:2:31" in checked.stderr.replace("\n", "")


@pytest.mark.case("R-02")
def test_metrics_tell_what_became_of_changes_and_what_is_wrong_now(tmp_path: Path) -> None:
    with served(tmp_path, **{"base.yaml": BASE}) as (process, folder, admin):
        assert 'config_reload_total{result="rejected"} 0.0' in get(f"{admin}/metrics").text
        write_files(folder, {"base.yaml": BROKEN})
        post(f"{admin}/admin/reload")
        told = get(f"{admin}/metrics")
        assert told.headers["content-type"].startswith("text/plain")
        assert "config_problems 1.0" in told.text
        assert sum(f'config_reload_total{{result="{result}"}} 1.0' in told.text for result in ("partial", "rejected")) == 1
        assert get(f"{process.url}/metrics").status_code == 404


def test_a_refused_change_is_told_with_another_status(tmp_path: Path) -> None:
    with served(tmp_path, "--strict") as (process, folder, admin):
        write_files(folder, {"base.yaml": BROKEN, "other.yaml": constant("other", 2)})
        assert post(f"{admin}/admin/reload").json()["outcome"] in {"rejected", "unchanged"}
        now = get(f"{admin}/admin/config").json()
        assert (now["changes"], len(now["problems"])) == ({"rejected": 1}, 1)
        assert "data" not in ask(process, "other").json()
        assert value(process) == 1


def test_the_admin_listener_is_elsewhere_and_for_this_machine_alone(tmp_path: Path) -> None:
    with served(tmp_path) as (process, _, admin):
        for path in ("/admin/config", "/admin/reload"):
            assert get(process.url + path).status_code == 404
            assert post(process.url + path).status_code == 404
        nowhere = get(f"{admin}/graphql")
        assert (nowhere.status_code, nowhere.json()["errors"][0]["extensions"]) == (404, {"code": "NOT_FOUND"})
        assert get(f"{admin}/admin/reload").status_code == 405
        assert get(f"{admin}/admin/config", headers={"host": "evil.example"}).status_code == 403
        assert post(f"{admin}/admin/reload", headers={"host": "evil.example"}).status_code == 403
        assert process.stop()[0] == 0


def test_without_a_port_there_is_no_admin_listener_and_a_port_in_use_is_told(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "config", {"base.yaml": BASE})
    with serve_command(tmp_path, folder) as process:
        taken = process.url.rpartition(":")[2]
        result = run_command("serve", str(folder), "--port", str(free_port()), "--admin-port", taken)
        assert (result.returncode, "cannot listen" in result.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one process", "two workers"])
def test_a_hang_up_and_an_admin_request_reload_every_worker(tmp_path: Path, arguments: list[str]) -> None:
    """Nothing else does: the times to look are far apart, and the folder is replaced as a whole, which no event tells of."""
    files = {"base.yaml": BASE, "reload.yaml": "reload: { poll_ms: 3600000 }"}
    with served(tmp_path, *arguments, **files) as (process, folder, admin):
        workers = max(1, len(arguments))
        link = tmp_path / "linked.yaml"
        link.write_text(BASE.replace("value: 1", "value: 2"), "utf-8")
        (folder / "base.yaml").unlink()
        (folder / "base.yaml").symlink_to(link)
        wait_until(lambda: {value(process) for _ in range(8 * workers)} == {2}, "the link is taken", SOON)
        link.write_text(BASE.replace("value: 1", "value: 3"), "utf-8")  # of what a link leads to there is no event
        time.sleep(0.5)
        assert value(process) == 2
        process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: {value(process) for _ in range(8 * workers)} == {3}, "all workers have followed", SOON)
        link.write_text(BASE.replace("value: 1", "value: 4"), "utf-8")
        assert post(f"{admin}/admin/reload").json()["outcome"] == "accepted"
        wait_until(lambda: {value(process) for _ in range(8 * workers)} == {4}, "all workers have followed", SOON)
        assert process.stop()[0] == 0


def test_at_the_start_what_is_sound_is_served_only_when_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "config", {"base.yaml": BASE, "broken.yaml": BROKEN.replace("base", "broken")})
    started = time.perf_counter()
    refused = run_command("serve", str(folder), "--port", str(free_port()))
    assert (refused.returncode, time.perf_counter() - started < SOON) == (1, True)
    assert f"{folder / 'broken.yaml'}:2:31" in refused.stderr.replace("\n", "")
    with serve_command(tmp_path, folder, "--keep-going") as process:
        assert value(process) == 1
        assert "vlaue" in process.stderr
        write_files(folder, {"broken.yaml": constant("broken", 5)})
        wait_until(lambda: "data" in ask(process, "broken").json(), "the mended operation is there", SOON)


# -- how files change


def test_a_configuration_that_kubernetes_swaps_is_followed(tmp_path: Path) -> None:
    """A mounted ConfigMap: visible links lead through the link ``..data``, which is replaced by another in one step."""

    def place(number: int) -> None:
        write_files(tmp_path / f"..2026_{number}", {"base.yaml": BASE.replace("value: 1", f"value: {number}")})
        (tmp_path / "..data_tmp").symlink_to(f"..2026_{number}")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    async def run() -> None:
        place(1)
        (tmp_path / "base.yaml").symlink_to("..data/base.yaml")
        async with asyncio.timeout(30), serving(tmp_path) as gateway:
            for number in (2, 3):
                place(number)
                await until_value(gateway, "base", number)

    asyncio.run(run())


def test_a_folder_that_is_deleted_and_made_again_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "config"

    async def run() -> None:
        write_files(folder, {"base.yaml": BASE})
        async with asyncio.timeout(30), serving(folder) as gateway:
            for number in (2, 3):
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()
                await asyncio.sleep(0.7)
                assert await value_of(gateway, "base") == number - 1
                write_files(folder, {"base.yaml": BASE.replace("value: 1", f"value: {number}")})
                await until_value(gateway, "base", number)

    asyncio.run(run())


def test_a_linked_folder_that_is_linked_anew_is_followed(tmp_path: Path) -> None:
    for number in (1, 2):
        write_files(tmp_path / f"release-{number}", {"base.yaml": BASE.replace("value: 1", f"value: {number}")})
    current = tmp_path / "current"
    current.symlink_to("release-1")

    async def run() -> None:
        async with asyncio.timeout(30), serving(current) as gateway:
            (tmp_path / "next").symlink_to("release-2")
            (tmp_path / "next").rename(current)
            await until_value(gateway, "base", 2)

    asyncio.run(run())


# -- breaking changes, hot documents, pools


@pytest.mark.parametrize("is_rejected", [True, False], ids=["rejected", "allowed"])
@pytest.mark.case("R-11")
def test_a_change_that_breaks_clients_is_refused_where_the_configuration_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_rejected: bool
) -> None:
    files = {
        "base.yaml": BASE,
        "other.yaml": constant("other", 1),
        "reload.yaml": f"reload: {{ reject_breaking: {str(is_rejected).lower()} }}",
    }

    async def run() -> None:
        async with serve_folder(write_files(tmp_path, files), STEP_TYPES, is_watched=False) as followed:
            (tmp_path / "other.yaml").unlink()
            assert await followed.reload() == ("rejected" if is_rejected else "accepted")
            assert followed.generation is not None
            assert ("other" in followed.generation.blueprint.operations) == is_rejected
            told = " ".join(problem.message for problem in followed.problems) if is_rejected else caplog.text
            assert "Query.other was removed" in told
            write_files(tmp_path, {"other.yaml": constant("other", 1), "new.yaml": constant("new", 1)})
            assert await followed.reload() == "accepted"
            assert followed.problems == ()

    asyncio.run(run())


@pytest.mark.case("R-10")
def test_documents_that_are_asked_for_are_planned_before_the_swap(tmp_path: Path) -> None:
    async def run() -> None:
        query = "query q($with: Boolean!) { base { value @include(if: $with) __typename } }"
        async with asyncio.timeout(30), serving(write_files(tmp_path, {"base.yaml": BASE})) as gateway:
            for including in (True, False):
                await gateway.ask(query, {"with": including})
            await gateway.ask("{ nothing }")

        async with serve_folder(tmp_path, STEP_TYPES, is_watched=False) as followed:
            await warm(followed, query)
            replace_by_rename(tmp_path / "base.yaml", BASE.replace("value: 1", "value: 2"))
            assert await followed.reload() == "accepted"
            assert followed.generation is not None
            (definition,) = followed.generation.read(query).definitions
            assert set(followed.generation.plans.cached_plans(definition)) == {(True,), (False,)}

    asyncio.run(run())


async def warm(followed: Serving, query: str) -> None:
    generation = followed.generation
    assert generation is not None
    generation.read(query)  # what was asked for only once is not planned again
    (definition,) = generation.read(query).definitions
    for including in (True, False):
        generation.plans.plan(definition, definition.variables({"with": including}))


@pytest.mark.case("R-07")
def test_a_pool_is_closed_by_force_after_the_grace_time(tmp_path: Path) -> None:
    config = """
sources: {{ core: {{ type: api, base_url: {url}, timeout_ms: 10000, concurrency: {places} }} }}
defaults: {{ api: core }}
---
operation: base
deadline_ms: 20000
steps: [ {{ name: value, type: value, value: {places} }}, {{ name: slow, type: api, endpoint: /slow }} ]
---
reload: {{ grace_ms: 300 }}
"""

    async def run() -> None:
        async with FaultServer() as upstream:
            upstream.script("/slow", Json("late", delay=8))
            write_files(tmp_path, {"base.yaml": config.format(url=upstream.url, places=1)})
            async with asyncio.timeout(20), serving(tmp_path) as gateway:
                asking = asyncio.create_task(gateway.ask("{ base { value slow } }"))
                await upstream.wait_requests("/slow")
                write_files(tmp_path, {"base.yaml": config.format(url=upstream.url, places=2)})
                await until_value(gateway, "base", 2)
                answer = await asking
                assert answer.data == {"base": {"value": 1, "slow": None}}
                assert answer.codes == ["SUBREQUEST_HTTP_ERROR"]
                await upstream.wait_closed("/slow", 5)

    asyncio.run(run())
