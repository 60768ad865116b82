"""The history of what was served: kept beside the gateway, compared, and written back."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.load.build.build import build
from gateway.load.read.files import Files, read_files
from gateway.operate.history import MAX_VERSIONS, Versions, default_state
from gateway.operate.rollback import ForeignFolder, write_back
from gateway.operate.serving import ServeOptions, serve_folder
from gateway.schema.changes import changes
from resolvers import STEP_TYPES
from tests.kit.serving import run_command, serve_command, wait_until, write_files
from tests.operate.test_admin import value
from tests.operate.test_serving import BASE, constant, replace_by_rename

TWO = BASE.replace("value: 1", "value: 2")


def served(folder: Path, state: Path, *texts: str) -> list[str]:
    """Serve a folder while its file gets one text after the other; return the versions that answered."""

    async def run() -> list[str]:
        versions = []
        async with serve_folder(folder, STEP_TYPES, ServeOptions(state=state), is_watched=False) as followed:
            versions.append(followed.version)
            for text in texts:
                write_files(folder, {"base.yaml": text})
                await followed.apply(await asyncio.to_thread(read_files, folder))
                versions.append(followed.version)
        return versions

    return asyncio.run(run())


def test_each_version_that_answered_is_kept_with_its_files_and_once_more_when_it_answers_again(tmp_path: Path) -> None:
    folder, state = (
        write_files(tmp_path / "config", {"base.yaml": BASE, "sub/note.yml": constant("note", "é")}),
        tmp_path / "state",
    )
    first, second, third = served(folder, state, TWO, BASE)
    assert first == third != second
    history = Versions(state)
    found = asyncio.run(history.all())
    assert [version.version for version in found] == [third, second, first]
    assert {version.problems for version in found} == {0}
    assert found == sorted(found, key=lambda version: version.at, reverse=True)
    files = asyncio.run(history.find(second[:6], folder))
    assert files is not None
    assert files.texts == {str(folder / "base.yaml"): TWO, str(folder / "sub/note.yml"): constant("note", "é")}
    assert files.version == second
    assert served(folder, state) == [first]
    assert len(asyncio.run(history.all())) == 3, "a restart with the same files is no new version"
    assert asyncio.run(history.find("", folder)) is None
    assert asyncio.run(history.find("no", folder)) is None
    assert (state.stat().st_mode & 0o777) == 0o700


def broken_beside(number: int) -> str:
    """Return a text in which one operation is wrong and another one sound."""
    return f"operation: base\nsteps: 1\n---\n{constant('sound', number)}"


def test_a_change_with_problems_is_a_version_of_its_own_and_a_refused_one_is_none(tmp_path: Path) -> None:
    folder, state = write_files(tmp_path / "config", {"base.yaml": BASE, "other.yaml": constant("other", 1)}), tmp_path / "state"
    first, second, third, fourth = served(folder, state, broken_beside(1), broken_beside(2), "operation: [")
    assert len({first, second, third}) == 3
    assert fourth == third
    assert [version.problems for version in asyncio.run(Versions(state).all())] == [1, 1, 0]


def test_the_history_is_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        history = Versions(tmp_path)
        for number in range(MAX_VERSIONS + 20):
            await history.keep(Files(tmp_path, {}, (), ""), f"version-{number}", 0)
        found = await history.all()
        assert len(found) == MAX_VERSIONS
        assert found[0].version == f"version-{MAX_VERSIONS + 19}"

    asyncio.run(run())


def test_a_history_that_cannot_be_written_keeps_nobody_from_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_files(tmp_path / "config", {"base.yaml": BASE})
    (tmp_path / "state").write_text("a file", "utf-8")
    assert len(served(folder, tmp_path / "state", TWO)) == 2
    assert "history of versions cannot be written" in caplog.text


def test_each_folder_has_a_history_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = default_state(tmp_path / "a" / "config"), default_state(tmp_path / "b" / "config")
    assert first != second
    assert first.parent == second.parent == tmp_path / "stepgraph"


# -- differences

SOURCES = "sources: { core: { type: api, base_url: http://127.0.0.1:1, headers: { token: secret } } }\ndefaults: { api: core }\n"
OLD = """
operation: account
args: { id: ID! }
deadline_ms: 3000
steps:
  - { name: first, type: api, endpoint: "/first/{id}", timeout_ms: 500 }
  - { name: second, type: api, endpoint: "/second/{first.x}", timeout_ms: 300, retry: { attempts: 1 } }
  - { name: gone, type: value, value: 1 }
aggregation: { required_steps: [first] }
---
field: Thing.link
returns: Thing
step: { type: api, endpoint: /things, query: { id: "{keys}" }, batch: { key: id, match: id, max: 10 } }
"""
NEW = """
operation: account
args: { id: ID!, more: Int, must: Int! }
deadline_ms: 3000
steps:
  - { name: first, type: api, endpoint: "/other/{id}", timeout_ms: 800 }
  - { name: second, type: api, endpoint: "/second/{first.x}", timeout_ms: 300, fallback: [ { value: 1 } ], when: more > `1` }
  - { name: added, type: api, endpoint: /added, depends_on: [second] }
