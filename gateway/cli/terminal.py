"""Shared by the commands: the output streams, common parameters, and failing with a message."""

import re
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from gateway.blueprint import Blueprint
from gateway.cli.report import report, shown
from gateway.errors import ConfigurationError
from gateway.load.build.build import load
from resolvers import STEP_TYPES

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

ConfigDir = Annotated[Path, typer.Argument(metavar="CONFIG_DIR", readable=False, help="The folder of the configuration files.")]
State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder of the version history. Default: one per configuration folder, in your home."),
]
DEFAULT_DIR = Path("schema_configs")


def load_or_exit(config_dir: Path) -> Blueprint:
    """Load a configuration; on problems print all of them and exit with 1."""
    try:
        with err.status(f"reading {shown(config_dir)}"):
            return load(config_dir, STEP_TYPES)
    except ConfigurationError as error:
        report(error.problems, err)
        raise typer.Exit(1) from None


def print_json(data: object) -> None:
    """Print data as indented JSON, without wrapping."""
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
    # JSON allows these characters in strings as they are, but a terminal might obey them.
    text = _UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    out.print(text, markup=False, soft_wrap=True)


_UNESCAPED = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def failure(*lines: str) -> typer.Exit:
    """Print an error message of one or more lines on standard error; return the exit with status 1, for the caller to raise."""
    text = "\n  ".join(map(shown, lines))
    err.print(f"[red]✗[/] {text}", soft_wrap=True)
    return typer.Exit(1)
