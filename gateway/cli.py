"""The command ``stepgraph``."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import httpx
import orjson
import typer
from graphql import print_schema
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

from gateway import __version__
from gateway.app import bind
from gateway.app import serve as run_server
from gateway.blueprint import Blueprint, Operation
from gateway.config.arguments import doubtful_arguments
from gateway.config.json_schema import document_schema
from gateway.config.reference_page import reference_page, reference_sections
from gateway.config.rules import load
from gateway.document import Documents
from gateway.errors import ConfigurationError, RequestError, nearest
from gateway.importing.command import importing
from gateway.overlays import Overlays, winning_lines
from gateway.report import report
from gateway.schema import build_schema
from resolvers import STEP_TYPES

cli = typer.Typer(
    help="A GraphQL gateway whose graph is configuration: data steps in YAML, a typed API out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
)
cli.add_typer(importing, name="import")
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

ConfigDir = Annotated[Path, typer.Argument(metavar="[CONFIG_DIR]", help="The folder of the configuration files.")]
DEFAULT_DIR = Path("schema_configs")


def main() -> None:
    """Run the command."""
    cli()


@cli.command()
def serve(
    config_dir: ConfigDir = DEFAULT_DIR,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes answer.")] = 1,
    dev: Annotated[bool, typer.Option("--dev", help="GraphiQL, introspection, suggestions; for your own machine.")] = False,
) -> None:
    """Serve a configuration. Changes of its files are taken up while it runs."""
    blueprint = _load(config_dir)
    bound = _bind(host, port)
    _announce(blueprint, f"http://{host}:{port}", is_development=dev)
    raise typer.Exit(run_server(config_dir, bound, workers, is_development=dev))


@cli.command()
def check(config_dir: ConfigDir = DEFAULT_DIR) -> None:
    """Check a configuration: print all problems and exit with 1, or a summary."""
    blueprint = _load(config_dir)
    build_schema(blueprint)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("operation", "arguments", "strategy", "steps", "required"):
        table.add_column(column, overflow="fold")
    for operation in blueprint.operations.values():
        steps, required = list(operation.steps), [name for name, step in operation.steps.items() if step.is_required]
        table.add_row(operation.name, _arguments(operation), operation.strategy, ", ".join(steps), ", ".join(required) or "-")
    out.print(table)
    if blueprint.overlays:
        out.print(_overlay_table(blueprint))
    for warning in (text for operation in blueprint.operations.values() for text in doubtful_arguments(operation)):
        err.print(f"[yellow]![/] {escape(warning)}", soft_wrap=True)
    out.print(
        f"[green]✓[/] {len(blueprint.operations)} operations, {len(blueprint.sources)} sources, version {blueprint.version}"
    )


def _overlay_table(blueprint: Blueprint) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("overlay", "operation", "when", "changes", "at"):
        table.add_column(column, overflow="fold")
    for overlay in blueprint.overlays:
        when = "  ".join(f"{key}: {' | '.join(sorted(values))}" for key, values in overlay.when.items())
        changes = ", ".join(".".join(patch.path) for patch in overlay.patches)
        table.add_row(overlay.name, overlay.operation, when, changes, f"{overlay.place.file}:{overlay.place.line}")
    return table


@cli.command()
def schema(
    config_dir: ConfigDir = DEFAULT_DIR,
    of_config: Annotated[bool, typer.Option("--config", help="Print the JSON Schema of the YAML files instead.")] = False,
) -> None:
    """Print the GraphQL schema (SDL) that a configuration makes, or the JSON Schema that editors check its files with."""
    if of_config:
        text, language = orjson.dumps(document_schema(STEP_TYPES), option=orjson.OPT_INDENT_2).decode(), "json"
    else:
        text, language = print_schema(build_schema(_load(config_dir))), "graphql"
    out.print(Syntax(text, language, background_color="default") if out.is_terminal else text, markup=False, soft_wrap=True)


@cli.command()
def reference(
    name: Annotated[str | None, typer.Argument(help="One part of it, such as operation, api, 'api source' or retry.")] = None,
) -> None:
    """Print the reference of the configuration: every key, what it takes, its default and its meaning."""
    sections = reference_sections(STEP_TYPES)
    wanted = [section for section in sections if name in section.names]
    if name is not None and not wanted:
        names = [name for section in sections for name in section.names]
        hint = nearest(name, names) or f"; it has {', '.join(names)}"
        raise _failure(f"the reference has no '{name}'{hint}")
    text = reference_page(STEP_TYPES) if name is None else "\n".join(str(section) for section in wanted)
    out.print(Markdown(text) if out.is_terminal else text, markup=False, soft_wrap=not out.is_terminal, end="")


@cli.command()
def plan(
    config_dir: ConfigDir,
    query_file: Annotated[Path, typer.Argument(help="A file with a GraphQL document; '-' for standard input.")],
    variables: Annotated[str, typer.Option(help="The variables, as a JSON object.")] = "{}",
    operation: Annotated[str | None, typer.Option(help="Which operation of the document.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    context: Annotated[list[str] | None, typer.Option(help="What the request says about itself, as KEY=VALUE.")] = None,
) -> None:
    """Print what a query would run, without running it."""
    blueprint = _load(config_dir)
    documents = Documents(blueprint, build_schema(blueprint), is_development=True)
    overlays = Overlays(blueprint)
    matching = overlays.matching(_context(blueprint, context or []))
    try:
        effective = overlays.effective(matching)
        text = sys.stdin.read() if str(query_file) == "-" else query_file.read_text("utf-8")
        document = documents.read(text)
        definition = document.definition(operation, is_read_only=False)
        made = documents.plan(definition, definition.variables(_variables(variables)), effective).plan
    except OSError as error:
        raise _failure(f"{query_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _failure(f"{query_file}: not UTF-8") from None
    except RequestError as error:
        raise _failure(str(error)) from None
    lines = list(winning_lines(blueprint, matching))
    if as_json:
        data = {**made.as_json(), "overlays": [{"value": value, "place": place} for value, place in lines]}
        out.print(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode(), markup=False, soft_wrap=True)
        return
    width = max((len(value) for value, _ in lines), default=0)
    told = ["overlays", *(f"  {value:<{width}}  {place}" for value, place in lines)] if lines else []
    out.print("\n".join([made.as_text(), *told]), markup=False, soft_wrap=True)


def _context(blueprint: Blueprint, given: list[str]) -> dict[str, str]:
    """Read the context values of a command line."""
    values: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise _failure(f"--context is KEY=VALUE, not '{text}'")
        if key not in blueprint.context:
            hint = nearest(key, blueprint.context) or "; the configuration has no such key in a document 'context:'"
            raise _failure(f"unknown context key '{key}'{hint}")
        values[key] = value
    return values


@cli.command()
def demo(
    config_dir: ConfigDir = DEFAULT_DIR,
    port: Annotated[int, typer.Option(help="The port of the gateway.")] = 8000,
    upstream_port: Annotated[int, typer.Option(help="The port of the demo upstream services.")] = 9101,
) -> None:
    """Seed the demo's data, start the demo upstream services and the gateway in development mode."""
    if find_spec("playground") is None:
        raise _failure("the demo is part of the repository; run 'make demo' there")
    os.environ["UPSTREAM_URL"] = f"http://127.0.0.1:{upstream_port}"
    blueprint = _load(config_dir)
    from playground.demo import lake, warehouse  # noqa: PLC0415 - the package is there in a checkout only

    warehouse.seed(warehouse.DEFAULT_PATH)
    lake.seed(lake.DEFAULT_FOLDER)
    bound = _bind("127.0.0.1", port)
    with _upstream(upstream_port):
        _announce(blueprint, f"http://127.0.0.1:{port}", is_development=True)
        _print_example(port)
        status = run_server(config_dir, bound, 1, is_development=True)
    raise typer.Exit(status)


