"""``stepgraph test``: run the tests of a configuration."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from rich.text import Text

from gateway.cli.report import counted, report
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, err, failure, load_or_exit, out, print_json
from gateway.develop.testing.cases import find_files, read_cases
from gateway.develop.testing.coverage import CoveragePoint, points
from gateway.develop.testing.formats import as_json, as_junit
from gateway.develop.testing.run import CaseResult, run_cases
from gateway.errors import ConfigurationError
from resolvers import STEP_TYPES


class ResultFormat(StrEnum):
    """Output format of the results."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"


def run_tests(
    config_dir: ConfigDir = DEFAULT_DIR,
    tests: Annotated[
        list[Path] | None, typer.Option(help="A test file, or a folder of test files. Default: the configuration folder.")
    ] = None,
    form: Annotated[ResultFormat, typer.Option("--format", help="The output format.")] = ResultFormat.TEXT,
) -> None:
    """Run the tests of a configuration: `*.test.yaml`, each with a request, mocked replies of its steps, and the expected response.

    Nothing is sent and time is virtual, so a timeout takes no time. The summary also lists the steps and policies (fallback, retry,
    required, when) that no test reaches. Exits with 1 if a test fails.

        stepgraph test

        stepgraph test schema_configs --tests my_tests --format junit > tests.xml
    """
    blueprint = load_or_exit(config_dir)
    paths = tests or [config_dir]
    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        raise failure(f"{missing}: no such file or folder")
    try:
        cases = read_cases(find_files(paths), blueprint, STEP_TYPES)
    except ConfigurationError as error:
        report(error.problems, err)
        raise typer.Exit(1) from None
    if not cases:
        raise failure(f"no test below {', '.join(map(str, paths))}; a test is a document 'test:' in a file '*.test.yaml'")
    with _quiet():
        running = run_cases(cases, blueprint, STEP_TYPES)
        tracked = track(running, "testing", len(cases), console=err, transient=True, disable=not err.is_terminal)
        results = list(tracked)
    _print(results, points(blueprint), form)
    if any(result.differences for result in results):
        raise typer.Exit(1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Disable logging: failures in a test are intended."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _print(results: Sequence[CaseResult], every: Sequence[CoveragePoint], form: ResultFormat) -> None:
    if form is ResultFormat.JSON:
        print_json(as_json(results, every))
    elif form is ResultFormat.JUNIT:
        out.print(as_junit(results), markup=False, soft_wrap=True)
    else:
        for result in results:
            _print_one(result)
        _print_summary(results, every)


def _print_one(result: CaseResult) -> None:
    mark = ("✗", "red") if result.differences else ("✓", "green")
    took = (f"  {result.seconds * 1000:.0f} ms", "dim")
    out.print(Text.assemble(mark, f" {result.case.keys.test}", took, (f"  {result.case.place.in_file}", "dim")), soft_wrap=True)
    for difference in result.differences:
        for line in difference.lines:
            style = "green" if line.startswith("-") else "red" if line.startswith("+") else "dim"
            out.print(Text(f"    {line}", style), soft_wrap=True)


def _print_summary(results: Sequence[CaseResult], every: Sequence[CoveragePoint]) -> None:
    failed = sum(bool(result.differences) for result in results)
    reached = {point for result in results for point in result.reached}
    missed = [point for point in every if point not in reached]
    steps, policies = ([point for point in every if bool(point.policy) is is_policy] for is_policy in (False, True))
    if missed:
        out.print("not reached", style="bold")
        for point in missed:
            out.print(f"  {point}", markup=False, soft_wrap=True)
    mark = "[red]✗[/]" if failed else "[green]✓[/]"
    passed = f"{counted(len(results) - failed, 'test')} passed" + (f", {failed} failed" if failed else "")
    of_steps = f"{len(reached & set(steps))} of {counted(len(steps), 'step')}"
    of_policies = f"{len(reached & set(policies))} of {len(policies)} policies"
    out.print(f"{mark} {passed}; reached {of_steps}, {of_policies}", soft_wrap=True)
