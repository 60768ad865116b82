"""Findings → data for other programs: plain JSON, and SARIF 2.1.0, which code hosts show next to the lines of a change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway import __version__
from gateway.develop.lint.finding import Finding, Rule, Severity
from gateway.errors import Place, visible

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings, and their number for each severity."""
    return {
        "findings": [
            {
                "rule": finding.problem.code,
                "severity": str(finding.severity),
                "file": visible(finding.problem.place.file),
                "line": finding.problem.place.line,
                "column": finding.problem.place.column,
                "subject": finding.problem.subject,
                "message": finding.problem.message,
            }
            for finding in findings
        ],
        "count": {str(severity): sum(finding.severity is severity for finding in findings) for severity in reversed(Severity)},
    }


def as_sarif(findings: Sequence[Finding], rules: Sequence[Rule]) -> dict[str, Any]:
    """Return a SARIF log of one run. A problem of the configuration has no rule; its code is listed as one."""
    # Results refer to rules by index (SARIF 3.27.6), so the code of a problem needs an entry too.
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
