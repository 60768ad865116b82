"""A statement of DuckDB → which files it names, and what in it a value of a request could choose, by DuckDB's own parse tree.

Text alone does not tell: ``"read_csv" /* */ (:f)``, ``main.read_csv(:f)`` and ``:f.read_csv()`` are all calls of one function.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import did_you_mean
from resolvers.databases.sql.text import rename_placeholders

if find_spec("duckdb") is not None:  # 20 MiB, so that it is an optional extra
    import duckdb

_FILE_FUNCTION = re.compile(r"read_\w+|\w+_scan|scan_\w+|parquet_\w+|glob|sniff_csv")
"""Functions whose first argument is a file, those of extensions among them."""
_PURE_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "repeat_row", "summary"}
"""Table functions that compute from their arguments alone. Any other one reads what they name: a file, a table, SQL."""
_QUOTED = re.compile(rb"'(?:[^']|'')*'")
_LOOKS_LIKE_FILE = re.compile(r"[./*]")
_REMOTE = re.compile(r"\w\w+:")
_GLOB = re.compile(r"[*?\[]")
_VIEW_BODY = re.compile(r"\bAS\b", re.IGNORECASE)
_MISREAD = re.compile(r'syntax error at or near "(\w+)"')
_STEEP = re.compile(r"(?:[-+(]\s*){1000}")
"""What DuckDB's parser takes seconds for, and with ten times as many minutes."""
_NOWHERE = 2**63
"""Beyond any place in a text: what the tree has for an unknown one."""


@dataclass(frozen=True, slots=True)
class DuckDbStatement:
    """A statement with absolute file names.

    ``files`` are those names. ``given`` are the functions that a value may reach. ``mistakes`` are what a configuration must not have.
    """

    text: str
    files: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    mistakes: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def read_query(query: str, folder: Path) -> DuckDbStatement:
    """Read a statement with ``:name`` and ``?`` placeholders; relative file names are resolved against a folder."""
    if _STEEP.search(query) is not None:
        return DuckDbStatement(query, mistakes=("DuckDB cannot read this: a thousand parentheses or signs in a row",))
    # `$name` is as long as `:name`, so that places in the tree are places in the query.
    tree = parse(rename_placeholders(query, lambda name: f"${name}", lambda: "?"))
    if isinstance(tree, str):
        return DuckDbStatement(query, mistakes=(f"DuckDB cannot read this: {tree}{_meant(tree)}",))
    mistakes = [*_choices(tree)] if len(tree) == 1 else ["a step runs one statement"]
    named = list(_named_files(tree, query.encode()))
    mistakes += [f"a file is one of this machine; copy '{name}' to it" for _, _, name in named if _REMOTE.match(name)]
    text, files = _with_absolute_names(query.encode(), named, folder)
    return DuckDbStatement(text, frozenset(files), frozenset(_given(tree)), tuple(dict.fromkeys(mistakes)))


def _meant(message: str) -> str:
    """Return the keyword that a misspelt word of a statement may have been meant to be, as an addition to DuckDB's message."""
    found = _MISREAD.search(message)
    if found is None:
        return ""
    with closing(_parser().cursor()) as cursor:
        keywords = [str(name) for (name,) in cursor.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()]
    word = found[1]
    return did_you_mean(word.lower(), keywords) if word.islower() else did_you_mean(word.upper(), map(str.upper, keywords))


def _choices(tree: Any) -> Iterator[str]:
    """Yield where a value would choose what a function reads."""
    for name, arguments in _calls(tree):
        values = [_placeholder(node) for node in _nodes(arguments) if node.get("class") == "PARAMETER"]
        if is_reading(name) and not _is_constant(arguments):
            what = f"'{values[0]}'" if values else "a subquery"
            yield f"what '{name}' reads is named by the configuration alone, not by {what}"


def parse(text: str) -> Any:
    """Return the parse tree of a SELECT, or why there is none as text."""
    with closing(_parser().cursor()) as cursor:
        (found,) = cursor.execute("SELECT json_serialize_sql(?)", [text]).fetchone()
    parsed = orjson.loads(found)
    return str(parsed["error_message"]).partition("\n")[0] if parsed["error"] else parsed["statements"]


def is_reading(function: str) -> bool:
    """Tell whether a function reads what its arguments name: a file, a table, or a statement."""
    return _FILE_FUNCTION.fullmatch(function) is not None or (function in _table_functions() and function not in _PURE_FUNCTIONS)


