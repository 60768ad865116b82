"""``stepgraph schema``, ``blueprint``, ``reference``: print the schema, the blueprint, and the reference of the configuration."""

from typing import Annotated

import orjson
import typer
from graphql import print_schema
from rich.markdown import Markdown
from rich.syntax import Syntax

from gateway.blueprint.view import blueprint_json
from gateway.cli.terminal import DEFAULT_DIR, ConfigDir, failure, load_or_exit, out, print_json
from gateway.develop.reference.json_schema import document_schema
from gateway.develop.reference.page import reference_page, reference_sections
from gateway.errors import did_you_mean
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES


def schema(
    config_dir: ConfigDir = DEFAULT_DIR,
    of_config: Annotated[bool, typer.Option("--config", help="Print the JSON Schema of the YAML files instead.")] = False,
) -> None:
    """Print the GraphQL schema (SDL) of a configuration, or the JSON Schema with which editors validate its files."""
    if of_config:
        text, language = orjson.dumps(document_schema(STEP_TYPES), option=orjson.OPT_INDENT_2).decode(), "json"
    else:
        text, language = print_schema(build_schema(load_or_exit(config_dir))), "graphql"
    out.print(Syntax(text, language, background_color="default") if out.is_terminal else text, markup=False, soft_wrap=True)


def blueprint(config_dir: ConfigDir = DEFAULT_DIR) -> None:
    """Print a configuration as JSON, as `policy:` documents query it. It has no headers, bodies or credentials."""
    print_json(blueprint_json(load_or_exit(config_dir)))


def reference(
    name: Annotated[
        str | None, typer.Argument(metavar="PART", help="One part, such as operation, api, 'api source' or retry.")
    ] = None,
) -> None:
    """Print the reference of the configuration: every key with its type, default and meaning."""
    sections = reference_sections(STEP_TYPES)
    matching = [section for section in sections if name in section.names]
    if name is not None and not matching:
        names = [name for section in sections for name in section.names]
        hint = did_you_mean(name, names) or f"; it has {', '.join(names)}"
        raise failure(f"the reference has no '{name}'{hint}")
    text = reference_page(STEP_TYPES) if name is None else "\n".join(str(section) for section in matching)
    out.print(Markdown(text) if out.is_terminal else text, markup=False, soft_wrap=not out.is_terminal, end="")
