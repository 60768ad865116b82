"""What the gateway tells of itself: the keys of a ``telemetry:`` document."""

from typing import Annotated, Literal

from gateway.settings.vocabulary import Keys, Milliseconds, such_as


class TelemetryKeys(Keys):
    """``telemetry:`` document: what goes to the log, and whether requests are traced."""

    example = "telemetry: { access_log: all, slow_ms: 500 }"

    access_log: Literal["off", "problems", "all"] | None = None
    """Which requests get a line in the log: `all`, or as `problems` those that failed in whole or in part, were refused or left, or took
    longer than `slow_ms`. Left out: `problems`, and `all` with `--dev`."""
    slow_ms: Milliseconds = 1000
    """From which duration on a request is a slow one."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """From which level on the gateway's other lines are written. Left out: `warning`, and `info` with `--dev`."""
    tracing: bool = False
    """Whether requests and calls are traced with OpenTelemetry, which needs the extra `otel`; its variables `OTEL_…` say where to."""


class TelemetryDocumentKeys(Keys):
    """A document with ``telemetry:``. There is at most one."""

    example = "telemetry: { access_log: all }"

    telemetry: Annotated[TelemetryKeys, such_as({"access_log": "all"})]
    """What the gateway tells of itself."""
