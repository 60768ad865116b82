"""Files and YAML: what every scalar means, where every value stands, and what is refused before anything is decoded."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.errors import Place, Problem
from gateway.load.read.files import Files, read_files
from gateway.load.read.yaml_source import SourceMap, YamlDocument, plain_scalar, read_documents
from tests.kit.paths import CHECKOUT


def read(text: str, environment: Mapping[str, str] | None = None) -> tuple[list[YamlDocument], list[Problem]]:
    return read_documents("file.yaml", text, environment or {})


def value_of(text: str, environment: Mapping[str, str] | None = None) -> object:
    """Return the value of the key `a` of the only document; there must be no problem."""
    documents, problems = read(text, environment)
    assert problems == []
    (document,) = documents
    return document.value["a"]


def only_problem(text: str, environment: Mapping[str, str] | None = None) -> tuple[int, int, str]:
    _, (problem,) = read(text, environment)
    assert problem.place.file == "file.yaml"
    assert problem.message.strip()
    return problem.place.line, problem.place.column, problem.code


# -- scalars


TEXTS = "no yes on off y n 010 0777 00 -012 12:30 1:2:3 1_000 0b1 2024-01-01 1.2.3 nULL tRue + . 5e e5 0x 0xG 0o8 -0x1F = < 127.0.0.1 1,5 ٣"


@pytest.mark.parametrize("text", TEXTS.split())
def test_what_yaml_1_2_does_not_know_stays_text(text: str) -> None:
    assert value_of(f"a: {text}") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("", "~", "null", "Null", "NULL")),
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *[
            ("0", 0),
            ("-0", 0),
            ("+5", 5),
            ("500", 500),
            ("0x1F", 31),
            ("0o17", 15),
            (str(2**59), 2**59),
            (str(2**70), str(2**70)),
        ],
        *[("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-1", -0.15), ("+1.0", 1.0)],
    ],
)
def test_a_plain_scalar_has_the_type_of_the_yaml_1_2_core_schema(text: str, value: object) -> None:
    found = value_of(f"a: {text}")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.inf", ".nan"])
def test_numbers_that_json_does_not_have_stay_text(text: str) -> None:
    assert value_of(f"a: {text}") == text


def test_a_number_beyond_every_float_is_not_infinite() -> None:
    assert read("a: 1e999")[1] or value_of("a: 1e999") == "1e999"


@pytest.mark.parametrize("text", ["'5'", '"5"', "|-\n  5", ">-\n  5", "!!str 5", "!<tag:yaml.org,2002:str> 5"])
def test_a_quoted_number_is_text(text: str) -> None:
    assert value_of(f"a: {text}") == "5"


@pytest.mark.parametrize("text", ["1" * 5000, "0x" + "f" * 5000])
def test_a_number_of_thousands_of_digits_is_read_or_refused_but_never_raises(text: str) -> None:
    documents, problems = read(f"a: {text}")
    assert problems or f"{documents[0].value['a']}"


# -- keys and duplicates


def test_the_second_of_two_equal_keys_is_the_problem_and_names_the_line_of_the_first() -> None:
    documents, (problem,) = read("a: 1\nb: 2\n\na: 3\n")
    assert (problem.place, problem.code) == (Place("file.yaml", 4, 1), "duplicate-key")
    assert "'a'" in problem.message
    assert "line 1" in problem.message
    assert documents[0].value == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "place"),
    [("x: {a: 1, b: 2, a: 3}", (1, 17)), ("x:\n  - a: 1\n    a: 2", (3, 5)), ("'a': 1\na: 2", (2, 1))],
)
def test_a_key_that_stands_twice_is_found_at_every_depth_and_however_it_is_written(text: str, place: tuple[int, int]) -> None:
    assert only_problem(text) == (*place, "duplicate-key")


@pytest.mark.parametrize("key", ["true", "null", "~", "[a]", "{a: b}"])
def test_a_key_that_is_not_text_is_a_problem_at_the_key(key: str) -> None:
    assert only_problem(f"a: 1\nx:\n  {key} : 2") == (3, 3, "key-not-text")


@pytest.mark.parametrize("key", ["no", "yes", "on", "'true'", '"null"', "12:30", "a b", "😀"])
def test_a_key_that_is_text_in_yaml_1_2_is_no_problem(key: str) -> None:
    documents, problems = read(f"{key}: 1")
    assert problems == []
    assert list(documents[0].value) == [key.strip("'\"")]


# -- tags, aliases, depth


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!!int", "!!binary", "!!map", "!env", "!<x>", "!!python/name:os"]
)
def test_a_tag_is_a_problem_at_its_value_and_nothing_is_made_of_it(tag: str) -> None:
    documents, (problem,) = read(f"a: {tag} '5'")
    assert (problem.place, problem.code) == (Place("file.yaml", 1, 4), "yaml-tag")
    assert documents[0].value == {"a": "5"}


def test_a_tag_that_only_begins_like_the_one_for_text_is_a_problem() -> None:
    assert only_problem("a: !!strange 5") == (1, 4, "yaml-tag")


def test_an_alias_stands_for_the_value_of_its_anchor() -> None:
    documents, problems = read("a: &x [1, {b: 2}]\nb: *x\nc: &x 3\nd: *x")
    assert problems == []
    assert documents[0].value == {"a": [1, {"b": 2}], "b": [1, {"b": 2}], "c": 3, "d": 3}


@pytest.mark.parametrize(
    ("text", "place"),
    [("a: *x", (1, 4)), ("a: *x\nb: &x 1", (1, 4)), ("a: &x [*x]", (1, 8)), ("a: &x 1\n---\nb: *x", (3, 4))],
)
def test_an_alias_without_an_anchor_before_it_in_its_document_is_a_problem(text: str, place: tuple[int, int]) -> None:
    assert only_problem(text) == (*place, "yaml-alias")


def test_aliases_may_stand_for_10000_values_and_no_more() -> None:
    hundred = f"a: &x [{', '.join('1' * 99)}]\n"
    assert read(f"{hundred}b: [{', '.join(['*x'] * 100)}]")[1] == []
    assert only_problem(f"{hundred}b: [{', '.join(['*x'] * 101)}]")[2] == "yaml-alias"


def test_values_nest_64_deep_and_no_deeper() -> None:
    assert read("a: " + "[" * 64 + "]" * 64)[1] == []
    assert only_problem("a: " + "[" * 65 + "]" * 65) == (1, 68, "too-deep")


def test_depth_counts_through_aliases() -> None:
    levels = "".join(f"  - &a{i} {'[' * 40}*a{i - 1}{']' * 40}\n" for i in range(1, 10))
    assert "too-deep" in {problem.code for problem in read(f"a:\n  - &a0 x\n{levels}")[1]}


# -- syntax, encodings, line ends


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3", (2, 2)),
        ("a: b: c", (1, 5)),
        ("a:\n  b: 1\n c: 2", (3, 2)),
        ("a: 'b", (1, 6)),
        ("a: @b", (1, 4)),
        ("a:\n\tb: 1", (2, 1)),
        ("a: 1\n\tb: 1", (2, 1)),
        ("%YAML 2.0\n---\na: 1", (1, 1)),
        ("a: !e!x 5", (1, 4)),
    ],
)
def test_a_syntax_error_has_its_place(text: str, place: tuple[int, int]) -> None:
    assert only_problem(text) == (*place, "yaml-syntax")


def test_a_control_character_has_its_place() -> None:
    assert only_problem("a: 1\nb: \x01") == (2, 4, "yaml-syntax")


def test_a_control_character_is_a_problem() -> None:
    assert only_problem("a: 1\nb: \x01")[2] == "yaml-syntax"


def test_what_stands_before_a_syntax_error_is_read() -> None:
    documents, problems = read("a: 1\n---\nb: [\n---\nc: 1")
    assert [document.value for document in documents] == [{"a": 1}]
    assert [problem.code for problem in problems] == ["yaml-syntax"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read_alike_and_places_are_the_same(line_end: str) -> None:
    documents, problems = read(line_end.join(["a:", "  b: 1", "  c: [x,", "    y]", "# end", ""]))
    assert problems == []
    assert documents[0].value == {"a": {"b": 1, "c": ["x", "y"]}}
    assert documents[0].marks.at(("a", "c", 1)) == Place("file.yaml", 4, 5)


def test_a_byte_order_mark_is_not_part_of_the_text_and_moves_no_column(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("\ufeffa: 1\n".encode())
    files = read_files(tmp_path)
    ((name, text),) = files.texts.items()
    (document,), problems = read_documents(name, text, {})
    assert (document.value, problems) == ({"a": 1}, [])
    assert document.marks.at(("a",), is_key=True) == Place(name, 1, 1)


def test_columns_count_characters_not_bytes() -> None:
    documents, _ = read("ä: [é, 😀, x]")
    assert documents[0].marks.at(("ä", 2)) == Place("file.yaml", 1, 11)


# -- environment variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${PORT}", 8080),
        ("'${PORT}'", "8080"),
        ('"${PORT}"', "8080"),
        ("|-\n  ${PORT}", "8080"),
        ("http://core:${PORT}/v1", "http://core:8080/v1"),
        ("${PORT}${PORT}", 80808080),
        ("${ON}", True),
        ("'${ON}'", "true"),
        ("${MISSING:-5}", 5),
        ("'${MISSING:-5}'", "5"),
        ("${MISSING:-}", None),
        ("'${MISSING:-}'", ""),
        ("${EMPTY:-x}", "x"),
        ("${PORT:-1}", 8080),
        ("$PORT", "$PORT"),
        ("${MISSING:-a:-b}", "a:-b"),
    ],
)
def test_a_variable_is_replaced_and_a_plain_value_is_typed_while_a_quoted_one_stays_text(text: str, value: object) -> None:
    assert value_of(f"a: {text}", {"PORT": "8080", "ON": "true", "EMPTY": ""}) == value


def test_what_a_variable_holds_is_never_read_as_yaml() -> None:
    environment = {"LINES": "x\nb: 2", "LIST": "[1, 2]", "ALIAS": "*x", "NESTED": "${PORT}", "TAG": "!!int 5"}
    for name, value in environment.items():
        assert value_of(f"a: ${{{name}}}", environment) == value


def test_keys_have_no_variables() -> None:
    documents, problems = read("${KEY}: 1", {"KEY": "a"})
    assert problems == []
    assert documents[0].value == {"${KEY}": 1}


def test_every_variable_that_is_not_set_is_a_problem_at_its_value_and_says_how_to_mend_it() -> None:
    _, problems = read("a: ${ONE}\nb: ['x-${TWO}-${THREE}']", {})
    assert [(problem.place.line, problem.place.column) for problem in problems] == [(1, 4), (2, 5), (2, 5)]
    assert {problem.code for problem in problems} == {"missing-environment"}
    assert "'ONE'" in problems[0].message
    assert "${ONE:-default}" in problems[0].message


# -- documents and places


def test_a_file_has_any_number_of_documents_and_empty_ones_are_nothing() -> None:
    documents, problems = read("a: 1\n---\n# only a comment\n---\nb: 2\n...\n---\nc: 3\n")
    assert problems == []
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert [document.marks.place.line for document in documents] == [1, 5, 8]


@pytest.mark.parametrize("text", ["- a", "text", "5", "''", "[a: b]"])
def test_a_document_that_is_no_mapping_is_a_problem_and_the_next_one_is_read(text: str) -> None:
    documents, (problem,) = read(f"{text}\n---\na: 1")
    assert (problem.place, problem.code) == (Place("file.yaml", 1, 1), "not-a-mapping")
    assert [document.value for document in documents] == [{"a": 1}]


PLACES = """\
plain: text
quoted: "text"
flow: { key: value, list: [one, { two: 2 }] }
block:
  - first
  -   second: 2
      third: |
        lines
  - - inner
