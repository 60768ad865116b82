"""What the engine and the step types agree on."""

from gateway.contract.step_type import (
    NO_VALUES,
    Call,
    CallContext,
    Ending,
    Exchange,
    Inputs,
    KeyProblem,
    MockAnswer,
    Reply,
    RequestContext,
    StepType,
)

__all__ = [
    "NO_VALUES",
    "Call",
    "CallContext",
    "Ending",
    "Exchange",
    "Inputs",
    "KeyProblem",
    "MockAnswer",
    "Reply",
    "RequestContext",
    "StepType",
]
