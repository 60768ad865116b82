"""What was counted, and the state of what is served → metrics as Prometheus reads them (the only module that knows its library).

Names and labels are a contract: the README lists them. Each worker process counts for itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.operate.serving import Serving
from gateway.run.policies import ORDER, Policy, SourceState
from gateway.run.policies.policy import Series, SourceMetric
from gateway.serve.admission.admission import REASONS
from gateway.serve.generation.pools import Pools
from gateway.telemetry.counters import OK, SHARED, Counters, Histogram
from gateway.telemetry.logs import dropped_lines

CONTENT_TYPE = CONTENT_TYPE_LATEST
MAX_SOURCES = 40
"""Sources that have series; there are rarely more, and there is room for so many."""


class _Configuration(Collector):
    """The metrics of the configuration."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def collect(self) -> Iterator[Metric]:
        yield _counters(
            "config_reload",
            "Changes of the configuration, by what became of them.",
            ["result"],
            {(result,): self._serving.outcomes[result] for result in ("accepted", "partial", "rejected", "failed")},
        )
        yield GaugeMetricFamily("config_problems", "What is wrong with the files as they are now.", len(self._serving.problems))
        yield GaugeMetricFamily(
            "config_kept", "Operations and links that answer as they last were sound.", len(self._serving.kept)
        )


class _Requests(Collector):
    """The metrics of requests, and of the process that answers them."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        yield _counters(
            "stepgraph_requests",
            "GraphQL requests that have ended, by outcome (ok, partial, failed, refused, left) and HTTP status.",
            ["outcome", "status"],
            {(outcome, str(status)): count for (outcome, status), count in list(counters.requests.items())},
        )
        yield _histogram(
            "stepgraph_request_duration_seconds", "How long GraphQL requests took.", [], {(): counters.request_seconds}
        )
        yield GaugeMetricFamily("stepgraph_requests_open", "GraphQL requests under way.", counters.open)
        rejected = {(reason,): counters.rejected[reason] for reason in REASONS}
        yield _counters("stepgraph_requests_rejected", "GraphQL requests that were not let in, by why.", ["reason"], rejected)
        errors = {(code,): count for code, count in counters.errors.items()}
        yield _counters("stepgraph_errors", "Errors in answers, by code.", ["code"], errors)
        shared = {(kind,): counters.shared[kind] for kind in SHARED}
        yield _counters("stepgraph_shared", "Calls and queries that an equal one could answer, or not.", ["kind"], shared)
        yield _histogram(
            "stepgraph_loop_lag_seconds", "How late the event loop was, looked at twice a second.", [], {(): counters.lag}
        )
        yield GaugeMetricFamily("stepgraph_loop_lag_max_seconds", "The largest of it in the last minute.", counters.largest_lag)
        yield CounterMetricFamily("stepgraph_log_lines_dropped", "Log lines that nobody could be given in time.", dropped_lines())


class _Steps(Collector):
    """The metrics of steps. Those of links have no operation, and where there is no room for more they are ``other``."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        meters = [(meter.operation, meter.step, meter) for meter in self._counters.steps]
        names = ["operation", "step"]
        ends: dict[tuple[str, ...], int] = {}
        for operation, step, meter in meters:
            ends[operation, step, OK] = meter.ok
            ends.update({(operation, step, kind): count for kind, count in list(meter.outcomes.items())})
        yield _counters(
            "stepgraph_step_outcomes", "How steps ended: ok, skipped, or the code of a failure.", [*names, "outcome"], ends
        )
        yield _histogram(
            "stepgraph_step_duration_seconds",
            "How long steps took, with waits and attempts.",
            names,
            {(operation, step): meter.seconds for operation, step, meter in meters},
        )
        served = {(operation, step): meter.served for operation, step, meter in meters}
        yield _counters("stepgraph_step_fallbacks", "Values of steps that a fallback gave instead.", names, served)


class _Sources(Collector):
    """The metrics of the policies of sources, each as the policy itself describes it."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def collect(self) -> Iterator[Metric]:
        # by name: while an older configuration is let go a source may be there twice, and the latest counts
        sources = {source.name: state for source, state in self._pools.states().items()}
        found: dict[SourceMetric, dict[tuple[str, ...], float]] = {}
        for policy in ORDER:
            for series in policy.series:
                found.setdefault(series.metric, {}).update(_of_sources(policy, series, list(sources.items())[:MAX_SOURCES]))
        for metric, values in found.items():
            labels = ["source", metric.label] if metric.label else ["source"]
            yield (_gauges if metric.is_gauge else _counters)(metric.name, metric.text, labels, values)


def _of_sources(
    policy: Policy[Any], series: Series[Any], sources: Sequence[tuple[str, SourceState]]
) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the values of a series, each with its labels, for the sources that have the policy."""
    for name, source in sources:
        state = policy.of(source)
        if state is not None:
            yield (name, series.label) if series.label else (name,), series.read(state)


def _gauges(name: str, text: str, labels: Sequence[str], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for given, value in values.items():
        family.add_metric(given, value)
    return family


def _counters(name: str, text: str, labels: Sequence[str], counts: Mapping[Any, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, text: str, labels: Sequence[str], found: Mapping[Any, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in found.items():
        family.add_metric(values, _buckets(histogram), histogram.total)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return counts as Prometheus has them, each with those below it."""
    total, found = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def metrics_text(serving: Serving) -> bytes:
    """Return the metrics of what is served, as text."""
    registry, counters = CollectorRegistry(auto_describe=False), serving.telemetry.counters
    for collector in (_Configuration(serving), _Requests(counters), _Steps(counters), _Sources(serving.pools)):
        registry.register(collector)
    return generate_latest(registry)
