"""Decode an OpenAPI description, check its version, and resolve the references in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import orjson

from gateway.develop.importing.fetch import is_url, shown
from gateway.develop.importing.names import sentence
from gateway.develop.importing.result import ImportFault
from gateway.load.read.yaml_source import UnreadableYaml, read_plain

Schema = Mapping[str, Any]
MAX_REFERENCES = 50


class Unresolvable(Exception):
    """A reference points to another file, to nothing, or to itself."""


@dataclass(frozen=True, slots=True)
class Description:
    """An OpenAPI description: its path or URL, and its decoded root."""

    location: str
    root: Schema

    @property
    def title(self) -> str:
        """The title and version of the API."""
        info = mapping(self.root.get("info"))
        return " ".join(sentence(info.get(key), 80) for key in ("title", "version")).strip()

    def resolve(self, value: Any) -> tuple[Any, str | None]:
        """Resolve a value that may be a reference; return the target and the name of the last reference, if any.

        :raises Unresolvable: the target does not exist, or references form a cycle.
        """
        name = None
        for _ in range(MAX_REFERENCES):
            reference = value.get("$ref") if isinstance(value, Mapping) else None
            if not isinstance(reference, str):
                return value, name
            value, name = self._at(reference), unquote(reference.rpartition("/")[2])
        raise Unresolvable(f"a reference leads to itself: {name}")

    def resolve_mapping(self, value: Any) -> Schema:
        """Resolve a value that may be a reference to a mapping; empty if the target is not a mapping.

        :raises Unresolvable: the target does not exist, or references form a cycle.
        """
        return mapping(self.resolve(value)[0])

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise Unresolvable(f"a reference to another file: {reference}")
        value: Any = self.root
        for part in reference[1:].split("/")[1:]:
            # JSON Pointer (RFC 6901 4): "~1" before "~0", or else "~01" would become "/".
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(value, Mapping):
                value = value.get(key)
            else:
                value = value[int(key)] if isinstance(value, list) and key.isdecimal() and int(key) < len(value) else None
        if value is None:
            raise Unresolvable(f"a reference to nothing: {reference}")
        return value

    def base_url(self, servers: Any) -> str | None:
        """Return the absolute URL of the first of ``servers``, with its variables replaced; None if there is none that can be used."""
        first = mapping(servers[0]) if isinstance(servers, list) and servers else {}
        url = str(first.get("url", "/"))
        for name, variable in mapping(first.get("variables")).items():
            url = url.replace(f"{{{name}}}", str(mapping(variable).get("default", "")))
        absolute = urljoin(self.location, url) if is_url(self.location) else url
        parts = urlsplit(absolute)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and "{" not in absolute
        return shown(absolute).rstrip("/") if is_usable else None


def mapping(value: Any) -> Schema:
    """Return a value if it is a mapping, else an empty one: descriptions are not validated, so any value can have any type."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> Iterator[Schema]:
    """Yield the mappings in a list; nothing if the value is not a list."""
    yield from (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def read_description(location: str, content: bytes) -> Description:
    """Decode JSON or YAML and check that it is an OpenAPI description of version 3.0 or 3.1.

    :raises ImportFault: it is not.
    """
    where = shown(location)
    root = _decode(where, content)
    if not isinstance(root, Mapping):
        raise ImportFault(f"{where} is no OpenAPI description: it is not a mapping")
    if "swagger" in root:
        version = root["swagger"]
        raise ImportFault(
            f"{where} is Swagger {version}, which came before OpenAPI 3; convert it first, with swagger2openapi say"
        )
    version = root.get("openapi")
    if version is None:
        raise ImportFault(f"{where} is no OpenAPI description: it has no key 'openapi'")
    if not str(version).startswith(("3.0", "3.1")):
        raise ImportFault(f"{where} is OpenAPI {version}; 3.0 and 3.1 can be imported")
    if not mapping(root.get("paths")):
        raise ImportFault(f"{where} describes no paths, so there is nothing to import")
    return Description(location, root)


def _decode(where: str, content: bytes) -> object:
    if content.lstrip()[:1] in {b"<", b""}:
        raise ImportFault(f"{where} is no OpenAPI description: it is {'a web page' if content.strip() else 'empty'}")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        # Meant to be JSON, so the error of the JSON parser is the helpful one.
        if content.lstrip()[:1] == b"{":
            raise ImportFault(f"{where} is not JSON: {error}") from None
    try:
        return read_plain(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, UnreadableYaml) as error:
        raise ImportFault(f"{where} is neither JSON nor YAML: {' '.join(str(error).split())}") from None
