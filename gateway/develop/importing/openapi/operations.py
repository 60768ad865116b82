"""The GETs of an OpenAPI description → operations of the configuration, with their arguments and types."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.develop.importing.names import ID, argument_names, camel, lower_camel, sentence, snake, words
from gateway.develop.importing.openapi.description import Description, Schema, Unresolvable, mapping, mappings
from gateway.develop.importing.openapi.types import ConvertedTypes
from gateway.develop.importing.result import Omission
from gateway.develop.importing.yaml_text import escape

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_UNUSABLE_PATH = re.compile(r"[#\\\s]|^//|^[^/]")
_IGNORED_HEADERS = {"accept", "content-type", "authorization"}
"""Header parameters that must be ignored (OpenAPI specification, Parameter Object)."""


class NotExpressible(Exception):
    """A GET cannot be expressed as an operation. The message is the reason."""


@dataclass(slots=True)
class Inputs:
    """The inputs of a call: the operation's arguments (name → type), and the templates that use them."""

    args: dict[str, str] = field(default_factory=dict)
    placeholders: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """Comments on optional parameters that cannot be expressed."""


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """A GET as an operation: its document with comments, its tag, and the types that it refers to."""

    document: Mapping[str, object]
    comments: tuple[str, ...]
    tag: str
    types: tuple[str, ...]


def gets(description: Description) -> Iterator[tuple[str, Schema, Schema]]:
    """Yield the path, the path item and the GET of each path that has a GET."""
    for path, item in mapping(description.root.get("paths")).items():
        try:
            path_item = description.resolve_mapping(item)
        except Unresolvable:
            continue
        if isinstance(path_item.get("get"), Mapping):
            yield path, path_item, path_item["get"]


def operation_name(path: str, get: Schema) -> str:
    """Return the name for a GET: from its ``operationId``, or from its path, such as ``usersByIdPosts``."""
    operation_id = get.get("operationId")
    if isinstance(operation_id, str) and words(operation_id):
        return lower_camel(operation_id)
    parts = ["By " + part if part.startswith("{") else part for part in path.split("/") if part]
    return lower_camel(" ".join(parts) or "root") if parts else "root"


