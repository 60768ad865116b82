"""What is declared ``sensitive`` → the steps that must not be logged: those that return sensitive values, and those that read them."""

from collections.abc import Iterable, Mapping

from graphql import GraphQLSchema

from gateway.blueprint import Argument
from gateway.load.check.draft import StepDraft
from gateway.load.types.sensitive import holds_sensitive


def sensitive_steps(
    drafts: Mapping[str, StepDraft], arguments: Iterable[Argument], declared: Iterable[str], types: GraphQLSchema | None
) -> frozenset[str]:
    """Return the names of an operation's sensitive steps. ``declared`` are the fields of its type with ``@sensitive`` in the SDL."""
    fields = set(declared)
    names = {argument.name for argument in arguments if argument.is_sensitive}
    names |= {
        name
        for name, draft in drafts.items()
        if draft.keys.sensitive or holds_sensitive(draft.returns, types) or draft.field in fields
    }
    reads = {name: _read(draft) for name, draft in drafts.items()}
    # A step that reads a sensitive step may pass the value on, so it is sensitive too: repeat until there is none left.
    while readers := {name for name, read in reads.items() if name not in names and not names.isdisjoint(read)}:
        names |= readers
    return frozenset(names & drafts.keys())


def reads_sensitive(draft: StepDraft, arguments: Iterable[Argument]) -> bool:
    """Tell whether a step reads a sensitive argument."""
    return not _read(draft).isdisjoint(argument.name for argument in arguments if argument.is_sensitive)


def _read(draft: StepDraft) -> set[str]:
    """Return the names of arguments and steps that a step reads."""
    paths = [*(placed.reference.path for placed in draft.placed), *(path for _, path in draft.scope_paths)]
    return {path[1] if path[0] == "args" and len(path) > 1 else path[0] for path in paths if path}
