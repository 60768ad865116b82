"""The shape of the code: who may import whom, who owns which library, how long things are (design, section 6)."""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "resolvers")
MAX_MODULE = 350
MAX_FUNCTION = 60

DATA = """
    gateway gateway.record gateway.errors gateway.words gateway.mistakes gateway.cycles gateway.template gateway.expression gateway.scalars
    gateway.strawberry_types
    gateway.settings.* gateway.blueprint gateway.shape gateway.resolver gateway.outcome gateway.masking
    gateway.discretion
"""
RESOLVERS = """
    resolvers.sql resolvers.encoding resolvers.databases.* resolvers.transport resolvers.transport.decompression resolvers.transport.tls
    resolvers.transport.names resolvers.transport.http1_connection resolvers.transport.http1 resolvers.transport.httpx_transport
    resolvers.transport.stand_in
    resolvers.json_http resolvers.api resolvers.graphql resolvers.warehouse resolvers.transform resolvers.value
    resolvers.python_call resolvers
"""
LOAD = """
    gateway.config gateway.config.files gateway.config.environment
    gateway.config.source gateway.config.sensitive gateway.config.sdl gateway.config.graph
    gateway.config.decode gateway.config.references gateway.config.arguments gateway.config.context gateway.config.draft
    gateway.config.sensitive_steps gateway.config.step gateway.config.composite gateway.config.operation gateway.config.overlay
    gateway.config.link gateway.config.python_types gateway.config.policy_rule gateway.config.unit gateway.config.rate_limits gateway.config.shared
    gateway.config.reading gateway.config.makers gateway.config.assembly gateway.config.rules gateway.config.case_keys
    gateway.config.json_schema gateway.config.reference_page
"""
STAGES = """
    gateway.schema gateway.selection gateway.coercion gateway.subselection gateway.plan gateway.links gateway.shaping
    gateway.planner gateway.alarm gateway.policies.*
    gateway.sharing gateway.replies gateway.engine.* gateway.measures gateway.telling gateway.tracing gateway.aggregation gateway.code_writer
    gateway.spot gateway.shaped_code gateway.completion gateway.completion_code gateway.projection gateway.limits gateway.merging
    gateway.validation gateway.cost
    gateway.document
"""
LIFE = """
    gateway.admission gateway.overlays gateway.json_text gateway.pools gateway.prepared gateway.generation
    gateway.worst_case gateway.background gateway.difference
    gateway.versions gateway.rollback gateway.watch gateway.reload gateway.logs gateway.metrics gateway.edge
    gateway.batching gateway.http_request gateway.rates gateway.redis_store gateway.http_answer
    gateway.error_handlers gateway.admin gateway.http gateway.asgi gateway.head gateway.exchange
    gateway.examples gateway.runs gateway.playground gateway.request_reader gateway.protocol gateway.app gateway.workers gateway.server
    gateway.embed gateway.report gateway.pictures gateway.blueprint_json gateway.lint.*
    gateway.rehearsal.* gateway.importing.* gateway.cli.* gateway.__main__
"""
ORDER = f"{DATA} {RESOLVERS} {LOAD} {STAGES} {LIFE}".split()
"""Every module; `package.*` is a package that stands in one place. A module imports only what stands before it, or in its package."""

ASSEMBLE = {
    "gateway.app",
    "gateway.cli.check",
    "gateway.cli.describe",
    "gateway.cli.history",
    "gateway.cli.serve",
    "gateway.cli.terminal",
    "gateway.cli.test",
    "gateway.embed",
}
"""Who knows which step types there are."""

OWNERS = {
    "backports": "resolvers.transport.decompression",
    "brotli": "resolvers.transport.decompression",
    "duckdb": "resolvers.databases.duckdb",
    "jmespath": "gateway.expression",
    "opentelemetry": "gateway.tracing",
    "limits": "gateway.redis_store",
    "prometheus_client": "gateway.metrics",
    "structlog": "gateway.logs",
    "watchfiles": "gateway.watch",
    "yaml": "gateway.config.source",
}
"""Libraries to the one module that imports them."""

SHARED = {
    # The types, the parser and the validator are the common language of the stages.
    "graphql": """
        gateway.cycles gateway.blueprint gateway.discretion gateway.scalars gateway.config.sensitive gateway.config.sensitive_steps
        gateway.config.arguments gateway.config.composite gateway.config.draft gateway.config.link
        gateway.config.operation gateway.config.references gateway.config.sdl gateway.schema gateway.selection gateway.plan
        gateway.subselection gateway.shaping gateway.planner gateway.shaped_code gateway.completion_code
        gateway.coercion gateway.merging gateway.validation gateway.cost gateway.document
        gateway.difference gateway.embed
        gateway.importing.graphql_endpoint gateway.cli.describe gateway.lint.fan_out gateway.lint.subject gateway.lint.unused
        gateway.examples gateway.runs resolvers.graphql
    """,
    "pydantic": """
        gateway.settings.vocabulary gateway.settings.policies gateway.settings.parts gateway.settings.rate_limits
        gateway.settings.server gateway.settings.documents gateway.settings.validation
    """,
    "msgspec": "gateway.record gateway.shape",
    "pydantic_core": "gateway.settings.validation",
    "aiosqlite": "resolvers.databases.sqlite gateway.versions",
    "asyncpg": "resolvers.databases.postgresql resolvers.databases.postgresql_types gateway.importing.database.postgres",
    "httpx": "resolvers.transport.httpx_transport gateway.importing.fetch",
    "httptools": "resolvers.transport.http1_connection gateway.request_reader",
    # JSON is read and written at several borders.
    "orjson": """
        gateway.json_text gateway.logs gateway.http_request gateway.playground gateway.cli.demo gateway.cli.describe gateway.cli.plan
        gateway.cli.terminal
        gateway.importing.graphql_endpoint gateway.importing.openapi.description
        resolvers.json_http resolvers.transport.stand_in resolvers.databases.duckdb resolvers.databases.postgresql_types
    """,
    "rich": """
        gateway.pictures gateway.report gateway.importing.command gateway.cli.check gateway.cli.describe gateway.cli.serve
        gateway.cli.terminal gateway.cli.test gateway.cli.history
    """,
    "starlette": "gateway.admin gateway.asgi gateway.error_handlers gateway.http_request gateway.playground gateway.app",
    "uvicorn": "gateway.admin gateway.protocol gateway.request_reader gateway.server",
    "strawberry": "gateway.strawberry_types gateway.embed",
    "typer": """
        gateway.importing.command gateway.cli gateway.cli.check gateway.cli.demo gateway.cli.describe gateway.cli.plan gateway.cli.serve
        gateway.cli.terminal gateway.cli.test gateway.cli.history gateway.cli.version
    """,
}
"""Libraries that several modules import: these and no others."""


