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
print(same.serves_same_as(first), units[0] is units[1], other.serves_same_as(first), other.blueprint.banner.text)
"""


# -- a kind of fallback

FALLBACK_FILES = (
    "gateway/blueprint/step.py",
    "gateway/settings/parts.py",
    "gateway/load/check/fallback.py",
    "gateway/run/fallback.py",
)
FALLBACK_KIND = '''

@dataclass(frozen=True, slots=True)
class FallbackBlank(Fallback):
    """Give an empty text instead."""

    can_fail: ClassVar[bool] = False

    @property
    def served_by(self) -> str:
        """The word for it."""
        return "blank"

    def describe(self, mask: str | None = None) -> str:
        """Return its word."""
        return "an empty text"

    def data(self, mask: str | None = None) -> dict[str, object]:
        """Return its key."""
        return {"blank": True}
'''
FALLING_BACK = """\
operation: o
steps: [ { name: a, type: api, endpoint: /a, fallback: [ { FALLBACK }, { value: 1 } ] } ]
---
sources: { s: { type: api, base_url: "http://localhost" } }
---
defaults: { api: s }
"""
FALLING_BACK_TEST = """\
test: an empty text stands in
query: "{ o { a } }"
steps: { a: { fault: connect } }
expect: { data: { o: { a: "" } } }
"""


@pytest.fixture(scope="module")
def with_blank(tmp_path_factory: pytest.TempPathFactory) -> CodeCopy:
    """Copy the code and give it a fallback `blank:`."""
    code = CodeCopy(tmp_path_factory.mktemp("blank"))
    kind, key, made, given = FALLBACK_FILES
    code.add(kind, FALLBACK_KIND, after='return {"stale_ms": round(self.max_age * 1000)}\n')
    code.add(key, '    blank: bool | None = None\n    """An empty text."""\n', after='A reload discards the stored values."""\n')
    code.add(made, "from gateway.blueprint.step import FallbackBlank\n", after="from gateway.blueprint import Fallback\n")
    reading = "    if keys.blank is not None:\n        return FallbackBlank()\n"
    code.add(made, reading, after='"""Return the fallback of one entry."""\n')
    code.add(given, "from gateway.blueprint.step import FallbackBlank\n", after="from gateway.blueprint import Fallback\n")
    giving = '    if isinstance(fallback, FallbackBlank):\n        return fallback_success(primary, "", fallback.served_by)\n'
    code.add(
        given,
        giving,
        after="    if isinstance(fallback, FallbackValue):\n        return fallback_success(primary, fallback.value, fallback.served_by)\n",
    )
    for name, text in (("blank", "blank: true"), ("other", "value: 0")):
        write_files(code.folder / name, {"a.yaml": FALLING_BACK.replace("FALLBACK", text), "q.query": "{ o { a } }"})
    write_files(code.folder / "blank", {"a.test.yaml": FALLING_BACK_TEST})
    return code


def test_a_kind_of_fallback_touches_four_files(with_blank: CodeCopy) -> None:
    assert with_blank.touched() == set(FALLBACK_FILES)


def test_a_kind_of_fallback_stands_in_and_is_covered(with_blank: CodeCopy) -> None:
    tested = with_blank.run("test", "blank")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "fallback: blank" not in tested.stdout, "a test reaches it"
    assert "fallback: value" in tested.stdout, "no test reaches it"


def test_a_kind_of_fallback_is_in_plans_views_and_diffs(with_blank: CodeCopy) -> None:
    plan = with_blank.run("plan", "blank", "blank/q.query", "--format", "text").stdout
    assert "else blank  else value" in plan
    for form in ("tree", "mermaid", "dot"):
        assert "else blank" in with_blank.run("plan", "blank", "blank/q.query", "--format", form).stdout
    (step,) = json.loads(with_blank.run("blueprint", "blank").stdout)["steps"]
    assert step["fallback"] == [{"blank": True}, {"value": 1}]
    assert (
        "fallback the constant 0, the constant 1 → an empty text, the constant 1"
        in with_blank.run("diff", "other", "blank").stdout
    )


# -- an aggregation strategy

STRATEGY_FILES = ("gateway/settings/parts.py", "gateway/load/check/composite.py", "gateway/answer/projection.py")
STRATEGY = '''class _Tagged(_Composite):
    """An object with a field for each step, whose name ends with a tag."""

    def _fields(self, exposed: Drafts) -> dict[str, Origin]:
        return {f"{step.field}Tagged": Origin(name) for name, step in exposed.items()}


'''
TAGGED = """\
operation: o
steps: [ { name: a, type: value, value: 1 }, { name: b, type: value, value: 2 } ]
aggregation: { strategy: tagged }
"""
TAGGED_TEST = 'test: fields have tags\nquery: "{ o { bTagged } }"\nexpect: { data: { o: { bTagged: 2 } } }\n'


@pytest.fixture(scope="module")
def with_tagged(tmp_path_factory: pytest.TempPathFactory) -> CodeCopy:
    """Copy the code and give it a strategy `tagged`."""
    code = CodeCopy(tmp_path_factory.mktemp("tagged"))
    word, made, _ = STRATEGY_FILES
    code.add(word, '"tagged", ', after="strategy: Literal[")
    code.add(made, STRATEGY, after="        return returned if isinstance(returned, GraphQLObjectType) else None\n\n\n")
    code.add(made, '"tagged": _Tagged, ', after="STRATEGIES: Mapping[str, type[Aggregation]] = {")
    write_files(code.folder / "tagged", {"a.yaml": TAGGED, "a.test.yaml": TAGGED_TEST, "q.query": "{ o { bTagged } }"})
    return code


def test_an_aggregation_strategy_touches_its_word_its_class_and_at_most_the_projection(with_tagged: CodeCopy) -> None:
    assert with_tagged.touched() <= set(STRATEGY_FILES)


def test_an_aggregation_strategy_makes_the_schema_the_plan_and_the_answer(with_tagged: CodeCopy) -> None:
    assert "type O {\n  aTagged: JSON\n  bTagged: JSON\n}" in with_tagged.run("schema", "tagged").stdout
    plan = with_tagged.run("plan", "tagged", "tagged/q.query", "--format", "text").stdout
    assert "pruned: a" in plan
    tested = with_tagged.run("test", "tagged")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    (operation,) = json.loads(with_tagged.run("blueprint", "tagged").stdout)["operations"]
    assert (operation["strategy"], operation["picked"]) == ("tagged", None)
