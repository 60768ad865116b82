"""The shape of the code: which folder may import which, who owns which library, how many files and lines there are in one place.

Every rule is a function of a :class:`House`, so that each can be shown to fail on a house in which it is broken on purpose.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "resolvers")
MAX_FILES = 12
MAX_MODULE = 350
MAX_FUNCTION = 60

FLOORS: tuple[str, ...] = (
    "gateway",
    "gateway/language",
    "gateway/settings",
    "gateway/blueprint",
    "gateway/contract",
    "gateway/schema",
    "gateway/document",
    "gateway/load gateway/load/types gateway/load/read gateway/load/check gateway/load/build",
    "resolvers/transport resolvers/databases/sql resolvers/databases resolvers",
    "gateway/plan",
    "gateway/run/policies gateway/run",
    "gateway/answer",
    "gateway/telemetry",
    "gateway/serve gateway/serve/admission gateway/serve/generation gateway/serve/http gateway/serve/connections",
    "gateway/operate",
    """gateway/develop gateway/develop/lint gateway/develop/lint/rules
    gateway/develop/importing gateway/develop/importing/openapi gateway/develop/importing/database
    gateway/develop/reference gateway/develop/testing gateway/develop/playground""",
    "gateway/process",
    "gateway/cli gateway/cli/author gateway/cli/operate",
)
"""The folders from the top: each imports only folders that stand before it."""
ORDER = [folder for floor in FLOORS for folder in floor.split()]

DOORS = {"gateway.__main__", "gateway.embed"}
"""Modules of the root that only hand on what stands on another floor."""

FACES = {
    *("gateway/settings", "gateway/blueprint", "gateway/contract", "gateway/run", "gateway/run/policies"),
    *("resolvers", "resolvers/databases", "gateway/cli"),
}
"""Folders whose package hands names on, or is itself the list of what stands in it; everywhere else a file is named."""

REQUEST_TIME = ("gateway/document", "gateway/plan", "gateway/run", "gateway/answer", "gateway/telemetry", "gateway/serve")
NOT_AT_REQUEST_TIME = ("gateway/load", "gateway/operate", "gateway/develop", "gateway/process", "gateway/cli")
STRANGERS = ("gateway/load", "resolvers", "gateway/plan")
"""Floors that do not know each other."""
KNOWN_TO_RESOLVERS = ("gateway", "gateway/language", "gateway/settings", "gateway/blueprint", "gateway/contract", "resolvers")
ASSEMBLE = ("gateway/process", "gateway/cli")
"""Who knows which step types there are."""

OWNERS: Mapping[str, str] = {
    "aiosqlite": "resolvers/databases gateway/operate",
    "asyncpg": "resolvers/databases gateway/develop/importing/database",
    "backports": "resolvers/transport",
    "brotli": "resolvers/transport",
    "duckdb": "resolvers/databases",
    # The types, the parser and the validator are the common language of the stages.
    "graphql": """gateway gateway/language gateway/blueprint gateway/schema gateway/document gateway/load gateway/plan gateway/answer
        gateway/serve/generation gateway/develop gateway/process gateway/cli resolvers""",
    "httptools": "resolvers/transport gateway/serve/connections",
    "httpcore": "resolvers/transport",
    "httpx": "resolvers/transport gateway/develop/importing",
    "jmespath": "gateway/language",
    "limits": "gateway/serve/admission",
    "msgspec": "gateway gateway/contract",
    "opentelemetry": "gateway/telemetry",
    # JSON is read and written wherever it crosses a border.
    "orjson": """gateway gateway/telemetry gateway/serve/http gateway/develop/playground gateway/develop/importing gateway/cli
        resolvers""",
    "prometheus_client": "gateway/operate",
    "pydantic": "gateway/settings",
    "pydantic_core": "gateway/settings",
    "rich": "gateway/cli",
    "starlette": "gateway/serve/http gateway/operate gateway/develop/playground gateway/process",
    "strawberry": "gateway/language gateway/process",
    "structlog": "gateway/telemetry",
    "typer": "gateway/cli",
    "uvicorn": "gateway/serve/connections gateway/operate gateway/process",
    "watchfiles": "gateway/operate",
    "yaml": "gateway/load/read",
}
"""Libraries to the folders that import them, with the folders in these but for the root; nobody else does."""

WRITES = {
    *(
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "insert",
        "intersection_update",
        "move_to_end",
    ),
    *("pop", "popitem", "popleft", "remove", "reverse", "setdefault", "sort", "subtract", "update"),
}
"""Methods by which containers are changed."""
STATE_OF_A_THREAD = {"gateway.run.policies.timers._thread"}
"""A ``threading.local``, which has the timers of the event loop that its thread runs."""

parsed = lru_cache(maxsize=None)(ast.parse)


def is_within(folder: str, places: tuple[str, ...]) -> bool:
    """Tell whether a folder is one of some places or stands in one; the root of a package is a place without what stands in it."""
    return any(folder == place or (place != "gateway" and folder.startswith(f"{place}/")) for place in places)


@dataclass(frozen=True)
class House:
    """The sources of both packages, by path."""

    sources: Mapping[str, str]

    @cached_property
    def modules(self) -> dict[str, str]:
        """The names of all modules to their paths."""
        return {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in self.sources}

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {name: parsed(self.sources[path]) for name, path in self.modules.items()}

    def folder(self, module: str) -> str:
        return self.modules[module].rpartition("/")[0]

    def imported(self, module: str) -> Iterator[tuple[str, ast.AST]]:
        """Yield what a module imports, wherever in it, also by a literal name: a name that is a module itself counts as that module."""
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module}:{node.lineno}: a relative import"
                assert node.module
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                yield from ((name, node) for name in names & self.modules.keys())
                if names - self.modules.keys():
                    yield node.module, node
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                yield from (
                    (name.value, node) for name in node.args[:1] if isinstance(name, ast.Constant) and isinstance(name.value, str)
                )

    @cached_property
    def own(self) -> dict[str, set[str]]:
        """What each module imports of the packages themselves."""
        return {module: {name for name, _ in self.imported(module) if name in self.modules} for module in self.modules}

    @cached_property
    def libraries(self) -> dict[str, set[str]]:
        """What each module imports of others."""
        known = sys.stdlib_module_names | {*PACKAGES, "playground", "compression"}  # the last came with Python 3.14
        return {module: {name.partition(".")[0] for name, _ in self.imported(module)} - known for module in self.modules}

    def between(self, importing: tuple[str, ...], imported: tuple[str, ...]) -> list[str]:
        """Return the imports from some places into others, for people."""
        return [
            f"{module} imports {name}"
            for module, names in self.own.items()
            if module not in DOORS and is_within(self.folder(module), importing)
            for name in sorted(names)
            if is_within(self.folder(name), imported)
        ]


def folders_without_a_floor(house: House) -> list[str]:
    return sorted({house.folder(module) for module in house.modules} ^ set(ORDER))


def imports_from_below(house: House) -> list[str]:
    found: list[str] = []
    for index, folder in enumerate(ORDER):
        below = set(ORDER[index + 1 :])
        for module, names in house.own.items():
            if house.folder(module) == folder and module not in DOORS:
                found += [f"{module} imports {name}" for name in sorted(names) if house.folder(name) in below]
    return found


def circles_of_files(house: House) -> list[str]:
    try:
        TopologicalSorter({module: names - {module} for module, names in house.own.items() if module not in DOORS}).prepare()
    except CycleError as error:
        return [" → ".join(error.args[1])]
    return []


def wide_folders(house: House) -> list[str]:
    counts = Counter(path.rpartition("/")[0] for path in house.sources if not path.endswith("/__init__.py"))
    return [f"{folder}: {count} files" for folder, count in counts.items() if count > MAX_FILES]


def request_time_imports(house: House) -> list[str]:
    return house.between(REQUEST_TIME, NOT_AT_REQUEST_TIME)


def imports_between_strangers(house: House) -> list[str]:
    return [found for one in STRANGERS for other in STRANGERS if one != other for found in house.between((one,), (other,))]


def imports_of_resolvers(house: House) -> list[str]:
    allowed = tuple(folder for folder in ORDER if not is_within(folder, KNOWN_TO_RESOLVERS))
    return house.between(("resolvers",), allowed)


def imports_of_step_types(house: House) -> list[str]:
    others = tuple(folder for folder in ORDER if not is_within(folder, (*ASSEMBLE, "resolvers")))
    return house.between(others, ("resolvers",))


def libraries_outside_their_folders(house: House) -> list[str]:
    return [
        f"{module} imports {library}"
        for module, libraries in house.libraries.items()
        for library in sorted(libraries)
        if not is_within(house.folder(module), tuple(OWNERS.get(library, "").split()))
    ]


def imports_in_functions(house: House) -> list[str]:
    """Find imports in functions without a comment that says why."""
    found = []
    for module, tree in house.trees.items():
        lines = house.sources[house.modules[module]].splitlines()
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        inside = {node.lineno for one in functions for node in ast.walk(one) if isinstance(node, ast.Import | ast.ImportFrom)}
        found += [f"{module}:{line}" for line in sorted(inside) if not re.search(r"# noqa: PLC0415 - \w+", lines[line - 1])]
    return found


def modules_without_a_sentence(house: House) -> list[str]:
    return [module for module, tree in house.trees.items() if len(ast.get_docstring(tree) or "") <= 20]


def long_modules(house: House) -> list[str]:
    return [path for path, source in house.sources.items() if len(source.splitlines()) > MAX_MODULE]


def long_functions(house: House) -> list[str]:
    return [
        f"{module}.{node.name}"
        for module, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
    ]


def names_with_two_meanings(house: House) -> list[str]:
    """Find public classes of one name in different folders: a reader would take one for the other."""
    places: dict[str, set[str]] = {}
    for module, tree in house.trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, set()).add(house.folder(module))
    return [f"{name}: {', '.join(sorted(folders))}" for name, folders in places.items() if len(folders) > 1]


def faces_elsewhere(house: House) -> list[str]:
    """Find packages that hand names on although files are named there."""
    return [
        path
        for module, path in house.modules.items()
        if path.endswith("/__init__.py")
        and house.folder(module) not in FACES
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in house.trees[module].body)
    ]


def state_of_the_process(house: House) -> list[str]:
    """Find names of modules that functions write to: such state belongs to no endpoint, generation or request, and outlives them all."""
    values = {f"{module}.{name}" for module, tree in house.trees.items() for name in assigned_names(tree)}
    found: list[str] = []
    for module, tree in house.trees.items():
        names = {name: f"{module}.{name}" for name in assigned_names(tree)}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for function in (
            node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ):
            found += [
                f"{module}:{line} writes to {names[name]}" for name, line in written_names(function) if names.get(name) in values
            ]
    return sorted({place for place in found if place.partition(" writes to ")[2] not in STATE_OF_A_THREAD})


def assigned_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names to which a module assigns something."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def written_names(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[tuple[str, int]]:
    """Yield the names, none of them its own, of what a function assigns to, changes in place or declares as ``global``."""
    arguments = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    stored = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    outer = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    own = (arguments | stored) - outer
    yield from ((name, function.lineno) for name in sorted(outer))
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.value, ast.Name) and is_write(node):
            yield from ((name, node.lineno) for name in {node.value.id} - own)


def is_write(node: ast.Subscript | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store | ast.Del) or (isinstance(node, ast.Attribute) and node.attr in WRITES)


RULES: tuple[Callable[[House], list[str]], ...] = (
    folders_without_a_floor,
    imports_from_below,
    circles_of_files,
    wide_folders,
    request_time_imports,
    imports_between_strangers,
    imports_of_resolvers,
    imports_of_step_types,
    libraries_outside_their_folders,
    imports_in_functions,
    names_with_two_meanings,
    faces_elsewhere,
    state_of_the_process,
    modules_without_a_sentence,
    long_modules,
    long_functions,
)


def read_house() -> House:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return House({str(path.relative_to(ROOT).as_posix()): path.read_text("utf-8") for path in paths})


HOUSE = read_house()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Callable[[House], list[str]]) -> None:
    assert rule(HOUSE) == []


SENTENCE = '"""A module that breaks a rule on purpose."""\n'
BROKEN: Mapping[Callable[[House], list[str]], Mapping[str, str]] = {
    folders_without_a_floor: {"gateway/attic/lamp.py": SENTENCE},
    imports_from_below: {"gateway/plan/lamp.py": f"{SENTENCE}from gateway.answer.projection import compile_projection\n"},
    circles_of_files: {
        "gateway/plan/lamp.py": f"{SENTENCE}from gateway.plan.shade import b\na = 1\n",
        "gateway/plan/shade.py": f"{SENTENCE}from gateway.plan.lamp import a\nb = 1\n",
    },
    wide_folders: {f"gateway/schema/lamp{number}.py": SENTENCE for number in range(MAX_FILES)},
    request_time_imports: {"gateway/serve/http/lamp.py": f"{SENTENCE}from gateway.load.build.build import load\n"},
    imports_between_strangers: {"resolvers/lamp.py": f"{SENTENCE}from gateway.load.read.files import Files\n"},
    imports_of_resolvers: {"resolvers/lamp.py": f"{SENTENCE}from gateway.schema.build import build_schema\n"},
    imports_of_step_types: {"gateway/operate/lamp.py": f"{SENTENCE}from resolvers import STEP_TYPES\n"},
    libraries_outside_their_folders: {"gateway/plan/lamp.py": f"{SENTENCE}import pydantic\n"},
    imports_in_functions: {"gateway/plan/lamp.py": f"{SENTENCE}def light() -> None:\n    import json\n"},
    names_with_two_meanings: {"gateway/plan/lamp.py": f"{SENTENCE}class Blueprint:\n    pass\n"},
    faces_elsewhere: {"gateway/plan/__init__.py": f"{SENTENCE}from gateway.plan.nodes import Plan\n"},
    state_of_the_process: {
        "gateway/plan/lamp.py": f"{SENTENCE}KNOWN = {{}}\n",
        "gateway/plan/shade.py": f"{SENTENCE}from gateway.plan.lamp import KNOWN\ndef know() -> None:\n    KNOWN['a'] = 1\n",
    },
    modules_without_a_sentence: {"gateway/plan/lamp.py": "light = 1\n"},
    long_modules: {"gateway/plan/lamp.py": SENTENCE + "light = 1\n" * MAX_MODULE},
    long_functions: {"gateway/plan/lamp.py": SENTENCE + "def light() -> None:\n" + "    print()\n" * MAX_FUNCTION},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_what_breaks_it(rule: Callable[[House], list[str]]) -> None:
    assert rule(House({**HOUSE.sources, **BROKEN[rule]})) != []


def test_every_library_that_has_owners_is_imported() -> None:
    assert {library for libraries in HOUSE.libraries.values() for library in libraries} == OWNERS.keys()


def test_contributing_has_a_row_for_each_folder() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    folders = {HOUSE.folder(module) for module, path in HOUSE.modules.items() if not path.endswith("/__init__.py")}
    rooms = {folder.removeprefix("gateway/") for folder in folders if folder.startswith("gateway/")}
    themes = {"develop/lint/rules", "develop/importing/openapi", "develop/importing/database", "cli/author", "cli/operate"}
    assert {room for room in rooms - themes if f"| `{room}/` |" not in text} == set()
