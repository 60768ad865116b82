"""A YAML mapping → its model, or all mistakes in it; and the JSON Schema of a model, for editors and error messages."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails

from gateway.settings.documents import DOCUMENT_KINDS
from gateway.settings.mistakes import Mismatch, Mistake, mistakes_of
from gateway.settings.vocabulary import Keys, KeysT


def validate(model: type[KeysT], value: Mapping[str, object]) -> KeysT | list[Mistake]:
    """Return the model of a mapping, or all mistakes in it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        documents = {key: json_schema(kind.model) for kind in DOCUMENT_KINDS for key in kind.keys}
        return mistakes_of(json_schema(model), value, [_mismatch(detail) for detail in details], documents)


def _mismatch(detail: ErrorDetails) -> Mismatch:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown", detail["loc"]
    if kind == "missing":
        return "missing", detail["loc"]
    return "type" if kind.endswith("_type") or kind == "none_required" else "value", detail["loc"]


class _InOrder(GenerateJsonSchema):
    """Keeps keys in the order of the model: people read them. pydantic would sort them by name."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


@cache
def json_schema(model: type[Keys]) -> Mapping[str, Any]:
    """Return the JSON Schema of a model in terms of its YAML keys, with descriptions and examples. The result is shared: do not modify it."""
    schema: Mapping[str, Any] = _tidy(model.model_json_schema(schema_generator=_InOrder))
    return schema


def _tidy(node: Any) -> Any:
    """Drop the titles that pydantic derives from names, and turn ``patternProperties`` into ``propertyNames``: keys of no other pattern."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {key: _tidy(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if "patternProperties" in tidy:
        ((pattern, values),) = tidy.pop("patternProperties").items()
        tidy |= {
            "propertyNames": {**tidy.get("propertyNames", {}), "type": "string", "pattern": pattern},
            "additionalProperties": values,
        }
    return tidy