def sources() -> dict[str, Path]:
    """Return the modules of both packages by name."""
    found = {}
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in SOURCES.items()}
MODULES = pytest.mark.parametrize("module", SOURCES)


def imported(module: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what a module imports, wherever in it: a name that is a module itself counts as that module."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: a relative import"
            assert node.module
            modules = {f"{node.module}.{alias.name}" for alias in node.names} & SOURCES.keys()
            yield from ((name, node) for name in modules or {node.module})


def own(module: str) -> set[str]:
    return {name for name, _ in imported(module) if name in SOURCES}


def place(module: str) -> int | None:
    """Return where a module stands in the order."""
    parts = module.split(".")
    entries = [module, *(f"{'.'.join(parts[:length])}.*" for length in range(1, len(parts) + 1))]
    return next((ORDER.index(entry) for entry in entries if entry in ORDER), None)


def group(names: str) -> set[str]:
    """Return the modules of a part of the order."""
    return {module for module in SOURCES if (found := place(module)) is not None and ORDER[found] in names.split()}


def test_every_module_has_its_place_in_the_order_and_every_place_a_module() -> None:
    places = {module: place(module) for module in SOURCES}
    assert [module for module, found in places.items() if found is None] == []
    assert {entry for index, entry in enumerate(ORDER) if index not in places.values()} == set()


@MODULES
def test_a_module_imports_only_modules_above_it(module: str) -> None:
    mine = ORDER.index(module) if module in ORDER else place(module)
    assert mine is not None
    is_package = ORDER[mine].endswith(".*")
    below = {name for name in own(module) if (other := place(name)) is None or other > mine or (other == mine and not is_package)}
    assert below == set()


def test_imports_make_no_cycle() -> None:
    assert list(TopologicalSorter({module: own(module) for module in SOURCES}).static_order())


def test_resolvers_import_only_the_gateways_data_and_each_other() -> None:
    allowed = group(DATA) | group(RESOLVERS)
    assert {module: strange for module in group(RESOLVERS) if (strange := own(module) - allowed)} == {}


def test_load_and_stages_know_no_step_type() -> None:
    resolvers = group(RESOLVERS)
    assert {module: known for module in group(LOAD) | group(STAGES) if (known := own(module) & resolvers)} == {}


def test_only_few_modules_know_which_step_types_there_are() -> None:
    resolvers = group(RESOLVERS)
    assert {module for module in SOURCES if module not in resolvers and own(module) & resolvers} == ASSEMBLE


def test_the_stages_know_nothing_of_configuration_files() -> None:
    load = group(LOAD)
    assert {module: known for module in group(STAGES) if (known := own(module) & load)} == {}


def libraries(module: str) -> set[str]:
    names = {name.partition(".")[0] for name, _ in imported(module)}
    return names - sys.stdlib_module_names - {*PACKAGES, "playground", "compression"}  # the last came with Python 3.14


def test_every_library_that_is_imported_is_one_that_has_owners() -> None:
    assert {library for module in SOURCES for library in libraries(module)} == OWNERS.keys() | SHARED.keys()


@pytest.mark.parametrize("library", [*OWNERS, *SHARED])
def test_nobody_but_its_owners_imports_a_library(library: str) -> None:
    owners = {OWNERS[library]} if library in OWNERS else set(SHARED[library].split())
    assert {module for module in SOURCES if library in libraries(module)} == owners


@MODULES
def test_no_function_imports_anything_unless_a_comment_says_why(module: str) -> None:
    lines = SOURCES[module].read_text("utf-8").splitlines()
    functions = (node for node in ast.walk(TREES[module]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    inside = {
        node.lineno for function in functions for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert [line for line in sorted(inside) if not re.search(r"# noqa: PLC0415 - \w+", lines[line - 1])] == []


@MODULES
def test_a_module_says_what_it_is_for(module: str) -> None:
    assert len(ast.get_docstring(TREES[module]) or "") > 20


@MODULES
def test_a_module_is_not_longer_than_allowed(module: str) -> None:
    assert len(SOURCES[module].read_text("utf-8").splitlines()) <= MAX_MODULE


@MODULES
def test_a_function_is_not_longer_than_allowed(module: str) -> None:
    functions = (node for node in ast.walk(TREES[module]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    assert {node.name: size for node in functions if (size := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION} == {}
