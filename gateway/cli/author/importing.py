"""``stepgraph import``: generate a configuration from an existing API or database."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gateway.cli.report import counted, shown
from gateway.develop.importing.folder import write_folder
from gateway.develop.importing.result import Imported, ImportFault, by_reason

importing = typer.Typer(
    help="Write a configuration from an OpenAPI description, a GraphQL endpoint or a database.", no_args_is_help=True
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Into = Annotated[Path | None, typer.Option(help="The folder to write to. Default: a new one named after the source.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
Name = Annotated[str | None, typer.Option(help="The name of the source. Default: derived from what is imported.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", help="A header of this request, as 'name: value'. Not written to files.")
]


@importing.command()
def openapi(
    location: Annotated[str, typer.Argument(metavar="FILE_OR_URL", help="An OpenAPI 3.0 or 3.1 description, JSON or YAML.")],
    into: Into = None,
    name: Name = None,
    base_url: Annotated[str | None, typer.Option(help="The URL of the service, if not the one in the description.")] = None,
    header: Headers = None,
    force: Force = False,
) -> None:
    """Import each GET of an OpenAPI description as an operation."""
    _import(
        lambda: _importer("openapi.configuration", "import_openapi")(location, _headers(header), base_url, _name(name)),
        into,
        is_forced=force,
    )


@importing.command()
def graphql(
    url: Annotated[str, typer.Argument(metavar="URL", help="A GraphQL endpoint that answers introspection.")],
    into: Into = None,
    name: Name = None,
    header: Headers = None,
    force: Force = False,
) -> None:
    """Import each query field of a GraphQL endpoint as an operation."""
    _import(lambda: _importer("graphql_endpoint", "import_graphql")(url, _headers(header), _name(name)), into, is_forced=force)


@importing.command()
def database(
    url: Annotated[str, typer.Argument(metavar="URL", help="sqlite:///file.db or postgresql://user@host/name")],
    into: Into = None,
    name: Name = None,
    schema: Annotated[str, typer.Option(help="The schema of a PostgreSQL database.")] = "public",
    force: Force = False,
) -> None:
    """Import each table of a database: by key, as a list, and linked along its foreign keys."""
    _import(lambda: _importer("database.configuration", "import_database")(url, schema, into, _name(name)), into, is_forced=force)


def _importer(module: str, name: str) -> Callable[..., Imported]:
    """Import a function only now: the libraries of the others are not needed."""
    function: Callable[..., Imported] = getattr(import_module(f"gateway.develop.importing.{module}"), name)
    return function


def _import(read: Callable[[], Imported], into: Path | None, *, is_forced: bool) -> None:
    try:
        imported = read()
        folder = into or Path(imported.name)
        paths = write_folder(folder, imported.files, may_replace=is_forced)
    except ImportFault as fault:
        err.print(f"[red]✗[/] {shown(fault)}", soft_wrap=True)
        raise typer.Exit(1) from None
    _print_summary(imported, folder, paths)


def _print_summary(imported: Imported, folder: Path, paths: list[Path]) -> None:
    links = f", {counted(imported.links, 'link')}" if imported.links else ""
    files = ", ".join(path.name for path in paths[:6]) + (f" and {len(paths) - 6} more" if len(paths) > 6 else "")
    out.print(
        f"[green]✓[/] {shown(folder)}: {counted(imported.operations, 'operation')}, {counted(imported.types, 'type')}{links}",
        soft_wrap=True,
    )
    out.print(f"  {shown(files)}", soft_wrap=True)
    if imported.left_out:
        out.print("\nLeft out, or kept as JSON or text:")
    for reason, count, first in by_reason(imported.left_out):
        out.print(f"  {count:>5}  {shown(reason)}; {'it is' if count == 1 else 'the first'}: {shown(first)}", soft_wrap=True)
    out.print(f"\nNext: stepgraph check {shown(folder)}, then stepgraph serve --dev {shown(folder)}", soft_wrap=True)


def _headers(given: list[str] | None) -> dict[str, str]:
    headers = {}
    for text in given or ():
        name, colon, value = text.partition(":")
        if not (colon and name.strip() and value.isprintable()):
            raise typer.BadParameter("a header is written as 'name: value'", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def _name(given: str | None) -> str | None:
    if given is not None and not given.isidentifier():
        raise typer.BadParameter("a name has letters, digits and underscores, and no digit at its beginning", param_hint="--name")
    return given
