"""The text of a file → YAML documents with the place of each of their values.

Scalars follow the YAML 1.2 core schema, so ``no``, ``on``, ``010`` and ``12:30`` are text. Duplicate keys, keys that are not text, tags,
aliases that multiply, deep nesting and large scalars are problems. ``${NAME:-default}`` is replaced after parsing, in values only.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.error import Mark

from gateway.errors import Place, Problem
from gateway.language.environment import VARIABLE

MAX_DEPTH = 64
MAX_SCALAR = 100_000
MAX_ALIASED = 10_000
MAX_VALUES = 200_000


@dataclass(frozen=True, slots=True)
class SourceMap:
    """The place of a value and of its parts: ``keys`` and ``parts`` by key for a mapping, ``parts`` by index for a list.

    The parser's own marks are kept, and converted to a :class:`Place` on demand: most values have no problem, so nothing needs their place.
    """

    file: str
    mark: Mark
    keys: Mapping[object, "SourceMap | Mark"] = field(default_factory=dict)
    parts: Mapping[object, "SourceMap | Mark"] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Where the value begins."""
        return Place(self.file, self.mark.line + 1, self.mark.column + 1)

    def part(self, key: object) -> "SourceMap":
        """Return the source map of a part."""
        return _source_map(self.file, self.parts[key])

    def key(self, key: object) -> "SourceMap":
        """Return the source map of a key."""
        return _source_map(self.file, self.keys[key])

    def at(self, path: Sequence[str | int], *, is_key: bool = False) -> Place:
        """Return the place of the value under a path, or of its key; where the file has no such path, that of the nearest parent."""
        marks = self
        for depth, part in enumerate(path):
            if is_key and depth == len(path) - 1 and part in marks.keys:
                return marks.key(part).place
            marks = marks.part(part) if part in marks.parts else marks
        return marks.place


def _source_map(file: str, marks: SourceMap | Mark) -> SourceMap:
    return marks if isinstance(marks, SourceMap) else SourceMap(file, marks)


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document of a YAML file."""

    value: Mapping[str, object]
    marks: SourceMap


class _FatalProblem(Exception):
    """A problem after which the rest of the file cannot be read."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def _too_deep(place: Place) -> Problem:
    return Problem(place, "file", f"nested more than {MAX_DEPTH} deep", "too-deep")


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
    if "nesting depth" in (error.problem or ""):  # libyaml has its own limit, which it may reach first because it reads ahead
        return _too_deep(place)
    return Problem(place, "file", f"YAML cannot be read: {error.problem or error.context}", "yaml-syntax")


def read_documents(file: str, text: str, environment: Mapping[str, str]) -> tuple[list[YamlDocument], list[Problem]]:
    """Parse the documents of one YAML file. After a syntax error or an exceeded limit the rest of the file is not read."""
    reader, documents = _Reader(file, environment), list[YamlDocument]()
    try:
        for value, marks in reader.documents(text):
            if isinstance(value, dict):
                documents.append(YamlDocument(value, marks))
            elif value is not None:
                reader.report(marks.place, "a document is a mapping of keys to values", "not-a-mapping")
    except _FatalProblem as fatal:
        reader.problems.append(fatal.problem)
    except yaml.MarkedYAMLError as error:
        reader.problems.append(_syntax_problem(file, error))
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode(errors="ignore")  # the C parser counts bytes
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        reader.report(place, f"YAML cannot be read: the character U+{int(error.character):04X} is not allowed", "yaml-syntax")
    except yaml.YAMLError as error:
        reader.report(Place(file), f"YAML cannot be read: {' '.join(str(error).split())}", "yaml-syntax")
    return documents, reader.problems


