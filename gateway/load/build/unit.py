"""Operations and links as units of compilation: each knows what it was made of, so that a change rebuilds only what it touches.

A unit is an operation with its overlays, or a link. It stays as it is for as long as its own text, the types that the text names, and the
sources, defaults and context that it was checked against stay as they are.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.blueprint import Link, Operation, Source, Step
from gateway.contract import StepType
from gateway.errors import Place, Problem
from gateway.load.check.overlay import OverlaidOperations
from gateway.load.read.decode import DecodedLink
from gateway.load.read.yaml_source import YamlDocument
from gateway.load.types.sdl import SdlTypes
from gateway.settings import DOCUMENT_KINDS

_WORD = re.compile(r"[A-Za-z_]\w*")


def digest(*texts: str) -> str:
    """Hash texts; their number and order count."""
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What all units share besides types. ``digests`` tell whether a source is still the same; ``digest`` is of the rest."""

    sources: Mapping[str, Source]
    templates: Mapping[str, Mapping[str, object]]
    names: frozenset[str]
    """The names of all sources, those in which something is wrong included."""
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
        """What tells whether requests are served alike: rate limits are among the keys of the server."""
        return self.digests, self.digest, self.python_types, self._that_invalidate("generation")

    def _that_invalidate(self, what: str) -> list[object]:
        return [self.fields[kind.field] for kind in DOCUMENT_KINDS if kind.field and kind.invalidates == what]


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What units stand on: the types and the shared parts of one build."""

    types: SdlTypes
    shared: SharedParts
    shared_digest: str

    def basis(self, words: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """Return the digests of the types that some words name, and of some names whether there is such a type or not."""
        declared = self.types.digests
        return {name: declared.get(name, "") for name in names} | self.types.closure(words)


@dataclass(frozen=True, slots=True)
class CheckedLink:
    """A link, and the document that made it, which problems with all links together are told by."""

    decoded: DecodedLink
    link: Link


@dataclass(frozen=True, slots=True)
class Unit:
    """A compiled operation or link and what it was made of: digests of its text, of its overlays, of types and of sources."""

    key: str
    """``operation <name>`` or ``field <type>.<field>``."""
    place: Place
    """Where its name stands."""
    made: OverlaidOperations | CheckedLink
    operation: Operation | None
    """The operation, if it is one."""
    digest: str
    overlays: str
    words: frozenset[str]
    basis: Mapping[str, str]
    sources: Mapping[str, str]
    shared: str

    @property
    def file(self) -> str:
        """The file that it comes from."""
        return self.place.file

    @property
    def composite(self) -> str | None:
        """The type that it makes, if it makes one."""
        return self.operation.strategy.composite if self.operation else None

    def steps(self) -> Iterator[Step]:
        """Yield its steps, those of overlays left aside."""
        if self.operation is not None:
            yield from self.operation.steps.values()
        elif isinstance(self.made, CheckedLink):
            yield self.made.link.step

    def called(self) -> Iterator[Source]:
        """Yield the sources that it calls."""
        yield from (step.source for step in self.steps() if step.source is not None)
        if isinstance(self.made, OverlaidOperations):
            yield from (source for name, source in self.made.check_context.sources.items() if name in self.sources)

    def stands_on(self, context: BuildContext) -> bool:
        """Tell whether the types and shared parts that it was made with are the same there."""
        return (
            self.shared == context.shared_digest
            and all(context.shared.digests.get(name) == known for name, known in self.sources.items())
            and self.basis == context.basis(self.words, self.own_types)
        )

    @property
    def own_types(self) -> tuple[str, ...]:
        """The names of types for which it matters whether somebody declares them."""
        return (self.composite,) if self.composite else ()

    def is_whole(self, step_types: Mapping[str, StepType]) -> bool:
        """Tell whether each step has the source that its type calls; one in which something is wrong is missing here."""
        return all(step.source is not None or step_types[step.type].source_keys is None for step in self.steps())


@dataclass(frozen=True, slots=True)
class UnitText:
    """A document that may become a unit, the problems of reading it, and the hash of where and what it is."""

    key: str
    document: YamlDocument
    text: str
    digest: str
    """A hash of its text and of where it begins, as steps know their places."""
    problems: list[Problem]


def make_unit(
    found: UnitText, made: OverlaidOperations | CheckedLink, overlays: Iterable[UnitText], context: BuildContext
) -> Unit:
    """Return the unit of what was compiled on a context."""
    layers = list(overlays)
    operation = next(iter(made.operations.values())) if isinstance(made, OverlaidOperations) else None
    steps = list(operation.steps.values()) if operation else [made.link.step] if isinstance(made, CheckedLink) else []
    texts = (found.text, *(layer.text for layer in layers), *{step.returns for step in steps})
    words = set[str]().union(*map(_WORD.findall, texts))
    names = (operation.strategy.composite,) if operation and operation.strategy.composite else ()
    declared = context.types.digests
    kept = frozenset(word for word in words if word[0].isupper() or word in declared)
    used = {step.source.name for step in steps if step.source}
    if layers:
        used |= {name for name in context.shared.digests if name in words or name in context.shared.defaults.values()}
    kind = found.key.partition(" ")[0]
    return Unit(
        key=found.key,
        place=found.document.marks.at((kind,)),
        made=made,
        operation=operation,
        digest=found.digest,
        overlays=digest(*(layer.digest for layer in layers)),
        words=kept,
        basis=context.basis(kept, names),
        sources={name: context.shared.digests[name] for name in used},
        shared=context.shared_digest,
    )
