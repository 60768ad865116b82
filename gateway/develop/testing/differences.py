"""The expectations of a case and its actual result → the differences, line by line."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.develop.testing.script import MockScript
from gateway.settings.cases import ErrorKeys, ExpectKeys


@dataclass(frozen=True, slots=True)
class ActualAnswer:
    """The actual result: the response body, or the errors of a refused request; the plan as text; the duration in virtual seconds."""

    body: Mapping[str, Any]
    is_refused: bool
    plan: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: a sentence, or the lines of a unified diff, ``-`` for expected and ``+`` for actual lines."""

    about: str
    lines: tuple[str, ...]


def differences(expect: ExpectKeys, actual: ActualAnswer, script: MockScript) -> list[Difference]:
    """Return all differences between the expectations and the result of a case."""
    result = [_sentence("calls", f"the step '{name}' was called and has no mock") for name in sorted(script.unmocked)]
    result += _response_differences(expect, actual)
    if expect.plan is not None:
        result += _diff("plan", expect.plan.rstrip().splitlines(), actual.plan.splitlines())
    result += _call_differences(expect, script)
    milliseconds = round(actual.seconds * 1000, 3)
    if expect.within_ms is not None and milliseconds > expect.within_ms:
        result.append(_sentence("time", f"the answer took {milliseconds:g} ms, not at most {expect.within_ms}"))
    return result


def _response_differences(expect: ExpectKeys, actual: ActualAnswer) -> Iterator[Difference]:
    errors = list(actual.body.get("errors", ()))
    expected_keys = expect.model_fields_set
    if actual.is_refused or expect.refused is not None:
        codes = sorted({error["extensions"]["code"] for error in errors}) if actual.is_refused else []
        if codes != ([expect.refused] if expect.refused else []):
            messages = "; ".join(error["message"] for error in errors) if actual.is_refused else "it was answered"
            yield _sentence(
                "answer", f"expected {expect.refused or 'an answer'}, but {', '.join(codes) or 'no refusal'}: {messages}"
            )
        return
    if "data" in expected_keys:
        yield from _diff("data", _lines(expect.data), _lines(actual.body["data"]))
    # Expected data without errors means that there are none: partial data must not pass unnoticed.
    if expected_keys & {"data", "errors"}:
        yield from _error_differences(expect.errors, errors)
    if "completeness" in expected_keys:
        report = actual.body.get("extensions", {}).get("completeness")
        yield from _diff("completeness", _lines(expect.completeness), _lines(report))


def _error_differences(expected: Sequence[ErrorKeys], errors: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """Compare errors by the keys that the test has. Unexpected errors are shown with step, code and path, ready to be copied."""
    expected_errors = [keys.model_dump(exclude_unset=True) for keys in expected]
    shown = [
        {
            "step": error["extensions"].get("step"),
            "code": error["extensions"]["code"],
            "path": error.get("path"),
            "message": error["message"],
        }
        for error in errors
    ]
    compared = [keys.keys() for keys in expected_errors] + [{"step", "code", "path"}] * max(0, len(shown) - len(expected_errors))
    # strict=False: fewer errors than expected leave keys over, and the diff shows what is missing.
    actual = [{key: error[key] for key in error if key in keys} for error, keys in zip(shown, compared, strict=False)]
    yield from _diff("errors", _lines(expected_errors, is_sorted=True), _lines(actual, is_sorted=True))


def _call_differences(expect: ExpectKeys, script: MockScript) -> Iterator[Difference]:
    for name, expected in expect.calls.items():
        sent = script.sent.get(name, [])
        if isinstance(expected, int):
            # A step that calls no upstream, such as a transform, sends nothing: it has run or not.
            count = len(sent) or int(name in script.ran)
            if expected != count:
                yield _sentence("calls", f"the step '{name}' was called {_times(count)}, not {_times(expected)}")
            continue
        compared = [call.keys() for call in expected] + [{"request", "params", "body"}] * max(0, len(sent) - len(expected))
        actual = [{key: call[key] for key in call if key in keys} for call, keys in zip(sent, compared, strict=False)]
        yield from _diff(f"calls of {name}", _lines(expected, is_sorted=True), _lines(actual, is_sorted=True))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _lines(value: object, *, is_sorted: bool = False) -> list[str]:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=is_sorted, default=str).splitlines()


def _diff(about: str, expected: Sequence[str], actual: Sequence[str]) -> Iterator[Difference]:
    if expected != actual:
        yield Difference(about, tuple(difflib.unified_diff(expected, actual, f"expected {about}", about, lineterm="")))


def _sentence(about: str, sentence: str) -> Difference:
    return Difference(about, (sentence,))
