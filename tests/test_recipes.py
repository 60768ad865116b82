"""The recipes of CONTRIBUTING.md hold: so few files make a new thing of its kind, and all stages know it."""

import json

import pytest

from tests.kit.recipes import CodeCopy
from tests.kit.serving import write_files

# -- a kind of document

SETTINGS, BLUEPRINT, USER = "gateway/settings/documents.py", "gateway/blueprint/blueprint.py", "gateway/blueprint/view.py"
MODEL = '''

class BannerKeys(Keys):
    """``banner:``: what is told to all."""

    example = "banner: { text: hello }"

    text: Annotated[Text, such_as("hello")]
    """The words."""
    is_loud: bool = False
    """Whether it is told loudly."""


class BannerDocumentKeys(Keys):
    """A document with ``banner:``. There is at most one."""

    example = "banner: { text: hello }"

    banner: Annotated[BannerKeys, such_as({"text": "hello"})]
    """What is told."""
'''
OPERATION = "operation: o\nsteps: [ { name: a, type: value, value: 1 } ]\n"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> CodeCopy:
    """Copy the code and give it a document `banner:`."""
    code = CodeCopy(tmp_path_factory.mktemp("banner"))
    code.add(SETTINGS, MODEL, after='    """Step types to the source that a step without `source` uses."""\n')
    row = '    DocumentKind(("banner",), BannerDocumentKeys, "banner", is_single=True),\n'
    code.add(SETTINGS, row, after='"telemetry", is_single=True, default=TelemetryKeys()),\n')
    code.add(BLUEPRINT, "from gateway.settings.documents import BannerKeys\n", after="import Expression\n")
    code.add(BLUEPRINT, "    banner: BannerKeys | None\n", after="    telemetry: TelemetryKeys\n")
    view = '        "banner": blueprint.banner.text if blueprint.banner else None,\n'
    code.add(USER, view, after='        "version": blueprint.version,\n')
    return code


def folder_of(code: CodeCopy, name: str, *documents: str) -> str:
    write_files(code.folder / name, {"a.yaml": "---\n".join([OPERATION, *documents])})
    return name


def test_a_kind_of_document_touches_its_settings_the_blueprint_and_who_uses_it(code: CodeCopy) -> None:
    assert code.touched() == {SETTINGS, BLUEPRINT, USER}


def test_a_kind_of_document_is_read_and_reaches_the_blueprint(code: CodeCopy) -> None:
    checked = code.run("check", folder_of(code, "said", "banner: { text: hello }\n"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shown = [json.loads(code.run("blueprint", folder).stdout) for folder in ("said", folder_of(code, "unsaid"))]
    assert [data["banner"] for data in shown] == ["hello", None]


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        (
            ["banner: { text: hello, is_lood: true }\n"],
            "a.yaml:4:24  banner · banner\n  unknown key 'is_lood'; did you mean 'is_loud'?",
        ),
        (["banner: {}\n"], "a.yaml:4:9  banner · banner\n  the key 'text' is missing; for example 'text: hello'"),
        (["baner: { text: hello }\n"], "a.yaml:4:1  document\n  unknown kind of document; did you mean 'banner'?"),
        (
            ["banner: { text: a }\n", "banner: { text: b }\n"],
            "a.yaml:6:1  banner · banner\n  a second 'banner:', first at mistaken/a.yaml:4:1  [duplicate-name]",
        ),
    ],
    ids=["unknown key", "missing key", "misspelt kind", "a second one"],
)
def test_mistakes_in_a_kind_of_document_are_told_with_their_places(code: CodeCopy, documents: list[str], told: str) -> None:
    checked = code.run("check", folder_of(code, "mistaken", *documents))
    assert checked.returncode == 1
    assert told in checked.stdout + checked.stderr


def test_a_kind_of_document_is_in_the_reference_and_in_the_schema_for_editors(code: CodeCopy) -> None:
    section = code.run("reference", "banner").stdout
    assert section.startswith("### `banner:`")
    assert "| `text` | a text | **required** | The words. Example: `hello` |" in section
    schema = json.loads(code.run("schema", folder_of(code, "unsaid"), "--config").stdout)
    assert {"$ref": "#/$defs/BannerDocumentKeys"} in schema["anyOf"]
    assert set(schema["$defs"]["BannerKeys"]["properties"]) == {"text", "is_loud"}


def test_a_change_of_a_kind_of_document_is_told_and_taken_up(code: CodeCopy) -> None:
    folders = [folder_of(code, f"text-{text}", f"banner: {{ text: {text} }}\n") for text in ("one", "two")]
    assert "banner.text: one → two" in code.run("diff", *folders).stdout
    assert "banner: none → { text: one, is_loud: false }" in code.run("diff", folder_of(code, "unsaid"), "text-one").stdout
    assert code.python(TAKEN_UP).split() == ["True", "True", "False", "two"]


TAKEN_UP = """
from pathlib import Path
from gateway.load.build.build import build_next
from gateway.load.read.files import read_files
from resolvers import STEP_TYPES

folder = Path("text-one")
first = build_next(read_files(folder), STEP_TYPES)
same = build_next(read_files(folder), STEP_TYPES, first.memory)
(folder / "a.yaml").write_text(Path("text-two/a.yaml").read_text())
other = build_next(read_files(folder), STEP_TYPES, first.memory)
units = [built.memory.units["operation o"] for built in (first, other)]
print(same.is_as(first), units[0] is units[1], other.is_as(first), other.blueprint.banner.text)
"""