---
field: Thing.link
returns: Thing
step: { type: api, endpoint: /things, query: { id: "{keys}" }, batch: { key: id, match: id, max: 20 } }
"""
TYPES = "type Thing { id: ID old: Int }"
GOOD = {"account.yaml": OLD, "sources.yaml": SOURCES, "types.graphql": TYPES}


def test_a_difference_tells_what_clients_notice_and_what_is_called_otherwise(tmp_path: Path) -> None:
    new = {
        "account.yaml": NEW,
        "sources.yaml": SOURCES.replace("secret", "other"),
        "types.graphql": TYPES.replace("old: Int", "new: Int"),
    }
    before = build(read_files(write_files(tmp_path / "old", GOOD)), STEP_TYPES)
    after = build(read_files(write_files(tmp_path / "new", new)), STEP_TYPES)
    found = changes(before, after)
    kinds = [change.kind for change in found]
    assert kinds == sorted(kinds, key=("breaking", "dangerous", "safe", "behaviour").index)
    texts = {(change.kind, change.text) for change in found}
    assert texts >= {
        ("breaking", "Field Thing.old was removed"),
        ("breaking", "Field Account.gone was removed"),
        ("dangerous", "An optional argument Query.account(more:) was added"),
        ("behaviour", "account: step gone removed"),
        ("behaviour", "account: step added added: GET /added"),
        ("behaviour", "account: first: call GET /first/{id} → GET /other/{id}"),
        ("behaviour", "account: first: timeout 500 ms → 800 ms"),
        ("behaviour", "account: first: required yes → no"),
        ("behaviour", "account: second: attempts 1 → 2"),
        ("behaviour", "account: second: fallback none → the constant 1"),
        ("behaviour", "account: second: when none → more > `1`"),
        ("behaviour", "account: worst-case latency 1350 ms → 3000 ms"),
        ("behaviour", "Thing.link: keys in one call 10 → 20"),
        ("behaviour", "source core: other headers"),
    }
    assert {change.text for change in found if change.kind == "safe"} >= {"Field Thing.new was added"}
    assert not any("secret" in text for _, text in texts)
    assert changes(before, before) == []


# -- the commands


def test_versions_are_listed_compared_and_written_back(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "config", {"base.yaml": BASE, "other.yaml": constant("other", 1)})
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    assert run_command("versions", str(folder), **state).returncode == 1
    with serve_command(tmp_path, folder) as process:
        first = read_files(folder).version
        write_files(folder, {"base.yaml": TWO, "new.yaml": constant("new", 1)})
        (folder / "other.yaml").unlink()
        wait_until(lambda: value(process) == 2, "the change answers")
        second = read_files(folder).version
        listed = run_command("versions", str(folder), **state)
        rows = [line.split() for line in listed.stdout.splitlines()[1:]]
        assert [row[-4] for row in rows] == [second, first]
        assert rows[0][0] == "→"
        compared = run_command("diff", first, second[:8], "--config", str(folder), "--json", **state)
        assert {"kind": "breaking", "change": "Field Query.other was removed"} in json.loads(compared.stdout)
        assert run_command("diff", first, str(folder), "--fail-on-breaking", "--config", str(folder), **state).returncode == 1
        assert "no difference" in run_command("diff", second, "--config", str(folder), **state).stdout
        back = run_command("rollback", first[:8], str(folder), "--yes", **state)
        assert (back.returncode, back.stderr) == (0, "")
        assert "Query.other was added" in back.stdout
        wait_until(lambda: value(process) == 1, "the earlier version answers")
        assert sorted(path.name for path in folder.iterdir()) == ["base.yaml", "other.yaml"]
        assert read_files(folder).version == first
        assert process.stop()[0] == 0


def test_a_rollback_asks_first_keeps_what_is_there_and_refuses_what_is_not_sound(tmp_path: Path) -> None:
    folder, state = write_files(tmp_path / "config", {"base.yaml": BASE, "other.yaml": constant("other", 1)}), tmp_path / "state"
    first, broken = served(folder, state, broken_beside(1))
    options = (str(folder), "--state", str(state))
    asked = run_command("rollback", first, *options)
    assert (asked.returncode, "Write version" in asked.stdout) == (1, True)
    refused = run_command("rollback", broken, *options, "--yes")
    assert (refused.returncode, "wrong-type" in refused.stderr) == (1, True)
    assert "is not one version" in run_command("rollback", "none", *options, "--yes").stderr
    present = read_files(folder)
    assert run_command("rollback", first, *options, "--yes").returncode == 0
    assert (folder / "base.yaml").read_text("utf-8") == BASE
    kept = asyncio.run(Versions(state).find(present.version, folder))
    assert kept is not None
    assert kept.texts == present.texts


def test_files_that_another_program_links_are_left_alone(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "config", {"..2026/base.yaml": BASE})
    (folder / "..data").symlink_to("..2026")
    (folder / "base.yaml").symlink_to("..data/base.yaml")
    earlier = Files(folder, {str(folder / "base.yaml"): TWO}, (), "")
    with pytest.raises(ForeignFolder, match="is a link"):
        write_back(earlier, read_files(folder))
    assert (folder / "base.yaml").read_text("utf-8") == BASE


def test_a_write_back_is_taken_up_as_one_change(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {f"{name}.yaml": constant(name, 1) for name in ("one", "two", "three")})
    before = read_files(folder)
    for name in ("one", "two"):
        replace_by_rename(folder / f"{name}.yaml", constant(name, 2))
    write_files(folder, {"four.yaml": constant("four", 1)})
    assert write_back(before, read_files(folder)) == ["one.yaml", "two.yaml", "four.yaml"]
    assert read_files(folder) == before
    assert write_back(before, read_files(folder)) == []
