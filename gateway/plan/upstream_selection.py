"""Build the selection set that is sent to an upstream GraphQL service, from everything that reads a step's value.

It merges the selections of all root fields and aliases, the references of other steps, and the keys of links. Aliases of the client are
replaced by the fields themselves, so that all readers share one response. Fields of links are left out: another step fills them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.blueprint import Link
from gateway.document.budget import PlanningBudget
from gateway.document.selection import TYPENAME, Parts, Selected

Links = Mapping[tuple[str, str], Link]
CHARACTERS_PER_UNIT = 20


@dataclass(slots=True)
class _Readers:
    """All that reads one value: the selections of the document, each once, and dotted paths."""

    parts: dict[int, Parts] = field(default_factory=dict)
    paths: dict[tuple[str, ...], None] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[tuple[int, ...], tuple[tuple[str, ...], ...]]:
        """What decides the text."""
        return tuple(self.parts), tuple(self.paths)

    def add_path(self, path: tuple[str, ...]) -> None:
        """Add a dotted path; list indexes in it select nothing."""
        names = tuple(name for name in path if not name.isdecimal())
        if names:
            self.paths[names] = None


_Fields = dict[str, _Readers]


@dataclass(slots=True)
class _SelectionWriter:
    """Writes selection sets. Readers that are the same in several places have one text, which is written once."""

    links: Links
    budget: PlanningBudget
    texts: dict[object, str] = field(default_factory=dict)

    def text(self, readers: _Readers) -> str:
        """Return the selection set for all readers of a value; empty for a leaf."""
        identity = readers.identity
        if identity not in self.texts:
            text = self.write(readers)
            self.budget.spend(len(text) // CHARACTERS_PER_UNIT)
            self.texts[identity] = text
        return self.texts[identity]

    def write(self, readers: _Readers) -> str:
        fields: _Fields = {}
        types: dict[str, _Fields] = {}
        for parts in readers.parts.values():
            for type_name, selection in parts.items():
                self.add(types.setdefault(type_name, {}) if parts.is_abstract else fields, type_name, selection)
        for path in readers.paths:
            _add_path(fields, path)
        texts = self.fields(fields)
        if types:
            # The projection and links need the concrete type of each object.
            written = ((name, " ".join(self.fields(below)) or TYPENAME) for name, below in types.items())
            texts = [TYPENAME, *texts, *(f"... on {name} {{ {text} }}" for name, text in written)]
        if readers.parts and not texts:
            texts = [TYPENAME]  # all that is selected of an object comes from elsewhere, but a service wants a selection
        return f" {{ {' '.join(texts)} }}" if texts else ""

    def add(self, fields: _Fields, type_name: str, selection: tuple[Selected, ...]) -> None:
        self.budget.spend(len(selection))
        for part in selection:
            link = self.links.get((type_name, part.name))
            if link is not None:
                for reference in link.key:
                    _add_path(fields, reference.path)
            elif part.name != TYPENAME:
                readers = fields.setdefault(part.name, _Readers())
                if part.parts:
                    readers.parts[id(part.parts)] = part.parts

    def fields(self, fields: _Fields) -> list[str]:
        return [f"{name}{self.text(readers)}" for name, readers in fields.items()]


def _add_path(fields: _Fields, path: tuple[str, ...]) -> None:
    names = [name for name in path if not name.isdecimal()]
    if names:
        fields.setdefault(names[0], _Readers()).add_path(tuple(names[1:]))


def selection_text(selected: Iterable[Selected], paths: Iterable[tuple[str, ...]], links: Links, budget: PlanningBudget) -> str:
    """Return the selection set for all readers of a value: selected fields, and dotted paths. It always has at least one field.

    :raises RequestError: the text is too long for the budget.
    """
    readers = _Readers({id(part.parts): part.parts for part in selected})
    for path in paths:
        readers.add_path(path)
    return _SelectionWriter(links, budget).text(readers).strip() or f"{{ {TYPENAME} }}"
