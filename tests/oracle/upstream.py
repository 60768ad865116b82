"""The results of a case's calls, the same for the gateway and the executor: they depend on the call only, not on earlier calls."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

from gateway.contract import CallContext, Reply
from gateway.contract.outcome import Failure, Success
from gateway.contract.shape import Shape, ShapeMismatch
from gateway.errors import StepFault
from tests.oracle import Stage
from tests.oracle.generate import VARIANTS, CallResult, Case
from tests.oracle.specs import LinkSpec

Key = tuple[str | None, ...]
Call = tuple[object, ...]
"""The parts of a call that are compared: a step, its operation and arguments; or a link, its arguments and its keys in order."""


def as_key(values: Sequence[object]) -> Key:
    """Return values as the text that is sent; None for a missing value."""
    return tuple(
        value if isinstance(value, str | None) else str(value) if isinstance(value, float) else json.dumps(value, sort_keys=True)
        for value in values
    )


def as_json(arguments: Mapping[str, object]) -> str:
    """Return arguments as one JSON text, without those that are null."""
    return json.dumps({name: value for name, value in arguments.items() if value is not None}, sort_keys=True)


def step_result(case: Case, operation: str, step: str, arguments: Mapping[str, object]) -> CallResult:
    """Return the result of a call of a step."""
    return case.rows[step, str(crc32(f"{operation} {as_json(arguments)}".encode()) % VARIANTS)]


def link_result(case: Case, link: LinkSpec, arguments: Mapping[str, object], keys: Sequence[Key]) -> CallResult:
    """Return the result of one call of a link. Results are shuffled: they need not come in the order of the keys."""
    head = link.name, as_json(arguments)
    whole = case.rows[head]
    if whole != Success(None):
        return whole
    rows = [case.rows[*head, *key] for key in sorted(keys, key=str)]
    if not link.match:
        return rows[0]
    groups = []
    for row in rows:
        if isinstance(row, Failure) or not isinstance(row.value, list):
            return row
        groups.append(row.value)
    Random(str(sorted(keys, key=str))).shuffle(groups)
    return Success([item for group in groups for item in group])


@dataclass(slots=True)
class Upstreams(Stage):
    """Answers the steps and links of a case, and records the calls."""

    case: Case | None = None
    calls: list[Call] = field(default_factory=list)
    shaped: int = 0
    """How many values were decoded by a shape."""
    misfits: int = 0
    """How many values did not fit their shape."""

    async def act(self, name: str, inputs: object, context: CallContext) -> Reply:
        """Answer one call."""
        assert isinstance(inputs, dict)
        result = self._link_result(name, inputs) if "." in name else self._step_result(name, inputs)
        if isinstance(result, Failure):
            raise StepFault(result.code, status=result.status)
        return Reply(self._as_read(result.value, context.shape))

    def _as_read(self, value: object, shape: Shape | None) -> object:
        """Decode a value as a call does whose context has a shape."""
        if shape is None:
            return value
        try:
            read: object = shape.read(json.dumps(value).encode())
        except ShapeMismatch:
            self.misfits += 1
            return value
        self.shaped += 1
        return read

    def _step_result(self, name: str, inputs: Mapping[str, object]) -> CallResult:
        assert self.case is not None
        operation = inputs["in"]
        assert isinstance(operation, str)
        arguments = {argument: inputs.get(argument) for argument in self.case.world.operations[operation].arguments}
        self.calls.append((name, operation, as_json(arguments)))
        return step_result(self.case, operation, name, arguments)

    def _link_result(self, name: str, inputs: Mapping[str, Any]) -> CallResult:
        assert self.case is not None
        owner, _, name_of_field = name.partition(".")
        link = self.case.world.links[owner, name_of_field]
        arguments = {argument: inputs.get(argument) for argument in link.arguments}
        if not link.match:
            keys = [as_key([inputs.get(f"k{index}") for index, _ in enumerate(link.key)])]
        elif len(link.match) == 1:
            keys = [as_key([key]) for key in inputs["keys"]]
        else:
            keys = [as_key([key[part] for part in link.match]) for key in inputs["keys"]]
        assert len(set(keys)) == len(keys) <= link.max, f"{name} is asked for {keys}"
        self.calls.append((name, as_json(arguments), *keys))
        return link_result(self.case, link, arguments, keys)
