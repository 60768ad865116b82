"""An OpenAPI description → configuration files: the sources, the operations (one file per tag if there are many), the types."""

from collections import defaultdict
from collections.abc import Mapping

from gateway.develop.importing.fetch import is_url, read_location, shown
from gateway.develop.importing.names import UniqueNames, snake, source_name
from gateway.develop.importing.openapi.description import Description, mapping, read_description
from gateway.develop.importing.openapi.operations import ApiOperation, NotExpressible, Operations, gets, operation_name
from gateway.develop.importing.openapi.types import ConvertedTypes
from gateway.develop.importing.result import Imported, ImportFault, Omission
from gateway.develop.importing.sdl_text import reachable, sdl_text
from gateway.develop.importing.yaml_text import CommentedDocument, CommentedValue, yaml_text

MAX_IN_ONE_FILE = 30
"""Up to how many operations are written to one file; more are divided by tag."""
_NO_SERVER = "it names no absolute server; say where the service is with --base-url"


def import_openapi(location: str, headers: Mapping[str, str], base_url: str | None = None, name: str | None = None) -> Imported:
    """Import the description at a path or URL. ``base_url`` replaces the servers of the description.

    :raises ImportFault: there is no description, or it has no GET that can be an operation.
    """
    return translate(read_description(location, read_location(location, headers)), base_url, name)


def translate(description: Description, base_url: str | None, name: str | None) -> Imported:
    """Convert a description to a configuration.

    :raises ImportFault: it has no GET that can be an operation, or no absolute server URL.
    """
    types = ConvertedTypes(description)
    name = name or source_name(str(mapping(description.root.get("info")).get("title", "")))
    converter = _Converter(description, types, base_url, name)
    converter.convert()
    if not converter.operations:
        raise ImportFault(f"{shown(description.location)} has no GET that can be an operation{_because(converter.skipped)}")
    texts = [text for operation in converter.operations for text in operation.types]
    # Some types were named for operations that turned out not to be expressible; only those in use are written.
    declared = reachable(types.complete(), texts)
    origin = f"Imported from {shown(description.location)}" + (f" ({description.title})" if description.title else "")
    files = {"source.yaml": converter.source_text(origin), **_operation_files(converter.operations, origin)}
    if sdl := sdl_text(declared, texts):
        files["types.graphql"] = f"# {origin}.\n\n{sdl}"
    left_out = (*converter.skipped, *types.left_out)
    return Imported(converter.name, files, len(converter.operations), len(declared), left_out=left_out)


class _Converter:
    """Converts the GETs of a description to operations and sources; ``skipped`` are those that cannot be operations."""

    def __init__(self, description: Description, types: ConvertedTypes, base_url: str | None, name: str) -> None:
        self.name = name
        self.operations: list[ApiOperation] = []
        self.skipped: list[Omission] = []
        self._description = description
        self._build = Operations(description, types)
        self._names = UniqueNames()
        self._source_names = UniqueNames()
        self._fixed = description.base_url([{"url": base_url}]) if base_url and is_url(base_url) else None
        if base_url and self._fixed is None:
            raise ImportFault(f"'{base_url}' is not a URL such as https://api.example.com/v1")
        self._sources: dict[str, str] = {}
        """Base URL → name of its source."""

    def convert(self) -> None:
        """Convert every GET to an operation, or record why it is skipped."""
        for path, item, get in gets(self._description):
            try:
                source = self._source(item.get("servers"), get.get("servers"))
                name = self._names.take(operation_name(path, get))
                self.operations.append(self._build.build(name, source, path, item, get))
            except NotExpressible as reason:
                self.skipped.append(Omission(str(reason), f"GET {path}"))

    def source_text(self, origin: str) -> str:
        """Return the text of the file with the sources."""
        sources: dict[str, object] = {}
        for url, name in self._sources.items():
            sources[name] = {
                "type": "api",
                "base_url": CommentedValue(f"${{{name.upper()}_URL:-{url}}}", tuple(self._security())),
            }
        header = (f"{origin} by 'stepgraph import openapi'; change it as you like.",)
        footer = [f"left out: {item.subject}: {item.reason}" for item in self.skipped]
        return yaml_text([CommentedDocument({"sources": sources})], header, footer)

    def _source(self, *more_servers: object) -> str:
        """Return the name of a GET's source: that of its own server, else of its path's, else of the description's."""
        own = next((servers for servers in reversed(more_servers) if servers), None)
        url = self._fixed or self._description.base_url(own or self._description.root.get("servers"))
        if url is None:
            raise ImportFault(f"{shown(self._description.location)}: {_NO_SERVER}")
        if url not in self._sources:
            self._sources[url] = self._source_names.take(self.name)
        return self._sources[url]

    def _security(self) -> list[str]:
        schemes = mapping(mapping(self._description.root.get("components")).get("securitySchemes"))
        lines = []
        for scheme in schemes.values():
            kind, place = mapping(scheme).get("type"), mapping(scheme).get("in")
            header = str(mapping(scheme).get("name")).lower() if kind == "apiKey" and place == "header" else "authorization"
            if kind in {"http", "oauth2", "openIdConnect"} or place == "header":
                lines.append(f'headers: {{ {header}: "{{request.headers.{header}?}}" }}  # forwards what the client sends')
        return ["The service may ask for credentials:", *dict.fromkeys(lines)] if lines else []


def _operation_files(operations: list[ApiOperation], origin: str) -> dict[str, str]:
    groups: dict[str, list[ApiOperation]] = defaultdict(list)
    is_one_file = len(operations) <= MAX_IN_ONE_FILE
    for operation in operations:
        groups["operations" if is_one_file or not operation.tag else snake(operation.tag)].append(operation)
    names = UniqueNames("source")  # source.yaml has the sources
    files = {}
    for tag, group in sorted(groups.items()):
        documents = [CommentedDocument(operation.document, operation.comments) for operation in group]
        files[f"{names.take(tag)}.yaml"] = yaml_text(documents, (f"{origin}.",))
    return files


def _because(skipped: list[Omission]) -> str:
    return f": {skipped[0].subject} has {skipped[0].reason}" if skipped else ""
