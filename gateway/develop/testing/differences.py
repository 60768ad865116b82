"""What a case expects + what came → the differences, line by line."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.develop.testing.script import MockScript
from gateway.settings.cases import ErrorKeys, ExpectKeys


@dataclass(frozen=True, slots=True)
class ActualAnswer:
    """What came: the body of the answer, or the errors of a request that was refused; the plan; the virtual seconds that it took."""

    body: Mapping[str, Any]
    is_refused: bool
    plan: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected: a sentence, or the lines of a diff, ``-`` for what was expected and ``+`` for what came."""

    about: str
    lines: tuple[str, ...]


def differences(expect: ExpectKeys, actual: ActualAnswer, script: MockScript) -> list[Difference]:
    """Return everything in which a case is not as it expects."""
    found = [_said("calls", f"the step '{name}' was called and has no mock") for name in sorted(script.unmocked)]
    found += _of_answer(expect, actual)
    if expect.plan is not None:
        found += _diff("plan", expect.plan.rstrip().splitlines(), actual.plan.splitlines())
    found += _of_calls(expect, script)
    milliseconds = round(actual.seconds * 1000, 3)
    if expect.within_ms is not None and milliseconds > expect.within_ms:
        found.append(_said("time", f"the answer took {milliseconds:g} ms, not at most {expect.within_ms}"))
    return found


def _of_answer(expect: ExpectKeys, actual: ActualAnswer) -> Iterator[Difference]:
    errors = list(actual.body.get("errors", ()))
    said = expect.model_fields_set
    if actual.is_refused or expect.refused is not None:
        codes = sorted({error["extensions"]["code"] for error in errors}) if actual.is_refused else []
        if codes != ([expect.refused] if expect.refused else []):
            messages = "; ".join(error["message"] for error in errors) if actual.is_refused else "it was answered"
            yield _said("answer", f"expected {expect.refused or 'an answer'}, but {', '.join(codes) or 'no refusal'}: {messages}")
        return
    if "data" in said:
        yield from _diff("data", _lines(expect.data), _lines(actual.body["data"]))
    if said & {"data", "errors"}:
        yield from _of_errors(expect.errors, errors)
    if "completeness" in said:
        report = actual.body.get("extensions", {}).get("completeness")
        yield from _diff("completeness", _lines(expect.completeness), _lines(report))


def _of_errors(expected: Sequence[ErrorKeys], errors: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """Compare errors by the keys that are expected; those that nobody expects are shown as they would be written."""
    wanted = [keys.model_dump(exclude_unset=True) for keys in expected]
    shown = [
        {
            "step": error["extensions"].get("step"),
            "code": error["extensions"]["code"],
            "path": error.get("path"),
            "message": error["message"],
        }
        for error in errors
    ]
    asked = [keys.keys() for keys in wanted] + [{"step", "code", "path"}] * max(0, len(shown) - len(wanted))
    came = [{key: error[key] for key in error if key in keys} for error, keys in zip(shown, asked, strict=False)]
    yield from _diff("errors", _lines(wanted, is_sorted=True), _lines(came, is_sorted=True))


def _of_calls(expect: ExpectKeys, script: MockScript) -> Iterator[Difference]:
    for name, wanted in expect.calls.items():
        sent = script.sent.get(name, [])
        if isinstance(wanted, int):
            count = len(sent) or int(name in script.ran)
            if wanted != count:
                yield _said("calls", f"the step '{name}' was called {_times(count)}, not {_times(wanted)}")
            continue
        keys = [call.keys() for call in wanted] + [{"request", "params", "body"}] * max(0, len(sent) - len(wanted))
        came = [{key: call[key] for key in call if key in asked} for call, asked in zip(sent, keys, strict=False)]
        yield from _diff(f"calls of {name}", _lines(wanted, is_sorted=True), _lines(came, is_sorted=True))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _lines(value: object, *, is_sorted: bool = False) -> list[str]:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=is_sorted, default=str).splitlines()


def _diff(about: str, expected: Sequence[str], came: Sequence[str]) -> Iterator[Difference]:
    if expected != came:
        yield Difference(about, tuple(difflib.unified_diff(expected, came, f"expected {about}", about, lineterm="")))


def _said(about: str, sentence: str) -> Difference:
    return Difference(about, (sentence,))
