"""``stepgraph serve``: the server over a configuration folder."""

import socket
from typing import Annotated

import typer
from rich.markup import escape
from rich.panel import Panel

from gateway import __version__
from gateway.app import bind
from gateway.app import serve as run_server
from gateway.blueprint import Blueprint
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, failure, load_or_exit, out
from gateway.report import counted


def serve(
    config_dir: ConfigDir = DEFAULT_DIR,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes answer.")] = 1,
    dev: Annotated[bool, typer.Option("--dev", help="GraphiQL, introspection, suggestions; for your own machine.")] = False,
) -> None:
    """Serve a configuration. Changes of its files are taken up while it runs."""
    blueprint = load_or_exit(config_dir)
    bound = bind_or_exit(host, port)
    announce(blueprint, f"http://{host}:{port}", is_development=dev)
    raise typer.Exit(run_server(config_dir, bound, workers, is_development=dev))


def bind_or_exit(host: str, port: int, remedy: str = "choose another address with --host and --port") -> socket.socket:
    """Return a socket bound to an address, or say why there is none, and the remedy, and exit with 1."""
    try:
        return bind(host, port)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a port is a number up to 65535"
        raise failure(f"cannot listen on {host}:{port}: {reason}; {remedy}") from None


def announce(blueprint: Blueprint, url: str, *, is_development: bool) -> None:
    """Print what is served, and where."""
    names = ", ".join(list(blueprint.operations)[:12])
    lines = [
        f"[bold]Stepgraph[/] {__version__}   {counted(len(blueprint.operations), 'operation')}: {escape(names)}",
        f"GraphQL    {url}/graphql",
        f"playground {url}/" if is_development else "playground only with --dev",
    ]
    out.print(Panel.fit("\n".join(lines), border_style="cyan"))
