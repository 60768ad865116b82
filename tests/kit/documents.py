"""Documents read and planned as a generation does it, without one."""

from dataclasses import dataclass

from gateway.document.document import Document, DocumentReader
from gateway.serve.generation.plans import Plans


@dataclass(frozen=True, slots=True)
class Documents(Plans):
    """Plans, and the reader of the documents that they are made of."""

    def read(self, text: str) -> Document:
        """Read a document."""
        return DocumentReader(self.blueprint, self.schema, self.is_development).read(text)
