"""What a difference tells of `server:` and other documents of which there is one: by their models, and without secrets."""

from pathlib import Path

import pytest

from gateway.load.build.build import build
from gateway.load.read.files import read_files
from gateway.schema.changes import changes
from resolvers import STEP_TYPES
from tests.kit.serving import write_files

OPERATION = "operation: o\nsteps: [ { name: a, type: value, value: 1 } ]\n"


def told(folder: Path, old: str, new: str, environment: dict[str, str] | None = None) -> list[str]:
    blueprints = [
        build(read_files(write_files(folder / name, {"a.yaml": OPERATION + text})), STEP_TYPES, environment or {})
        for name, text in (("old", old), ("new", new))
    ]
    return [change.text for change in changes(*blueprints) if change.kind == "behaviour"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "---\nserver: { max_in_flight: 200 }", ["server.max_in_flight: 512 → 200"]),
        (
            "---\nserver: { cors: { origins: [https://a.example] } }",
            "---\nserver: { cors: { credentials: true } }",
            ["server.cors.origins: [https://a.example] → []", "server.cors.credentials: false → true"],
        ),
        (
            "",
            "---\nserver: { rate_limits: [ { key: peer, limit: 10/second } ] }",
            ["server.rate_limits: [] → [{ key: peer, limit: 10/second, window: moving }]"],
        ),
        (
            "---\nlimits: { max_cost: 10 }",
            "---\nlimits: { max_depth: 9 }",
            ["limits.max_depth: 15 → 9", "limits.max_cost: 10 → none"],
        ),
        ("---\nreload: { grace_ms: 1 }", "", ["reload.grace_ms: 1 → 30000"]),
        ("", "---\ntelemetry: { access_log: all }", ["telemetry.access_log: none → all"]),
        ("---\ntelemetry: {}", "---\nserver: {}", []),
    ],
)
def test_each_setting_with_another_value_is_told_by_its_key(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    assert told(tmp_path, old, new) == expected


def test_no_secret_is_told(tmp_path: Path) -> None:
    store = "---\nserver: {{ rate_limit_store: '{}' }}"
    secrets = {"REDIS_PASSWORD": "k8-hidden-word"}
    first = store.format("redis://me:${REDIS_PASSWORD}@store:1/0?password=plain")
    key = "server.rate_limit_store"
    assert told(tmp_path / "1", "", first, secrets) == [f"{key}: none → redis://•••@store:1/0?•••"]
    assert told(tmp_path / "2", store.format("redis://:a/b@store"), store.format("redis://:c@d@store")) == [
        f"{key}: another value"
    ]
    urls = {"A_STORE": "redis://x:hidden@store", "B_STORE": "redis://y:hidden@store"}
    assert told(tmp_path / "3", store.format("${A_STORE}"), store.format("${B_STORE}"), urls) == [
        f"{key}: ${{A_STORE}} → ${{B_STORE}}"
    ]
