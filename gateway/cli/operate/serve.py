"""``stepgraph serve``: run the server for a configuration folder."""

import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.panel import Panel

from gateway import __version__
from gateway.blueprint import Blueprint
from gateway.cli.report import counted, report, shown
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, State, err, failure, out
from gateway.garbage import startup_without_gc
from gateway.load.build.build import BuildResult, build_next
from gateway.load.read.files import read_files
from gateway.operate.admin import HOST
from gateway.operate.history import default_state
from gateway.operate.serving import ServeOptions
from gateway.process.server import serve as run_server
from gateway.serve.connections.listener import bind
from resolvers import STEP_TYPES


def serve(  # noqa: PLR0913, PLR0917 - the options of the command
    config_dir: ConfigDir = DEFAULT_DIR,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="The number of worker processes.")] = 1,
    dev: Annotated[bool, typer.Option("--dev", help="GraphiQL, introspection, suggestions; for your own machine.")] = False,
    admin_port: Annotated[int | None, typer.Option(help="A port of 127.0.0.1 for /admin/config and /admin/reload.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Reject a change as a whole if it has a problem.")] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Start even with problems: serve the valid parts.")] = False,
    state: State = None,
) -> None:
    """Serve a configuration, and reload it when its files change."""
    built = built_or_exit(config_dir, keeps_going=keep_going)
    bound = bind_or_exit(host, port)
    if admin_port is not None:
        # Only to fail now, with a clear message: the admin listener binds the port itself, later.
        bind_or_exit(HOST, admin_port, "choose another port with --admin-port").close()
    assert built.blueprint is not None
    announce(built.blueprint, f"http://{host}:{port}", is_development=dev)
    options = ServeOptions(dev, strict, keep_going, state=state or default_state(config_dir), built=built, host=host)
    raise typer.Exit(run_server(config_dir, bound, workers, options, admin_port))


def built_or_exit(config_dir: Path, *, keeps_going: bool = False) -> BuildResult:
    """Build a configuration and print its problems; exit with 1 if it has any, or with ``keeps_going`` if no part is valid."""
    with err.status(f"reading {shown(config_dir)}"), startup_without_gc():
        built = build_next(read_files(config_dir), STEP_TYPES)
    if built.problems:
        report(built.problems, err)
    if built.blueprint is None or (built.problems and not keeps_going):
        raise typer.Exit(1)
    return built


def bind_or_exit(host: str, port: int, remedy: str = "choose another address with --host and --port") -> socket.socket:
    """Return a socket bound to an address; if that fails, print the reason and the remedy and exit with 1."""
    try:
        return bind(host, port)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a port is a number up to 65535"
        raise failure(f"cannot listen on {host}:{port}: {reason}; {remedy}") from None


def announce(blueprint: Blueprint, url: str, *, is_development: bool) -> None:
    """Print the operations that are served, and the URLs."""
    names = ", ".join(list(blueprint.operations)[:12])
    lines = [
        f"[bold]Stepgraph[/] {__version__}   {counted(len(blueprint.operations), 'operation')}: {escape(names)}",
        f"GraphQL    {url}/graphql",
        f"playground {url}/" if is_development else "playground only with --dev",
    ]
    out.print(Panel.fit("\n".join(lines), border_style="cyan"))
