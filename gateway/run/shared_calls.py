"""Single flight of upstream calls: equal calls are made once, by the nodes of one request or by all requests of a generation.

The key of a call is its step's fingerprint with all of its rendered inputs. Headers with the client's identity, such as ``authorization``,
are inputs too: no client gets a reply that was fetched for another.
"""

from collections.abc import Coroutine
from typing import Any, cast

from gateway.blueprint import Step
from gateway.contract import Call, CallContext, Inputs, Reply
from gateway.run.single_flight import SingleFlight


def call_key(step: Step, inputs: Inputs) -> tuple[str, str]:
    """Return the key of a call. The inputs are compared as text that shows types: ``1`` and ``"1"`` are different."""
    return step.fingerprint, repr(inputs)


class SharedCalls(SingleFlight[Reply]):
    """The calls under way, which equal ones join. A call runs until the latest deadline of its callers."""

    def call(
        self, call: Call, step: Step, inputs: Inputs, context: CallContext
    ) -> tuple[CallContext, Coroutine[Any, Any, Reply]]:
        """Return the context of the call that is really made, whose attempts all equal calls share, and a coroutine for the reply.

        The coroutine makes the call, or waits for an equal one.
        """
        key = call_key(step, inputs)
        common = cast("CallContext | None", self.owner(key))
        if common is None:
            common = context
        else:
            # A timer that runs out reads the deadline again (:meth:`AttemptTimeout.fire`), so that this prolongs a call that runs already.
            common.deadline = max(common.deadline, context.deadline)
        return common, self.join(key, lambda: call(inputs, common), common)
