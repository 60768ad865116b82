"""Names of servers → how each is started, and why those that cannot be are missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.bench.cases import APOLLO, CEILING, FLOOR, MERCURIUS, OURS, SHARED, STRAWBERRY, TAILCALL, TAILCALL_OWN, YOGA
from tests.bench.measure import Bench
from tests.bench.processes import DidNotStartError, Server, free_port, running

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"
PLAIN = CONFIGS / "plain"
NODE = HERE / "node"
STEPGRAPH = [sys.executable, "-m", "gateway"]


class MissingError(Exception):
    """A server cannot be run on this machine, for the reason that the message gives."""


@dataclass(frozen=True, slots=True)
class Start:
    """A command, and what stands in its environment beside what is there."""

    command: list[str]
    environment: Mapping[str, str]


Recipe = Callable[[int, str, Path], Start]
"""A port, the upstream's URL and a folder for files → how to start."""


def serve_command(folder: Path, port: int, *options: str) -> list[str]:
    """Return the command that serves a configuration in production mode."""
    return [*STEPGRAPH, "serve", str(folder), "--port", str(port), *options]


def observed_command(folder: Path, port: int) -> list[str]:
    """Return the command that serves with a clock in the event loop."""
    return [sys.executable, "-m", "tests.bench.observed", str(folder), str(port)]


def ours(port: int, upstream: str, _: Path) -> Start:
    """Start the gateway with nothing shared between requests."""
    return Start(serve_command(PLAIN, port), {"MOCK_URL": upstream})


def ours_shared(port: int, upstream: str, folder: Path) -> Start:
    """Start the gateway with everything shared that it can share: each file of `configs/shared` that it accepts."""
    made = folder / "shared"
    shutil.copytree(PLAIN, made)
    refused = [path.name for path in sorted((CONFIGS / "shared").iterdir()) if not _accepts(made, path, upstream)]
    if "sources.yaml" in refused:
        raise MissingError("`dedupe: true` is not known to this version")
    return Start(serve_command(made, port), {"MOCK_URL": upstream})


def _accepts(folder: Path, path: Path, upstream: str) -> bool:
    """Put a file into a folder, and take it back when the configuration is not sound with it."""
    before = (folder / path.name).read_bytes() if (folder / path.name).exists() else None
    shutil.copy(path, folder)
    checked = subprocess.run(
        [*STEPGRAPH, "check", str(folder)], capture_output=True, env={**os.environ, "MOCK_URL": upstream}, check=False
    )
    if checked.returncode == 0:
        return True
    (folder / path.name).unlink()
    if before is not None:
        (folder / path.name).write_bytes(before)
    return False


def floor(port: int, upstream: str, _: Path) -> Start:
    """Start the handler that knows no GraphQL."""
    if find_spec("aiohttp") is None:
        raise MissingError("aiohttp is not installed: pip install -e '.[bench]'")
    return Start([sys.executable, "-m", "tests.bench.apps.raw"], {"PORT": str(port), "UPSTREAM": upstream})


def ceiling(port: int, upstream: str, _: Path) -> Start:
    """Start the answers by hand over the gateway's own client."""
    return Start([sys.executable, "-m", "tests.bench.apps.ceiling"], {"PORT": str(port), "UPSTREAM": upstream})


def strawberry(port: int, upstream: str, _: Path) -> Start:
    """Start the hand-written Strawberry application."""
    return Start([sys.executable, "-m", "tests.bench.apps.strawberry_by_hand"], {"PORT": str(port), "UPSTREAM": upstream})


def node(script: str) -> Recipe:
    """Return the recipe of a rival from npm, in production mode and one process."""

    def start(port: int, upstream: str, _: Path) -> Start:
        install_node_packages()
        return Start(["node", str(NODE / script)], {"NODE_ENV": "production", "PORT": str(port), "UPSTREAM": upstream})

    return start


def install_node_packages() -> None:
    """Install what the lock file names, once.

    :raises MissingError: node or npm is not there, or the packages cannot be had.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        raise MissingError("node and npm are not there")
    if (NODE / "node_modules" / ".package-lock.json").exists():
        return
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"npm ci: {' '.join(done.stderr.split())[-120:]}")


def tailcall(name: str) -> Recipe:
    """Return the recipe of Tailcall with one of its configurations, in the newest version that this machine's C library can run."""

    def start(port: int, upstream: str, folder: Path) -> Start:
        install_node_packages()
        program = next((path for path in tailcall_programs() if _runs(path)), None)
        if program is None:
            raise MissingError("no version runs with this machine's C library")
        config = folder / f"tailcall-{name}.graphql"
        text = (HERE / "tailcall" / f"{name}.graphql").read_text("utf-8")
        config.write_text(text.replace("$PORT", str(port)).replace("$MOCK", upstream), "utf-8")
        return Start([str(program), "start", str(config)], {"TC_LOG_LEVEL": "error", "TAILCALL_TRACKER": "false"})

    return start


def tailcall_programs() -> list[Path]:
    """Return the installed versions, the newest first."""
    return sorted(NODE.glob("node_modules/tailcall-*/bin/tailcall"), reverse=True)


def _runs(program: Path) -> bool:
    return subprocess.run([str(program), "--version"], capture_output=True, check=False).returncode == 0


RECIPES: dict[str, Recipe] = {
    OURS: ours,
    SHARED: ours_shared,
    CEILING: ceiling,
    FLOOR: floor,
    MERCURIUS: node("mercurius.mjs"),
    YOGA: node("yoga.mjs"),
    APOLLO: node("apollo.mjs"),
    STRAWBERRY: strawberry,
    TAILCALL: tailcall("batched"),
    TAILCALL_OWN: tailcall("own"),
}


@contextmanager
def running_servers(names: Iterable[str], bench: Bench) -> Iterator[tuple[dict[str, Server], dict[str, str]]]:
    """Run servers side by side; yield them, and the reasons why others are missing."""
    servers: dict[str, Server] = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        for name in names:
            bench.tell(f"starting {name}")
            port = free_port()
            try:
                start = RECIPES[name](port, bench.mock.url, bench.folder)
                servers[name] = stack.enter_context(running(start.command, port, start.environment))
            except (MissingError, DidNotStartError) as error:
                missing[name] = str(error)
        yield servers, missing
