"""``type: value``: a constant, or a shape made of arguments and other steps' values."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply, StepType
from gateway.contract.mock import MockUpstream
from gateway.settings import StepKeys, such_as


class ValueKeys(StepKeys):
    """The keys of a value step: a constant, or a shape made of arguments and other steps' values."""

    example = """\
- name: links
  type: value
  value: { self: "/customers/{customer_id}", tier: "{account.tier}" }
"""

    value: Annotated[Any, such_as({"tier": "{account.tier}"})]
    """The value; texts in it are templates."""


class Value(StepType):
    """The step type ``value``: it calls nobody."""

    name = "value"
    keys = ValueKeys
    is_prompt = True
    templated = ("value",)
    calls_out = False

    def inputs(self, keys: ValueKeys, templates: Mapping[str, Any], arguments: Sequence[str]) -> Mapping[str, object]:
        """Return the value's own tree; a null has none."""
        return {"value": templates.get("value")}

    def is_idempotent(self, keys: ValueKeys) -> bool:
        """Tell that a value may be computed any number of times."""
        return True

    def can_fail(self, step: Step) -> bool:
        """Tell whether anything is read that may be missing."""
        return bool(step.needs or step.request_reads or step.reads_context or step.when or step.select)

    def describe(self, keys: ValueKeys) -> str:
        """Say that it is a constant."""
        return "value"

    def call(self, step: Step, connection: None) -> Call:
        """Return a call that gives the rendered value."""

        async def give(inputs: Inputs, context: CallContext) -> Reply:
            return Reply(inputs.get("value"))

        return give

    def mock_call(self, step: Step, upstream: MockUpstream) -> Call:
        """Return the call itself, as it asks nobody."""
        return self.call(step, None)