_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], int | float]], ...] = (
    (re.compile(r"[-+]?(0|[1-9][0-9]{0,17})"), int),
    (re.compile(r"0x[0-9a-fA-F]{1,15}"), lambda text: int(text, 16)),
    (re.compile(r"0o[0-7]{1,20}"), lambda text: int(text, 8)),
    (re.compile(r"(?=.*[.eE])[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)


def plain_scalar(text: str) -> object:
    """Return the value of an unquoted scalar in the YAML 1.2 core schema. Unlike there, ``010`` and infinite numbers are text."""
    if text in _WORDS:
        return _WORDS[text]
    # Most scalars are words: the first character tells that without a regular expression.
    for pattern, convert in _NUMBERS if text[0] in "-+.0123456789" else ():
        if pattern.fullmatch(text):
            value = convert(text)
            return value if math.isfinite(value) else text
    return text


class UnreadableYaml(Exception):
    """A text is not YAML. The message says where and why."""


class _PlainLoader(yaml.CSafeLoader):
    """Loads values without their places. Its scalars are those of :func:`plain_scalar`."""

    # PyYAML resolves scalars by YAML 1.1, where "no" is false and 010 is eight. Without its resolvers all of them are text at first.
    yaml_implicit_resolvers: dict[str, list[Any]] = {}


def _construct_scalar(loader: Any, node: yaml.ScalarNode) -> object:
    return node.value if node.style else plain_scalar(node.value)


_PlainLoader.add_constructor("tag:yaml.org,2002:str", _construct_scalar)


def read_plain(text: str) -> object:
    """Return the value of a YAML document that is not configuration: variables are not replaced, and all keys become text.

    :raises UnreadableYaml: the text cannot be read.
    """
    try:
        return _with_text_keys(yaml.load(text, Loader=_PlainLoader), {})  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise UnreadableYaml(str(error)) from None


def _with_text_keys(value: object, done: dict[int, object]) -> object:
    """Convert all keys to text. A value that aliases share stays shared, so that aliases of aliases do not multiply."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, dict):
        copy: dict[str, object] = {}
        done[id(value)] = copy  # before its items, because an alias may refer to a value that contains it
        copy.update((str(key), _with_text_keys(item, done)) for key, item in value.items())
        return copy
    if isinstance(value, list):
        items: list[object] = []
        done[id(value)] = items
        items.extend(_with_text_keys(item, done) for item in value)
        return items
    return value


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A value with an anchor: how many values it contains, and how deep they are nested."""

    value: object
    marks: SourceMap | Mark
    size: int
    depth: int


class _Reader:
    """Converts the parser events of one file into values and marks, in one pass and with every size bounded.

    An operation has about 50 events, so the work for each event dominates the time to read a configuration.
    """

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.file = file
        self.environment = environment
        self.problems: list[Problem] = []
        self.anchors: dict[str, _Anchored] = {}
        self.measured: dict[int, _Anchored] = {}
        """The values that have an anchor, by the identity of their marks."""
        self.aliased = 0
        self.values = 0

    def report(self, place: Place, message: str, code: str) -> None:
        self.problems.append(Problem(place, "file", message, code))

    def fatal(self, event: Any, message: str, code: str) -> _FatalProblem:
        return _FatalProblem(Problem(self.place(event), "file", message, code))

    def documents(self, text: str) -> Iterator[tuple[object, SourceMap]]:
        loader = yaml.CSafeLoader(text)
        self.next: Callable[[], Any] = loader.get_event
        try:
            while event := self.next():
                if type(event) is yaml.DocumentStartEvent:
                    self.anchors.clear()
                    value, marks = self.value(self.next(), 0)
                    yield value, _source_map(self.file, marks)
        finally:
            loader.dispose()

    def value(self, event: Any, depth: int) -> tuple[object, SourceMap | Mark]:
        """Return the value that begins with an event, and its marks; for a scalar that is the parser's own mark."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.fatal(event, f"more than {MAX_VALUES} values in one file; split it", "file-too-large")
        if depth > MAX_DEPTH:
            raise _FatalProblem(_too_deep(self.place(event)))
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self.alias(event, depth)
        if event.tag is not None and event.tag not in {"!", "tag:yaml.org,2002:str"}:
            self.report(self.place(event), f"the tag '{_short(event.tag)}' is not allowed; write plain YAML", "yaml-tag")
        value: object
        marks: SourceMap | Mark
        if kind is yaml.ScalarEvent:
            value, marks = self.scalar(event), event.start_mark
        elif kind is yaml.MappingStartEvent:
            value, marks = self.mapping(event, depth)
        else:
            value, marks = self.sequence(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = self.measured[id(marks)] = _Anchored(value, marks, *self.measure(marks))
        return value, marks

    def measure(self, marks: SourceMap | Mark) -> tuple[int, int]:
        """Return the number of values and their depth."""
        # A value behind an alias was measured at its anchor, so aliases of aliases ("billion laughs") do not multiply the work.
        known = self.measured.get(id(marks))
        if known is not None:
            return known.size, known.depth
        if not isinstance(marks, SourceMap):
            return 1, 0
        below = [self.measure(part) for part in marks.parts.values()]
        return 1 + sum(size for size, _ in below), 1 + max((depth for _, depth in below), default=0)

    def alias(self, event: yaml.AliasEvent, depth: int) -> tuple[object, SourceMap | Mark]:
        anchored = self.anchors.get(str(event.anchor))
        if anchored is None:
            raise self.fatal(event, f"the alias '*{event.anchor}' has no anchor before it", "yaml-alias")
        if depth + anchored.depth > MAX_DEPTH:
            raise _FatalProblem(_too_deep(self.place(event)))
        self.aliased += anchored.size
        if self.aliased > MAX_ALIASED:
            raise self.fatal(event, f"aliases stand for more than {MAX_ALIASED} values", "yaml-alias")
        return anchored.value, anchored.marks

    def mapping(self, start: Any, depth: int) -> tuple[dict[str, object], SourceMap]:
        values: dict[str, object] = {}
        keys: dict[object, SourceMap | Mark] = {}
        parts: dict[object, SourceMap | Mark] = {}
        while type(event := self.next()) is not yaml.MappingEndEvent:
            key = self.key(event, depth + 1)
            value, marks = self.value(self.next(), depth + 1)
            if key is None:
                continue
            if key in values:
                first = _source_map(self.file, keys[key]).place
                message = f"the key '{_short(key)}' is given twice, first on line {first.line}"
                self.report(self.place(event), message, "duplicate-key")
                continue
            values[key], keys[key], parts[key] = value, event.start_mark, marks
        return values, SourceMap(self.file, start.start_mark, keys, parts)

    def key(self, event: Any, depth: int) -> str | None:
        key, marks = self.value(event, depth)
        if type(event) is not yaml.ScalarEvent:
            place = _source_map(self.file, marks).place
            self.report(place, "a key is text, not a list or a mapping", "key-not-text")
            return None
        if type(key) is not str:
            self.report(self.place(event), f"the key '{event.value}' is not text; put it in quotes", "key-not-text")
        return str(event.value)

    def sequence(self, start: Any, depth: int) -> tuple[list[object], SourceMap]:
        values: list[object] = []
        parts: dict[object, SourceMap | Mark] = {}
        while type(event := self.next()) is not yaml.SequenceEndEvent:
            value, parts[len(values)] = self.value(event, depth + 1)
            values.append(value)
        return values, SourceMap(self.file, start.start_mark, {}, parts)

    def scalar(self, event: yaml.ScalarEvent) -> object:
        text = event.value
        if len(text) > MAX_SCALAR:
            raise self.fatal(event, f"a text of more than {MAX_SCALAR} characters", "scalar-too-large")
        if "${" in text:
            text = VARIABLE.sub(lambda match: self.variable(match, event), text)
        # After the replacement, so that a variable can hold a number or a boolean; inside quotes it stays text.
        return plain_scalar(text) if event.implicit[0] and event.tag is None else text

    def variable(self, match: re.Match[str], event: yaml.Event) -> str:
        value = self.environment.get(match[1]) or match[2]  # as in a shell, ":-" replaces an empty variable too
        if value is None:
            message = f"the environment variable '{match[1]}' is not set; set it, or write ${{{match[1]}:-default}}"
            self.report(self.place(event), message, "missing-environment")
            return ""
        return value

    def place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None, "the C parser marks every event"
        return Place(self.file, mark.line + 1, mark.column + 1)


def _short(text: object) -> str:
    return str(text)[:80]