class Operations:
    """Builds operations from GETs; ``types`` collects the types that they need."""

    def __init__(self, description: Description, types: ConvertedTypes) -> None:
        self._description = description
        self._types = types

    def build(self, name: str, source: str, path: str, item: Schema, get: Schema) -> ApiOperation:
        """Return the operation for a GET.

        :raises NotExpressible: the GET cannot be expressed as an operation.
        """
        if _UNUSABLE_PATH.search(path):
            raise NotExpressible("a path with characters that an endpoint cannot have")
        if mapping(get.get("requestBody")).get("required") is True:
            raise NotExpressible("a GET with a body")
        returns = self._returns(name, get)
        inputs = self._inputs(name, path, item, get)
        endpoint = _PLACEHOLDER.sub(lambda match: f"{{{inputs.placeholders[match[1]]}}}", path)
        # A step must not have the name of an argument: templates refer to both.
        step_name = next(
            word for word in ("list" if returns.startswith("[") else "one", "answer", "call") if word not in inputs.args
        )
        step: dict[str, object] = {"name": step_name, "type": "api", "source": source, "endpoint": endpoint}
        step |= {"query": inputs.query} if inputs.query else {}
        step |= {"headers": inputs.headers} if inputs.headers else {}
        step["returns"] = returns
        # The path of one thing by its key: a declared 404 means that there is no such thing, which is null.
        if path.endswith("}") and "404" in mapping(get.get("responses")):
            step["not_found"] = None
        description = escape(sentence(get.get("summary")) or sentence(get.get("description")))
        document: dict[str, object] = {"operation": name, **({"description": description} if description else {})}
        document |= {"args": inputs.args} if inputs.args else {}
        document |= {"steps": [step], "aggregation": {"strategy": "pick", "step": step_name}}
        deprecated = ("deprecated",) if get.get("deprecated") is True else ()
        tags = get.get("tags")
        return ApiOperation(
            document,
            (*deprecated, *inputs.left_out),
            str(tags[0]) if isinstance(tags, list) and tags else "",
            (returns, *inputs.args.values()),
        )

    # -- the response

    def _returns(self, name: str, get: Schema) -> str:
        """Return the type of the first successful response (2xx, or ``default``) that is JSON."""
        responses = mapping(get.get("responses"))
        successes = sorted(status for status in responses if str(status).startswith("2")) or ["default"]
        kinds: list[str] = []
        for status in successes:
            try:
                content = mapping(self._description.resolve_mapping(responses.get(status)).get("content"))
            except Unresolvable as error:
                raise NotExpressible("a response that leads nowhere or elsewhere") from error
            kinds += content
            media_type = next((kind for kind in content if _is_json(kind)), None)
            if media_type:
                schema = mapping(content[media_type]).get("schema", {})
                return self._types.convert(schema, camel(name), f"operation {name}").type
        if kinds:
            raise NotExpressible(f"a response that is {kinds[0].partition(';')[0]}, not JSON")
        raise NotExpressible("a response without content")

    # -- the parameters

    def _inputs(self, name: str, path: str, item: Schema, get: Schema) -> Inputs:
        inputs, names = Inputs(), argument_names()
        in_path = list(dict.fromkeys(_PLACEHOLDER.findall(path)))
        declared = self._parameters(item, get)
        # Descriptions sometimes do not declare a path parameter, or declare one that the path does not have.
        for key in in_path:
            declared.setdefault((key, "path"), {"name": key, "in": "path", "required": True})
        for (key, place), parameter in declared.items():
            if place == "path" and key not in in_path:
                continue
            is_required = place == "path" or parameter.get("required") is True
            obstacle = self._obstacle(place, parameter)
            if obstacle and is_required:
                raise NotExpressible(f"a required {place} parameter that is {obstacle}")
            if obstacle:
                inputs.left_out.append(f"left out: the {place} parameter '{key}', {obstacle}")
                self._types.left_out.append(Omission(f"a {place} parameter that is {obstacle}", f"{name}({key})"))
            elif place != "header" or (is_required and key.lower() not in _IGNORED_HEADERS):
                self._add(inputs, names.take(snake(key)), name, parameter, is_required=is_required)
            elif not is_required:
                inputs.left_out.append(f"left out: the header '{key}', which is not required")
        return inputs

    def _parameters(self, item: Schema, get: Schema) -> dict[tuple[str, str], Schema]:
        """Return the parameters of a GET by name and location (``in``); its own override those of its path item."""
        parameters: dict[tuple[str, str], Schema] = {}
        for raw in (*mappings(item.get("parameters")), *mappings(get.get("parameters"))):
            try:
                parameter = self._description.resolve_mapping(raw)
            except Unresolvable as error:
                raise NotExpressible("a parameter that leads nowhere or elsewhere") from error
            parameters[str(parameter.get("name")), str(parameter.get("in"))] = parameter
        return parameters

    def _obstacle(self, place: str, parameter: Schema) -> str | None:
        """Return why a parameter cannot be an argument; None if it can."""
        if place == "cookie":
            return "in a cookie"
        if "content" in parameter:
            return None
        is_object = self._types.is_object(parameter.get("schema", {})) or parameter.get("style") == "deepObject"
        return "an object" if is_object else None

    def _add(self, inputs: Inputs, argument: str, name: str, parameter: Schema, *, is_required: bool) -> None:
        key, place = str(parameter["name"]), parameter["in"]
        fixed = self._fixed_value(parameter)
        if place == "header" and fixed is not None:
            inputs.headers[key] = escape(fixed).replace("{", "{{").replace("}", "}}")
            return
        kind = self._argument_type(parameter, f"{camel(name)}{camel(key)}", f"{name}({key})")
        inputs.args[argument] = f"{kind}!" if is_required else kind
        if place == "path":
            inputs.placeholders[key] = argument
        else:
            values = inputs.query if place == "query" else inputs.headers
            values[key] = f"{{{argument}}}" if is_required else f"{{{argument}?}}"

    def _argument_type(self, parameter: Schema, hint: str, where: str) -> str:
        """Return the type of an argument. A list stays a list only if each item is sent as a parameter of its own (``explode``)."""
        if "content" in parameter:
            return "String"
        kind = self._types.input_type(parameter.get("schema", {}), hint, where)
        if kind.startswith("["):
            is_repeated = parameter.get("in") == "query" and parameter.get("explode", True) is True
            return kind if is_repeated else "String"
        return "ID" if kind in {"Int", "BigInt", "String", "UUID"} and ID.search(str(parameter.get("name"))) else kind

    def _schema(self, parameter: Schema) -> Any:
        try:
            return self._description.resolve_mapping(parameter.get("schema", {}))
        except Unresolvable:
            return {}

    def _fixed_value(self, parameter: Schema) -> str | None:
        """Return the only possible value of a parameter, or its default."""
        schema = self._schema(parameter)
        values = schema.get("enum")
        fixed = values[0] if isinstance(values, list) and len(values) == 1 else schema.get("const", schema.get("default"))
        return str(fixed) if isinstance(fixed, str | int | float) and not isinstance(fixed, bool) else None


def _is_json(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind in {"application/json", "*/*", "application/*"} or kind.endswith("+json")
