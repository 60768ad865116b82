"""The text of a document → how large it is, in one pass over its tokens, and which limits that exceeds: before anything else is done with it.

Nothing here recurses, and the work grows with the text alone: a fragment is counted once, however often it is spread.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from gateway.errors import Code
from gateway.settings import LimitsKeys

MOST_TOKENS = 15_000
"""No document with more tokens is read, even where limits are only measured."""
CHARACTERS_PER_TOKEN = 50
"""How many characters count as a token at least: a comment or a text may be of any length."""
EXPANDED_PER_TOKEN = 10
"""How many tokens, when each fragment stands where it is spread, count as one that is written."""
BRACES_PER_LEVEL = 4
"""How many braces and brackets below each other count as one level of fields: those of arguments and inline fragments have none."""

_TOKEN = re.compile(
    r"""
      \#[^\n\r]*+                                              # a comment
    | \"{3} (?: [^"\\]++ | \\"{3} | \\ | "(?!"") )*+ (?:"{3})?  # a block text, and
    | " (?: [^"\\\n\r]++ | \\. )*+ "?                          # a text: with or without its end, or the search would begin again in it
    | \.{3}
    | [_A-Za-z] \w*+
    | [-+.\d] [-+.\w]*+                                        # a number
    | [^\s,\ufeff]
    """,
    re.VERBOSE | re.ASCII,
)
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")
_TYPE_CONDITION = "... on"
_ROOTS = frozenset({"__schema", "__type"})
_LISTS = frozenset({"fields", "interfaces", "possibleTypes", "inputFields"})
"""The fields of a type's description that lead to further types, a list each: what multiplies when they stand below each other."""
_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """How large a document is: the depths of its deepest definition, the root fields of its broadest operation, and the sums of the rest.

    What stands in a fragment counts wherever the fragment is spread. ``is_circular`` when a fragment leads to itself: then it does not.
    """

    tokens: int
    depth: int
    root_fields: int
    aliases: int
    fields: int
    directives: int
    introspection_depth: int
    is_circular: bool = False


_LIMITS = (
    ("depth", Code.MAX_DEPTH_LIMIT, "The document is nested deeper than {} levels."),
    ("tokens", Code.TOKEN_LIMIT_EXCEEDED, "The document is longer than {} tokens."),
    ("aliases", Code.MAX_ALIASES_LIMIT, "The document has more than {} aliases."),
    ("root_fields", Code.MAX_ROOT_FIELDS_LIMIT, "The document has more than {} root fields."),
    ("fields", Code.MAX_FIELDS_LIMIT, "The document has more than {} fields."),
    ("directives", Code.MAX_DIRECTIVES_LIMIT, "The document has more than {} directives."),
    ("introspection_depth", Code.MAX_DEPTH_LIMIT, "Maximum introspection depth exceeded"),
)
"""The attributes of a size that are limited; first those that are known of a document that was not counted to its end."""


def exceeded(size: DocumentSize, limits: LimitsKeys) -> Iterator[tuple[Code, str]]:
    """Yield the code and the message of each limit that a document exceeds."""
    for name, code, words in _LIMITS:
        most = getattr(limits, f"max_{name}")
        if getattr(size, name) > most:
            yield code, words.format(most)


def measure(text: str, most_tokens: int) -> DocumentSize:
    """Count what a document has. One with more tokens than ``most_tokens`` is not counted any further."""
    reader = _Reader()
    by_length = len(text) // CHARACTERS_PER_TOKEN
    tokens = 0
    for match in islice(_TOKEN.finditer(text), 0 if by_length > most_tokens else most_tokens + 1):
        tokens += 1
        reader.read(match[0])
    written = max(tokens, by_length)
    if written > most_tokens:
        return DocumentSize(written, max((_levels(part) for part in reader.parts), default=0), 0, 0, 0, 0, 0)
    return _sum(reader.parts, written)


@dataclass(frozen=True, slots=True)
class _Level:
    """Where a selection set stands in its definition."""

    depth: int
    """The fields above it."""
    lists: int
    """Those of them that are lists of a type's description."""
    introspected: int
    """Those of these that stand in an answer about the schema; ``_OUTSIDE`` if it does not stand in one."""

    def below(self, name: str) -> "_Level":
        """Return the level of what is selected of a field."""
        is_list = name in _LISTS
        introspected = self.introspected + is_list if self.introspected != _OUTSIDE else 0 if name in _ROOTS else _OUTSIDE
        return _Level(self.depth + 1, self.lists + is_list, introspected)


_OUTERMOST = _Level(0, 0, _OUTSIDE)


