"""The gateway as `stepgraph serve` runs it, but with nothing that guards or tells of a request: what those cost is the difference."""

import sys
from pathlib import Path

import gateway.policies
import gateway.server
from gateway.admission import Admission
from gateway.background import starting
from gateway.exchange import Phase
from gateway.measures import StepMeters
from gateway.policies.attempt import with_attempt
from gateway.policies.retry import with_retry
from gateway.protocol import GatewayProtocol
from gateway.reload import Conduct
from gateway.telling import Telling

NEEDLESS: dict[type, tuple[str, ...]] = {
    Admission: ("leave",),
    GatewayProtocol: ("_expect_more",),
    StepMeters: ("count", "count_each"),
    Telling: ("begun", "ended"),
}


def nothing(*_: object) -> None:
    """Do nothing."""


def admitted(*_: object) -> bool:
    """Let everybody in."""
    return True


def enter(connection: GatewayProtocol, phase: Phase, _: float) -> None:
    """Know what a connection is about, and not how long it may be."""
    connection.phase = phase


def unguard() -> None:
    """Leave timeouts and retries, without which no gateway would serve; take away all else that a request pays for besides its answer.

    Those are admission and its watch over the event loop, bulkheads, breakers, budgets of retries, limits of heads, the times that a
    connection has, counters and the log.
    """
    for owner, names in NEEDLESS.items():
        for name in names:
            setattr(owner, name, nothing)
    setattr(GatewayProtocol, "_enter", enter)  # noqa: B010 - it is no attribute that a class may be given otherwise
    for name in ("admits", "take"):
        setattr(Admission, name, admitted)
    gateway.policies.ORDER = (
        lambda call, step, _: with_attempt(call, step.timeout, None),
        lambda call, step, _: with_retry(call, step, None),
    )


def main() -> int:
    """Serve a folder on a port."""
    with starting():  # as the command does, so that the collector of cycles is no part of the difference
        unguard()
    return gateway.server.serve(Path(sys.argv[1]), gateway.server.bind("127.0.0.1", int(sys.argv[2])), 1, Conduct())


if __name__ == "__main__":
    sys.exit(main())
