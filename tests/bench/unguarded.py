"""The gateway as `stepgraph serve` runs it, but with nothing that guards or tells of a request: what those cost is the difference."""

import sys
from pathlib import Path

import gateway.process.server
import gateway.run.policies
from gateway.garbage import startup_without_gc
from gateway.operate.serving import ServeOptions
from gateway.run.policies.attempt import with_attempt
from gateway.run.policies.policy import Policy
from gateway.run.policies.retry import with_retry
from gateway.serve.admission.admission import Admission
from gateway.serve.connections.connection import GatewayProtocol
from gateway.serve.connections.exchange import Phase
from gateway.serve.connections.listener import bind
from gateway.telemetry.counters import StepMeters
from gateway.telemetry.telemetry import Telemetry

NEEDLESS: dict[type, tuple[str, ...]] = {
    Admission: ("leave",),
    GatewayProtocol: ("_expect_more",),
    StepMeters: ("count", "count_each"),
    Telemetry: ("request_started", "request_ended"),
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
    gateway.run.policies.ORDER = (
        Policy("attempt", lambda call, step, _: with_attempt(call, step, {})),
        Policy("retry", lambda call, step, _: with_retry(call, step, {})),
    )


def main() -> int:
    """Serve a folder on a port."""
    with startup_without_gc():  # as the command does, so that the collector of cycles is no part of the difference
        unguard()
    return gateway.process.server.serve(Path(sys.argv[1]), bind("127.0.0.1", int(sys.argv[2])), 1, ServeOptions())


if __name__ == "__main__":
    sys.exit(main())
