"""Documents that say something to the whole gateway → the fields of the Blueprint that hold it.

What each kind is comes from the table ``DOCUMENT_KINDS``; here stands only what its model cannot check.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from gateway.errors import Problem
from gateway.load.build.context import read_context
from gateway.load.build.policy_rules import read_policy_rules
from gateway.load.build.rate_limits import read_rate_limits
from gateway.load.read.decode import Decoded
from gateway.settings import DOCUMENT_KINDS, DocumentKind

Documents = Sequence[Decoded[Any]]
Fields = Mapping[str, Any]
Checker = Callable[[Documents, Fields, list[Problem]], Fields]
"""Documents of one kind and the fields so far → fields that are made of these documents. What is wrong is added to the problems."""

_CAN_TRACE = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def _rate_limits(servers: Documents, fields: Fields, problems: list[Problem]) -> Fields:
    return {"rate_limits": read_rate_limits(servers[0], fields["context"], problems) if servers else None}


def _tracing(telemetries: Documents, fields: Fields, problems: list[Problem]) -> Fields:
    if fields["telemetry"].tracing and not _CAN_TRACE:
        message = "tracing needs the extra 'otel'; install it: pip install 'stepgraph[otel]'"
        problems.append(telemetries[0].problem(("telemetry", "tracing"), message, "missing-package"))
    return {}


CHECKERS: Mapping[str, Checker] = {
    "context": lambda documents, _, problems: {"context": read_context(documents, problems)},
    "policy": lambda documents, _, problems: {"policy_rules": read_policy_rules(documents, problems)},
    "server": _rate_limits,
    "telemetry": _tracing,
}
"""What is checked, or made, of the documents of a kind beyond its model."""


def read_fields(documents: Mapping[str, Documents], problems: list[Problem]) -> Fields:
    """Return the fields of the Blueprint that documents, by the key of their kind, say something to; each is there."""
    fields: dict[str, Any] = {}
    for kind in DOCUMENT_KINDS:
        if kind.field:
            found = documents.get(kind.key, ())
            fields[kind.field] = _the_one(kind, found, problems) if kind.is_single else tuple(one.keys for one in found)
            if kind.key in CHECKERS:
                fields |= CHECKERS[kind.key](found, fields, problems)
    return fields


def _the_one(kind: DocumentKind, found: Documents, problems: list[Problem]) -> object:
    """Return what the one document of a kind says, or what holds without it; every further document is a problem."""
    for second in found[1:]:
        message = f"a second '{kind.key}:', first at {found[0].place}"
        problems.append(second.problem((kind.key,), message, "duplicate-name", is_about_key=True))
    return getattr(found[0].keys, kind.key) if found else kind.default