def files_of_definition(definition: str) -> frozenset[str]:
    """Return the files that a view or macro of a database names."""
    for start in (0, *(match.end() for match in _VIEW_BODY.finditer(definition))):
        tree = parse(definition[start:])
        if not isinstance(tree, str):
            tables = (str(node["table_name"]) for node in _nodes(tree) if node.get("type") == "BASE_TABLE")
            arguments = (str(node["literal"]["text"]) for node in _file_arguments(tree))
            return frozenset(str(Path(name).absolute()) for name in (*tables, *arguments) if _LOOKS_LIKE_FILE.search(name))
    return frozenset()


def choosing_macros(macros: Iterable[tuple[str, list[str], str]]) -> frozenset[str]:
    """Return the macros whose arguments choose what is read, if only by way of another macro. A macro is a name, parameters and a text."""
    calls: dict[str, set[str]] = {}
    for name, parameters, text in macros:
        tree = parse(text)
        tree = parse(f"SELECT {text}") if isinstance(tree, str) else tree
        # What cannot be read is taken for the worst.
        called = {"read_text"} if isinstance(tree, str) else _given(tree, {parameter.lower() for parameter in parameters})
        calls.setdefault(name.lower(), set()).update(called)
    choosing = {name for name, called in calls.items() if any(map(is_reading, called))}
    while more := {name for name, called in calls.items() if called & choosing} - choosing:
        choosing |= more
    return frozenset(choosing)


def allowed(files: frozenset[str]) -> tuple[list[str], list[str]]:
    """Return the paths and the directories that DuckDB must be allowed to read files; a pattern needs the directory above it."""
    directories = {_GLOB.split(file, 1)[0].rpartition("/")[0] + "/" for file in files if _GLOB.search(file)}
    return sorted(file for file in files if not _GLOB.search(file)), sorted(directories)


@cache
def _parser() -> Any:
    return duckdb.connect(":memory:", config={"threads": 1, "autoinstall_known_extensions": "false"})


@cache
def _table_functions() -> frozenset[str]:
    query = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table'"
    with closing(_parser().cursor()) as cursor:
        return frozenset(name for (name,) in cursor.execute(query).fetchall())


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a tree; a statement may be deep, so that there is no recursion."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            yield node
            left += reversed(node.values())
        elif isinstance(node, list):
            left += reversed(node)


def _calls(tree: Any) -> Iterator[tuple[str, list[Any]]]:
    for node in _nodes(tree):
        if node.get("class") == "FUNCTION":
            yield str(node["function_name"]).lower(), node["arguments"]


def _given(tree: Any, parameters: Collection[str] = ()) -> set[str]:
    """Return the functions whose arguments are not all constants. ``parameters`` are those of the macro that the tree is from."""
    return {name for name, arguments in _calls(tree) if not _is_constant(arguments, parameters)}


def _is_constant(arguments: list[Any], parameters: Collection[str] = ()) -> bool:
    # A column needs no look: DuckDB reads no file that a row names.
    return all(
        node.get("class") not in {"PARAMETER", "SUBQUERY"}
        and not (node.get("class") == "COLUMN_REF" and str(node["column_names"][0]).lower() in parameters)
        for node in _nodes(arguments)
    )


def _placeholder(node: dict[str, Any]) -> str:
    name = str(node["identifier"])
    return "?" if name.isdecimal() else f":{name}"


def _file_arguments(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield the texts among the first arguments of functions that read files."""
    for name, arguments in _calls(tree):
        if _FILE_FUNCTION.fullmatch(name) and arguments:
            for node in _nodes(arguments[0]):
                if node.get("class") == "CONSTANT" and node["literal"].get("kind") == "STRING":
                    yield node


def _named_files(tree: Any, query: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the files that a statement names: start and end in its bytes, and the name."""
    for node in _file_arguments(tree):
        start = int(node["query_location"])
        if start < _NOWHERE:
            yield start, start + int(node["query_location_length"]), str(node["literal"]["text"])
    for node in _nodes(tree):
        if node.get("type") == "BASE_TABLE" and node["query_location"] < _NOWHERE:
            match = _QUOTED.match(query, node["query_location"])
            if match is not None and _LOOKS_LIKE_FILE.search(node["table_name"]):
                yield match.start(), match.end(), str(node["table_name"])


def _with_absolute_names(query: bytes, named: list[tuple[int, int, str]], folder: Path) -> tuple[str, list[str]]:
    files = []
    for start, end, name in sorted(set(named), reverse=True):
        file = str(folder / name)
        files.append(file)
        query = query[:start] + b"'" + file.replace("'", "''").encode() + b"'" + query[end:]
    return query.decode(), files
