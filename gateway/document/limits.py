"""The text of a document → its size, and the limits that it exceeds. This is checked in one pass over the tokens, before the text is parsed.

A document may be hostile, so nothing here recurses and the time is linear in the text: a fragment is counted once, however often it is
spread.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from gateway.errors import Code
from gateway.settings import LimitsKeys

HARD_MAX_TOKENS = 15_000
"""No document with more tokens is parsed, even in the mode that only measures limits."""
CHARACTERS_PER_TOKEN = 50
"""Each 50 characters count as at least one token, because a comment or a string may be of any length."""
EXPANDED_PER_TOKEN = 10
"""Tokens after fragment expansion that count as one written token."""
BRACES_PER_LEVEL = 4
"""Nested braces and brackets that count as one level of fields: those of arguments and inline fragments are no level by themselves."""

# Possessive quantifiers (++ and *+) never backtrack. The closing quotes are optional, or else an unterminated string would be scanned again
# from each quote in it. So no text takes more than linear time.
_TOKEN = re.compile(
    r"""
      \#[^\n\r]*+                                              # a comment
    | \"{3} (?: [^"\\]++ | \\"{3} | \\ | "(?!"") )*+ (?:"{3})?  # a block string
    | " (?: [^"\\\n\r]++ | \\. )*+ "?                          # a string
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
"""The introspection fields whose value is a list with further types in it: nested, their results multiply."""
_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """The size of a document: the depths of its deepest definition, the root fields of its broadest operation, and the sums of the rest.

    The contents of a fragment count wherever the fragment is spread. ``is_circular`` if a fragment spreads itself, directly or through others:
    then fragments are not expanded.
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
"""The limited attributes of a size; depth and tokens come first, because they alone are known when counting stopped early."""


def exceeded(size: DocumentSize, limits: LimitsKeys) -> Iterator[tuple[Code, str]]:
    """Yield the code and the message of each limit that a document exceeds."""
    for name, code, message in _LIMITS:
        maximum = getattr(limits, f"max_{name}")
        if getattr(size, name) > maximum:
            yield code, message.format(maximum)


def measure(text: str, max_tokens: int) -> DocumentSize:
    """Measure a document. Counting stops after ``max_tokens`` tokens; then only tokens and depth are known."""
    reader = _Reader()
    by_length = len(text) // CHARACTERS_PER_TOKEN
    tokens = 0
    for match in islice(_TOKEN.finditer(text), 0 if by_length > max_tokens else max_tokens + 1):
        tokens += 1
        reader.read(match[0])
    written = max(tokens, by_length)
    if written > max_tokens:
        return DocumentSize(written, max((_levels(part) for part in reader.parts), default=0), 0, 0, 0, 0, 0)
    return _sum(reader.parts, written)


@dataclass(frozen=True, slots=True)
class _Level:
    """The position of a selection set in its definition."""

    depth: int
    """The number of fields above it."""
    lists: int
    """How many of these fields have a name of ``_LISTS``. In a fragment it is not known whether they are introspection fields."""
    introspected: int
    """How many of those are below ``__schema`` or ``__type`` in the same definition; ``_OUTSIDE`` if the set is below neither."""

    def below(self, name: str) -> "_Level":
        """Return the level of the selection set of a field."""
        is_list = name in _LISTS
        introspected = self.introspected + is_list if self.introspected != _OUTSIDE else 0 if name in _ROOTS else _OUTSIDE
        return _Level(self.depth + 1, self.lists + is_list, introspected)


_OUTERMOST = _Level(0, 0, _OUTSIDE)


@dataclass(slots=True)
class _Part:
    """The counts of one definition; after expansion they include those of the fragments that it spreads."""

    fragment: str | None = None
    """The name of the fragment, None for an operation."""
    tokens: int = 0
    depth: int = 0
    nesting: int = 0
    root_fields: int = 0
    """The number of fields in the outermost selection set."""
    aliases: int = 0
    fields: int = 0
    directives: int = 0
    lists: int = 0
    """The maximum of :attr:`_Level.lists`."""
    introspection: int = 0
    """The maximum of :attr:`_Level.introspected`."""
    spreads: list[tuple[str, _Level, int]] = field(default_factory=list)
    """The spread fragments: name, level, and number of open braces."""

    def add(self, other: "_Part", level: _Level, nesting: int) -> None:
        """Add the counts of a fragment that is spread at a level, inside ``nesting`` braces."""
        self.tokens += other.tokens
        self.depth = max(self.depth, level.depth + other.depth)
        self.nesting = max(self.nesting, nesting + other.nesting)
        self.lists = max(self.lists, level.lists + other.lists)
        # Below __schema or __type, all the fragment's fields of _LISTS are introspection fields; elsewhere only those that are so in it.
        inside = level.introspected + other.lists if level.introspected != _OUTSIDE else other.introspection
        self.introspection = max(self.introspection, inside)
        self.root_fields += other.root_fields if level.depth == 0 else 0
        self.aliases += other.aliases
        self.fields += other.fields
        self.directives += other.directives


@dataclass(slots=True)
class _Reader:
    """Counts the tokens of a document in order. The counts of a text that is not GraphQL are arbitrary: the parser rejects it anyway."""

    parts: list[_Part] = field(default_factory=lambda: [_Part()])
    levels: list[_Level] = field(default_factory=list)
    """The open selection sets."""
    name: str = ""
    """The last field; a selection set that comes next is its own."""
    values: int = 0
    """The number of open parentheses, brackets and braces of arguments."""
    is_inline: bool = False
    """Whether the next selection set is that of an inline fragment."""
    before: str = ""
    """The previous token, or ``_TYPE_CONDITION`` for the ``on`` of an inline fragment or a spread."""

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
        """Read a token of a selection set; return the value of ``before`` for the next one."""
        if word == "}":
            self.levels.pop()
            if not self.levels:
                self.parts.append(_Part())  # the definition has ended
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
            # The name before the colon was counted as the field already. A list repeats its aliases with each item, so long ones count more.
            part.aliases += 1 + len(self.name) // CHARACTERS_PER_TOKEN
            self.name = name
        elif self.before != _TYPE_CONDITION:
            self.is_inline = False
            self.name = name
            part.fields += 1
            part.root_fields += self.levels[-1].depth == 0
        return name


def _sum(parts: list[_Part], tokens: int) -> DocumentSize:
    """Return the size of a document with its fragments expanded, but at least its size as written: an unused fragment counts, too."""
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
    """Add to each part the counts of the fragments that it spreads. Return True, and add nothing, if a fragment spreads itself."""
    fragments = {part.fragment: part for part in parts if part.fragment}
    spread = {name: {other for other, _, _ in part.spreads if other in fragments} for name, part in fragments.items()}
    try:
        order = list(TopologicalSorter(spread).static_order())
    except CycleError:
        return True
    operations = [part for part in parts if part.fragment is None]
    # In topological order each fragment is complete before it is added to another part, so each spread is added only once.
    for part in (*(fragments[name] for name in order), *operations):
        for name, level, nesting in part.spreads:
            if name in fragments:
                part.add(fragments[name], level, nesting)
    return False
