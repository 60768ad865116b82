"""The bytes of an OpenAPI description → its value, checked to be one, with references that can be followed."""

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
    """A reference leads out of the description, to nothing, or to itself."""


@dataclass(frozen=True, slots=True)
class Description:
    """An OpenAPI description: where it came from, and its value."""

    location: str
    root: Schema

    @property
    def title(self) -> str:
        """The title, and the version of what is described."""
        info = mapping(self.root.get("info"))
        return " ".join(sentence(info.get(key), 80) for key in ("title", "version")).strip()

    def resolve(self, value: Any) -> tuple[Any, str | None]:
        """Follow references from a value to what they stand for, and return that and the last name on the way.

        :raises Unresolvable: there is nothing to be found.
        """
        name = None
        for _ in range(MAX_REFERENCES):
            reference = value.get("$ref") if isinstance(value, Mapping) else None
            if not isinstance(reference, str):
                return value, name
            value, name = self._at(reference), unquote(reference.rpartition("/")[2])
        raise Unresolvable(f"a reference leads to itself: {name}")

    def found(self, value: Any) -> Schema:
        """Follow references to a mapping; empty where there is none.

        :raises Unresolvable: there is nothing to be found.
        """
        return mapping(self.resolve(value)[0])

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise Unresolvable(f"a reference to another file: {reference}")
        value: Any = self.root
        for part in reference[1:].split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(value, Mapping):
                value = value.get(key)
            else:
                value = value[int(key)] if isinstance(value, list) and key.isdecimal() and int(key) < len(value) else None
        if value is None:
            raise Unresolvable(f"a reference to nothing: {reference}")
        return value

    def base_url(self, servers: Any) -> str | None:
        """Return the URL of the first of ``servers``, absolute and with its variables replaced; None where there is none."""
        first = mapping(servers[0]) if isinstance(servers, list) and servers else {}
        url = str(first.get("url", "/"))
        for name, variable in mapping(first.get("variables")).items():
            url = url.replace(f"{{{name}}}", str(mapping(variable).get("default", "")))
        absolute = urljoin(self.location, url) if is_url(self.location) else url
        parts = urlsplit(absolute)
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and "{" not in absolute
        return shown(absolute).rstrip("/") if is_usable else None


def mapping(value: Any) -> Schema:
    """Return a mapping, empty where the value is none."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> Iterator[Schema]:
    """Yield the mappings of a list; nothing where the value is none."""
    yield from (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def read_description(location: str, content: bytes) -> Description:
    """Read JSON or YAML and check that it is an OpenAPI description of version 3.

    :raises ImportFault: it is none.
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
        if content.lstrip()[:1] == b"{":
            raise ImportFault(f"{where} is not JSON: {error}") from None
    try:
        return read_plain(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, UnreadableYaml) as error:
        raise ImportFault(f"{where} is neither JSON nor YAML: {' '.join(str(error).split())}") from None