? long
: answer
nothing:
anchor: &mark { x: 1 }
alias: *mark
"""


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("plain",), (1, 1), (1, 8)),
        (("quoted",), (2, 1), (2, 9)),
        (("flow",), (3, 1), (3, 7)),
        (("flow", "key"), (3, 9), (3, 14)),
        (("flow", "list"), (3, 21), (3, 27)),
        (("flow", "list", 0), None, (3, 28)),
        (("flow", "list", 1, "two"), (3, 35), (3, 40)),
        (("block",), (4, 1), (5, 3)),
        (("block", 0), None, (5, 5)),
        (("block", 1, "second"), (6, 7), (6, 15)),
        (("block", 1, "third"), (7, 7), (7, 14)),
        (("block", 2, 0), None, (9, 7)),
        (("long",), (10, 3), (11, 3)),
        (("nothing",), (12, 1), (12, 9)),
        (("anchor", "x"), (13, 17), (13, 20)),
        (("alias", "x"), (13, 17), (13, 20)),
    ],
)
def test_every_kind_of_value_has_a_place_and_its_key_another(
    path: tuple[str | int, ...], key: tuple[int, int] | None, value: tuple[int, int]
) -> None:
    marks = marks_of(PLACES)
    assert marks.at(path) == Place("file.yaml", *value)
    if key is not None:
        assert marks.at(path, is_key=True) == Place("file.yaml", *key)


def marks_of(text: str) -> SourceMap:
    (document,), problems = read(text)
    assert problems == []
    return document.marks


def test_a_path_that_ends_early_has_the_last_place_known() -> None:
    marks = marks_of("a: { b: 1 }")
    assert marks.at(("a", "missing", "deeper")) == marks.at(("a",)) == Place("file.yaml", 1, 4)
    assert marks.at(("missing",), is_key=True) == marks.at(()) == Place("file.yaml", 1, 1)


# -- files


def read_folder(folder: Path) -> tuple[Files, list[str]]:
    files = read_files(folder)
    return files, [str(Path(name).relative_to(folder)) for name in files.texts]


def test_yaml_and_sdl_files_of_all_folders_are_read_in_order_of_path_and_dot_names_are_skipped(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/types.graphql", ".hidden.yaml", ".git/c.yaml", "a/.d/e.yaml", "readme.md", "f.yaml.bak"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"name: {name}\n")
    files, names = read_folder(tmp_path)
    assert names == ["a/types.graphql", "a/z.yml", "b.yaml"]
    assert files.problems == ()
    assert files.texts[str(tmp_path / "b.yaml")] == "name: b.yaml\n"


def test_a_folder_whose_name_ends_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").mkdir()
    (tmp_path / "all.yaml" / "a.yaml").write_text("a: 1")
    assert read_folder(tmp_path)[1] == ["all.yaml/a.yaml"]


def test_links_are_followed_as_mounted_configuration_needs_it(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "config", tmp_path / "..data"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.yaml").write_text("a: 1")
    (folder / "a.yaml").symlink_to(elsewhere / "a.yaml")
    (folder / "more").symlink_to(elsewhere, target_is_directory=True)
    assert read_folder(folder)[1] == ["a.yaml", "more/a.yaml"]


def test_a_link_to_a_folder_above_is_not_followed_round_and_round(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert read_folder(tmp_path)[1] == ["a.yaml"]


def test_a_file_name_that_is_not_utf8_does_not_stop_the_reading(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")).write_text("a: 1")
    assert read_files(tmp_path).version


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    files = read_files(tmp_path / "nowhere")
    assert [(problem.place, problem.code) for problem in files.problems] == [(Place(str(tmp_path / "nowhere")), "no-folder")]


def test_a_file_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff")
    (tmp_path / "b.yaml").write_bytes("a: ä".encode("utf-16"))
    files = read_files(tmp_path)
    assert [(problem.place.file, problem.code) for problem in files.problems] == [
        (str(tmp_path / "a.yaml"), "not-utf8"),
        (str(tmp_path / "b.yaml"), "not-utf8"),
    ]
    assert "save it as UTF-8" in files.problems[0].message


def test_a_file_that_cannot_be_read_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere")
    (tmp_path / "b.yaml").write_text("b: 1")
    files, names = read_folder(tmp_path)
    assert names == ["b.yaml"]
    assert [(problem.place.file, problem.code) for problem in files.problems] == [(str(tmp_path / "a.yaml"), "unreadable-file")]
    assert "No such file" in files.problems[0].message


def test_a_file_of_more_than_10_mb_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * 10_000_001)
    (tmp_path / "b.yaml").write_bytes(b"#" * 10_000_000)
    files, names = read_folder(tmp_path)
    assert names == ["b.yaml"]
    assert [(problem.place.file, problem.code) for problem in files.problems] == [(str(tmp_path / "a.yaml"), "file-too-large")]


def test_a_text_of_more_than_100000_characters_is_a_problem() -> None:
    assert value_of(f"a: {'x' * 100_000}") == "x" * 100_000
    assert only_problem(f"b: 1\na: {'x' * 100_001}") == (2, 4, "scalar-too-large")
    assert only_problem(f"? {'x' * 100_001}\n: 1") == (1, 3, "scalar-too-large")


def test_the_version_follows_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    def version(**texts: str) -> str:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return read_files(tmp_path).version

    first = version(a="x: 1", b="y: 2")
    assert version(b="y: 2", a="x: 1") == first
    assert (
        len({first, version(a="x: 1"), version(a="x: 2", b="y: 2"), version(c="x: 1", b="y: 2"), version(a="y: 2", b="x: 1")})
        == 5
    )


# -- hostile files (reliability case I-09)


BOMB = "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 11))
SOUND = "operation: a\nsteps: [{ name: x, type: value, value: 1 }]\n"
HOSTILE = {
    "python tag": ("a: !!python/object/apply:os.system [id]", "yaml-tag"),
    "alias bomb": (BOMB, "yaml-alias"),
    "open brackets": ("a: " + "[" * 20_000, "too-deep"),
    "closed brackets": ("a: " + "[" * 20_000 + "]" * 20_000, "too-deep"),
    "braces": ("{a: " * 20_000, "too-deep"),
    "dashes": ("- " * 20_000, "too-deep"),
    "question marks": ("? " * 20_000, "too-deep"),
    "duplicate key": ("operation: a\noperation: b", "duplicate-key"),
    "tab": ("operation: a\nsteps:\n\t- x", "yaml-syntax"),
    "text of 5 MB": (f"operation: {'x' * 5_000_000}", "scalar-too-large"),
    "unknown field": (f"{SOUND}country: no", "unknown-key"),
    "key that is not text": (f"{SOUND}[a]: b", "key-not-text"),
    "octal": ("operation: 010\nsteps: [{ name: x, type: value, value: 1 }]", "bad-value"),
    "sexagesimal": (f"{SOUND}deadline_ms: 12:30", "wrong-type"),
    "no for false": ("operation: a\nsteps: [{ name: x, type: value, value: 1, expose: no }]", "wrong-type"),
}
# Each file is loaded by a process of its own, forked from one that has imported everything, so that its peak is its alone.
MEASURE = """
import os, resource, sys, time
from pathlib import Path
from gateway.load.build.build import load
from gateway.errors import ConfigurationError
from resolvers import STEP_TYPES

