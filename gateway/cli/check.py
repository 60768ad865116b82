"""``stepgraph check``: the problems of a configuration, or its summary."""

from rich.table import Table

from gateway.blueprint import Blueprint, Operation
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, load_or_exit, out
from gateway.schema import build_schema


def check(config_dir: ConfigDir = DEFAULT_DIR) -> None:
    """Check a configuration: print all problems and exit with 1, or a summary."""
    blueprint = load_or_exit(config_dir)
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


def _arguments(operation: Operation) -> str:
    arguments = ", ".join(str(argument) for argument in operation.arguments)
    return f"{arguments} (inferred)" if arguments and operation.are_arguments_inferred else arguments or "-"
