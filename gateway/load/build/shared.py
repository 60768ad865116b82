"""DecodedDocuments that all operations share → sources, defaults, context, Python types, and how changes are taken up."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec

from gateway.blueprint import Source
from gateway.errors import Problem, nearest
from gateway.load.build.context import read_context
from gateway.load.build.policy_rules import read_policy_rules
from gateway.load.build.rate_limits import read_rate_limits
from gateway.load.build.unit import SharedParts, digest
from gateway.load.check.references import Scope, placed_references, read_templates
from gateway.load.read.decode import Decoded, DecodedDocuments, StepTypes
from gateway.load.types.classes import read_python_types
from gateway.settings import LimitsKeys, ReloadKeys, ServerKeys, SourceKeys, TelemetryKeys

_CAN_TRACE = find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def read_shared(
    decoded: DecodedDocuments, step_types: StepTypes, folder: str, before: SharedParts | None
) -> tuple[SharedParts, list[Problem]]:
    """Return what is shared, without the sources in which something is wrong, and all problems.

    A source that is the same as before is the very same object, so that its pool stays.
    """
    problems = list(decoded.problems)
    python_types = read_python_types(decoded.classes, problems)
    context = read_context(decoded.contexts, problems)
    names = Scope({}, {}, context=context)
    sources: dict[str, Source] = {}
    templates: dict[str, Mapping[str, object]] = {}
    digests: dict[str, str] = {}
    for name, found in decoded.sources.items():
        count = len(problems)
        read = _templates(found, step_types, names, problems)
        if len(problems) > count:
            continue
        digests[name] = digest(found.keys.type, found.keys.model_dump_json(), folder)
        is_known = before is not None and before.digests.get(name) == digests[name]
        sources[name] = before.sources[name] if before and is_known else Source(name, found.keys, folder, found.place)
        templates[name] = read
    shared = SharedParts(
        sources,
        templates,
        frozenset(decoded.source_names),
        _defaults(decoded, problems),
        context,
        python_types,
        decoded.classes[0][1] if decoded.classes else None,
        digests,
        _server(decoded, problems),
        _reload(decoded, problems),
        _limits(decoded, problems),
        read_policy_rules(decoded.policies, problems),
        _telemetry(decoded, problems),
        read_rate_limits(decoded.servers[0], context, problems) if decoded.servers else None,
    )
    return shared, problems


def _templates(found: Decoded[SourceKeys], step_types: StepTypes, names: Scope, problems: list[Problem]) -> dict[str, object]:
    """Read the templates of a source and report what is wrong with it."""
    step_type = step_types[found.keys.type]
    templates = read_templates(found, step_type.source_templated, problems)
    for placed in placed_references(found, templates):
        if placed.reference.root not in {"request", "context"}:
            message = f"'{placed.reference}' is not known to a source, only 'request' and 'context' are"
            problems.append(found.problem(placed.path, message, "unknown-reference"))
        elif mistake := names.mistake(placed.reference.path):
            problems.append(found.problem(placed.path, *mistake))
    problems += [found.of_key(wrong) for wrong in step_type.check_source(found.keys)]
    return templates


def _defaults(decoded: DecodedDocuments, problems: list[Problem]) -> dict[str, str]:
    defaults = {}
    for step_type, (name, unknown) in decoded.defaults.items():
        # A default that is wrong still is one: the steps that use it are not to blame.
        defaults[step_type] = name
        source = decoded.sources.get(name)
        if name not in decoded.source_names:
            problems.append(replace(unknown, message=unknown.message + nearest(name, decoded.source_names)))
        elif source is not None and source.keys.type != step_type:
            message = f"the source '{name}' is of the type '{source.keys.type}', not '{step_type}'"
            problems.append(replace(unknown, message=message, code="wrong-source"))
    return defaults


def _server(decoded: DecodedDocuments, problems: list[Problem]) -> ServerKeys:
    for second in decoded.servers[1:]:
        message = f"a second 'server:', first at {decoded.servers[0].place}"
        problems.append(second.problem(("server",), message, "duplicate-name", is_about_key=True))
    return decoded.servers[0].keys.server if decoded.servers else ServerKeys()


def _reload(decoded: DecodedDocuments, problems: list[Problem]) -> ReloadKeys:
    for second in decoded.reloads[1:]:
        message = f"a second 'reload:', first at {decoded.reloads[0].place}"
        problems.append(second.problem(("reload",), message, "duplicate-name", is_about_key=True))
    return decoded.reloads[0].keys.reload if decoded.reloads else ReloadKeys()


def _limits(decoded: DecodedDocuments, problems: list[Problem]) -> LimitsKeys:
    for second in decoded.limits[1:]:
        message = f"a second 'limits:', first at {decoded.limits[0].place}"
        problems.append(second.problem(("limits",), message, "duplicate-name", is_about_key=True))
    return decoded.limits[0].keys.limits if decoded.limits else LimitsKeys()


def _telemetry(decoded: DecodedDocuments, problems: list[Problem]) -> TelemetryKeys:
    for second in decoded.telemetries[1:]:
        message = f"a second 'telemetry:', first at {decoded.telemetries[0].place}"
        problems.append(second.problem(("telemetry",), message, "duplicate-name", is_about_key=True))
    for found in decoded.telemetries[:1]:
        if found.keys.telemetry.tracing and not _CAN_TRACE:
            message = "tracing needs the extra 'otel'; install it: pip install 'stepgraph[otel]'"
            problems.append(found.problem(("telemetry", "tracing"), message, "missing-package"))
    return decoded.telemetries[0].keys.telemetry if decoded.telemetries else TelemetryKeys()
