"""A YAML mapping → its model, or all that is wrong with it; and the JSON Schema of a model, for editors and messages."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import ErrorDetails

from gateway.settings.documents import DOCUMENT_KINDS
from gateway.settings.mistakes import Misfit, Mistake, mistakes_of
from gateway.settings.vocabulary import Keys, KeysT


def validate(model: type[KeysT], value: Mapping[str, object]) -> KeysT | list[Mistake]:
    """Return the model of a mapping, or everything that is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        documents = {key: json_schema(kind.model) for kind in DOCUMENT_KINDS for key in kind.keys}
        return mistakes_of(json_schema(model), value, [_misfit(detail) for detail in details], documents)


def _misfit(detail: ErrorDetails) -> Misfit:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "unknown", detail["loc"]
    if kind == "missing":
        return "missing", detail["loc"]
    return "type" if kind.endswith("_type") or kind == "none_required" else "value", detail["loc"]


class _InOrder(GenerateJsonSchema):
    """Leaves keys in the order in which they were written."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value


@cache
def json_schema(model: type[Keys]) -> Mapping[str, Any]:
    """Return the JSON Schema of a model as its YAML has it, with the words and examples of its keys; not to be changed."""
    schema: Mapping[str, Any] = _tidy(model.model_json_schema(schema_generator=_InOrder))
    return schema


def _tidy(node: Any) -> Any:
    """Drop the titles that pydantic makes of names, and say of keys with a pattern that there are no others."""
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
