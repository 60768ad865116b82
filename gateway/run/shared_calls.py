"""Equal calls → made once: by the nodes of one request, or by all requests of a generation.

A call is known by what it does and all of its rendered inputs, so a header that tells who is asking is part of it: nobody gets what
was fetched for another.
"""

from collections.abc import Coroutine
from typing import Any, cast

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.single_flight import SingleFlight


def call_key(step: Step, inputs: Inputs) -> tuple[str, str]:
    """Return what a call is known by."""
    return step.fingerprint, repr(inputs)


class SharedCalls(SingleFlight[Reply]):
    """The calls that equal ones can join. A call belongs to all who wait for it, and lasts until the latest of their deadlines."""

    def call(
        self, call: Call, step: Step, inputs: Inputs, context: CallContext
    ) -> tuple[CallContext, Coroutine[Any, Any, Reply]]:
        """Return what makes a call or waits for an equal one, and the context of the call that is made: all equal ones share its attempts."""
        key = call_key(step, inputs)
        common = cast("CallContext | None", self.owner(key))
        if common is None:
            common = context
        else:
            common.deadline = max(common.deadline, context.deadline)
        return common, self.join(key, lambda: call(inputs, common), common)
