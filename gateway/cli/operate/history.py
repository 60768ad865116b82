"""``stepgraph versions``, ``diff`` and ``rollback``: list the served versions, compare two, and restore one."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from gateway.blueprint import Blueprint
from gateway.cli.report import report, shown
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, State, err, failure, out, print_json
from gateway.errors import ConfigurationError, visible
from gateway.load.build.build import build
from gateway.load.read.files import Files, read_files
from gateway.operate.history import UnusableHistory, Versions, default_state
from gateway.operate.rollback import ForeignFolder, write_back
from gateway.schema.changes import Change, changes
from resolvers import STEP_TYPES

T = TypeVar("T")
_MARKS = {
    "breaking": "[red]breaking[/] ",
    "dangerous": "[yellow]dangerous[/]",
    "safe": "[green]safe[/]     ",
    "behaviour": "behaviour",
}


def versions(config_dir: ConfigDir = DEFAULT_DIR, state: State = None) -> None:
    """List the versions that were served, the latest first. An arrow marks the version of the current files."""
    served = _read(_history(config_dir, state).all())
    if not served:
        raise failure(f"no version of '{config_dir}' was served yet, or its history is elsewhere; see --state")
    present = read_files(config_dir).version
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "version", "served from", "problems"):
        table.add_column(column)
    for version in served:
        mark = "→" if version.version == present else ""
        at = version.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(mark, shown(version.version), at, str(version.problems or "-"))
    out.print(table)


def diff(
    old: Annotated[str, typer.Argument(metavar="A", help="A version (or its first letters), or a configuration folder.")],
    new: Annotated[str | None, typer.Argument(metavar="[B]", help="Another. Default: the current files.")] = None,
    config_dir: Annotated[
        Path, typer.Option("--config", metavar="DIR", help="The configuration folder of the versions.")
    ] = DEFAULT_DIR,
    state: State = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.")] = False,
    fail_on_breaking: Annotated[bool, typer.Option("--fail-on-breaking", help="Exit with 1 if a change is breaking.")] = False,
) -> None:
    """Print the changes from A to B: for clients (breaking, dangerous, safe), and in upstream calls and their time limits."""
    history = _history(config_dir, state)
    before, after = (_blueprint(_files(name, config_dir, history)) for name in (old, new or str(config_dir)))
    differences = changes(before, after)
    if as_json:
        print_json([{"kind": change.kind, "change": change.text} for change in differences])
    else:
        _print(differences)
    if fail_on_breaking and any(change.kind == "breaking" for change in differences):
        raise typer.Exit(1)


def rollback(
    version: Annotated[str, typer.Argument(help="A version, or its first letters.")],
    config_dir: ConfigDir = DEFAULT_DIR,
    state: State = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Write the files of an earlier version back into the folder that a gateway watches. The current files are kept as a version."""
    history = _history(config_dir, state)
    present, files = read_files(config_dir), _files(version, config_dir, history, may_be_folder=False)
    after = _blueprint(files)
    try:
        _print(changes(build(present, STEP_TYPES), after))
        problems = 0
    except ConfigurationError as error:
        problems = len(error.problems)
        out.print(f"the files as they are now have {problems} problems")
    if not yes and not typer.confirm(f"Write version {files.version} into {visible(str(config_dir))}?"):
        raise typer.Exit(1)
    # Before anything is written: files that no gateway has served are in no history yet.
    _read(history.add(present, present.version, problems))
    try:
        written = write_back(files, present)
    except ForeignFolder as error:
        raise failure(str(error)) from None
    except OSError as error:
        raise failure(f"{error.filename}: {error.strerror}") from None
    for name in written:
        out.print(f"  {visible(name)}", markup=False)
    out.print(f"[green]✓[/] {len(written)} files are those of version {files.version}; they were version {present.version}")


def _history(config_dir: Path, state: Path | None) -> Versions:
    return Versions(state or default_state(config_dir))


def _read(reading: Coroutine[Any, Any, T]) -> T:
    """Return what is read from a history, or written to it; exit with 1 if that fails."""
    try:
        return asyncio.run(reading)
    except UnusableHistory as error:
        raise failure(str(error)) from None


def _files(name: str, config_dir: Path, history: Versions, *, may_be_folder: bool = True) -> Files:
    """Return the files of a version, or of a folder; exit with 1 if there is no such version."""
    if may_be_folder and Path(name).is_dir():
        return read_files(Path(name))
    files = _read(history.find(name, config_dir))
    if files is None:
        raise failure(
            f"'{name}' is not one version of '{config_dir}'{' nor a folder' if may_be_folder else ''}; see 'stepgraph versions'"
        )
    return files


def _blueprint(files: Files) -> Blueprint:
    try:
        return build(files, STEP_TYPES)
    except ConfigurationError as error:
        report(error.problems, err)
        raise typer.Exit(1) from None


def _print(differences: list[Change]) -> None:
    for change in differences:
        out.print(_MARKS[change.kind], end="  ")
        out.print(change.text, markup=False, soft_wrap=True)
    if not differences:
        out.print("no difference")
