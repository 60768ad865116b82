"""Blueprint → JSON data, for policy rules and other tools. The format is stable: keys may be added, but never change their meaning.

It contains no value of a header, a body or a parameter and no credentials of a URL, so it may be shown to anyone.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.blueprint.blueprint import Blueprint
from gateway.blueprint.operation import Link, Operation
from gateway.blueprint.redaction import MASK
from gateway.blueprint.step import Source, Step
from gateway.blueprint.worst_case import longest_call, worst_case

FORMAT = 1
Data = dict[str, Any]


def blueprint_json(blueprint: Blueprint) -> Data:
    """Return the whole view. ``steps`` are those of all operations and links, each with the name of its operation or link."""
    steps = [
        _step(step, operation=operation.name) for operation in blueprint.operations.values() for step in operation.steps.values()
    ]
    steps += [_step(link.step, link=f"{link.type}.{link.field}") for link in blueprint.links.values()]
    return {
        "format": FORMAT,
        "version": blueprint.version,
        "sources": [_source(source) for source in blueprint.sources.values()],
        "operations": [_operation(operation) for operation in blueprint.operations.values()],
        "links": [_link(link) for link in blueprint.links.values()],
        "steps": steps,
        "overlays": list(_overlays(blueprint)),
        "context": list(blueprint.context),
        "types": list(blueprint.types),
    }


def _source(source: Source) -> Data:
    keys = source.keys
    return {
        "name": source.name,
        "type": keys.type,
        "url": _shown_url(keys.model_dump(include={"url", "base_url"})),
        "timeout_ms": keys.timeout_ms,
        "concurrency": keys.concurrency,
        "queue": keys.queue,
        "insecure": keys.is_insecure,
        **{key: value for name, policy in keys.policies.items() for key, value in policy.in_short(name).items()},
        "at": str(source.place),
    }


def _shown_url(keys: Mapping[str, str]) -> str | None:
    """Return a URL without user, password and query, any of which may hold credentials."""
    text = next(iter(keys.values()), None)
    if text is None:
        return None
    url = urlsplit(text)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _operation(operation: Operation) -> Data:
    return {
        "name": operation.name,
        "description": operation.description,
        "kind": "mutation" if operation.is_mutation else "query",
        "returns": operation.returns,
        "arguments": [{"name": argument.name, "type": argument.type} for argument in operation.arguments],
        "deadline_ms": _ms(operation.deadline),
        "worst_case_ms": _ms(worst_case(operation).seconds),
        "concurrency": operation.concurrency,
        "strategy": operation.strategy.name,
        "picked": operation.strategy.whole.step if operation.strategy.whole else None,
        "steps": list(operation.steps),
        "required_steps": [name for name, step in operation.steps.items() if step.is_required],
        "at": str(operation.place),
    }


def _link(link: Link) -> Data:
    return {
        "field": f"{link.type}.{link.field}",
        "returns": link.returns,
        "is_list": link.is_list,
        "batch": link.max if link.match else None,
        "source": link.step.source.name if link.step.source else None,
        "at": str(link.place),
    }


def _step(step: Step, operation: str | None = None, link: str | None = None) -> Data:
    return {
        "name": step.name,
        "operation": operation,
        "link": link,
        "type": step.type,
        "source": step.source.name if step.source else None,
        "call": step.description,
        "returns": step.returns,
        "expose": step.is_exposed,
        "required": step.is_required,
        "idempotent": step.is_idempotent,
        "needs": list(step.needs),
        "depends_on": list(step.follows),
        "when": step.when.text if step.when else None,
        "select": step.select.text if step.select else None,
        "timeout_ms": _ms(step.timeout),
        **_policies(step),
        "worst_case_ms": _ms(longest_call(step)),
        "fallback": [fallback.data(MASK if step.is_sensitive else None) for fallback in step.fallbacks],
        "at": str(step.place),
    }


def _policies(step: Step) -> Data:
    shown = {key: value for name, policy in step.policies.items() for key, value in policy.in_full(name).items()}
    return {key: shown[key] for key in sorted(shown)}


def _overlays(blueprint: Blueprint) -> Iterator[Data]:
    for overlay in blueprint.overlays:
        yield {
            "name": overlay.name,
            "operation": overlay.operation,
            "when": {key: sorted(values) for key, values in overlay.when.items()},
            "changes": [".".join(patch.path) for patch in overlay.patches],
            "at": str(overlay.place),
        }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
