"""Suppress findings by comments: ``# stepgraph: ignore rule-id reason`` on the line of a finding, or alone on a line before it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.develop.lint.finding import Finding, Severity
from gateway.errors import Place, Problem, did_you_mean

BAD_IGNORE = "bad-ignore"
UNUSED_IGNORE = "unused-ignore"
_COMMENT = re.compile(r"#\s*stepgraph:\s*ignore\b[ \t]*(?P<rule>[\w/-]*)[ \t]*(?P<reason>.*)")
_BREAK = re.compile(r"\r\n|[\n\r]")


@dataclass(frozen=True, slots=True)
class Ignore:
    """One comment: its place, the rule that it suppresses, the reason, and the line that it applies to."""

    place: Place
    rule: str
    reason: str
    line: int

    def matches(self, finding: Finding) -> bool:
        """Tell whether the comment suppresses a finding."""
        place = finding.problem.place
        return (place.file, place.line, finding.problem.code) == (self.place.file, self.line, self.rule)


def read_ignores(texts: Mapping[str, str]) -> Iterator[Ignore]:
    """Yield the comments of files (path → text)."""
    for file, text in texts.items():
        lines = _BREAK.split(text) if "stepgraph:" in text else []
        for number, line in enumerate(lines, 1):
            match = _COMMENT.search(line)
            if match:
                is_alone = not line[: match.start()].strip()
                target = _next_line(lines, number) if is_alone else number
                yield Ignore(Place(file, number, match.start() + 1), match["rule"], match["reason"].strip(), target)


def _next_line(lines: list[str], number: int) -> int:
    """Return the number of the next line that is neither empty nor a comment; several comments can precede one line."""
    rest = enumerate(lines[number:], number + 1)
    return next((following for following, line in rest if line.strip() and not line.lstrip().startswith("#")), number)


def without_ignored(findings: Iterable[Finding], texts: Mapping[str, str], rules: Iterable[str]) -> list[Finding]:
    """Return the findings that no comment suppresses, and findings about the comments: those without effect or with a mistake."""
    known = set(rules)
    ignores = list(read_ignores(texts))
    valid = [ignore for ignore in ignores if ignore.rule in known and ignore.reason]
    kept: list[Finding] = []
    used: set[Ignore] = set()
    for finding in findings:
        matching = [ignore for ignore in valid if ignore.matches(finding)]
        used.update(matching)
        kept += [] if matching else [finding]
    kept += [_finding(ignore, _mistake(ignore, known), BAD_IGNORE, Severity.ERROR) for ignore in ignores if ignore not in valid]
    unused = "it ignores nothing: the line has no such finding; remove it"
    kept += [_finding(ignore, unused, UNUSED_IGNORE, Severity.WARNING) for ignore in valid if ignore not in used]
    return kept


def _mistake(ignore: Ignore, known: set[str]) -> str:
    if not ignore.rule:
        return "it does not say what to ignore; write 'ignore rule-id reason'"
    if ignore.rule not in known:
        return f"there is no rule '{ignore.rule[:80]}'{did_you_mean(ignore.rule, sorted(known))}"
    return f"the reason is missing; write why '{ignore.rule}' does not matter here"


def _finding(ignore: Ignore, message: str, code: str, severity: Severity) -> Finding:
    return Finding(Problem(ignore.place, "ignore", message, code), severity)
