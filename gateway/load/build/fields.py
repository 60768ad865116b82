"""Documents of kinds with a field in the table ``DOCUMENT_KINDS`` → these fields of the Blueprint.

What the model of a kind cannot check is checked by a function in ``CHECKERS``.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from gateway.errors import Problem
from gateway.load.build.context import read_context
from gateway.load.build.cors import read_cors
from gateway.load.build.policy_rules import read_policy_rules
from gateway.load.build.rate_limits import read_rate_limits
from gateway.load.read.decode import Decoded
from gateway.settings import DOCUMENT_KINDS, DocumentKind

Documents = Sequence[Decoded[Any]]
Fields = Mapping[str, Any]
Checker = Callable[[Documents, Fields, list[Problem]], Fields]
"""Takes the documents of one kind and the fields so far, returns fields that replace or join them, and adds to the problems."""

_CAN_TRACE = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def _server(servers: Documents, fields: Fields, problems: list[Problem]) -> Fields:
    if not servers:
        return {"rate_limits": None}
    return {
        "rate_limits": read_rate_limits(servers[0], fields["context"], problems),
        "server": read_cors(servers[0], problems),
    }


def _tracing(telemetries: Documents, fields: Fields, problems: list[Problem]) -> Fields:
    if fields["telemetry"].tracing and not _CAN_TRACE:
        message = "tracing needs the extra 'otel'; install it: pip install 'stepgraph[otel]'"
        problems.append(telemetries[0].problem(("telemetry", "tracing"), message, "missing-package"))
    return {}


CHECKERS: Mapping[str, Checker] = {
    "context": lambda documents, _, problems: {"context": read_context(documents, problems)},
    "policy": lambda documents, _, problems: {"policy_rules": read_policy_rules(documents, problems)},
    "server": _server,
    "telemetry": _tracing,
}
"""Kinds whose documents need more than their model: expressions to compile, names and packages to look up."""


def read_fields(documents: Mapping[str, Documents], problems: list[Problem]) -> Fields:
    """Return the fields of the Blueprint for all kinds in the table, given the documents by the key of their kind.

    A kind without a document has its default.
    """
    fields: dict[str, Any] = {}
    for kind in DOCUMENT_KINDS:
        if kind.field:
            of_kind = documents.get(kind.key, ())
            fields[kind.field] = _single(kind, of_kind, problems) if kind.is_single else tuple(one.keys for one in of_kind)
            if kind.key in CHECKERS:
                fields |= CHECKERS[kind.key](of_kind, fields, problems)
    return fields


def _single(kind: DocumentKind, documents: Documents, problems: list[Problem]) -> object:
    """Return the value of a single kind, or its default. Every document after the first is a problem."""
    for second in documents[1:]:
        message = f"a second '{kind.key}:', first at {documents[0].place}"
        problems.append(second.problem((kind.key,), message, "duplicate-name", is_about_key=True))
    return getattr(documents[0].keys, kind.key) if documents else kind.default
