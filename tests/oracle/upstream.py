"""What the calls of a case give, for the gateway and for the executor alike: a function of the call, and of nothing that came before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

from gateway.contract import CallContext, Reply
from gateway.contract.outcome import Failure, Success
from gateway.contract.shape import Misfit, Shape
from gateway.errors import StepFault
from tests.oracle import Stage
from tests.oracle.generate import VARIANTS, Case, Ending
from tests.oracle.specs import LinkSpec

Key = tuple[str | None, ...]
Call = tuple[object, ...]
"""A call as it is compared: a step, its operation and arguments; or a link, its arguments and its keys in order."""


def as_key(values: Sequence[object]) -> Key:
    """Return values as the text that is sent; None for one that is not there."""
    return tuple(
        value if isinstance(value, str | None) else str(value) if isinstance(value, float) else json.dumps(value, sort_keys=True)
        for value in values
    )


def as_json(arguments: Mapping[str, object]) -> str:
    """Return arguments as one text; those that are null count for nothing."""
    return json.dumps({name: value for name, value in arguments.items() if value is not None}, sort_keys=True)


def of_step(case: Case, operation: str, step: str, arguments: Mapping[str, object]) -> Ending:
    """Return how a step of an operation ends."""
    return case.rows[step, str(crc32(f"{operation} {as_json(arguments)}".encode()) % VARIANTS)]


def of_link(case: Case, link: LinkSpec, arguments: Mapping[str, object], keys: Sequence[Key]) -> Ending:
    """Return how one call of a link ends. Results come in an order that is not that of the keys."""
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
    """Plays the steps and links of a case, and notes down the calls."""

    case: Case | None = None
    calls: list[Call] = field(default_factory=list)
    shaped: int = 0
    """How many values were read by a shape."""
    misfits: int = 0
    """How many values were not of their shape."""

    async def act(self, name: str, inputs: object, context: CallContext) -> Reply:
        """Answer one call."""
        assert isinstance(inputs, dict)
        ending = self._of_link(name, inputs) if "." in name else self._of_step(name, inputs)
        if isinstance(ending, Failure):
            raise StepFault(ending.code, status=ending.status)
        return Reply(self._as_read(ending.value, context.shape))

    def _as_read(self, value: object, shape: Shape | None) -> object:
        """Return a value as a call reads it whose context has a shape."""
        if shape is None:
            return value
        try:
            read: object = shape.read(json.dumps(value).encode())
        except Misfit:
            self.misfits += 1
            return value
        self.shaped += 1
        return read

    def _of_step(self, name: str, inputs: Mapping[str, object]) -> Ending:
        assert self.case is not None
        operation = inputs["in"]
        assert isinstance(operation, str)
        arguments = {argument: inputs.get(argument) for argument in self.case.world.operations[operation].arguments}
        self.calls.append((name, operation, as_json(arguments)))
        return of_step(self.case, operation, name, arguments)

    def _of_link(self, name: str, inputs: Mapping[str, Any]) -> Ending:
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
        return of_link(self.case, link, arguments, keys)
