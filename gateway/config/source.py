"""Files → YAML documents that know where each of their values stands.

YAML 1.2 core scalars only, so that ``no``, ``on``, ``010`` and ``12:30`` stay text. Duplicate keys, keys that are not text, tags,
anchors that multiply, deep nesting and large scalars are problems. ``${NAME:-default}`` is replaced after parsing, in values only.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway.errors import Place, Problem

MAX_DEPTH = 64
MAX_SCALAR = 100_000
MAX_ALIASED = 10_000
MAX_VALUES = 200_000
MAX_FILE_BYTES = 10_000_000
TEST_FILES = (".test.yaml", ".test.yml")


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a value stands, and where its parts do: ``keys`` and ``parts`` by key for a mapping, ``parts`` by index for a list."""

    place: Place
    keys: Mapping[object, Place] = field(default_factory=dict)
    parts: Mapping[object, "Marks"] = field(default_factory=dict)
    size: int = 1
    depth: int = 0

    def at(self, path: Sequence[str | int], *, is_key: bool = False) -> Place:
        """Return the place of the value under a path, or of its key; where the path ends early, the last place known."""
        marks = self
        for depth, part in enumerate(path):
            if is_key and depth == len(path) - 1 and part in marks.keys:
                return marks.keys[part]
            marks = marks.parts.get(part, marks)
        return marks.place


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document of a YAML file."""

    value: Mapping[str, object]
    marks: Marks


@dataclass(frozen=True, slots=True)
class Files:
    """The texts of a configuration folder by path as shown to people; ``version`` hashes names and contents."""

    folder: Path
    texts: Mapping[str, str]
    problems: tuple[Problem, ...]
    version: str


class _Mistake(Exception):
    def __init__(self, place: Place, message: str, code: str) -> None:
        self.problem = Problem(place, "file", message, code)
        super().__init__(message)


def read_files(folder: Path) -> Files:
    """Read every ``*.yaml``, ``*.yml`` and ``*.graphql`` below a folder, in order of path.

    Names that begin with a dot are skipped, and so are tests of the configuration (``*.test.yaml``).
    """
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    if not folder.is_dir():
        message = f"{'is a file' if folder.exists() else 'no such folder here'}; give the folder of your configuration files"
        problems.append(Problem(Place(str(folder)), "folder", message, "no-folder"))
    for path in sorted(_configuration_files(folder)):
        read = read_file(path)
        if isinstance(read, Problem):
            problems.append(read)
        else:
            data, texts[str(path)] = read
            digest.update(os.fsencode(path.relative_to(folder)) + b"\0" + data + b"\0")
    return Files(folder, texts, tuple(problems), digest.hexdigest()[:16])


def read_file(path: Path) -> tuple[bytes, str] | Problem:
    """Return the content of a file and its text, or why it has none."""
    name = str(path)
    try:
        data = _read(path)
        return data, data.decode("utf-8-sig")
    except OSError as error:
        return Problem(Place(name), "file", f"cannot be read: {error.strerror}", "unreadable-file")
    except UnicodeDecodeError as error:
        return Problem(_place_of(error, name), "file", "is not UTF-8; save it as UTF-8", "not-utf8")
    except _Mistake as mistake:
        return mistake.problem


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _Mistake(Place(str(path)), "larger than 10 MB; split it", "file-too-large")
    return data


def _place_of(error: UnicodeDecodeError, file: str) -> Place:
    """Return the place of the first byte that is not UTF-8."""
    before = error.object[: error.start].decode("utf-8-sig")
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _configuration_files(folder: Path) -> Iterator[Path]:
    """Yield the configuration files below a folder. Links are followed, but into no folder twice; what is no file is left aside."""
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(root, name)
            is_configuration = name.endswith((".yaml", ".yml", ".graphql")) and not name.endswith(TEST_FILES)
            if is_configuration and not name.startswith(".") and not _is_special(path):
                yield path


def _is_special(path: Path) -> bool:
    """Tell whether a path is a pipe or a device, which might never end; what is not there is reported when it is read."""
    return path.exists() and not path.is_file()


def read_documents(file: str, text: str, environment: Mapping[str, str]) -> tuple[list[YamlDocument], list[Problem]]:
    """Parse the documents of one YAML file. A syntax error ends the file; every other problem leaves the rest readable."""
    reader, documents = _Reader(file, environment), list[YamlDocument]()
    try:
        for value, marks in reader.documents(text):
            if isinstance(value, dict):
                documents.append(YamlDocument(value, marks))
            elif value is not None:
                reader.report(marks.place, "a document is a mapping of keys to values", "not-a-mapping")
    except _Mistake as mistake:
        reader.problems.append(mistake.problem)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        reader.report(place, f"YAML cannot be read: {error.problem or error.context}", "yaml-syntax")
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="ignore")  # the C parser counts bytes
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        reader.report(place, f"YAML cannot be read: the character U+{int(error.character):04X} is not allowed", "yaml-syntax")
    except yaml.YAMLError as error:
        reader.report(Place(file), f"YAML cannot be read: {' '.join(str(error).split())}", "yaml-syntax")
    return documents, reader.problems


_CORE_SCALARS: tuple[tuple[re.Pattern[str], object], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?(0|[1-9][0-9]{0,17})"), int),
    (re.compile(r"0x[0-9a-fA-F]{1,15}"), lambda text: int(text, 16)),
    (re.compile(r"0o[0-7]{1,20}"), lambda text: int(text, 8)),
    (re.compile(r"(?=.*[.eE])[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def plain_scalar(text: str) -> object:
    """Return what an unquoted scalar means in the YAML 1.2 core schema, but that numbers have no leading zeros and an end."""
    for pattern, convert in _CORE_SCALARS:
        if pattern.fullmatch(text):
            value = convert(text)  # type: ignore[operator]
            return text if isinstance(value, float) and not math.isfinite(value) else value
    return text


class UnreadableYaml(Exception):
    """A text is not YAML; the message says where and why."""


class _PlainLoader(yaml.CSafeLoader):
    """Loads values without marks; its scalars are those of :func:`plain_scalar`."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}


