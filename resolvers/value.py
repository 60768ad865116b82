"""``type: value``: a constant, or a template filled from arguments and other steps' values."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply, StepType
from gateway.contract.mock import MockUpstream
from gateway.settings import StepKeys, such_as


class ValueKeys(StepKeys):
    """The keys of a value step: a constant, or a template filled from arguments and other steps' values."""

    example = """\
- name: links
  type: value
  value: { self: "/customers/{customer_id}", tier: "{account.tier}" }
"""

    value: Annotated[Any, such_as({"tier": "{account.tier}"})]
    """The value; texts in it are templates."""


class Value(StepType):
    """The step type ``value``: it calls no upstream."""

    name = "value"
    keys = ValueKeys
    cancels_promptly = True
    templated = ("value",)
    calls_out = False

    def inputs(self, keys: ValueKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the template of the value; a null has none."""
        return {"value": templates.get("value")}

    def is_idempotent(self, keys: ValueKeys) -> bool:
        """Return True: computing a value has no effect."""
        return True

    def can_fail(self, step: Step) -> bool:
        """Tell whether the step reads anything that may be missing."""
        return bool(step.needs or step.request_reads or step.reads_context or step.when or step.select)

    def describe(self, keys: ValueKeys) -> str:
        """Return a fixed word."""
        return "value"

    def call(self, step: Step, connection: None) -> Call:
        """Return a call that returns the rendered value."""

        async def reply(inputs: Inputs, context: CallContext) -> Reply:
            return Reply(inputs.get("value"))

        return reply

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return the call itself, because it has no upstream."""
        return self.call(step, None)
