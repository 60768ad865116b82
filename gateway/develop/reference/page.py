"""The models of documents, steps and sources → the configuration reference, a Markdown page: every key with its values, default and meaning."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.contract import StepType
from gateway.load.check.link import NOT_IN_A_LINK
from gateway.settings import DOCUMENT_KINDS, DocumentKind, Keys, SourceKeys, StepKeys, json_schema
from gateway.settings.cases import CaseKeys
from gateway.settings.words import Node, example_of, flow, in_words

COMMAND = "stepgraph reference > schema_configs/REFERENCE.md"
_LONGEST_EXAMPLE = 60
_HEAD = f"""\
# Configuration reference

Every key of every document, generated from the models with which the gateway reads them: `{COMMAND}`.

A configuration is a folder of `*.yaml` and `*.graphql` files. A YAML file may have several documents, with a line `---` between them.
The kind of a document follows from the key that is its title here. YAML is read by the rules of version 1.2 (core schema): `no`, `on` and
`12:30` are texts. `${{NAME}}` and `${{NAME:-default}}` in a value are replaced with environment variables. A name has letters, digits and
underscores, and does not begin with a digit. A *template* is a value whose texts may contain references: `{{argument}}`,
`{{step.field}}`, `{{request.headers.x-name}}`; with `{{name?}}` the whole key is left out when there is no value.
"""


_TESTS = """\
Documents of files `*.test.yaml`, which `stepgraph test` runs. They are not part of the configuration. Upstreams are mocked and time is virtual.
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page. ``names`` are its names for ``stepgraph reference <name>``, ``depth`` is the level of its heading."""

    names: tuple[str, ...]
    title: str
    depth: int
    body: str

    def __str__(self) -> str:
        return f"{'#' * self.depth} {self.title}\n\n{self.body}"


def reference_page(step_types: Mapping[str, StepType]) -> str:
    """Return the whole page."""
    sections = reference_sections(step_types)
    contents = [f"{'  ' * (section.depth - 2)}- [{section.title}](#{_anchor(section.title)})" for section in sections]
    return "\n".join([_HEAD, *contents, "", *(str(section) for section in sections)])


def reference_sections(step_types: Mapping[str, StepType]) -> list[Section]:
    """Return the sections in order: documents, steps, sources, tests, and the parts of all these."""
    sources = [step_type for step_type in step_types.values() if step_type.source_keys]
    of_types = [keys for step_type in step_types.values() for keys in (step_type.keys, step_type.source_keys) if keys]
    parts = _parts([*(kind.model for kind in DOCUMENT_KINDS), StepKeys, SourceKeys, *of_types, CaseKeys])
    keys_of_documents = {key for kind in DOCUMENT_KINDS for key in kind.keys}
    return [
        Section(("documents",), "Documents", 2, "Each document is one of these.\n"),
        *map(_document, DOCUMENT_KINDS),
        Section(("step", "steps"), "Steps", 2, _steps()),
        *(_step(step_type) for step_type in step_types.values()),
        Section(("source",), "Sources", 2, f"The keys of every source, in the mapping under its name.\n\n{_table(SourceKeys)}"),
        *(_source(step_type) for step_type in sources),
        Section(("tests",), "Tests", 2, _TESTS),
        Section(("test",), "`test:`", 3, _with_example(CaseKeys, _table(CaseKeys))),
        Section(("parts",), "Parts", 2, "Mappings that are the values of other keys.\n"),
        *(
            Section((_part_name(model),), f"`{_part_name(model)}:`", 3, _with_example(model, _table(model)))
            for model in parts
            if _part_name(model) not in keys_of_documents
        ),
    ]


def _document(kind: DocumentKind) -> Section:
    own = [part for part in _parts([kind.model]) if _part_name(part) in kind.keys]
    tables = "\n".join([_table(kind.model), *(f"Under `{_part_name(part)}:`\n\n{_table(part)}" for part in own)])
    return Section(kind.keys, ", ".join(f"`{key}:`" for key in kind.keys), 3, _with_example(kind.model, tables))


def _steps() -> str:
    reasons = [f"`{key.rstrip('_')}` ({reason})" for key, reason in NOT_IN_A_LINK.items() if reason]
    return (
        "The keys that steps of every type have. The step of a link needs no `name`, and must not have these keys: "
        f"{', '.join(reasons)}.\n`batch` is only for the step of a link.\n\n{_table(StepKeys)}"
    )


def _step(step_type: StepType) -> Section:
    keys = [f"`{key}`" for key in step_type.templated]
    templated = f"{_joined(keys)} {'is a template' if len(keys) == 1 else 'are templates'}. " if keys else ""
    timeout = f"Without `timeout_ms` at the step or its source, an attempt has {step_type.timeout_ms} ms.\n\n"
    body = _with_example(step_type.keys, f"{templated}{timeout}{_table(step_type.keys, StepKeys)}")
    return Section((step_type.name,), f"`type: {step_type.name}`", 3, body)


def _source(step_type: StepType) -> Section:
    assert step_type.source_keys is not None
    body = _with_example(step_type.source_keys, _table(step_type.source_keys, SourceKeys))
    return Section((f"{step_type.name} source",), f"A source of `type: {step_type.name}`", 3, body)


def _with_example(model: type[Keys], text: str) -> str:
    example = f"\n```yaml\n{model.example.rstrip()}\n```\n" if model.example else ""
    return f"{_prose(model.__doc__ or '')}\n\n{text}{example}"


def _table(model: type[Keys], inherited: type[Keys] | None = None) -> str:
    """Return the keys of a model as a Markdown table, without those that it inherits."""
    schema = json_schema(model)
    left_out = json_schema(inherited)["properties"] if inherited else {}
    rows = [
        f"| `{key}` | {_cell(_kind(node, schema))} | {_cell(_default(key, node, schema))} | {_cell(_meaning(node, schema))} |"
        for key, node in schema["properties"].items()
        if key not in left_out
    ]
    return "\n".join(["| key | takes | default | meaning |", "|---|---|---|---|", *rows, ""])


def _kind(node: Node, schema: Node) -> str:
    parts = [f"[`{_part_name_of(ref)}:`](#{_part_name_of(ref)})" for ref in _refs(node)]
    if parts:
        return f"a list of {parts[0]} entries" if node.get("type") == "array" else parts[0]
    # The head of the page explains what a name is, so the rows do not repeat it.
    return re.sub(r" \(letters.*?front\)", "", in_words(node, schema.get("$defs", {})))


def _default(key: str, node: Node, schema: Node) -> str:
    if key in schema.get("required", ()):
        return "**required**"
    default = node.get("default")
    if default is None or default in ({}, []) or isinstance(default, dict):
        return ""
    return f"`{flow(default)}`"


def _meaning(node: Node, schema: Node) -> str:
    meaning = _prose(node.get("description", ""))
    example = None if _refs(node) else example_of(node, schema.get("$defs", {}))
    is_wanted = example is not None and len(example) <= _LONGEST_EXAMPLE and f"`{example}`" not in meaning
    return f"{meaning} Example: `{example}`" if is_wanted else meaning


def _parts(models: Sequence[type[Keys]]) -> list[type[Keys]]:
    """Return the models that are parts of some models, in the order in which these refer to them."""
    named = {model.__name__: model for model in _all_models(Keys)}
    refs = dict.fromkeys(name for model in models for name in json_schema(model).get("$defs", {}))
    return [named[name] for name in refs]


def _all_models(model: type[Keys]) -> Iterator[type[Keys]]:
    for other in model.__subclasses__():
        yield other
        yield from _all_models(other)


def _refs(node: Node) -> list[str]:
    nodes = [node, *node.get("anyOf", ()), node.get("items", {})]
    return [found["$ref"].rpartition("/")[2] for found in nodes if isinstance(found, Mapping) and "$ref" in found]


def _part_name(model: type[Keys]) -> str:
    return _part_name_of(model.__name__)


def _part_name_of(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Keys")).lower()


def _joined(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _prose(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("``", "`")).strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")
