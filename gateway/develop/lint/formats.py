"""Findings → data for other programs: plain JSON, and SARIF 2.1.0 as code hosts show it beside the lines of a change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway import __version__
from gateway.develop.lint.finding import Finding, Rule, Severity
from gateway.errors import Place

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return findings with a count for each severity."""
    return {
        "findings": [
            {
                "rule": finding.problem.code,
                "severity": str(finding.severity),
                "file": finding.problem.place.file,
                "line": finding.problem.place.line,
                "column": finding.problem.place.column,
                "subject": finding.problem.subject,
                "message": finding.problem.message,
            }
            for finding in findings
        ],
        "count": {str(severity): sum(found.severity is severity for found in findings) for severity in reversed(Severity)},
    }


def as_sarif(findings: Sequence[Finding], rules: Sequence[Rule]) -> dict[str, Any]:
    """Return a SARIF log of one run. What is no finding of a rule is a problem, whose code is then its rule."""
    described = {rule.id: _rule(rule.id, rule.severity, rule.meaning) for rule in rules}
    for finding in findings:
        code = finding.problem.code
        described.setdefault(code, _rule(code, finding.severity, "The configuration can be loaded."))
    positions = {code: position for position, code in enumerate(described)}
    driver = {"name": "stepgraph", "semanticVersion": __version__, "rules": list(described.values())}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, positions[finding.problem.code]) for finding in findings],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str, severity: Severity, meaning: str) -> dict[str, Any]:
    return {"id": code, "shortDescription": {"text": meaning}, "defaultConfiguration": {"level": _LEVELS[severity]}}


def _result(finding: Finding, position: int) -> dict[str, Any]:
    problem = finding.problem
    region = {"startLine": problem.place.line, "startColumn": problem.place.column}
    return {
        "ruleId": problem.code,
        "ruleIndex": position,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{problem.subject}: {problem.message}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(problem.place)}, "region": region}}],
    }


def _uri(place: Place) -> str:
    path = Path(place.file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
