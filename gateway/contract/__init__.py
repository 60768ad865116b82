"""What the engine and the step types agree on."""

from gateway.contract.call import Call, CallContext, Inputs, Reply
from gateway.contract.request import RequestContext
from gateway.contract.step_type import KeyProblem, StepType

__all__ = ["Call", "CallContext", "Inputs", "KeyProblem", "Reply", "RequestContext", "StepType"]
