"""``stepgraph plan``: print the plan of a query without running it."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from gateway.blueprint import Blueprint
from gateway.blueprint.overlay import condition_text
from gateway.blueprint.redaction import MASK
from gateway.cli.plan_tree import as_trees, in_full
from gateway.cli.terminal import ConfigDir, failure, load_or_exit, out, print_json
from gateway.document.document import DocumentReader
from gateway.errors import Code, RequestError, did_you_mean
from gateway.language.environment import restore_references
from gateway.plan.diagrams import as_dot, as_mermaid
from gateway.plan.nodes import Plan
from gateway.plan.text import plan_json, plan_text, projection_text
from gateway.schema.build import build_schema
from gateway.serve.generation.overlays import Overlays
from gateway.serve.generation.plans import Plans


class PlanFormat(StrEnum):
    """Output format of a plan."""

    TEXT = "text"
    TREE = "tree"
    MERMAID = "mermaid"
    JSON = "json"
    DOT = "dot"


def plan(
    config_dir: ConfigDir,
    query_file: Annotated[
        Path, typer.Argument(metavar="QUERY_FILE", help="A file with a GraphQL document; '-' for standard input.")
    ],
    variables: Annotated[str, typer.Option(help="The variables, as a JSON object.")] = "{}",
    operation: Annotated[str | None, typer.Option(help="The operation of the document, by its name.")] = None,
    form: Annotated[
        PlanFormat | None, typer.Option("--format", help="The output format. Default: a tree on a terminal, else text.")
    ] = None,
    context: Annotated[list[str] | None, typer.Option(help="A context value of the request, as KEY=VALUE.")] = None,
) -> None:
    """Print the steps that a query would run, without running it. Filled diamonds mark the critical path of the tree.

    stepgraph plan schema_configs query.graphql --variables '{"id": 42}'

    echo '{ posts { title user { name } } }' | stepgraph plan schema_configs - --format mermaid

    stepgraph plan schema_configs query.graphql --format dot | dot -Tsvg > plan.svg
    """
    blueprint = load_or_exit(config_dir)
    schema = build_schema(blueprint)
    overlays = Overlays(blueprint)
    matching = overlays.matching(_context(blueprint, context or []))
    try:
        effective = overlays.effective(matching)
        text = sys.stdin.read() if str(query_file) == "-" else query_file.read_text("utf-8")
        document = DocumentReader(blueprint, schema, is_development=True).read(text)
        definition = document.definition(operation, is_read_only=False)
        coerced = definition.variables(_variables(variables))
        planned = Plans(blueprint, schema, is_development=True).plan(definition, coerced, effective)
        cost = planned.cost.of(planned.arguments(coerced))
    except OSError as error:
        hint = f"; {_INLINE}" if "{" in str(query_file) else ""
        raise failure(f"{query_file}: {error.strerror}{hint}") from None
    except UnicodeDecodeError:
        raise failure(f"{query_file}: not UTF-8") from None
    except RequestError as error:
        raise failure(*_located_messages(error, "<stdin>" if str(query_file) == "-" else str(query_file))) from None
    lines = list(winning_lines(blueprint, matching))
    _print(planned.plan, cost, lines, form or (PlanFormat.TREE if out.is_terminal else PlanFormat.TEXT))


_INLINE = "a query that is no file goes through standard input: echo '{ … }' | stepgraph plan CONFIG_DIR -"


def _located_messages(error: RequestError, file: str) -> Iterator[str]:
    """Yield the message of each error with its position in the file, or with the wrong option."""
    for mistake in error.errors:
        match mistake:
            case _ if error.code is Code.BAD_USER_INPUT:
                yield f"--variables: {mistake['message']}"
            case {"locations": [{"line": line, "column": column}, *_]}:
                yield f"{file}:{line}:{column}: {mistake['message']}"
            case _:
                yield str(mistake["message"])


def _print(plan: Plan, cost: int, lines: list[tuple[str, str]], form: PlanFormat) -> None:
    """Print a plan and its cost; ``lines`` are the values set by overlays, each with its place."""
    if form is PlanFormat.JSON:
        print_json({**plan_json(plan), "cost": cost, "overlays": [{"value": value, "place": place} for value, place in lines]})
    elif form is PlanFormat.MERMAID:
        out.print(as_mermaid(plan), markup=False, soft_wrap=True)
    elif form is PlanFormat.DOT:
        out.print(as_dot(plan), markup=False, soft_wrap=True)
    else:
        for tree in as_trees(plan) if form is PlanFormat.TREE else ():
            out.print(
                tree if out.is_terminal else in_full(tree),
                no_wrap=True,
                overflow="ellipsis" if out.is_terminal else "ignore",
                crop=out.is_terminal,
            )
        width = max((len(value) for value, _ in lines), default=0)
        overlay_lines = ["overlays", *(f"  {value:<{width}}  {place}" for value, place in lines)] if lines else []
        text = projection_text(plan) if form is PlanFormat.TREE else plan_text(plan)
        out.print("\n".join([text, f"cost: {cost}", *overlay_lines]), markup=False, soft_wrap=True)


def _context(blueprint: Blueprint, given: list[str]) -> dict[str, str]:
    """Parse the context values of the command line."""
    values: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise failure(f"--context is KEY=VALUE, not '{text}'")
        if key not in blueprint.context:
            hint = did_you_mean(key, blueprint.context) or "; the configuration has no such key in a document 'context:'"
            raise failure(f"unknown context key '{key}'{hint}")
        values[key] = value
    return values


def _variables(text: str) -> dict[str, object]:
    """Parse the variables of the command line; exit with 1 if they are not a JSON object."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise failure('--variables is not a JSON object, such as {"id": "42"}')
    return value


def winning_lines(blueprint: Blueprint, matching: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Yield each value that matching overlays set, with its place; of several overlays that set the same one, the last wins."""
    winners: dict[tuple[str, tuple[str, ...]], tuple[object, str]] = {}
    for position in matching:
        overlay = blueprint.overlays[position]
        for patch in overlay.patches:
            # A patch replaces its whole path, and so drops what earlier overlays set below it.
            below = [key for key in winners if key[0] == overlay.operation and key[1][: len(patch.path)] == patch.path]
            for key in below:
                del winners[key]
            winners[overlay.operation, patch.path] = patch.value, f"{patch.place.in_file}  overlay {overlay.name}"
    for (operation, path), (value, place) in winners.items():
        # Header values are often credentials.
        shown = MASK if "headers" in path else restore_references(_written(value), blueprint.variables)
        yield f"{operation}.{'.'.join(path)} = {shown}", place


def _written(value: object) -> str:
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, list) else condition_text(value)
