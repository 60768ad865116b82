"""A checked draft → a Step of the Blueprint: its inputs, its prerequisites, and the policies that apply to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.blueprint import Step
from gateway.language.environment import restore_references
from gateway.language.template import references
from gateway.load.check.draft import CheckContext, StepDraft
from gateway.load.check.policies import policies_of
from gateway.settings import CacheKeys


@dataclass(frozen=True, slots=True)
class StepScope:
    """What a step can read: the names of arguments, in order, and of steps; and the paths that other steps read of each step."""

    arguments: tuple[str, ...]
    steps: frozenset[str] = frozenset()
    read_by_others: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    sensitive: frozenset[str] = frozenset()
    """The names of the steps that are sensitive."""


def build_step(
    draft: StepDraft, check_context: CheckContext, scope: StepScope, *, name: str, returns: str, is_required: bool
) -> Step:
    """Build a step from a draft without problems. ``returns`` is its type as text."""
    keys, source = draft.keys, draft.source
    templates = {**draft.templates, "source": check_context.source_templates.get(source.name, {}) if source else {}}
    inputs = draft.step_type.inputs(keys, templates, scope.arguments)
    in_inputs = list(references(inputs))
    in_expressions = dict.fromkeys(path[0] for _, path in draft.scope_paths if path)
    roots = dict.fromkeys(reference.root for reference in in_inputs) | in_expressions
    needs = tuple(root for root in roots if root in scope.steps)
    timeout_ms = keys.timeout_ms or (source.keys.timeout_ms if source else None) or draft.step_type.timeout_ms
    return Step(
        name=name,
        type=keys.type,
        keys=keys,
        source=source,
        place=draft.decoded.place,
        returns=returns,
        field=draft.field,
        is_exposed=keys.expose,
        is_required=is_required,
        is_idempotent=draft.step_type.is_idempotent(keys),
        inputs=inputs,
        when=draft.when,
        select=draft.select,
        needs=needs,
        must_succeed=tuple(root for root in in_expressions if root in scope.steps),
        follows=tuple(other for other in keys.depends_on if other not in needs),
        request_reads=tuple(dict.fromkeys(reference.path[1:] for reference in in_inputs if reference.root == "request")),
        reads_context="context" in roots,
        takes_selection=draft.step_type.takes_selection(keys),
        read_by_others=scope.read_by_others.get(keys.name, ()),
        timeout=timeout_ms / 1000,
        policies=policies_of(keys, source.keys if source else None, draft.step_type),
        fallbacks=draft.fallbacks,
        calls_out=draft.step_type.calls_out,
        cancels_promptly=draft.step_type.cancels_promptly,
        takes_shape=draft.step_type.takes_shape,
        lifetime=keys.cache.ttl_ms / 1000 if isinstance(keys.cache, CacheKeys) else keys.cache,
        is_deduplicated=source is not None and source.keys.dedupe and draft.step_type.is_idempotent(keys),
        description=restore_references(draft.step_type.describe(keys), check_context.variables),
        is_sensitive=name in scope.sensitive,
    )
