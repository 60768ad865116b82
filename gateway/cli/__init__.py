"""The command ``stepgraph``. A command is a function in a module of its own, and a line here."""

import typer

from gateway.cli import check, demo, describe, history, plan, serve, test
from gateway.importing.command import importing

cli = typer.Typer(
    help="A GraphQL gateway whose graph is configuration: data steps in YAML, a typed API out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
)
for command in (
    serve.serve,
    check.check,
    plan.plan,
    describe.schema,
    describe.blueprint,
    describe.reference,
    history.versions,
    history.diff,
    history.rollback,
    demo.demo,
):
    cli.command()(command)
cli.callback()(describe.version)
cli.command("test")(test.run_tests)
cli.add_typer(importing, name="import")


def main() -> None:
    """Run the command."""
    cli()