def measure(folder):
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        load(Path(folder), STEP_TYPES, {})
    except ConfigurationError as error:
        took, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert all(problem.place.line >= 1 and problem.place.column >= 1 for problem in error.problems)
        assert all(problem.place.file == f"{folder}/a.yaml" for problem in error.problems)
        print(folder, took, peak - before, *(problem.code for problem in error.problems), sep="\\t", flush=True)

for folder in sys.argv[1:]:
    if os.fork() == 0:
        measure(folder)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Load every hostile file: its name → seconds, kilobytes, codes."""
    folders = {}
    for name, (text, _) in HOSTILE.items():
        folder = tmp_path_factory.mktemp("hostile")
        (folder / "a.yaml").write_text(text)
        folders[str(folder)] = name
    command = [sys.executable, "-c", MEASURE, *folders]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return {folders[folder]: rest for folder, *rest in rows}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.case("I-09")
def test_a_hostile_file_is_refused_within_two_seconds_and_100_mb(name: str, measured: dict[str, list[str]]) -> None:
    seconds, kilobytes, *codes = measured[name]
    assert HOSTILE[name][1] in codes
    assert float(seconds) < 2
    assert int(kilobytes) < 100_000


# -- whatever stands in a file


YAML_CHARACTERS = st.sampled_from(
    [*"ab01 \n\n\t-:?[]{},#&*!|>'\"%@`~$.<=", "\r", "é", "😀", "\ufeff", "\x00", "\x85", "- ", ": ", "*a", "&a "]
)
YAML_LIKE = st.lists(YAML_CHARACTERS, max_size=60).map("".join)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.one_of(YAML_LIKE, st.text(st.characters(exclude_categories=["Cs"]), max_size=60)))
@example(text="a: ${")
@example(text="a: &a [*a]")
@example(text="? &a {? *a : *a} : *a")
@pytest.mark.case("I-09")
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    documents, problems = read(text)
    for document in documents:
        assert isinstance(document.value, dict)
    for problem in problems:
        assert problem.place.file == "file.yaml"
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        assert problem.code
        assert problem.message


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=st.text("0123456789abcdefxo.+-eE_:nulNLtrueTRUE~", max_size=8))
def test_any_plain_scalar_is_null_a_boolean_a_number_or_the_text_itself(text: str) -> None:
    value = plain_scalar(text)
    assert value is None or isinstance(value, bool | int | float) or value == text
