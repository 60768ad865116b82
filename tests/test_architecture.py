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
    gateway gateway.errors gateway.template gateway.expression gateway.settings gateway.blueprint gateway.resolver gateway.outcome
"""
RESOLVERS = """
    resolvers.sql resolvers.encoding resolvers.transport resolvers.transport.httpx_transport resolvers.json_http
    resolvers.api resolvers.graphql resolvers.warehouse resolvers.transform resolvers.value resolvers.python_call resolvers
"""
LOAD = """
    gateway.config gateway.config.source gateway.config.sdl gateway.config.graph gateway.config.decode gateway.config.references
    gateway.config.draft gateway.config.step gateway.config.composite gateway.config.operation gateway.config.link
    gateway.config.rules
"""
STAGES = """
    gateway.schema gateway.selection gateway.subselection gateway.plan gateway.planner gateway.links gateway.policies gateway.engine
    gateway.aggregation gateway.code_writer gateway.completion gateway.projection gateway.document
"""
LIFE = """
    gateway.generation gateway.reload gateway.http gateway.logs gateway.app gateway.embed gateway.cli gateway.__main__
"""
ORDER = f"{DATA} {RESOLVERS} {LOAD} {STAGES} {LIFE}".split()
"""Every module. One imports only modules that stand before it."""

ASSEMBLE = {"gateway.app", "gateway.cli", "gateway.embed"}
"""Who knows which step types there are."""

OWNERS = {
    "aiosqlite": {"resolvers.warehouse"},
    "graphql": {  # the types, the parser and the validator are the common language of the stages
        *(
            "gateway.blueprint",
            "gateway.config.composite",
            "gateway.config.draft",
            "gateway.config.operation",
            "gateway.config.link",
        ),
        *("gateway.config.references", "gateway.config.sdl", "gateway.schema", "gateway.selection", "gateway.plan"),
        *("gateway.planner", "gateway.projection", "gateway.document", "gateway.embed", "gateway.cli", "resolvers.graphql"),
    },
    "httpx": {"resolvers.transport.httpx_transport", "gateway.cli"},
    "jmespath": {"gateway.expression"},
    "orjson": {"gateway.http", "gateway.cli", "resolvers.json_http"},
    "pydantic": {"gateway.settings"},
    "pydantic_core": {"gateway.settings"},
    "rich": {"gateway.cli"},
    "starlette": {"gateway.http", "gateway.app"},
    "strawberry": {"gateway.embed"},
    "typer": {"gateway.cli"},
    "uvicorn": {"gateway.app"},
    "watchfiles": {"gateway.reload"},
    "yaml": {"gateway.config.source"},
}
"""Libraries to the modules that import them."""


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


def test_every_module_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(SOURCES)


@MODULES
def test_a_module_imports_only_modules_above_it(module: str) -> None:
    above = set(ORDER[: ORDER.index(module)])
    assert own(module) <= above


def test_imports_make_no_cycle() -> None:
    assert list(TopologicalSorter({module: own(module) for module in SOURCES}).static_order())


@pytest.mark.parametrize("module", RESOLVERS.split())
def test_resolvers_import_only_the_gateways_data_and_each_other(module: str) -> None:
    assert own(module) <= {*DATA.split(), *RESOLVERS.split()}


@pytest.mark.parametrize("module", [*LOAD.split(), *STAGES.split()])
def test_load_and_stages_know_no_step_type(module: str) -> None:
    assert not own(module) & set(RESOLVERS.split())


def test_only_few_modules_know_which_step_types_there_are() -> None:
    assert {module for module in SOURCES if module not in RESOLVERS.split() and own(module) & set(RESOLVERS.split())} == ASSEMBLE


@pytest.mark.parametrize("module", STAGES.split())
def test_the_stages_know_nothing_of_configuration_files(module: str) -> None:
    assert not own(module) & set(LOAD.split())


def libraries(module: str) -> set[str]:
    names = {name.partition(".")[0] for name, _ in imported(module)}
    return names - sys.stdlib_module_names - {*PACKAGES, "playground"}


def test_every_library_that_is_imported_is_one_that_has_owners() -> None:
    assert {library for module in SOURCES for library in libraries(module)} == OWNERS.keys()


SEVERAL = pytest.mark.xfail(strict=True, reason="several modules import it")


@pytest.mark.parametrize(
    "library",
    [
        pytest.param(name, marks=SEVERAL if name in {"httpx", "orjson", "starlette"} else ())
        for name in OWNERS
        if name != "graphql"
    ],
)
def test_a_library_has_one_owner(library: str) -> None:
    assert len({module for module in SOURCES if library in libraries(module)}) == 1


@pytest.mark.parametrize("library", OWNERS)
def test_nobody_but_its_owners_imports_a_library(library: str) -> None:
    assert {module for module in SOURCES if library in libraries(module)} == OWNERS[library]


@MODULES
def test_imports_stand_at_the_top_unless_a_comment_says_why_not(module: str) -> None:
    lines = SOURCES[module].read_text("utf-8").splitlines()
    top = {id(node) for node in TREES[module].body}
    for name, node in imported(module):
        is_explained = re.search(r"# noqa: PLC0415 - \w+", lines[node.lineno - 1])
        assert id(node) in top or is_explained, f"{module}:{node.lineno}: import of {name}"


@MODULES
def test_a_module_says_what_it_is_for(module: str) -> None:
    assert len(ast.get_docstring(TREES[module]) or "") > 20


TOO_LONG = {"gateway.engine", "gateway.projection"}


@pytest.mark.parametrize(
    "module",
    [pytest.param(name, marks=pytest.mark.xfail(strict=True, reason="too long") if name in TOO_LONG else ()) for name in SOURCES],
)
def test_a_module_is_not_longer_than_allowed(module: str) -> None:
    assert len(SOURCES[module].read_text("utf-8").splitlines()) <= MAX_MODULE


@MODULES
def test_a_function_is_not_longer_than_allowed(module: str) -> None:
    functions = (node for node in ast.walk(TREES[module]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    assert {node.name: size for node in functions if (size := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION} == {}
