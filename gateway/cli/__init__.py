"""The command ``stepgraph``. Each of its commands is a function in its own module, and a line here."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from gateway import __version__
from gateway.garbage import startup_without_gc

COMMANDS = {
    "serve": "gateway.cli.operate.serve:serve",
    "check": "gateway.cli.author.check:check",
    "plan": "gateway.cli.author.plan:plan",
    "schema": "gateway.cli.author.describe:schema",
    "blueprint": "gateway.cli.author.describe:blueprint",
    "reference": "gateway.cli.author.describe:reference",
    "versions": "gateway.cli.operate.history:versions",
    "diff": "gateway.cli.operate.history:diff",
    "rollback": "gateway.cli.operate.history:rollback",
    "demo": "gateway.cli.operate.demo:demo",
    "test": "gateway.cli.author.test:run_tests",
    "import": "gateway.cli.author.importing:importing",
}
"""Command name → ``module:function``. Only the requested command is imported: a server does not need what the others import."""


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(__version__)
        raise typer.Exit


def version(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Print the version instead of running a command."""


def command_line(names: Iterable[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the command-line interface with the named commands."""
    cli = typer.Typer(
        help="A GraphQL gateway whose graph is configuration: data steps in YAML, a typed API out.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        add_completion=False,
    )
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            cli.add_typer(command, name=name)
        else:
            cli.command(name)(command)
    cli.callback()(version)
    return cli


def main() -> None:
    """Run the command line of this process."""
    # Without a known command (--help, a typo) all are loaded, for the list of commands.
    requested = [argument for argument in sys.argv[1:2] if argument in COMMANDS]
    with startup_without_gc():
        cli = command_line(requested or COMMANDS)
    cli()