@cli.command()
def version() -> None:
    """Print the version."""
    out.print(__version__)


def _load(config_dir: Path) -> Blueprint:
    """Load a configuration, or print all of its problems and exit with 1."""
    try:
        return load(config_dir, STEP_TYPES)
    except ConfigurationError as error:
        report(error.problems, err)
        raise typer.Exit(1) from None


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a port is a number up to 65535"
        raise _failure(f"cannot listen on {host}:{port}: {reason}; choose another address with --host and --port") from None


def _variables(text: str) -> dict[str, object]:
    """Read the variables of the command line, or say what is wrong and exit with 1."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _failure(f"--variables is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _failure('--variables is not a JSON object, such as {"id": "42"}')
    return value


def _failure(message: str) -> typer.Exit:
    err.print(f"[red]✗[/] {escape(message)}", soft_wrap=True)
    return typer.Exit(1)


def _arguments(operation: Operation) -> str:
    arguments = ", ".join(str(argument) for argument in operation.arguments)
    return f"{arguments} (inferred)" if arguments and operation.are_arguments_inferred else arguments or "-"


def _announce(blueprint: Blueprint, url: str, *, is_development: bool) -> None:
    names = ", ".join(list(blueprint.operations)[:12])
    lines = [
        f"[bold]Stepgraph[/] {__version__}   {len(blueprint.operations)} operations: {escape(names)}",
        f"GraphQL    {url}/graphql",
    ]
    if is_development:
        lines.append(f"GraphiQL   {url}/")
    out.print(Panel.fit("\n".join(lines), border_style="cyan"))


_EXAMPLE = "{ customer360(customer_id: 42) { accountService { name tier } riskProfile { segment } } }"


def _print_example(port: int) -> None:
    out.print("Try it (a second terminal, or the GraphiQL page):\n")
    body = orjson.dumps({"query": _EXAMPLE}).decode()
    out.print(
        f"  curl -s http://127.0.0.1:{port}/graphql -H 'content-type: application/json' -d '{body}'\n",
        soft_wrap=True,
        markup=False,
    )
    out.print("Ctrl-C stops everything.")


@contextmanager
def _upstream(port: int) -> Iterator[None]:
    """Run the demo upstream services in a process of their own, and end it on the way out."""
    command = [sys.executable, "-m", "playground.demo.upstream", "--port", str(port)]
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own module
    try:
        _wait_until_up(process, port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise _failure(f"the demo upstream services could not start on port {port}; set UPSTREAM_PORT=<another>")
        try:
            httpx.get(f"http://127.0.0.1:{port}/_calls", timeout=1, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise _failure(f"the demo upstream services do not answer on port {port}")
