"""A rule about secrets: values in files that look like credentials. Values from the environment are fine; no value is printed."""

import re
from collections.abc import Iterator, Mapping

from gateway.develop.lint.finding import Occurrence
from gateway.develop.lint.subject import LintSubject
from gateway.errors import Place
from gateway.load.read.yaml_source import SourceMap

_SENSITIVE = re.compile(
    r"authorization|cookie|api[-_]?key|access[-_]?key|token|secret|passw|credential|private[-_]?key", re.IGNORECASE
)
_CARRIERS = {"headers", "query", "body", "params", "variables", "inputs"}
"""Keys whose values are sent to an upstream, each under its own key."""
_REFERENCE = re.compile(r"\{[^{}]*\}")
_SCHEME = re.compile(r"(Basic|Bearer|Digest|Token|ApiKey)\b", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@{}]+@", re.IGNORECASE)
# Formats of Stripe, OpenAI, GitHub, AWS, Slack and Google keys, JSON Web Tokens, and PEM private keys.
_KNOWN = re.compile(
    r"\b(?:sk_live_\w{8,}|sk-[\w-]{20,}|gh[pousr]_\w{30,}|AKIA[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*)|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_SHORTEST = 4
"""Length in characters from which a literal counts as a credential."""


def secrets_in_files(subject: LintSubject) -> Iterator[Occurrence]:
    """Yield the values that look like credentials."""
    for document in subject.documents:
        for path, value, place in _texts(document.value, document.marks, ()):
            what = _secret(path, value)
            if what:
                message = f"{what} is written in the file; take it from the environment: ${{NAME}}"
                yield place, f"{_kind(document.value)} · {path[-1]}", message


def _kind(document: Mapping[str, object]) -> str:
    key, value = next(iter(document.items()))
    return f"{key} {value}" if isinstance(value, str) else key


def _texts(value: object, marks: SourceMap, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Place]]:
    if isinstance(value, str):
        yield path, value, marks.place
    elif isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _texts(item, marks.part(key), (*path, key) if isinstance(key, str) else path)


def _secret(path: tuple[str, ...], value: str) -> str | None:
    """Return a description of the kind of secret that a value is; None if it is none."""
    if _PASSWORD_IN_URL.search(value):
        return "the password of a url"
    if _KNOWN.search(value):
        return "a key or token"
    carriers = [index for index, key in enumerate(path[:-1]) if key in _CARRIERS]
    # What is left without references and the authentication scheme: "Bearer {request.headers.token}" is no secret.
    literal = _SCHEME.sub("", _REFERENCE.sub("", value)).strip()
    if carriers and any(_SENSITIVE.search(key) for key in path[carriers[0] + 1 :]) and len(literal) >= _SHORTEST:
        return f"the value of '{path[-1]}'"
    return None
