"""``*.test.yaml`` files → test cases. Mistakes in them are reported as problems with their place, like those of a configuration."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.blueprint import Blueprint
from gateway.contract import StepType
from gateway.contract.mock import MockAnswer
from gateway.errors import ConfigurationError, Place, Problem, did_you_mean
from gateway.load.read.decode import Decoded, decode_document
from gateway.load.read.files import TEST_FILES, read_file
from gateway.load.read.yaml_source import read_documents
from gateway.settings.cases import CaseKeys, MockKeys


@dataclass(frozen=True, slots=True)
class Mock:
    """One mocked reply of a step: after ``delay`` seconds, or never if ``is_hanging``."""

    answer: MockAnswer
    delay: float
    is_hanging: bool


Mocks = Mapping[str, Sequence[Mock]]
"""Step name → its replies in order: each call takes the next one, and calls after the last repeat it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test: its keys, its place, and the mocked replies for its request and for the one before it (``before:``)."""

    keys: CaseKeys
    place: Place
    mocks: Mocks
    mocks_before: Mocks


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Return the given test files, and the test files below the given folders. Hidden files and folders are skipped."""
    files: dict[Path, None] = {}
    for path in paths:
        below = sorted(item for suffix in TEST_FILES for item in path.rglob(f"*{suffix}")) if path.is_dir() else [path]
        # Only the parts below the given path count: the path itself may lie in a hidden folder.
        start = len(path.parts)
        files |= dict.fromkeys(item for item in below if not any(part.startswith(".") for part in item.parts[start:]))
    return list(files)


def read_cases(paths: Iterable[Path], blueprint: Blueprint, step_types: Mapping[str, StepType]) -> list[Case]:
    """Read test files and check them against a blueprint.

    :raises ConfigurationError: with all problems of all files.
    """
    problems: list[Problem] = []
    cases: list[Case] = []
    names = step_names(blueprint, step_types)
    for path in paths:
        read = read_file(path)
        if isinstance(read, Problem):
            problems.append(read)
            continue
        documents, syntax_problems = read_documents(str(path), read[1], {})
        problems += syntax_problems
        for document in documents:
            decoded = decode_document(CaseKeys, document, "test", problems)
            if decoded is not None:
                problems += _mistakes(decoded, blueprint, names)
                cases.append(_case(decoded))
    if problems:
        raise ConfigurationError(problems)
    return cases


def step_names(blueprint: Blueprint, step_types: Mapping[str, StepType]) -> dict[str, bool]:
    """Return the names of all steps of operations, overlays and links → whether a mock of the step has an effect."""
    steps = [step for operation in blueprint.operations.values() for step in operation.steps.values()]
    for position, overlay in enumerate(blueprint.overlays):
        steps += blueprint.effective(overlay.operation, (position,)).steps.values()
    steps += [link.step for link in blueprint.links.values()]
    names: dict[str, bool] = {}
    for step in steps:
        names[step.name] = names.get(step.name, False) or step_types[step.type].calls_out
    return names


def _mistakes(decoded: Decoded[CaseKeys], blueprint: Blueprint, names: Mapping[str, bool]) -> Iterator[Problem]:
    keys = decoded.keys
    before = keys.before.steps if keys.before else {}
    places = [("steps", name) for name in keys.steps] + [("before", "steps", name) for name in before]
    for path in (*places, *(("expect", "calls", name) for name in keys.expect.calls)):
        if path[-1] not in names:
            message = f"unknown step '{path[-1]}'{did_you_mean(path[-1], names)}"
            yield decoded.problem(path, message, "unknown-step", is_about_key=True)
        elif not names[path[-1]] and path[0] != "expect":
            message = f"the step '{path[-1]}' calls no upstream, so it runs as it is; remove its mock"
            yield decoded.problem(path, message, "unused-mock", is_about_key=True)
    for name in keys.context:
        if name not in blueprint.context:
            message = f"unknown context key '{name}'{did_you_mean(name, blueprint.context)}"
            yield decoded.problem(("context", name), message, "unknown-context", is_about_key=True)
    if not keys.expect.model_fields_set:
        message = "the test expects nothing, so it cannot fail; write 'data:', 'errors:', 'refused:', 'plan:' or 'calls:'"
        yield decoded.problem(("expect",), message, "missing-key")


def _case(decoded: Decoded[CaseKeys]) -> Case:
    keys = decoded.keys
    return Case(keys, decoded.place, _mocks(keys.steps), _mocks(keys.before.steps if keys.before else {}))


def _mocks(written: Mapping[str, MockKeys | list[MockKeys]]) -> Mocks:
    return {name: tuple(map(_mock, keys if isinstance(keys, list) else [keys])) for name, keys in written.items()}


def _mock(keys: MockKeys) -> Mock:
    is_hanging = keys.fault == "timeout"
    headers = {name.lower(): value for name, value in keys.headers.items()}
    answer = MockAnswer(keys.value, keys.status, headers, keys.body, None if is_hanging else keys.fault)
    return Mock(answer, keys.delay_ms / 1000, is_hanging)
