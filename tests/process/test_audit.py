"""The audit of the GraphQL-over-HTTP working group (npm's ``graphql-http``) against ``serve --dev``: 61 of 61."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.paths import TESTS
from tests.kit.serving import serve_command, write_files

AUDIT = TESTS / "audit"
AUDITS = 61
NEEDED_VERSION = json.loads((AUDIT / "package.json").read_text("utf-8"))["dependencies"]["graphql-http"]
CONFIG = {"graph.yaml": "operation: one\nsteps: [{ name: value, type: value, value: 1 }]\n"}


@pytest.fixture(scope="module")
def audit(pytestconfig: pytest.Config) -> Path:
    """Return the folder of the installed audit: in pytest's cache, so that one installation serves many runs."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("graphql-http-audit")
    for name in ("package.json", "audit.mjs"):
        shutil.copy(AUDIT / name, folder)
    if not (shutil.which("node") and shutil.which("npm")):
        unavailable("the audit needs node and npm; install Node.js 18 or newer")
    installed = folder / "node_modules" / "graphql-http" / "package.json"
    if not installed.exists() or json.loads(installed.read_text("utf-8"))["version"] != NEEDED_VERSION:
        install(folder)
    return folder


def install(folder: Path) -> None:
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error", "--fetch-timeout=20000"]
    try:
        done = subprocess.run(
            ["npm", "install", *options, "--fetch-retries=0"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        unavailable("the registry of npm did not answer within two minutes")
    if done.returncode != 0:
        unavailable(f"npm could not install graphql-http: {' '.join(done.stderr.split())[:300]}")


def unavailable(reason: str) -> None:
    """Skip the audit on a machine that cannot run it, but never where the project is checked for good."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.case("P-01")
def test_the_server_passes_every_audit_of_graphql_over_http(audit: Path, tmp_path: Path) -> None:
    with serve_command(tmp_path, write_files(tmp_path / "config", CONFIG), "--dev") as gateway:
        command = ["node", "audit.mjs", f"{gateway.url}/graphql"]
        done = subprocess.run(command, cwd=audit, capture_output=True, text=True, timeout=60, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [f"{result['id']} {result['name']}: {result['reason']}" for result in results if result["status"] != "ok"] == []
    assert len(results) == AUDITS
