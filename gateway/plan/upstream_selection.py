"""Build the selection set that is sent to an upstream GraphQL service, from everything that reads a step's value.

It merges the selections of all root fields and aliases, the references of other steps, and the keys of links. Aliases of the client are
replaced by the fields themselves, so that all readers share one response. Fields of links are left out: another step fills them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from graphql import get_named_type, is_abstract_type

from gateway.blueprint import Link
from gateway.document.selection import TYPENAME, Selected

Links = Mapping[tuple[str, str], Link]


@dataclass(slots=True)
class _Fields:
    """A selection set under construction: fields by name, and for an interface or union also selection sets by concrete type."""

    fields: dict[str, "_Fields"] = field(default_factory=dict)
    types: dict[str, "_Fields"] = field(default_factory=dict)

    def add(self, selected: Selected, links: Links) -> None:
        """Add the subfields of a selected field."""
        is_abstract = is_abstract_type(get_named_type(selected.type))
        for type_name, selection in selected.parts.items():
            target = self.types.setdefault(type_name, _Fields()) if is_abstract else self
            for part in selection:
                link = links.get((type_name, part.name))
                if link is not None:
                    for reference in link.key:
                        target.add_path(reference.path)
                elif part.name != TYPENAME:
                    target.fields.setdefault(part.name, _Fields()).add(part, links)

    def add_path(self, path: tuple[str, ...]) -> None:
        """Add a dotted path; list indexes in it select nothing."""
        names = [name for name in path if not name.isdecimal()]
        if names:
            self.fields.setdefault(names[0], _Fields()).add_path(tuple(names[1:]))

    def as_text(self) -> str:
        """Return the selection set as text; empty for a leaf."""
        texts = [f"{name}{below.as_text()}" for name, below in self.fields.items()]
        if self.types:
            # The projection and links need the concrete type of each object.
            texts = [
                TYPENAME,
                *texts,
                *(f"... on {name}{below.as_text() or ' { __typename }'}" for name, below in self.types.items()),
            ]
        return f" {{ {' '.join(texts)} }}" if texts else ""


def selection_text(selected: Iterable[Selected], paths: Iterable[tuple[str, ...]], links: Links) -> str:
    """Return the selection set for all readers of a value: selected fields, and dotted paths. It always has at least one field."""
    fields = _Fields()
    for part in selected:
        fields.add(part, links)
    for path in paths:
        fields.add_path(path)
    return fields.as_text().strip() or f"{{ {TYPENAME} }}"
