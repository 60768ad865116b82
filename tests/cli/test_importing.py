"""The command ``stepgraph import``: where it writes, what it prints, and what it refuses."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import command_line
from gateway.develop.importing.folder import write_folder
from gateway.develop.importing.result import ImportFault
from gateway.develop.importing.yaml_text import CommentedDocument, CommentedValue, yaml_text
from gateway.load.read.yaml_source import read_documents, read_plain
from tests.kit.paths import TESTS
from tests.kit.serving import run_command

DEMO = str(TESTS / "imports" / "demo.yaml")


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """Make a small database and return its URL."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript("CREATE TABLE customers (id INTEGER PRIMARY KEY, photo BLOB)")
    return f"sqlite:///{tmp_path / 'shop.db'}"


def test_an_import_is_written_checked_and_summed_up(tmp_path: Path, shop: str) -> None:
    folder = tmp_path / "new" / "shop"
    done = run_command("import", "database", shop, "--into", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"✓ {folder}: 2 operations, 1 type\n  source.yaml, operations.yaml, types.graphql\n" in done.stdout
    assert "1  a column of bytes, which JSON cannot carry; it is: customers.photo" in done.stdout
    assert f"Next: stepgraph check {folder}" in done.stdout
    checked = run_command("check", str(folder))
    assert checked.returncode == 0
    assert "2 operations, 1 source" in checked.stdout


def test_nothing_is_overwritten_unless_it_is_forced(tmp_path: Path, shop: str) -> None:
    (tmp_path / "operations.yaml").write_text("mine", "utf-8")
    refused = run_command("import", "database", shop, "--into", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"✗ {tmp_path} has operations.yaml already; replace with --force, or choose another folder with --into\n"
    )
    assert (tmp_path / "operations.yaml").read_text("utf-8") == "mine"
    assert not (tmp_path / "source.yaml").exists()
    assert run_command("import", "database", shop, "--into", str(tmp_path), "--force").returncode == 0
    assert "operation: customer" in (tmp_path / "operations.yaml").read_text("utf-8")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ImportFault, match=r"file cannot be written: (Not a directory|File exists)"):
        write_folder(tmp_path / "file", {"a.yaml": ""}, may_replace=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["openapi", "nowhere.yaml"], "✗ there is no file nowhere.yaml; give the path of a file, or a URL"),
        (["openapi", "http://127.0.0.1:1/openapi.json"], "✗ http://127.0.0.1:1/openapi.json is not reachable: "),
        (["openapi", "."], "✗ . cannot be read: Is a directory"),
        (["openapi", DEMO], "say where the service is with --base-url"),
        (["openapi", DEMO, "--base-url", "ftp://x"], "'ftp://x' is not a URL such as https://api.example.com/v1"),
        (["graphql", "nowhere"], "✗ 'nowhere' is not a URL such as https://api.example.com/graphql"),
        (["graphql", "http://127.0.0.1:1/"], "✗ http://127.0.0.1:1/ is not reachable: "),
        (["graphql", "http://127.0.0.1:1/", "--header", "no-colon"], "a header is written as 'name: value'"),
        (["database", "sqlite:///nowhere.db"], "✗ there is no file nowhere.db"),
        (["database", "sqlite:///x.db", "--name", "a-b"], "a name has letters, digits and underscores"),
    ],
)
def test_what_cannot_be_imported_is_told_without_a_traceback(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(command_line(), ["import", *arguments])
    assert done.exit_code in {1, 2}
    assert done.stdout == ""
    assert message in " ".join(done.stderr.replace("│", "").split())
    assert done.exception is None or isinstance(done.exception, SystemExit)


# -- the writer


VALUES = {
    **{f"t{place}": text for place, text in enumerate((
        "", " ", "no", "Yes", "null", "1", "1.5", "0x10", "~", "true", "a: b", "a #b", "- a", "[a]", "{a}", "{{", "a,b", "é", "'", '"', "a\nb",
        "*a", "&a", "!a", "|", ">", "%", "@", "`", "?", "a:", ":a", "/a/{b}", "https://a.example/b?c=d", "[Post!]!", "ID!", "2024-01-01",
        "a" * 300, "word " * 60, "word " * 60 + "end", "- " + "word " * 60 + "end", "a  b " * 40 + "c", "#" + " a" * 100,
    ))},
    "number": 1, "float": 1.5, "none": None, "yes": True, "list": ["a", "b, c", 1, [], {}], "maps": [{"a": 1}, {"b": {"c": ["d"]}}],
    "long": {f"key {place}": "value " * 5 for place in range(9)}, "empty": {}, "odd: key": 1, "on": "off",
}  # fmt: skip


def test_whatever_is_written_is_read_back_as_it_was() -> None:
    text = yaml_text(
        [CommentedDocument(VALUES, ("a comment\nof two lines",)), CommentedDocument({"a": VALUES})], ("header",), ("footer",)
    )
    documents, problems = read_documents("f.yaml", text, {})
    assert problems == []
    assert [document.value for document in documents] == [VALUES, {"a": VALUES}]
    folded = [line for line in text.splitlines() if line.startswith("  word")]
    assert len(folded) == 3
    assert max(map(len, folded)) <= 112


def test_comments_stand_before_their_key() -> None:
    written = yaml_text([CommentedDocument({"a": {"b": CommentedValue(1, ("why",)), "c": 2}})])
    assert written == "a:\n  # why\n  b: 1\n  c: 2\n"


def test_foreign_yaml_is_read_as_version_1_2_and_its_aliases_do_not_multiply() -> None:
    assert read_plain("a: no\n200: 010\nb: 12:30\nc: 2024-01-01\nd: '1'\ne: [on, ~, 1.5, '${X}']") == {
        "a": "no",
        "200": "010",
        "b": "12:30",
        "c": "2024-01-01",
        "d": "1",
        "e": ["on", None, 1.5, "${X}"],
    }
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    read = read_plain(bomb)
    assert isinstance(read, dict)
    assert read["a2"][0] is read["a1"]
