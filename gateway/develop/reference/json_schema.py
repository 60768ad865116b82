"""The models of documents, steps and sources → one JSON Schema (draft 2020-12) of a YAML document, for editors and other validators.

It describes the structure of a document only: names, references and GraphQL types are checked by ``stepgraph check``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.contract import StepType
from gateway.load.check.link import NOT_IN_A_LINK
from gateway.settings import DOCUMENT_KINDS, Keys, json_schema
from gateway.settings.cases import CaseKeys

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLACEHOLDER = {
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    "description": "A value of the environment: `${NAME}`, or `${NAME:-default}`.",
}
"""May replace every number, boolean, word and name: it is substituted before the type of a value is checked."""
_OWN_KEYWORDS = {"phrases", "holds"}
"""Keywords of the gateway's own, for its messages: other validators do not know them."""
_BATCH = {"batch"}


def document_schema(step_types: Mapping[str, StepType]) -> dict[str, Any]:
    """Return the JSON Schema of one YAML document of a configuration, given the step types that exist."""
    definitions: dict[str, Any] = {"Placeholder": PLACEHOLDER}
    kinds: list[type[Keys]] = [*(kind.model for kind in DOCUMENT_KINDS), CaseKeys]
    names = [_define(model, definitions) for model in kinds]
    definitions["SharedKeys"]["minProperties"] = 1
    callers = {name: step_type.source_keys for name, step_type in step_types.items() if step_type.source_keys}
    definitions["SharedKeys"]["properties"]["defaults"]["propertyNames"] = {"enum": list(callers)}
    not_in_a_link = {key.rstrip("_") for key, reason in NOT_IN_A_LINK.items() if reason}
    for name, step_type in step_types.items():
        _define_typed(name, step_type.keys, definitions, f"{name} step", without=_BATCH)
        _define_typed(name, step_type.keys, definitions, f"{name} step of a link", without=not_in_a_link)
    for name, keys in callers.items():
        _define_typed(name, keys, definitions, f"{name} source", without=set())
    held = {
        "step": _either(_identifier(f"{name} step") for name in step_types),
        "link step": _either(_identifier(f"{name} step of a link") for name in step_types),
        "source": _either(_identifier(f"{name} source") for name in callers),
    }
    return {
        "$schema": DRAFT,
        "title": "Stepgraph configuration",
        "description": "One YAML document of a configuration, such as an operation, a link, or sources; or a test of it.",
        **_either(names),
        "$defs": {name: _for_editors(schema, held) for name, schema in definitions.items()},
    }


def _either(models: Iterable[str]) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/$defs/{model}"} for model in models]}


def _define(model: type[Keys], definitions: dict[str, Any], title: str | None = None) -> str:
    """Add the definitions of a model and of its parts, each with a title for people; return the name of its definition."""
    schema = {key: dict(value) if isinstance(value, Mapping) else value for key, value in json_schema(model).items()}
    parts = schema.pop("$defs", {})
    definitions |= {name: {"title": name.removesuffix("Keys").lower(), **part} for name, part in parts.items()}
    name = _identifier(title) if title else model.__name__
    definitions[name] = {"title": title or f"{name.removesuffix('Keys').lower()} document", **schema}
    return name


def _identifier(title: str) -> str:
    """Return the name of a definition for use in a ``$ref``, which is a URI and must not have spaces."""
    return title.replace(" ", "_")


def _define_typed(type_name: str, model: type[Keys], definitions: dict[str, Any], title: str, *, without: set[str]) -> None:
    """Add the model of a step or source with its ``type`` as a constant and without some keys. The step of a link needs no name."""
    schema = definitions[_define(model, definitions, title)]
    properties = {key: value for key, value in schema["properties"].items() if key not in without}
    described = properties["type"].get("description", "")
    schema["properties"] = {**properties, "type": {"const": type_name, "description": described}}
    schema["required"] = [key for key in schema["required"] if not (key == "name" and title.endswith("of a link"))]


_LITERALS = {"default", "examples", "enum", "const", "required"}
"""Keywords whose values are data, not schemas."""


def _for_editors(node: Any, held: Mapping[str, Any]) -> Any:
    """Replace mappings with the schemas of what they hold, allow placeholders, and leave out the gateway's own keywords."""
    if isinstance(node, list):
        return [_for_editors(item, held) for item in node]
    if not isinstance(node, dict):
        return node
    if "holds" in node:
        return {**_about(node), **held[node["holds"]]}
    kept = {key: _keyword(key, value, held) for key, value in node.items() if key not in _OWN_KEYWORDS}
    # A default of null only means that the key may be left out, which the schema says anyway.
    if kept.get("default", ...) is None:
        del kept["default"]
    return _or_placeholder(kept) if _is_word(kept) else kept


def _keyword(keyword: str, value: Any, held: Mapping[str, Any]) -> Any:
    if keyword == "description":
        return re.sub(r"\s+", " ", value.replace("``", "`"))
    if keyword == "properties":
        return {key: _for_editors(schema, held) for key, schema in value.items()}
    if keyword == "propertyNames":  # a key is never a placeholder
        return {key: item for key, item in value.items() if key not in _OWN_KEYWORDS}
    return value if keyword in _LITERALS else _for_editors(value, held)


def _is_word(node: Mapping[str, Any]) -> bool:
    return node != PLACEHOLDER and ("enum" in node or "pattern" in node or node.get("type") in {"integer", "number", "boolean"})


def _or_placeholder(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a choice between a node and a placeholder. The description, default and examples move from the node to the choice."""
    about = _about(node)
    value = {key: item for key, item in node.items() if key not in about}
    return {**about, "anyOf": [value, {"$ref": "#/$defs/Placeholder"}]}


def _about(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a node that inform people about its value."""
    return {key: node[key] for key in ("description", "default", "examples") if key in node}