def _construct_scalar(loader: Any, node: yaml.ScalarNode) -> object:
    return node.value if node.style else plain_scalar(node.value)


_PlainLoader.add_constructor("tag:yaml.org,2002:str", _construct_scalar)


def read_plain(text: str) -> object:
    """Return the value of a foreign YAML document, in which nothing is replaced; keys become text.

    :raises UnreadableYaml: it cannot be read.
    """
    try:
        return _with_text_keys(yaml.load(text, Loader=_PlainLoader), {})  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise UnreadableYaml(str(error)) from None


def _with_text_keys(value: object, done: dict[int, object]) -> object:
    """Make all keys text. What an alias shares stays shared, so that no alias can multiply."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, dict):
        made: dict[str, object] = {}
        done[id(value)] = made
        made.update((str(key), _with_text_keys(item, done)) for key, item in value.items())
        return made
    if isinstance(value, list):
        items: list[object] = []
        done[id(value)] = items
        items.extend(_with_text_keys(item, done) for item in value)
        return items
    return value


class _Reader:
    """Turns the event stream of one file into values and marks, in one pass and with every size bounded."""

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.file = file
        self.environment = environment
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[object, Marks]] = {}
        self.aliased = 0
        self.values = 0

    def report(self, place: Place, message: str, code: str) -> None:
        self.problems.append(Problem(place, "file", message, code))

    def documents(self, text: str) -> Iterator[tuple[object, Marks]]:
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors.clear()
                yield self.value(next(events), events, 0)

    def value(self, event: Any, events: Iterator[yaml.Event], depth: int) -> tuple[object, Marks]:
        place = self.place(event)
        self.values += 1
        if self.values > MAX_VALUES:
            raise _Mistake(place, f"more than {MAX_VALUES} values in one file; split it", "file-too-large")
        if depth > MAX_DEPTH:
            raise _Mistake(place, f"nested more than {MAX_DEPTH} deep", "too-deep")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, place, depth)
        if event.tag not in {None, "!", "tag:yaml.org,2002:str"}:
            self.report(place, f"the tag '{_short(event.tag)}' is not allowed; write plain YAML", "yaml-tag")
        if isinstance(event, yaml.ScalarEvent):
            result: tuple[object, Marks] = (self.scalar(event, place), Marks(place))
        elif isinstance(event, yaml.MappingStartEvent):
            result = self.mapping(events, place, depth)
        else:
            result = self.sequence(events, place, depth)
        if event.anchor:
            self.anchors[event.anchor] = result
        return result

    def alias(self, event: yaml.AliasEvent, place: Place, depth: int) -> tuple[object, Marks]:
        if event.anchor not in self.anchors:
            raise _Mistake(place, f"the alias '*{event.anchor}' has no anchor before it", "yaml-alias")
        result = self.anchors[event.anchor]
        if depth + result[1].depth > MAX_DEPTH:
            raise _Mistake(place, f"nested more than {MAX_DEPTH} deep", "too-deep")
        self.aliased += result[1].size
        if self.aliased > MAX_ALIASED:
            raise _Mistake(place, f"aliases stand for more than {MAX_ALIASED} values", "yaml-alias")
        return result

    def mapping(self, events: Iterator[yaml.Event], place: Place, depth: int) -> tuple[dict[str, object], Marks]:
        values: dict[str, object] = {}
        keys: dict[object, Place] = {}
        parts: dict[object, Marks] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.key(event, events, depth)
            value, marks = self.value(next(events), events, depth + 1)
            if key is None:
                continue
            if key in values:
                first = keys[key]
                message = f"the key '{_short(key)}' stands twice, first on line {first.line}"
                self.report(self.place(event), message, "duplicate-key")
                continue
            values[key], keys[key], parts[key] = value, self.place(event), marks
        return values, _marks(place, keys, parts)

    def key(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> str | None:
        key, marks = self.value(event, events, depth + 1)
        if isinstance(event, yaml.ScalarEvent):
            if not isinstance(key, str):
                self.report(marks.place, f"the key '{event.value}' is not text; put it in quotes", "key-not-text")
            return str(event.value)
        self.report(marks.place, "a key is text, not a list or a mapping", "key-not-text")
        return None

    def sequence(self, events: Iterator[yaml.Event], place: Place, depth: int) -> tuple[list[object], Marks]:
        values: list[object] = []
        parts: dict[object, Marks] = {}
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            value, parts[len(values)] = self.value(event, events, depth + 1)
            values.append(value)
        return values, _marks(place, {}, parts)

    def scalar(self, event: yaml.ScalarEvent, place: Place) -> object:
        if len(event.value) > MAX_SCALAR:
            raise _Mistake(place, f"a text of more than {MAX_SCALAR} characters", "scalar-too-large")
        text = _VARIABLE.sub(lambda match: self.variable(match, place), event.value) if "${" in event.value else event.value
        return plain_scalar(text) if event.implicit[0] and event.tag is None else text

    def variable(self, match: re.Match[str], place: Place) -> str:
        value = self.environment.get(match[1]) or match[2]
        if value is None:
            message = f"the environment variable '{match[1]}' is not set; set it, or write ${{{match[1]}:-default}}"
            self.report(place, message, "missing-environment")
            return ""
        return value

    def place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None, "the C parser marks every event"
        return Place(self.file, mark.line + 1, mark.column + 1)


def _marks(place: Place, keys: Mapping[object, Place], parts: Mapping[object, Marks]) -> Marks:
    below = parts.values()
    return Marks(place, keys, parts, 1 + sum(part.size for part in below), 1 + max((part.depth for part in below), default=0))


def _short(text: object) -> str:
    return str(text)[:80]