@dataclass(slots=True)
class _Part:
    """What a definition has; when it is expanded, with what the fragments have that it spreads."""

    fragment: str | None = None
    """Its name, if it is a fragment."""
    tokens: int = 0
    depth: int = 0
    nesting: int = 0
    root_fields: int = 0
    """The fields of its outermost selection set."""
    aliases: int = 0
    fields: int = 0
    directives: int = 0
    lists: int = 0
    """The lists of types' descriptions below each other, and, as ``introspection``, those that are sure to be such."""
    introspection: int = 0
    spreads: list[tuple[str, _Level, int]] = field(default_factory=list)
    """The fragments that it spreads, where, and below how many braces."""

    def add(self, other: "_Part", level: _Level, nesting: int) -> None:
        """Add what a fragment has that is spread at a level and below some braces."""
        self.tokens += other.tokens
        self.depth = max(self.depth, level.depth + other.depth)
        self.nesting = max(self.nesting, nesting + other.nesting)
        self.lists = max(self.lists, level.lists + other.lists)
        inside = level.introspected + other.lists if level.introspected != _OUTSIDE else other.introspection
        self.introspection = max(self.introspection, inside)
        self.root_fields += other.root_fields if level.depth == 0 else 0
        self.aliases += other.aliases
        self.fields += other.fields
        self.directives += other.directives


@dataclass(slots=True)
class _Reader:
    """Takes the tokens of a document in order. Of one that cannot be parsed it counts something, which does not matter."""

    parts: list[_Part] = field(default_factory=lambda: [_Part()])
    levels: list[_Level] = field(default_factory=list)
    """The selection sets that are open."""
    name: str = ""
    """The field whose selection set may come next."""
    values: int = 0
    """The parentheses, brackets and braces of arguments that are open."""
    is_inline: bool = False
    """Whether the next selection set is that of an inline fragment."""
    before: str = ""
    """The token before, or what it stands for."""

    def read(self, word: str) -> None:
        part = self.parts[-1]
        part.tokens += 1
        if word[0] == "#":
            return
        if word == "@":
            part.directives += 1
        if self.values or word == "(":
            self._read_value(word, part)
        elif word == "{":
            self._open(part)
        elif self.levels:
            word = self._read_selection(word, part)
        elif self.before == "fragment" and word.isidentifier():
            part.fragment = word
        self.before = word

    def _read_value(self, word: str, part: _Part) -> None:
        if word in _OPENING:
            self.values += 1
            part.nesting = max(part.nesting, len(self.levels) + self.values)
        elif word in _CLOSING:
            self.values -= 1

    def _open(self, part: _Part) -> None:
        level = self.levels[-1] if self.levels else _OUTERMOST
        if self.levels and not self.is_inline:
            level = level.below(self.name)
        self.is_inline = False
        self.levels.append(level)
        part.depth = max(part.depth, level.depth + 1)
        part.lists = max(part.lists, level.lists)
        part.introspection = max(part.introspection, level.introspected)
        part.nesting = max(part.nesting, len(self.levels))

    def _read_selection(self, word: str, part: _Part) -> str:
        """Read a token of a selection set; return what it is to the next one."""
        if word == "}":
            self.levels.pop()
            if not self.levels:
                self.parts.append(_Part())
        elif word == "...":
            self.is_inline = True
        elif word.isidentifier() and self.before != "@":
            return self._read_name(word, part)
        return word

    def _read_name(self, name: str, part: _Part) -> str:
        if self.before == "...":
            if name == "on":
                return _TYPE_CONDITION
            part.spreads.append((name, self.levels[-1], len(self.levels)))
            self.is_inline = False
        elif self.before == ":":
            part.aliases += 1  # the name before the colon was taken for the field
            self.name = name
        elif self.before != _TYPE_CONDITION:
            self.is_inline = False
            self.name = name
            part.fields += 1
            part.root_fields += self.levels[-1].depth == 0
        return name


def _sum(parts: list[_Part], tokens: int) -> DocumentSize:
    """Return the size of a document, with its fragments where they are spread, and at least as it is written."""
    fields, aliases, directives = (sum(getattr(part, name) for part in parts) for name in ("fields", "aliases", "directives"))
    is_circular = _expand(parts)
    operations = [part for part in parts if part.fragment is None]
    return DocumentSize(
        tokens=max(tokens, sum(part.tokens for part in operations) // EXPANDED_PER_TOKEN),
        depth=max(_levels(part) for part in parts),
        root_fields=max((part.root_fields for part in operations), default=0),
        aliases=max(aliases, sum(part.aliases for part in operations)),
        fields=max(fields, sum(part.fields for part in operations)),
        directives=max(directives, sum(part.directives for part in operations)),
        introspection_depth=max((part.introspection for part in operations), default=0),
        is_circular=is_circular,
    )


def _levels(part: _Part) -> int:
    return max(part.depth, part.nesting // BRACES_PER_LEVEL)


def _expand(parts: list[_Part]) -> bool:
    """Add to each part what it spreads, fragments that others spread first; return whether one leads to itself, and nothing is added."""
    fragments = {part.fragment: part for part in parts if part.fragment}
    spread = {name: {other for other, _, _ in part.spreads if other in fragments} for name, part in fragments.items()}
    try:
        order = list(TopologicalSorter(spread).static_order())
    except CycleError:
        return True
    operations = [part for part in parts if part.fragment is None]
    for part in (*(fragments[name] for name in order), *operations):
        for name, level, nesting in part.spreads:
            if name in fragments:
                part.add(fragments[name], level, nesting)
    return False
