"""``stepgraph check``: print the problems of a configuration, its lint findings, or its summary."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway.blueprint import Blueprint, Operation
from gateway.cli.report import counted, print_problems, report, shown
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, err, load_or_exit, out, print_json
from gateway.develop.lint.finding import Finding, Rule, Severity
from gateway.develop.lint.formats import as_json, as_sarif
from gateway.develop.lint.rules.catalogue import all_rules, lint
from gateway.develop.lint.subject import read_subject
from gateway.errors import ConfigurationError, Problem
from gateway.load.build.build import build
from gateway.load.check.arguments import similar_argument_warnings
from gateway.load.read.files import read_files
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES


class FindingFormat(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """The lowest severity that makes the command fail."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


def check(
    config_dir: ConfigDir = DEFAULT_DIR,
    is_linted: Annotated[bool, typer.Option("--lint", help="Also report what is valid but unwise.")] = False,
    form: Annotated[
        FindingFormat, typer.Option("--format", help="The output format of problems and findings.")
    ] = FindingFormat.TEXT,
    fail_on: Annotated[FailOn, typer.Option(help="Exit with 1 for findings of this severity or worse.")] = FailOn.ERROR,
) -> None:
    """Check a configuration: print all problems and exit with 1, or a summary.

    `--lint` also reports what is valid but unwise: time, number of calls, fallbacks, secrets, unused parts, and the rules of
    your own `policy:` documents. `# stepgraph: ignore rule-id reason` on a line, or alone on a line before it, suppresses a finding.

        stepgraph check --lint

        stepgraph check --lint --fail-on warning

        stepgraph check --lint --format sarif > findings.sarif
    """
    if not is_linted and form is FindingFormat.TEXT:
        blueprint = load_or_exit(config_dir)
        build_schema(blueprint)
        _print_summary(blueprint)
        return
    with err.status(f"checking {shown(config_dir)}"):
        blueprint_or_none, findings, rules = _find(config_dir, is_linted=is_linted)
    if form is FindingFormat.TEXT:
        _print_findings(blueprint_or_none, findings)
    else:
        print_json(as_json(findings) if form is FindingFormat.JSON else as_sarif(findings, rules))
    worst = max((finding.severity for finding in findings), default=None)
    if worst is not None and worst >= Severity[fail_on.name]:
        raise typer.Exit(1)


def _find(config_dir: Path, *, is_linted: bool) -> tuple[Blueprint | None, Sequence[Finding], Sequence[Rule]]:
    """Return the blueprint, the findings and the rules applied. Problems become findings, without a blueprint and rules."""
    files = read_files(config_dir)
    try:
        blueprint = build(files, STEP_TYPES)
    except ConfigurationError as error:
        return None, [Finding(problem, Severity.ERROR) for problem in error.problems], ()
    if not is_linted:
        return blueprint, (), ()
    subject = read_subject(files, blueprint, STEP_TYPES)
    return blueprint, lint(subject, files), all_rules(subject)


def _print_findings(blueprint: Blueprint | None, findings: Sequence[Finding]) -> None:
    if blueprint is None:
        report([finding.problem for finding in findings], err)
        return
    print_problems([_as_problem(finding) for finding in findings], out)
    counts = [
        counted(number, str(severity))
        for severity in reversed(Severity)
        if (number := sum(finding.severity is severity for finding in findings))
    ]
    summary = f"{', '.join(counts) or 'no findings'}"
    worst = max((finding.severity for finding in findings), default=None)
    mark = "[green]✓[/]" if worst is None else "[red]✗[/]" if worst is Severity.ERROR else "[yellow]![/]"
    out.print(f"{mark} {summary}, version {blueprint.version}")


def _as_problem(finding: Finding) -> Problem:
    problem = finding.problem
    return Problem(problem.place, problem.subject, problem.message, f"{finding.severity}: {problem.code}")


def _print_summary(blueprint: Blueprint) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("operation", "arguments", "strategy", "steps", "required"):
        table.add_column(column, overflow="fold")
    for operation in blueprint.operations.values():
        steps, required = list(operation.steps), [name for name, step in operation.steps.items() if step.is_required]
        table.add_row(
            operation.name, _arguments(operation), operation.strategy.name, ", ".join(steps), ", ".join(required) or "-"
        )
    out.print(table)
    if blueprint.overlays:
        out.print(_overlay_table(blueprint))
    for warning in (text for operation in blueprint.operations.values() for text in similar_argument_warnings(operation)):
        err.print(f"[yellow]![/] {escape(warning)}", soft_wrap=True)
    out.print(
        f"[green]✓[/] {counted(len(blueprint.operations), 'operation')}, {counted(len(blueprint.sources), 'source')}, "
        f"version {blueprint.version}"
    )


def _overlay_table(blueprint: Blueprint) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("overlay", "operation", "when", "changes", "at"):
        table.add_column(column, overflow="fold")
    for overlay in blueprint.overlays:
        when = "  ".join(f"{key}: {' | '.join(sorted(values))}" for key, values in overlay.when.items())
        changes = ", ".join(".".join(patch.path) for patch in overlay.patches)
        table.add_row(overlay.name, overlay.operation, when, changes, overlay.place.in_file)
    return table


def _arguments(operation: Operation) -> str:
    arguments = ", ".join(str(argument) for argument in operation.arguments)
    return f"{arguments} (inferred)" if arguments and operation.are_arguments_inferred else arguments or "-"
