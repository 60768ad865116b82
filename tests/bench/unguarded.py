"""The gateway as `stepgraph serve` runs it, but with nothing that guards or tells of a request: what those cost is the difference."""

import sys
from pathlib import Path

import gateway.policies
import gateway.server
from gateway.admission import Admission
from gateway.measures import StepMeters
from gateway.policies.attempt import with_attempt
from gateway.policies.retry import with_retry
from gateway.protocol import GatewayProtocol
from gateway.reload import Conduct
from gateway.telling import Telling

NEEDLESS: dict[type, tuple[str, ...]] = {
    Admission: ("leave",),
    GatewayProtocol: ("_enter", "_expect_more", "_check_head"),
    StepMeters: ("count",),
    Telling: ("begun", "ended"),
}


def nothing(*_: object) -> None:
    """Do nothing."""


def admitted(*_: object) -> bool:
    """Let everybody in."""
    return True


def unguard() -> None:
    """Leave timeouts and retries, without which no gateway would serve; take away all else that a request pays for besides its answer.

    Those are admission and its watch over the event loop, bulkheads, breakers, budgets of retries, limits of heads, the times that a
    connection has, counters and the log.
    """
    for owner, names in NEEDLESS.items():
        for name in names:
            setattr(owner, name, nothing)
    for name in ("admits", "take"):
        setattr(Admission, name, admitted)
    gateway.policies.ORDER = (
        lambda call, step, _: with_attempt(call, step.timeout, None),
        lambda call, step, _: with_retry(call, step, None),
    )


def main() -> int:
    """Serve a folder on a port."""
    unguard()
    return gateway.server.serve(Path(sys.argv[1]), gateway.server.bind("127.0.0.1", int(sys.argv[2])), 1, Conduct())


if __name__ == "__main__":
    sys.exit(main())
