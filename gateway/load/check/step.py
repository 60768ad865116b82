"""A checked draft → a Step of the Blueprint: policies with their defaults, inputs, and what it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.blueprint import Step
from gateway.blueprint.step import Retry
from gateway.language.environment import as_written
from gateway.language.template import references
from gateway.load.check.draft import CheckContext, StepDraft
from gateway.settings import CacheKeys, HedgeKeys, RetryKeys

_ONCE = RetryKeys(attempts=1)


@dataclass(frozen=True, slots=True)
class StepScope:
    """The names that a step's inputs can mean: arguments in order, and steps; and what other steps read of each step."""

    arguments: tuple[str, ...]
    steps: frozenset[str] = frozenset()
    read_by_others: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    sensitive: frozenset[str] = frozenset()
    """The names of the steps that are sensitive."""


def build_step(draft: StepDraft, around: CheckContext, scope: StepScope, *, name: str, returns: str, is_required: bool) -> Step:
    """Build a step from a draft in which nothing is wrong; ``returns`` is its type as text."""
    keys, source = draft.keys, draft.source
    templates = {**draft.templates, "source": around.source_templates.get(source.name, {}) if source else {}}
    inputs = draft.step_type.inputs(keys, templates, scope.arguments)
    found = list(references(inputs))
    read = dict.fromkeys(reference.root for reference in found)
    looked_at = dict.fromkeys(path[0] for _, path in draft.scope_paths if path)
    read |= looked_at
    needs = tuple(root for root in read if root in scope.steps)
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
        must_succeed=tuple(root for root in looked_at if root in scope.steps),
        follows=tuple(other for other in keys.depends_on if other not in needs),
        request_reads=tuple(dict.fromkeys(reference.path[1:] for reference in found if reference.root == "request")),
        reads_context="context" in read,
        takes_selection=draft.step_type.takes_selection(keys),
        read_by_others=scope.read_by_others.get(keys.name, ()),
        timeout=timeout_ms / 1000,
        retry=_retry(keys.retry or (source.keys.retry if source else _ONCE)),
        hedge=_hedge(draft),
        fallbacks=draft.fallbacks,
        calls_out=draft.step_type.calls_out,
        is_prompt=draft.step_type.is_prompt,
        takes_shape=draft.step_type.takes_shape,
        lifetime=keys.cache.ttl_ms / 1000 if isinstance(keys.cache, CacheKeys) else keys.cache,
        is_deduplicated=source is not None and source.keys.dedupe and draft.step_type.is_idempotent(keys),
        description=as_written(draft.step_type.describe(keys), around.variables),
        is_sensitive=name in scope.sensitive,
    )


def _retry(keys: RetryKeys) -> Retry:
    return _shared_retry(keys.attempts, tuple(keys.errors), keys.base_ms, keys.cap_ms)


@lru_cache(maxsize=64)
def _shared_retry(attempts: int, errors: tuple[str | int, ...], base_ms: int, cap_ms: int) -> Retry:
    """Return the one object of all steps that say the same, which are most."""
    return Retry(attempts, frozenset(map(str, errors)), base_ms / 1000, cap_ms / 1000)


def _hedge(draft: StepDraft) -> HedgeKeys | None:
    said = draft.keys.hedge or (draft.source.keys.hedge if draft.source else None)
    return said if said and said.enabled and draft.step_type.is_read(draft.keys) else None
