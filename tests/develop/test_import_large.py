"""A large public OpenAPI description, GitHub's, as its npm package has it: import and check, in bounded time and memory."""

import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

PACKAGE, VERSION, MEMBER = "@octokit/openapi", "23.0.2", "package/generated/api.github.com.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stepgraph-tests"
MAX_SECONDS = 60
MAX_MEGABYTES = 500


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch the description once for all runs on this machine; skip where npm is not there, which is never so in CI."""
    kept = CACHE / f"api.github.com-{VERSION}.json"
    if not kept.exists():
        scratch = tmp_path_factory.mktemp("npm")
        try:
            command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"]
            subprocess.run(command, cwd=scratch, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"npm cannot fetch {PACKAGE}: {error}")
        (archive,) = scratch.glob("*.tgz")
        with tarfile.open(archive) as files:
            content = files.extractfile(MEMBER)
            assert content is not None
            CACHE.mkdir(parents=True, exist_ok=True)
            fresh = kept.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(content.read())
        fresh.replace(kept)
    return kept


def run(*arguments: str) -> tuple[str, float, float]:
    """Run the command to its end and return what it printed, the seconds, and the megabytes that it had at the most."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    with process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, printed[-2000:]
    per_megabyte = 1024 * 1024 if sys.platform == "darwin" else 1024
    return printed, time.perf_counter() - started, usage.ru_maxrss / per_megabyte


def test_githubs_description_is_imported_and_passes_check(description: Path, tmp_path: Path) -> None:
    folder = tmp_path / "github"
    imported, seconds, megabytes = run("import", "openapi", str(description), "--into", str(folder), "--name", "github")
    print(f"import: {seconds:.1f} s, {megabytes:.0f} MB\n{imported}")  # noqa: T201 - the numbers are what this test is for
    assert seconds < MAX_SECONDS
    assert megabytes < MAX_MEGABYTES
    summary = re.search(r"(\d+) operations, (\d+) types", imported)
    assert summary is not None
    operations, types = map(int, summary.groups())
    assert operations > 600
    assert types > 1000

    checked, seconds, megabytes = run("check", str(folder))
    print(f"check: {seconds:.1f} s, {megabytes:.0f} MB")  # noqa: T201 - the same
    assert seconds < MAX_SECONDS
    assert megabytes < MAX_MEGABYTES
    assert f"{operations} operations, 1 source" in checked
