"""Read and plan documents as a generation does, without opening one."""

from dataclasses import dataclass

from gateway.document.budget import PlanningBudget
from gateway.document.document import Document, DocumentReader
from gateway.serve.generation.plans import Plans
from gateway.settings import LimitsKeys


@dataclass(frozen=True, slots=True)
class Documents(Plans):
    """The plans of a generation, with a reader of documents."""

    def read(self, text: str) -> Document:
        """Read a document."""
        return DocumentReader(self.blueprint, self.schema, self.is_development).read(text)


def budget(planning: int = 100_000) -> PlanningBudget:
    """Return a budget that is not what a test is about."""
    return PlanningBudget(LimitsKeys(planning=planning))
