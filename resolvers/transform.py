"""``type: transform``: a value computed with JMESPath from arguments, context and other steps' values."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply, StepType
from gateway.contract.mock import MockUpstream
from gateway.language.expression import compile_expression
from gateway.language.template import Reference
from gateway.settings import StepKeys, Text


class TransformKeys(StepKeys):
    """The keys of a transform step: a value computed from arguments, context and other steps' values."""

    example = """\
- name: summary
  type: transform
  select: "{ total: sum(transactions[].amount), tier: account.tier }"
"""

    select: Text
    """JMESPath over arguments, steps and context; its result is the value of the step."""


class Transform(StepType):
    """The step type ``transform``: its call returns its inputs, to which the engine applies ``select``."""

    name = "transform"
    keys = TransformKeys
    cancels_promptly = True
    selects_from_scope = True
    calls_out = False

    def inputs(self, keys: TransformKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return an optional reference for each name that the expression reads; a null value is left out."""
        roots = dict.fromkeys(path[0] for path in compile_expression(keys.select).paths if path)
        return {root: Reference((root,), is_optional=True) for root in roots}

    def is_idempotent(self, keys: TransformKeys) -> bool:
        """Return True: computing a value has no effect."""
        return True

    def describe(self, keys: TransformKeys) -> str:
        """Return the expression."""
        return " ".join(keys.select.split())

    def call(self, step: Step, connection: None) -> Call:
        """Return a call that returns what the expression reads."""

        async def reply(inputs: Inputs, context: CallContext) -> Reply:
            return Reply(inputs)

        return reply

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return the call itself, because it has no upstream."""
        return self.call(step, None)
