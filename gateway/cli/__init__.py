"""The command ``stepgraph``. A command is a function in a module of its own, and a line here."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated

import typer

from gateway import __version__
from gateway.garbage import starting

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
"""Commands by name. Only the one that is asked for is imported: a server has no use for what the others need."""


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


def version(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Print the version instead of running a command."""


def command_line(names: Iterable[str] = tuple(COMMANDS)) -> typer.Typer:
    """Return the command with these commands of its own."""
    cli = typer.Typer(
        help="A GraphQL gateway whose graph is configuration: data steps in YAML, a typed API out.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        add_completion=False,
    )
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            cli.add_typer(found, name=name)
        else:
            cli.command(name)(found)
    cli.callback()(version)
    return cli


def main() -> None:
    """Run the command."""
    asked = [argument for argument in sys.argv[1:2] if argument in COMMANDS]
    with starting():
        cli = command_line(asked or COMMANDS)
    cli()
