"""Operations and links as units of compilation. Each records what it depends on, so that a change rebuilds only the units that it affects.

A unit is an operation with its overlays, or a link. It is kept as long as its own text, the types that the text names, and the sources,
defaults and context values that it was checked against do not change.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Link, Operation, Source, Step
from gateway.contract import StepType
from gateway.errors import Place, Problem
from gateway.load.check.overlay import OverlaidOperations
from gateway.load.read.decode import DecodedLink, DecodedOverlay
from gateway.load.read.yaml_source import YamlDocument
from gateway.load.types.sdl import SdlTypes
from gateway.settings import DOCUMENT_KINDS

_WORD = re.compile(r"[A-Za-z_]\w*")


def digest(*texts: str) -> str:
    """Hash texts. Their number and order matter."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What all units share except types. ``digests`` has a hash of each source, ``digest`` is that of the rest."""

    sources: Mapping[str, Source]
    templates: Mapping[str, Mapping[str, object]]
    names: frozenset[str]
    """The names of all sources, including invalid ones."""
    defaults: Mapping[str, str]
    fields: Mapping[str, Any]
    """The fields of the Blueprint that :mod:`gateway.load.build.fields` reads."""
    python_types: str
    python_place: Place | None
    digests: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A hash of the defaults and of the documents that units are checked against, such as ``context:``."""
        return digest(repr(self.defaults), *map(repr, self._that_invalidate("units")))

    @property
    def content(self) -> tuple[object, ...]:
        """A value that is equal for shared parts with which requests are served in the same way."""
        # The rate limits are compared as keys of ``server:``.
        return self.digests, self.digest, self.python_types, self._that_invalidate("generation")

    def _that_invalidate(self, what: str) -> list[object]:
        return [self.fields[kind.field] for kind in DOCUMENT_KINDS if kind.field and kind.invalidates == what]


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What all units depend on: the types and the shared parts of one build."""

    types: SdlTypes
    shared: SharedParts
    shared_digest: str

    def basis(self, words: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """Return the digests of the types that some words name, and those of some names, empty where there is no such type."""
        declared = self.types.digests
        return {name: declared.get(name, "") for name in names} | self.types.closure(words)


@dataclass(frozen=True, slots=True)
class CheckedLink:
    """A link, and the document from which it was built, for problems of all links together."""

    decoded: DecodedLink
    link: Link


@dataclass(frozen=True, slots=True)
class Unit:
    """A compiled operation or link, and what it depends on: digests of its text, of its overlays, of types and of sources."""

    key: str
    """``operation <name>`` or ``field <type>.<field>``."""
    place: Place
    """The place of its name."""
    compiled: OverlaidOperations | CheckedLink
    operation: Operation | None
    """The operation, if it is one."""
    digest: str
    layers: "tuple[Layer, ...]"
    """Its overlays: for one with a problem its last good version, or none if it never had one."""
    words: frozenset[str]
    basis: Mapping[str, str]
    sources: Mapping[str, str]
    shared: str

    @property
    def overlays(self) -> str:
        """A digest of its overlays."""
        return digest_of_layers(self.layers)

    @property
    def file(self) -> str:
        """The file that contains it."""
        return self.place.file

    @property
    def composite(self) -> str | None:
        """The name of the type that the operation defines, if it defines one."""
        return self.operation.strategy.composite if self.operation else None

    def steps(self) -> Iterator[Step]:
        """Yield its steps, without those of overlays."""
        if self.operation is not None:
            yield from self.operation.steps.values()
        elif isinstance(self.compiled, CheckedLink):
            yield self.compiled.link.step

    def called(self) -> Iterator[Source]:
        """Yield the sources that it calls."""
        yield from (step.source for step in self.steps() if step.source is not None)
        if isinstance(self.compiled, OverlaidOperations):
            yield from (source for name, source in self.compiled.check_context.sources.items() if name in self.sources)

    def depends_only_on(self, context: BuildContext) -> bool:
        """Tell whether everything that it depends on is the same in a context as in the one in which it was built."""
        return (
            self.shared == context.shared_digest
            and all(context.shared.digests.get(name) == known for name, known in self.sources.items())
            and self.basis == context.basis(self.words, self.own_types)
        )

    @property
    def own_types(self) -> tuple[str, ...]:
        """The names of types of which it matters whether the SDL declares them."""
        return (self.composite,) if self.composite else ()

    def is_whole(self, step_types: Mapping[str, StepType]) -> bool:
        """Tell whether each step has the source that its type needs: invalid sources are missing."""
        return all(step.source is not None or step_types[step.type].source_keys is None for step in self.steps())


@dataclass(frozen=True, slots=True)
class UnitText:
    """A document that may become a unit, and the problems of reading it."""

    key: str
    document: YamlDocument
    text: str
    digest: str
    """A hash of its text and of its place: steps record their places, so a document that has moved is built again."""
    problems: list[Problem]


Layer = tuple[UnitText, DecodedOverlay]
"""An overlay with its text."""


def digest_of_layers(layers: Iterable[Layer]) -> str:
    """Hash overlays. Their order matters."""
    return digest(*(unit_text.digest for unit_text, _ in layers))


def make_unit(
    unit_text: UnitText, compiled: OverlaidOperations | CheckedLink, layers: Sequence[Layer], context: BuildContext
) -> Unit:
    """Return the unit of a compiled operation or link."""
    operation = next(iter(compiled.operations.values())) if isinstance(compiled, OverlaidOperations) else None
    steps = list(operation.steps.values()) if operation else [compiled.link.step] if isinstance(compiled, CheckedLink) else []
    texts = (unit_text.text, *(layer.text for layer, _ in layers), *{step.returns for step in steps})
    # Any word of the text may be the name of a type or a source. Too many dependencies cost a rebuild, a missing one would be a mistake.
    words = set[str]().union(*map(_WORD.findall, texts))
    names = (operation.strategy.composite,) if operation and operation.strategy.composite else ()
    declared = context.types.digests
    # A capitalized word without a type counts too: the type may be declared later.
    type_names = frozenset(word for word in words if word[0].isupper() or word in declared)
    used = {step.source.name for step in steps if step.source}
    # The steps that overlays add are built only on request. Their sources are those that the text names, or defaults, which it need not name.
    if layers:
        used |= {name for name in context.shared.digests if name in words or name in context.shared.defaults.values()}
    kind = unit_text.key.partition(" ")[0]
    return Unit(
        key=unit_text.key,
        place=unit_text.document.marks.at((kind,)),
        compiled=compiled,
        operation=operation,
        digest=unit_text.digest,
        layers=tuple(layers),
        words=type_names,
        basis=context.basis(type_names, names),
        sources={name: context.shared.digests[name] for name in used},
        shared=context.shared_digest,
    )
