"""The keys of a ``telemetry:`` document: logging and tracing."""

from typing import Annotated, Literal

from gateway.settings.vocabulary import Keys, Milliseconds, such_as


class TelemetryKeys(Keys):
    """``telemetry:`` document: what is logged, and whether requests are traced."""

    example = "telemetry: { access_log: all, slow_ms: 500 }"

    access_log: Literal["off", "problems", "all"] | None = None
    """Which requests get a line in the log. `problems`: those that failed wholly or partly, were refused, were abandoned by their client,
    or took longer than `slow_ms`. `all`: every request. Left out: `problems`, and `all` with `--dev`."""
    slow_ms: Milliseconds = 1000
    """Requests that take longer are logged as slow."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """The lowest level of the gateway's other log lines. Left out: `warning`, and `info` with `--dev`."""
    tracing: bool = False
    """Whether requests and upstream calls are traced with OpenTelemetry. Needs the extra `otel`; the environment variables `OTEL_…` set
    the exporter."""


class TelemetryDocumentKeys(Keys):
    """A document with ``telemetry:``. There is at most one."""

    example = "telemetry: { access_log: all }"

    telemetry: Annotated[TelemetryKeys, such_as({"access_log": "all"})]
    """Logging and tracing."""
